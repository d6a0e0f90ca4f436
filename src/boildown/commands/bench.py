"""`boildown bench`."""

import argparse
from pathlib import Path

from boildown.commands.options import Commands, add_config, add_shape


def add(commands: Commands) -> None:
    """Add the command to others."""
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
    from boildown.commands.benching import bench_file

    places = args.config, args.allow, args.shape, args.out
    bench_file(args.file, args.batches, *places, as_json=args.json)
