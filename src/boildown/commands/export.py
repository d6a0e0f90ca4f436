"""`boildown export`."""

import argparse
from pathlib import Path

from boildown.commands.options import Commands, add_config, add_shape


def add(commands: Commands) -> None:
    """Add the command to others."""
    command = commands.add_parser(
        "export", help="a .boil file's model into one that runs without boildown, checked"
    )
    command.add_argument("file", type=Path, help="a .boil file, or the directory of a run")
    command.add_argument(
        "--to",
        choices=("onnx", "torch", "safetensors"),
        help="onnx, with quantized weights as whole numbers; torch, for torch.export.load; "
        "safetensors, the plain state dict; default: as the name of -o says, else onnx",
    )
    command.add_argument(
        "-o", "--out", type=Path, help="default: beside it, a new .onnx, .pt2 or .safetensors"
    )
    add_config(command, "config.yaml beside the file, if it is there")
    add_shape(command)
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Export a file's model."""
    from boildown.commands.converting import export_file

    export_file(args.file, args.to, args.out, args.config, args.allow, args.shape)
