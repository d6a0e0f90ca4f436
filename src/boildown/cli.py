"""The command line. What a command needs is imported when it runs, so that --help is instant."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from boildown import export_command, prune_command, quantize_command
from boildown.printable import say

if TYPE_CHECKING:
    from torch import nn

    from boildown.allocate.levels import Levels


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: arguments, those of the process by default.

    Returns:
        Exit code: 0, 1 after an error, 130 after Ctrl-C, told in a line on stderr; argparse's is 2.
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
    except KeyboardInterrupt:
        say("stopped")
        return 130
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

    pack_checkpoint(
        args.checkpoint,
        args.key,
        args.out,
        args.fold_masks,
        args.drop_zero_signs,
        args.coder,
        args.base,
    )


def unpack(args: argparse.Namespace) -> None:
    """Unpack to safetensors, or to a file of torch.save."""
    from boildown.packing import unpack_file

    unpack_file(args.file, args.out, args.base)


def inspect(args: argparse.Namespace) -> None:
    """Show what each tensor takes, in the columns of Deep Compression's tables 2 to 5."""
    from boildown.compiled import without_blas

    without_blas()
    from boildown.inspecting import inspect_files

    inspect_files(
        args.file,
        args.other,
        args.base,
        wide=args.wide,
        as_json=args.json,
        runner_up=args.runner_up,
    )


def verify(args: argparse.Namespace) -> None:
    """Compare a file with a checkpoint, bit by bit."""
    from boildown.verifying import verify_file

    verify_file(
        args.file, args.checkpoint, args.key, args.fold_masks, args.drop_zero_signs, args.base
    )


def bench(args: argparse.Namespace) -> None:
    """Time a file's model as it is and compiled for this machine."""
    from boildown.benching import bench_file

    bench_file(args.file, args.batches, args.config, args.allow, args.out, as_json=args.json)


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


def dashboard(args: argparse.Namespace) -> None:
    """Make or update the dashboard of a project on wandb."""
    from boildown.report.dashboard import make

    for address in make(args.project, args.entity, args.metric):
        print(address)


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
    _add_looking(commands)

    _add_bench(commands)
    export_command.add(commands, _add_config)
    prune_command.add(commands, _add_config)
    quantize_command.add(commands, _add_config)
    _add_report(commands)

    command = commands.add_parser("dashboard", help="compare a project's runs on wandb, as code")
    command.add_argument("--project", required=True, help="of wandb, that the runs are logged to")
    command.add_argument("--entity", help="the user or team that owns it; default: your own")
    command.add_argument("--metric", default="error", help="to compare by; default: error")
    command.set_defaults(run=dashboard)

    _add_sensitivity(commands)
    return parser


def _add_files(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser("pack", help="a checkpoint into a .boil file, without loss")
    command.add_argument(
        "checkpoint",
        type=Path,
        help=".safetensors, what torch.save or Lightning saved, or a directory of Hugging Face's",
    )
    _add_reading(command)
    command.add_argument(
        "-o",
        "--out",
        type=Path,
        help="default: beside it, a new .boil; of a directory, a name that does not end in .boil "
        "is a new directory with all its other files too",
    )
    _add_base(command)
    command.add_argument(
        "--coder",
        default="auto",
        metavar="NAME",
        help="best: the smallest file; fast; huffman: as Deep Compression has it; default: auto, "
        "best below 256 MiB and up to 4,096 tensors, else fast",
    )
    command.set_defaults(run=pack)

    command = commands.add_parser("unpack", help="a .boil file into a checkpoint")
    command.add_argument("file", type=Path, help="or a directory with a model.boil")
    command.add_argument(
        "-o",
        "--out",
        type=Path,
        help="ends in .safetensors, or in .pt, .pth, .bin or .ckpt for a file of torch.save; "
        "of a directory, another name is a new directory with all its other files too; "
        "default: beside it, a new .safetensors",
    )
    _add_base(command)
    command.set_defaults(run=unpack)


def _add_looking(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    command = commands.add_parser(
        "inspect", help="where the bytes of a .boil file go, or what two differ in"
    )
    command.add_argument("file", type=Path)
    command.add_argument("other", type=Path, nargs="?", help="to compare it with, layer by layer")
    command.add_argument(
        "--wide", action="store_true", help="all columns, however wide the terminal is"
    )
    command.add_argument("--json", action="store_true", help="as data, on stdout")
    command.add_argument(
        "--runner-up",
        action="store_true",
        help="also what the next smallest way to store each tensor would take (slow)",
    )
    _add_base(command)
    command.set_defaults(run=inspect)

    command = commands.add_parser(
        "verify", help="whether a .boil file holds a checkpoint, bit by bit; exits with 0 or 1"
    )
    command.add_argument("file", type=Path)
    command.add_argument("checkpoint", type=Path, help="of any kind that pack reads")
    _add_reading(command)
    _add_base(command)
    command.set_defaults(run=verify)


def _add_base(command: argparse.ArgumentParser) -> None:
    """What a file tells the differences to."""
    command.add_argument(
        "--base",
        type=Path,
        metavar="OLD",
        help="the model that this one was fine-tuned from, a checkpoint or a .boil file: the file "
        "holds the differences to it alone, and is read with it",
    )


def _add_reading(command: argparse.ArgumentParser) -> None:
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


def _add_bench(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
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
    _add_config(command, "config.yaml beside the file, if it is there")
    command.add_argument(
        "-o", "--out", type=Path, help="the picture, .png; default: bench.png beside the file"
    )
    command.add_argument(
        "--json", action="store_true", help="as data, on stdout; no picture without --out"
    )
    command.set_defaults(run=bench)


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


def _add_config(command: argparse.ArgumentParser, default: str) -> None:
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


def _add_places(command: argparse.ArgumentParser) -> None:
    _add_config(command, "config.yaml beside it")
    command.add_argument(
        "-o",
        "--out",
        type=Path,
        help="the picture, .png; the table (.csv) and the measurements (.jsonl), which are not "
        "made twice, lie beside it; default: sensitivity_TECHNIQUE.png in the run's directory",
    )
