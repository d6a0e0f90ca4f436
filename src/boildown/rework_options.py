"""What the command lines that change a run's network have in common."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

Commands = argparse._SubParsersAction
AddConfig = Callable[[argparse.ArgumentParser, str], None]


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
    commands: "Commands[argparse.ArgumentParser]",
    name: str,
    about: str,
    made: str,
    add_config: AddConfig,
) -> argparse.ArgumentParser:
    """A command that reads a run and writes a file, with all that each of them takes.

    Args:
        commands: of the command line.
        name: of the command.
        about: it, in a line.
        made: name of the file that it writes by default.
        add_config: adds what says where a config is, and what the default is.
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
