"""Train, compress, pack and prove: `python train.py +compression=deep`."""

from boildown.run.command import main

if __name__ == "__main__":
    main()
