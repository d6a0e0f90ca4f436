"""`boildown verify`."""

import argparse
from pathlib import Path

from boildown.commands.options import Commands, add_base, add_reading


def add(commands: Commands) -> None:
    """Add the command to others."""
    command = commands.add_parser(
        "verify", help="whether a .boil file holds a checkpoint, bit by bit; exits with 0 or 1"
    )
    command.add_argument("file", type=Path)
    command.add_argument("checkpoint", type=Path, help="of any kind that pack reads")
    add_reading(command)
    add_base(command)
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Compare a file with a checkpoint, bit by bit."""
    from boildown.commands.verifying import verify_file

    verify_file(
        args.file, args.checkpoint, args.key, args.fold_masks, args.drop_zero_signs, args.base
    )
