"""The command line of `boildown export`; what it does is imported when it runs."""

import argparse
from collections.abc import Callable
from pathlib import Path


def add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    add_config: Callable[[argparse.ArgumentParser, str], None],
) -> None:
    """Add the command to others.

    Args:
        commands: of the command line.
        add_config: adds what says where a config is, and what the default is.
    """
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


def add_shape(command: argparse.ArgumentParser) -> None:
    """Add what says how large a sample is that the file's model takes."""
    command.add_argument(
        "--shape",
        type=_shape,
        metavar="N,N",
        help="of one sample, such as 3,32,32, where neither a config nor the file says it",
    )


def _shape(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(part.strip().isdecimal() and int(part) for part in parts):
        raise argparse.ArgumentTypeError(f"{text}: give numbers of at least 1, such as 3,32,32")
    return tuple(int(part) for part in parts)


def run(args: argparse.Namespace) -> None:
    """Export a file's model."""
    from boildown.converting import export_file

    export_file(args.file, args.to, args.out, args.config, args.allow, args.shape)
