"""The command line. What a command needs is imported when it runs, so that --help is instant."""

import argparse
import sys
from collections.abc import Sequence

from boildown.commands import (
    bench,
    dashboard,
    export,
    inspect,
    pack,
    prune,
    quantize,
    report,
    sensitivity,
    unpack,
    verify,
)
from boildown.printable import say

COMMANDS = (  # as the help lists them
    pack,
    unpack,
    inspect,
    verify,
    bench,
    export,
    prune,
    quantize,
    report,
    dashboard,
    sensitivity,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: arguments, those of the process by default.

    Returns:
        Exit code: 0, 1 after an error, 130 after Ctrl-C, told in a line on stderr; argparse's is 2.
    """
    given = sys.argv[1:] if argv is None else list(argv)
    if given[:1] == ["train"]:  # whose settings are Hydra's to read
        return train(given[1:])
    args = _parser().parse_args(given)
    try:
        args.run(args)
    except (ValueError, OSError, MemoryError) as error:
        say(str(error) or "out of memory")
        return 1
    except KeyboardInterrupt:
        say("stopped")
        return 130
    return 0


def train(settings: Sequence[str]) -> int:
    """Train, compress, pack and prove: one run, or with -m a sweep."""
    from boildown.entry import train as entry
    from boildown.run.command import main as run

    sys.argv = [str(entry.__file__), *settings]
    run("boildown train")
    return 0


class _Version(argparse.Action):
    """Say the version, which takes reading a file, only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from boildown import __version__

        print(f"boildown {__version__}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="boildown", description="Turn a trained PyTorch model into a small file that works."
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(metavar="command", required=True)
    commands.add_parser("train", help="train, compress, pack and prove; train --help says how")
    for command in COMMANDS:
        command.add(commands)
    return parser
