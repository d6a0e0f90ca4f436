"""`python -m boildown` is the command `boildown`."""

import sys

from boildown.cli import main

if __name__ == "__main__":
    sys.exit(main())
