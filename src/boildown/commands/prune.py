"""`boildown prune`."""

import argparse

from boildown.commands.options import Commands, Files, reworking


def add(commands: Commands) -> None:
    """Add the command to others."""
    about = "a trained run's network, pruned without training, into a new .boil file"
    command = reworking(commands, "prune", about, "pruned.boil")
    _add_amounts(command)
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
        metavar="{layer,global,erk,sensitivity}",
        help="equally much of each layer, all ranked together, less of small ones, or by what a "
        "cut does to the outputs; default: layer",
    )
    command.add_argument(
        "--pattern", metavar="P", help="what is cut as one, such as 2:4 or 1x4; default: weights"
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
    from boildown.commands.pruning import Amounts, prune_file

    amounts = Amounts(
        sparsity=args.sparsity,
        method=args.method,
        scope=args.scope,
        pattern=args.pattern,
        exclude=args.exclude,
        samples=args.samples,
        mix=args.mix,
    )
    prune_file(Files.of(args), amounts, as_json=args.json)
