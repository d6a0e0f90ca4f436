"""`boildown pack`."""

import argparse
from pathlib import Path

from boildown.commands.options import Commands, add_base, add_reading


def add(commands: Commands) -> None:
    """Add the command to others."""
    command = commands.add_parser("pack", help="a checkpoint into a .boil file, without loss")
    command.add_argument(
        "checkpoint",
        type=Path,
        help=".safetensors, what torch.save or Lightning saved, or a directory of Hugging Face's",
    )
    add_reading(command)
    command.add_argument(
        "-o",
        "--out",
        type=Path,
        help="default: beside it, a new .boil; of a directory, a name that does not end in .boil "
        "is a new directory with all its other files too",
    )
    add_base(command)
    command.add_argument(
        "--coder",
        default="auto",
        metavar="NAME",
        help="best: the smallest file; fast; huffman: as Deep Compression has it; default: auto, "
        "best below 256 MiB and up to 4,096 tensors, else fast",
    )
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Pack a checkpoint."""
    from boildown.commands.packing import pack_checkpoint

    pack_checkpoint(
        args.checkpoint,
        args.key,
        args.out,
        args.fold_masks,
        args.drop_zero_signs,
        args.coder,
        args.base,
    )
