"""`boildown sensitivity`."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from boildown.commands.options import Commands, add_config

if TYPE_CHECKING:
    from torch import nn

    from boildown.allocate.levels import Levels


def add(commands: Commands) -> None:
    """Add the command to others."""
    from boildown.allocate.levels import found

    listing = ", ".join(found())
    command = commands.add_parser(
        "sensitivity",
        help=f"how much each layer matters: {listing}, or another technique, one by one",
    )
    command.add_argument(
        "path",
        type=Path,
        metavar="RUN",
        help="a run's directory, or dense.safetensors, model.boil or newest.ckpt in it",
    )
    command.add_argument(
        "--technique",
        default="rank",
        metavar="NAME",
        help=f"what to do to a layer: {listing}, or a technique of your own by its dotted path, "
        "such as my_module.MyTechnique, which is imported; default: rank",
    )
    command.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="arguments of a technique that is named by its dotted path, as YAML",
    )
    command.add_argument(
        "--layer", nargs="+", metavar="PATTERN", help="of layers, such as fc1 or 'blocks.*'"
    )
    command.add_argument(
        "--levels",
        nargs="+",
        type=float,
        metavar="LEVEL",
        help="ranks, fractions of zeros or bits, or amounts in (0, 1]; default: a range of them",
    )
    command.add_argument(
        "--split",
        default="val",
        metavar="{val,train}",
        help="what to measure on, never the test set; default: val",
    )
    command.add_argument("--batches", type=int, metavar="N", help="measure on the first N only")
    command.add_argument("--metric", help="to draw and to rank by; default: the task's own")
    add_config(command, "config.yaml beside it")
    command.add_argument(
        "-o",
        "--out",
        type=Path,
        help="the picture, .png; the table (.csv) and the measurements (.jsonl), which are not "
        "made twice, lie beside it; default: sensitivity_TECHNIQUE.png in the run's directory",
    )
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Measure how much each layer of a run's model matters."""
    from boildown.report import sensitivity_plot, sensitivity_table
    from boildown.report.metric import headline

    technique = _technique(args.technique, args.set)
    place = args.path if args.path.is_dir() else args.path.parent
    out: Path = args.out or place / f"sensitivity_{args.technique.rpartition('.')[2]}.png"
    if out.suffix != ".png" or out.is_dir():
        raise ValueError(f"--out {out}: give the picture's file, whose name ends in .png")
    from boildown.allocate import sensitivity as analysis
    from boildown.run.reopen import open_run

    run = open_run(args.path, args.config, args.allow)
    evaluate = run.evaluator(args.split, args.batches)
    asked = None if args.metric is None else f"{args.split}/{args.metric.rpartition('/')[2]}"

    def checked(model: "nn.Module") -> dict[str, float]:
        metrics = evaluate(model)
        if asked is not None and asked not in metrics:
            raise ValueError(f"--metric {args.metric}: there are {', '.join(metrics)}")
        return metrics

    points = analysis.sensitivity(
        run.model,
        checked,
        technique=technique,
        levels=args.levels,
        layers=args.layer,
        cache=out.with_suffix(".jsonl"),
        what=run.basis(args.split, args.batches),
        bar=True,
    )
    metrics = points[0].metrics
    metric = asked or f"{args.split}/{headline(metrics, args.split)}"
    if metric not in metrics:
        raise ValueError(f"--metric {args.metric}: there are {', '.join(metrics)}")
    title = f"{run.file}: each layer's {technique.name} by itself"
    sensitivity_plot.draw(points, metric, out, title)
    sensitivity_table.write_csv(points, out.with_suffix(".csv"))
    sensitivity_table.show(points, metric, title)
    for path in (out, out.with_suffix(".csv"), out.with_suffix(".jsonl")):
        print(path)


def _technique(name: str, settings: Sequence[str]) -> "Levels":
    """One of boildown's techniques, or the one of a dotted path with its settings."""
    from boildown.allocate.amounts import technique_at
    from boildown.allocate.levels import found

    if name in found():
        if settings:
            raise ValueError(f"--set {settings[0]}: --technique {name} has no settings")
        return found()[name]
    if "." not in name:
        known = ", ".join(found())
        raise ValueError(
            f"--technique {name}: there is no such technique, only {known}, or one of your own by "
            "its dotted path, such as my_module.MyTechnique"
        )
    arguments = _settings(settings)
    try:
        return technique_at(name, arguments)
    except ValueError as error:
        raise ValueError(f"--technique {error}") from error


def _settings(pairs: Sequence[str]) -> dict[str, Any]:
    """`key=value` pairs, each value as YAML, as in a config."""
    from omegaconf import OmegaConf

    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, _ = pair.partition("=")
        if not equals or not key.isidentifier():
            raise ValueError(f"--set {pair}: expected key=value")
        try:
            parsed = OmegaConf.to_container(OmegaConf.from_dotlist([pair]))
        except Exception as error:  # whatever YAML says
            raise ValueError(f"--set {pair}: the value is no YAML: {error}") from error
        assert isinstance(parsed, dict)
        found[key] = parsed[key]
    return found
