"""The command line. What a command needs is imported when it runs, so that --help is instant."""

import argparse
import dataclasses
import json
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from boildown.printable import printable, say

if TYPE_CHECKING:
    from rich.table import Table
    from torch import nn

    from boildown.allocate.levels import Levels
    from boildown.codec import FileReport, TensorReport


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: arguments, those of the process by default.

    Returns:
        Exit code: 0, or 1 after an error, told in one line on stderr. argparse exits with 2.
    """
    given = sys.argv[1:] if argv is None else list(argv)
    if given[:1] == ["train"]:  # whose settings are Hydra's to read
        return train(given[1:])
    args = _parser().parse_args(given)
    try:
        args.run(args)
    except (ValueError, OSError, MemoryError) as error:
        say(str(error) or "out of memory")
        return 1
    return 0


def train(settings: Sequence[str]) -> int:
    """Train, compress, pack and prove: one run, or with -m a sweep."""
    from boildown.entry import train as entry
    from boildown.run.command import main as run

    sys.argv = [str(entry.__file__), *settings]
    run("boildown train")
    return 0


def pack(args: argparse.Namespace) -> None:
    """Pack a checkpoint."""
    from boildown.packing import pack_checkpoint

    pack_checkpoint(args.checkpoint, args.key, args.out, args.fold_masks, args.drop_zero_signs)


def unpack(args: argparse.Namespace) -> None:
    """Unpack to safetensors, or to a file of torch.save."""
    from boildown.packing import unpack_file

    unpack_file(args.file, args.out)


def inspect(args: argparse.Namespace) -> None:
    """Show what each tensor takes, in the columns of Deep Compression's tables 2 to 5."""
    from boildown import codec

    report = codec.inspect_file(args.file)
    if args.json:
        print(json.dumps(_as_data(report), indent=2))
    else:
        _print_table(report)


def report(args: argparse.Namespace) -> None:
    """Compare runs: one page, its pictures and tables."""
    from boildown.report import build
    from boildown.report.asked import Asked
    from boildown.report.results import find
    from boildown.report.table import summarise

    asked = Asked(args.bytes, args.error)
    if args.serve:
        if args.wandb is not None:
            raise ValueError("--serve writes nothing: log to wandb by a report without it")
        from boildown.report.serve import serve

        serve(args.directories, args.port, asked)
        return

    if args.out.is_dir():
        raise ValueError(f"--out {args.out} is a directory; give the page's file")
    if args.out.suffix not in (".html", ".htm"):
        raise ValueError(f"--out {args.out}: the page's name must end in .html")
    count = len(find(args.directories))
    if count < _MANY:
        content = build.gather(args.directories, asked=asked)
    else:
        from boildown.files.progress import progress

        with progress("reading runs", count, in_bytes=False) as tick:
            content = build.gather(args.directories, tick, asked)
    files = build.write(content, args.out)
    summarise(content, files.all)
    if args.wandb is not None:
        from boildown.report.wandb_run import log

        print(f"wandb: {log(content, files, args.wandb)}")


_MANY = 200  # results that take long enough for a bar


def sensitivity(args: argparse.Namespace) -> None:
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


