"""`boildown report`."""

import argparse
from pathlib import Path

from boildown.commands.options import Commands

_MANY = 200  # results that take long enough for a bar


def add(commands: Commands) -> None:
    """Add the command to others."""
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
    command.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
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
