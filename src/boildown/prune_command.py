"""The command line of `boildown prune`; what it does is imported when it runs."""

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
        "prune", help="a trained run's network, pruned without training, into a new .boil file"
    )
    command.add_argument(
        "path",
        type=Path,
        metavar="RUN",
        help="a run's directory, or dense.safetensors, model.boil, newest.ckpt or another "
        "checkpoint in it",
    )
    _add_amounts(command)
    command.add_argument(
        "--batches",
        type=int,
        metavar="N",
        help="of the validation data to measure on; default: all",
    )
    add_config(command, "config.yaml beside it")
    command.add_argument(
        "-o", "--out", type=Path, help="the file, .boil; default: a new pruned.boil beside it"
    )
    command.add_argument("--json", action="store_true", help="as data, on stdout")
    command.set_defaults(run=run)


def _add_amounts(command: argparse.ArgumentParser) -> None:
    """What is cut, and how."""
    command.add_argument(
        "--sparsity", type=float, metavar="S", help="fraction of the weights to cut, in [0, 1)"
    )
    command.add_argument(
        "--method",
        default="alps",
        metavar="NAME",
        help="alps, sparsegpt, obs or refit, which let the weights that stay make up for the cut; "
        "magnitude, wanda or another criterion, which only cut, or one of your own by its dotted "
        "path; default: alps",
    )
    command.add_argument(
        "--scope",
        default="layer",
        metavar="{layer,global,erk}",
        help="equally much of each layer, all ranked together, or less of small ones; default: "
        "layer",
    )
    command.add_argument(
        "--pattern", metavar="P", help="what is cut as one, such as 2:4 or 1x4; default: weights"
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
        "--mix",
        type=float,
        default=0.0,
        metavar="M",
        help="how much the loss counts beside the layers' outputs, in [0, 1]; default: 0",
    )


def run(args: argparse.Namespace) -> None:
    """Prune a run's network without training, into a new file."""
    from boildown.pruning import Amounts, prune_file

    amounts = Amounts(
        sparsity=args.sparsity,
        method=args.method,
        scope=args.scope,
        pattern=args.pattern,
        exclude=args.exclude,
        samples=args.samples,
        mix=args.mix,
    )
    prune_file(
        args.path, args.out, amounts, args.config, args.allow, args.batches, as_json=args.json
    )
