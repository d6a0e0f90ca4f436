"""`boildown inspect`."""

import argparse
from pathlib import Path

from boildown.commands.options import Commands, add_base


def add(commands: Commands) -> None:
    """Add the command to others."""
    command = commands.add_parser(
        "inspect", help="where the bytes of a .boil file go, or what two differ in"
    )
    command.add_argument("file", type=Path)
    command.add_argument("other", type=Path, nargs="?", help="to compare it with, layer by layer")
    command.add_argument(
        "--wide", action="store_true", help="all columns, however wide the terminal is"
    )
    command.add_argument("--json", action="store_true", help="as data, on stdout")
    command.add_argument(
        "--runner-up",
        action="store_true",
        help="also what the next smallest way to store each tensor would take (slow)",
    )
    add_base(command)
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Show what each tensor takes, in the columns of Deep Compression's tables 2 to 5."""
    from boildown.compiled import without_blas

    without_blas()
    from boildown.commands.inspecting import inspect_files

    inspect_files(
        args.file,
        args.other,
        args.base,
        wide=args.wide,
        as_json=args.json,
        runner_up=args.runner_up,
    )
