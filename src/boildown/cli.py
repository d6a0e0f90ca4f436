"""The command line. What a command needs is imported when it runs, so that --help is instant."""

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from boildown.codec import FileReport, TensorReport


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: arguments, those of the process by default.

    Returns:
        Exit code: 0, or 1 after an error, told in one line on stderr. argparse exits with 2.
    """
    args = _parser().parse_args(argv)
    try:
        args.run(args)
    except (ValueError, OSError) as error:
        print("boildown:", " ".join(str(error).split()), file=sys.stderr)
        return 1
    return 0


def pack(args: argparse.Namespace) -> None:
    """Pack a checkpoint."""
    from boildown import codec
    from boildown.checkpoint import load_state_dict

    out = _other_than(args.checkpoint, args.out or args.checkpoint.with_suffix(".boil"))
    state = load_state_dict(args.checkpoint)
    after = codec.pack(state, out)
    before = codec.dense_bytes(state)
    ratio = f"{before / after:.1f}x smaller than dense fp32"
    print(f"{out}: {before:,} -> {after:,} bytes, {ratio}")


def unpack(args: argparse.Namespace) -> None:
    """Unpack to safetensors, which cannot share storage: tied tensors are written twice."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    from boildown import codec
    from boildown.codec.replace import replacing

    out = _other_than(args.file, args.out or args.file.with_suffix(".safetensors"))
    seen: set[int] = set()
    state = {}
    for name, tensor in codec.unpack(args.file).items():
        state[name] = tensor.clone() if id(tensor) in seen else tensor
        seen.add(id(tensor))
    try:
        with replacing(out) as part:
            save_file(state, part)
    except (SafetensorError, KeyError) as error:
        raise ValueError(f"{out}: safetensors cannot hold this: {error}") from None
    print(f"{out}: {len(state)} tensors, {out.stat().st_size:,} bytes")