class _Version(argparse.Action):
    """Say the version, which takes reading a file, only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from boildown import __version__

        print(f"boildown {__version__}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="boildown", description="Turn a trained PyTorch model into a small file that works."
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(metavar="command", required=True)

    commands.add_parser("train", help="train, compress, pack and prove; train --help says how")
    _add_files(commands)

    _add_report(commands)
    _add_sensitivity(commands)
    return parser


def _add_files(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser("pack", help="a checkpoint into a .boil file, without loss")
    command.add_argument(
        "checkpoint",
        type=Path,
        help=".safetensors, what torch.save or Lightning saved, or a directory of Hugging Face's",
    )
    command.add_argument(
        "--key", help="of the state dict in it, such as model.encoder; default: the usual ones"
    )
    command.add_argument("-o", "--out", type=Path, help="default: beside it, a new .boil")
    command.add_argument(
        "--fold-masks",
        action="store_true",
        help="make masks part of the weights: what torch.nn.utils.prune leaves without "
        "prune.remove (weight_orig, weight_mask), and masks of parametrizations",
    )
    command.add_argument(
        "--drop-zero-signs",
        action="store_true",
        help="store -0.0 as 0.0, which is equal and takes a bit less",
    )
    command.set_defaults(run=pack)

    command = commands.add_parser("unpack", help="a .boil file into a checkpoint")
    command.add_argument("file", type=Path)
    command.add_argument(
        "-o",
        "--out",
        type=Path,
        help="ends in .safetensors, or in .pt, .pth, .bin or .ckpt for a file of torch.save; "
        "default: beside it, a new .safetensors",
    )
    command.set_defaults(run=unpack)

    command = commands.add_parser("inspect", help="where the bytes of a .boil file go")
    command.add_argument("file", type=Path)
    command.add_argument("--json", action="store_true", help="as data, on stdout")
    command.set_defaults(run=inspect)


def _add_report(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser("report", help="compare runs: a page, pictures and tables")
    command.add_argument(
        "directories", type=Path, nargs="+", metavar="DIR", help="searched for result.json files"
    )
    command.add_argument(
        "-o", "--out", type=Path, default=Path("report.html"), help="the page; default: report.html"
    )
    command.add_argument(
        "--wandb",
        nargs="?",
        const="boildown",
        metavar="PROJECT",
        help="log it to wandb too, offline unless WANDB_MODE says otherwise",
    )
    command.add_argument(
        "--bytes", type=int, metavar="N", help="name the best run whose file has at most N bytes"
    )
    command.add_argument(
        "--error",
        type=float,
        metavar="E",
        help="name the smallest file with at most this test metric, such as 0.05 for 5 %% errors",
    )
    command.add_argument(
        "--serve",
        action="store_true",
        help="serve the page on this machine alone, kept up to date while runs finish",
    )
    command.add_argument(
        "--port", type=int, default=8321, help="to serve on; 0: a free one; default: 8321"
    )
    command.set_defaults(run=report)


def _add_sensitivity(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
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
    _add_places(command)
    command.set_defaults(run=sensitivity)


def _add_places(command: argparse.ArgumentParser) -> None:
    command.add_argument("--config", type=Path, help="the run's; default: config.yaml beside it")
    command.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="NAME",
        help="a module, class or function that the run's config may build too, as you trust it; "
        "may be repeated",
    )
    command.add_argument(
        "-o",
        "--out",
        type=Path,
        help="the picture, .png; the table (.csv) and the measurements (.jsonl), which are not "
        "made twice, lie beside it; default: sensitivity_TECHNIQUE.png in the run's directory",
    )


def _as_data(report: "FileReport") -> dict[str, object]:
    return {
        "bytes": report.bytes,
        "header": report.header,
        "dense_bytes": report.dense_bytes,
        "ratio": report.dense_bytes / report.bytes,
        "tensors": [dataclasses.asdict(tensor) for tensor in report.tensors],
    }


def _print_table(report: "FileReport") -> None:
    from rich.console import Console

    # Wide enough for all columns where no terminal sets a width.
    console = Console() if sys.stdout.isatty() else Console(width=_WIDTH)
    left_out: list[str] = []
    table = _table(report, left_out)
    for column in _DISPENSABLE:
        if console.measure(table, options=console.options.update(width=_ANY)).maximum <= (
            console.width
        ):
            break
        left_out.append(column)
        table = _table(report, left_out)
    console.print(table)
    if left_out:
        say(f"the terminal has no room for {', '.join(left_out)}; --json says all")


def _table(report: "FileReport", left_out: Collection[str]) -> "Table":
    """All columns but those left out."""
    from rich.table import Table
    from rich.text import Text

    table = Table(show_footer=True, caption=_CAPTION)
    shown = [i for i, title in enumerate(_COLUMNS) if title not in left_out]
    totals = _total(report)
    for title, total in ((_COLUMNS[i], totals[i]) for i in shown):
        words = title in ("tensor", "coder")
        table.add_column(title, footer=total, justify="left" if words else "right", overflow="fold")
    fraction = f"{100 * report.header / report.bytes:.2f}"
    header = ["(header)", *[""] * 7, f"{report.header:,}", fraction, ""]
    for row in (*map(_row, report.tensors), header):
        table.add_row(*(Text(row[i]) for i in shown))
    return table


_WIDTH, _ANY = 160, 10_000
# What a narrow terminal goes without, the first of these first.
_DISPENSABLE = ("fillers", "file %", "position bits", "weight bits", "shape", "distinct", "coder")
_CAPTION = "bits: of fixed length > after entropy coding; ratio: to dense fp32"
_COLUMNS = (
    "tensor",
    "shape",
    "coder",
    "kept %",
    "distinct",
    "weight bits",
    "position bits",
    "fillers",
    "bytes",
    "file %",
    "ratio",
)


def _row(tensor: "TensorReport") -> list[str]:
    kept = 100 * tensor.nonzero / tensor.numel if tensor.numel else 100.0
    return [
        printable(tensor.name),
        "x".join(map(str, tensor.shape)) or "scalar",
        printable(tensor.coder),
        f"{kept:.2f}",
        f"{tensor.distinct:,}",
        _bits(tensor.weight_bits, tensor.weight_bits_coded),
        _bits(tensor.position_bits, tensor.position_bits_coded),
        "" if tensor.fillers is None else f"{tensor.fillers:,}",
        f"{tensor.bytes:,}",
        f"{100 * tensor.fraction:.2f}",
        f"{4 * tensor.numel / tensor.bytes:.1f}" if tensor.bytes else "",
    ]


def _total(report: "FileReport") -> list[str]:
    stored = [tensor for tensor in report.tensors if tensor.bytes]
    numel = sum(tensor.numel for tensor in stored)
    kept = 100 * sum(tensor.nonzero for tensor in stored) / numel if numel else 100.0
    ratio = f"{report.dense_bytes / report.bytes:.1f}"
    total = ["total", f"{numel:,}", "", f"{kept:.2f}", "", "", "", ""]
    return [*total, f"{report.bytes:,}", "100.00", ratio]


def _bits(fixed: int | None, coded: float | None) -> str:
    return "" if coded is None else f"{fixed} > {coded:.2f}"
