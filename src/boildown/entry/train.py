"""`boildown train`, which processes of one training start again by this file's path."""

from boildown.run.command import main

if __name__ == "__main__":
    main("boildown train")