def _other_than(source: Path, out: Path) -> Path:
    if out.resolve() == source.resolve():
        raise ValueError(f"{out} is the file to read; give another name with -o")
    return out


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
    from boildown.report.results import find
    from boildown.report.table import summarise

    if args.out.is_dir():
        raise ValueError(f"--out {args.out} is a directory; give the page's file")
    if args.out.suffix not in (".html", ".htm"):
        raise ValueError(f"--out {args.out}: the page's name must end in .html")
    count = len(find(args.directories))
    if count < _MANY:
        content = build.gather(args.directories)
    else:
        from boildown.data.progress import progress

        with progress("reading runs", count, in_bytes=False) as tick:
            content = build.gather(args.directories, tick)
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

    if args.technique not in sensitivity_table.COSTS:
        known = ", ".join(sensitivity_table.COSTS)
        raise ValueError(f"--technique {args.technique}: there is no such technique, only {known}")
    place = args.path if args.path.is_dir() else args.path.parent
    out: Path = args.out or place / f"sensitivity_{args.technique}.png"
    if out.suffix != ".png" or out.is_dir():
        raise ValueError(f"--out {out}: give the picture's file, whose name ends in .png")
    from boildown import sensitivity as analysis
    from boildown.validate import open_run

    run = open_run(args.path, args.config)
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
        technique=args.technique,
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
    title = f"{run.file}: each layer's {args.technique} by itself"
    sensitivity_plot.draw(points, metric, out, title)
    sensitivity_table.write_csv(points, out.with_suffix(".csv"))
    sensitivity_table.show(points, metric, title)
    for path in (out, out.with_suffix(".csv"), out.with_suffix(".jsonl")):
        print(path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="boildown", description="Turn a trained PyTorch model into a small file that works."
    )
    commands = parser.add_subparsers(metavar="command", required=True)

    command = commands.add_parser("pack", help="a checkpoint into a .boil file, without loss")
    command.add_argument(
        "checkpoint", type=Path, help=".safetensors, or a state dict or Lightning checkpoint"
    )
    command.add_argument("-o", "--out", type=Path, help="default: beside it, ending in .boil")
    command.set_defaults(run=pack)

    command = commands.add_parser("unpack", help="a .boil file into safetensors")
    command.add_argument("file", type=Path)
    command.add_argument("-o", "--out", type=Path, help="default: beside it, as .safetensors")
    command.set_defaults(run=unpack)

    command = commands.add_parser("inspect", help="where the bytes of a .boil file go")
    command.add_argument("file", type=Path)
    command.add_argument("--json", action="store_true", help="as data, on stdout")
    command.set_defaults(run=inspect)

    command = commands.add_parser("report", help="compare runs: a page, pictures and tables")
    command.add_argument(
        "directories", type=Path, nargs="+", metavar="DIR", help="searched for result.json files"
    )
    command.add_argument(
        "--out", type=Path, default=Path("report.html"), help="the page; default: report.html"
    )
    command.add_argument(
        "--wandb",
        nargs="?",
        const="boildown",
        metavar="PROJECT",
        help="log it to wandb too, offline unless WANDB_MODE says otherwise",
    )
    command.set_defaults(run=report)

    command = commands.add_parser(
        "sensitivity", help="how much each layer matters: rank, sparsity or bits, one by one"
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
        metavar="{rank,sparsity,bits}",
        help="what to do to a layer; default: rank",
    )
    command.add_argument(
        "--layer", nargs="+", metavar="PATTERN", help="of layers, such as fc1 or 'blocks.*'"
    )
    command.add_argument(
        "--levels",
        nargs="+",
        type=float,
        metavar="LEVEL",
        help="ranks, fractions of zeros or bits; default: a range of them",
    )
    command.add_argument(
        "--split",
        default="val",
        metavar="{val,train}",
        help="what to measure on, never the test set; default: val",
    )
    command.add_argument("--batches", type=int, metavar="N", help="measure on the first N only")
    command.add_argument("--metric", help="to draw and to rank by; default: the task's own")
    command.add_argument("--config", type=Path, help="the run's; default: config.yaml beside it")
    command.add_argument(
        "--out",
        type=Path,
        help="the picture, .png; the table (.csv) and the measurements (.jsonl), which are not "
        "made twice, lie beside it; default: sensitivity_TECHNIQUE.png in the run's directory",
    )
    command.set_defaults(run=sensitivity)
    return parser


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
    from rich.table import Table
    from rich.text import Text

    table = Table(show_footer=True, caption="bits: of fixed length > after entropy coding")
    totals = _total(report)
    for title, total in zip(_COLUMNS, totals, strict=True):
        words = title in ("tensor", "coder")
        table.add_column(title, footer=total, justify="left" if words else "right", overflow="fold")
    for tensor in report.tensors:
        table.add_row(*map(Text, _row(tensor)))
    share = f"{100 * report.header / report.bytes:.2f}"
    table.add_row("(header)", *[""] * 7, f"{report.header:,}", share, "")
    # Wide enough for all columns where no terminal sets a width.
    console = Console() if sys.stdout.isatty() else Console(width=_WIDTH)
    console.print(table)


_WIDTH = 160
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
        _printable(tensor.name),
        "x".join(map(str, tensor.shape)) or "scalar",
        _printable(tensor.coder),
        f"{kept:.2f}",
        f"{tensor.distinct:,}",
        _bits(tensor.weight_bits, tensor.weight_bits_coded),
        _bits(tensor.position_bits, tensor.position_bits_coded),
        "" if tensor.fillers is None else f"{tensor.fillers:,}",
        f"{tensor.bytes:,}",
        f"{100 * tensor.share:.2f}",
        f"{4 * tensor.numel / tensor.bytes:.1f}" if tensor.bytes else "",
    ]


def _total(report: "FileReport") -> list[str]:
    stored = [tensor for tensor in report.tensors if tensor.bytes]
    numel = sum(tensor.numel for tensor in stored)
    kept = 100 * sum(tensor.nonzero for tensor in stored) / numel if numel else 100.0
    ratio = f"{report.dense_bytes / report.bytes:.1f}"
    total = ["total", f"{numel:,}", "", f"{kept:.2f}", "", "", "", ""]
    return [*total, f"{report.bytes:,}", "100.00", ratio]


def _printable(text: str) -> str:
    """Text of an untrusted file, which must not steer the terminal."""
    return text if text.isprintable() else ascii(text)


def _bits(fixed: int | None, coded: float | None) -> str:
    return "" if coded is None else f"{fixed} > {coded:.2f}"
