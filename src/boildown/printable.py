"""Text of an untrusted file, which must not steer the terminal. Pure, no torch."""

import sys


def printable(text: str) -> str:
    r"""The text with what cannot be printed as escapes.

    >>> printable("a\x1b[2J")
    'a\\x1b[2J'
    """
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def say(text: str) -> None:
    """Tell people something, in one line on stderr."""
    print("boildown:", printable(" ".join(text.split())), file=sys.stderr)
