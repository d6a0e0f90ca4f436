"""Kill runs, go on with them, and compare the bytes with those of the run that nothing disturbed.

python benchmarks/kills.py [--kills 200] [--recipes deep lowrank_deep amp ddp]
python benchmarks/kills.py --disk [--sizes 24]

Kills are SIGKILLs of the process, or of it and all that it started, in turn: at random moments,
and at the very moment before or after a file of the run appears. `--disk` runs on tmpfs of many
sizes, each too small or just large enough, and goes on when there is room; it needs the right to
mount. The runs are of tiny nets and are forked from this process, which has done the imports.
"""

import argparse
import contextlib
import json
import os
import random
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the same bits, whatever else the machine does

import lightning.pytorch  # noqa: F401  # the forks have it
import matplotlib.pyplot  # noqa: F401

import boildown.run.job  # noqa: F401
from boildown.files import atomic
from boildown.run.sweep import duration

ROOT = Path(__file__).parents[1]
TINY = ("model=mlp", "model.width=16", "logger=none", "validations=10", "budget.epochs=8")
RECIPES = {
    "deep": ("+compression=deep", "compression.ratio=8"),
    "lowrank_deep": ("+compression=lowrank_deep", "compression.ratio=8"),
    "amp": ("+compression=deep", "compression.ratio=8", "trainer=amp", "budget.epochs=4"),
    "ddp": (
        "+compression=deep", "compression.ratio=8", "trainer.accelerator=cpu", "trainer.devices=2",
        "trainer.strategy=ddp",
    ),
}  # fmt: skip
LONGEST = 1800.0  # seconds a run may take, on a machine that does other work too
ROOM = 64 << 20  # bytes, more than any of the runs needs


def main() -> None:
    """Run the loops that the command line asks for, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=200, help="of all recipes together")
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--disk", action="store_true", help="full disks instead of kills")
    parser.add_argument("--sizes", type=int, default=24, help="of disks, for each recipe")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        base = Path(place)
        loop = full_disks(args, base) if args.disk else kills(args, base)
    print(loop)


def fork(directory: Path, recipe: str, *more: str, at: Callable[[], None] | None = None) -> int:
    """Start `python train.py` in a process and a process group of its own; returns its number.

    Args:
        directory: of the run.
        recipe: of RECIPES.
        more: arguments.
        at: called in that process before anything else.
    """
    sys.stdout.flush()
    process = os.fork()
    if process:
        return process
    code = 70
    try:
        os.setpgid(0, 0)
        log = os.open(log_of(directory), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.argv = [
            str(ROOT / "train.py"), *TINY, *RECIPES[recipe], f"hydra.run.dir={directory}", *more,
        ]  # fmt: skip
        if at is not None:
            at()
        code = 0
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as left:
        if isinstance(left.code, str):
            print(left.code)
        code = left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 70
    finally:
        sys.stdout.flush()
        os._exit(code)


def log_of(directory: Path) -> Path:
    """Where a run's output goes: not onto the disk that is full."""
    return Path(f"{directory.parent if directory.name == 'run' else directory}.log")


def ended(process: int) -> int:
    """The exit code of a run that is waited for; negative for a signal.

    Raises:
        TimeoutError: if it does not end.
    """
    limit = time.monotonic() + LONGEST
    while time.monotonic() < limit:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    kill(process, group=True)
    raise TimeoutError(f"a run took more than {LONGEST:.0f} s")


def kill(process: int, *, group: bool) -> None:
    """SIGKILL a process, or all of its group, and see it end."""
    with contextlib.suppress(ProcessLookupError):
        (os.killpg if group else os.kill)(process, signal.SIGKILL)
    os.waitpid(process, 0)


def counted(path: Path, fatal: int = -1, *, group: bool = False) -> Callable[[], None]:
    """Count in a file how often files appear, and die before or after one of them does.

    Args:
        path: of the file with the names.
        fatal: half an appearance: 2 k dies before the k-th, 2 k + 1 after it. -1: none.
        group: die with all processes of the group.
    """

    def patch() -> None:
        made, usual = 0, atomic.appear

        def die() -> None:
            (os.killpg if group else os.kill)(os.getpid(), signal.SIGKILL)

        def appear(part: Path, target: Path) -> None:
            nonlocal made
            if fatal == 2 * made:
                die()
            usual(part, target)
            with path.open("a") as file:
                file.write(f"{target.name}\n")
            if fatal == 2 * made + 1:
                die()
            made += 1

        atomic.appear = appear

    return patch


def undisturbed(base: Path, recipe: str) -> tuple[Path, float, list[str]]:
    """A run to compare with, the seconds that it took, and the files in the order they appeared."""
    directory, names = base / f"{recipe}-undisturbed", base / f"{recipe}-names"
    began = time.monotonic()
    code = ended(fork(directory, recipe, at=counted(names)))
    if code:
        sys.exit(f"the undisturbed run failed: {Path(f'{directory}.log').read_text()[-2000:]}")
    return directory, time.monotonic() - began, names.read_text().split()


