"""The command line of `boildown bench`; what it does is imported when it runs."""

import argparse
from collections.abc import Callable
from pathlib import Path

from boildown.export_command import add_shape


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
        "bench", help="how fast a .boil file's model runs on this machine, dense and compiled"
    )
    command.add_argument("file", type=Path, help="a .boil file, or the directory of a run")
    command.add_argument(
        "--batches",
        default="1,32,256",
        metavar="N,N",
        help="numbers of samples to time at; default: 1,32,256",
    )
    add_config(command, "config.yaml beside the file, if it is there")
    add_shape(command)
    command.add_argument(
        "-o", "--out", type=Path, help="the picture, .png; default: bench.png beside the file"
    )
    command.add_argument(
        "--json", action="store_true", help="as data, on stdout; no picture without --out"
    )
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Time a file's model as it is and compiled for this machine."""
    from boildown.benching import bench_file

    places = args.config, args.allow, args.shape, args.out
    bench_file(args.file, args.batches, *places, as_json=args.json)
