"""`boildown unpack`."""

import argparse
from pathlib import Path

from boildown.commands.options import Commands, add_base


def add(commands: Commands) -> None:
    """Add the command to others."""
    command = commands.add_parser("unpack", help="a .boil file into a checkpoint")
    command.add_argument("file", type=Path, help="or a directory with a model.boil")
    command.add_argument(
        "-o",
        "--out",
        type=Path,
        help="ends in .safetensors, or in .pt, .pth, .bin or .ckpt for a file of torch.save; "
        "of a directory, another name is a new directory with all its other files too; "
        "default: beside it, a new .safetensors",
    )
    command.add_argument(
        "--keys", nargs="+", metavar="NAME", help="tensors to unpack; default: all of them"
    )
    add_base(command)
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Unpack to safetensors, or to a file of torch.save."""
    from boildown.commands.packing import unpack_file

    unpack_file(args.file, args.out, args.base, args.keys)