def gone_on_with(directory: Path, recipe: str, whole: Path) -> str:
    """Resume a run; in a word, what came of it."""
    began = (directory / "newest.ckpt").exists()
    code = ended(fork(directory, recipe, "resume=true"))
    if code:
        *_, last = log_of(directory).read_text().strip().splitlines() or [""]
        print(f"\n{directory.name}: exit code {code}: {last[-300:]}")
        return "failed"
    parts = [path.name for path in directory.iterdir() if path.name.endswith(".part")]
    same = (directory / "model.boil").read_bytes() == (whole / "model.boil").read_bytes()
    now, then = (
        json.loads((run / "result.json").read_text())["compressed"] for run in (directory, whole)
    )
    if not same or now != then or parts or not (directory / "result.png").exists():
        print(f"\n{directory.name}: other bytes: {not same}, figures: {now != then}, left: {parts}")
        return "differs"
    return "went on, same bytes" if began else "began anew, same bytes"


def kills(args: argparse.Namespace, base: Path) -> str:
    """The table of a loop of kills."""
    draw, found = random.Random(args.seed), Counter[tuple[str, str, str]]()
    wholes = {recipe: undisturbed(base, recipe) for recipe in args.recipes}
    began = time.monotonic()
    try:
        for i in range(args.kills):
            one_kill(i, args.recipes, wholes, base, draw, found)
            show(i + 1, args.kills, began)
    except BaseException:  # what was found so far is not lost
        print(table(found), flush=True)
        raise
    return table(found)


def one_kill(
    i: int,
    recipes: list[str],
    wholes: dict[str, tuple[Path, float, list[str]]],
    base: Path,
    draw: random.Random,
    found: Counter[tuple[str, str, str]],
) -> None:
    """Kill a run, go on with it, and count how that ended."""
    recipe, turn = recipes[i % len(recipes)], i // len(recipes)
    whole, seconds, names = wholes[recipe]
    group = turn // 2 % 2 == 0
    directory = base / f"{recipe}-{i}"
    if turn % 2 == 0:
        moment = "random moment"
        process = fork(directory, recipe)
        time.sleep(draw.uniform(0, seconds))
        kill(process, group=group)
    else:
        moment = "a file's appearance"
        fatal = draw.randrange(2 * len(names))
        at = counted(base / "names", fatal, group=group)
        process = fork(directory, recipe, at=at)
        if ended(process) != -signal.SIGKILL:
            found[recipe, moment, "not killed"] += 1
    found[recipe, moment, gone_on_with(directory, recipe, whole)] += 1
    shutil.rmtree(directory, ignore_errors=True)


def full_disks(args: argparse.Namespace, base: Path) -> str:
    """The table of a loop of disks that are too small."""
    found = Counter[tuple[str, str, str]]()
    if not mounted(base / "try", 1 << 20):
        sys.exit("no right to mount a tmpfs: nothing done")
    subprocess.run(["umount", str(base / "try")], check=True)
    began = time.monotonic()
    for n, recipe in enumerate(args.recipes):
        whole, _, _ = undisturbed(base, recipe)
        needs = sum(path.stat().st_size for path in whole.rglob("*") if path.is_file())
        for i in range(args.sizes):
            size = int(4096 * 4 * (1.5 * needs / (4096 * 4)) ** (i / max(args.sizes - 1, 1)))
            disk = base / f"{recipe}-{size}"
            mounted(disk, size)
            try:
                code = ended(fork(disk / "run", recipe))
                word = "fitted" if code == 0 else one_line_of(disk, code)
                mounted(disk, ROOM, again=True)
                if (disk / "run" / "error.json").exists():
                    json.loads((disk / "run" / "error.json").read_text())
                found[recipe, word, gone_on_with(disk / "run", recipe, whole)] += 1
            finally:
                subprocess.run(["umount", str(disk)], check=False)
            show(n * args.sizes + i + 1, len(args.recipes) * args.sizes, began)
    return table(found)


def one_line_of(disk: Path, code: int) -> str:
    """How a run on a full disk ended, by its log."""
    log = log_of(disk / "run").read_text(errors="replace")
    return "traceback" if "Traceback" in log else f"one line, exit code {code}"


def mounted(place: Path, size: int, *, again: bool = False) -> bool:
    """Mount a tmpfs, or give one another size; whether that may be done."""
    place.mkdir(exist_ok=True)
    options = f"remount,size={size}" if again else f"size={size}"
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def show(done: int, of: int, began: float) -> None:
    """How far it is, on one line."""
    left = (time.monotonic() - began) / done * (of - done)
    print(f"\r{done} of {of}, about {duration(left)} left   ", end="", flush=True)


def table(found: Counter[tuple[str, str, str]]) -> str:
    """Counts, as a table."""
    rows = [f"| {' | '.join(key)} | {count} |" for key, count in sorted(found.items())]
    return "\n".join(["\n", "| recipe | when | then | count |", "|---|---|---|---|", *rows])


if __name__ == "__main__":
    main()
