"""Options that several commands take."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


@dataclass(frozen=True)
class Files:
    """What goes in and what comes out.

    Attributes:
        path: see `boildown.run.reopen.open_run`.
        out: the .boil file; None for one beside the network's, if there is none yet.
        config: of the run; None for config.yaml beside the file.
        allow: what the config may build beside what any may (`boildown.run.allowed`).
        batches: of the validation data to measure on; None for all.
    """

    path: Path
    out: Path | None
    config: Path | None
    allow: Sequence[str]
    batches: int | None

    @classmethod
    def of(cls, args: argparse.Namespace) -> "Files":
        """As the options of `reworking` say."""
        return cls(args.path, args.out, args.config, args.allow, args.batches)


def reworking(
    commands: Commands,
    name: str,
    about: str,
    made: str,
) -> argparse.ArgumentParser:
    """A command that reads a run and writes a file, with all that each of them takes.

    Args:
        commands: of the command line.
        name: of the command.
        about: it, in a line.
        made: name of the file that it writes by default.
    """
    command = commands.add_parser(name, help=about)
    command.add_argument(
        "path",
        type=Path,
        metavar="RUN",
        help="a run's directory, or dense.safetensors, model.boil, newest.ckpt or another "
        "checkpoint in it",
    )
    command.add_argument(
        "--exclude", nargs="+", default=[], metavar="PATTERN", help="weights to leave alone"
    )
    command.add_argument(
        "--samples",
        type=int,
        default=512,
        metavar="N",
        help="of the training data to calibrate with; default: 512",
    )
    command.add_argument(
        "--batches",
        type=int,
        metavar="N",
        help="of the validation data to measure on; default: all",
    )
    add_config(command, "config.yaml beside it")
    command.add_argument(
        "-o", "--out", type=Path, help=f"the file, .boil; default: a new {made} beside it"
    )
    command.add_argument("--json", action="store_true", help="as data, on stdout")
    return command


def add_config(command: argparse.ArgumentParser, default: str) -> None:
    """Where the config of a run is, and what it may build."""
    command.add_argument("--config", type=Path, help=f"the run's; default: {default}")
    command.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="NAME",
        help="a module, class or function that the run's config may build too, as you trust it; "
        "may be repeated",
    )


def add_base(command: argparse.ArgumentParser) -> None:
    """What a file tells the differences to."""
    command.add_argument(
        "--base",
        type=Path,
        metavar="OLD",
        help="the model that this one was fine-tuned from, a checkpoint or a .boil file: the file "
        "holds the differences to it alone, and is read with it",
    )


def add_reading(command: argparse.ArgumentParser) -> None:
    """What a checkpoint is read as."""
    command.add_argument(
        "--key", help="of the state dict in it, such as model.encoder; default: the usual ones"
    )
    command.add_argument(
        "--fold-masks",
        action="store_true",
        help="make masks part of the weights: what torch.nn.utils.prune leaves without "
        "prune.remove (weight_orig, weight_mask), and masks of parametrizations",
    )
    command.add_argument(
        "--drop-zero-signs",
        action="store_true",
        help="take -0.0 for 0.0, which is equal and takes a bit less",
    )


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
