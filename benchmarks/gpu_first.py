"""What needs a CUDA device, in one command of some minutes: execution first, then criteria.

python benchmarks/gpu_first.py --data DIR --out DIR [--seconds 345]

DIR of --data holds mnist/ and cifar10-images.tar.gz, and in site/ packages that the machine lacks.
What fails in one part leaves the other to run. --out gets few and small files, renewed every few
seconds, so that a run which is cut off leaves what it had: execution_cuda.json, logs,
results.tar.gz with a file for each job of criteria.py, and the dense networks; unpacked into one
directory they are what --out of criteria.py goes on from.
"""

import argparse
import os
import subprocess
import sys
import tarfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
EXECUTION = 40.0  # seconds at most
EVERY = 12.0  # seconds, after which what there is is packed
PACKED = {"results": "*.json", "resnet20": "resnet20-*.pt", "lenets": "lenet*.pt"}


def begun(
    script: str, arguments: Sequence[object], data: Path, log: Path
) -> subprocess.Popen[bytes]:
    """A script that runs in a process of its own, with its output in a file."""
    places = [os.environ.get("PYTHONPATH"), str(HERE.parent / "src"), str(data / "site")]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, places)),
        "OMP_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
    }
    command = [sys.executable, str(HERE / script), *map(str, arguments)]
    with log.open("ab") as file:
        return subprocess.Popen(
            command, env=environment, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )


def ended(process: subprocess.Popen[bytes], until: float, work: Path, out: Path) -> None:
    """Wait for a process, or end it when its time is over; keep what there is meanwhile."""
    due = time.monotonic() + EVERY
    while process.poll() is None and time.monotonic() < until:
        time.sleep(0.5)
        if time.monotonic() >= due:
            pack(work, out)
            due = time.monotonic() + EVERY
    if process.poll() is None:
        print(f"{process.args[1]} is ended", flush=True)  # type: ignore[index]
        os.killpg(process.pid, 9)
    process.wait()


def pack(work: Path, out: Path) -> None:
    """Put what the jobs have left into few files."""
    for name, pattern in PACKED.items():
        files, whole = sorted(work.glob(pattern)), out / f"{name}.tar.gz"
        newest = max((file.stat().st_mtime for file in files), default=0.0)
        if not files or (whole.exists() and whole.stat().st_mtime >= newest):
            continue
        part = work / f"{name}.packing"
        with tarfile.open(part, "w:gz", compresslevel=1) as tar:
            for file in files:
                tar.add(file, file.name)
        whole.write_bytes(part.read_bytes())


def tail(log: Path, lines: int) -> None:
    print(f"--- {log.name}", *log.read_text(errors="replace").splitlines()[-lines:], sep="\n")


def main() -> None:
    """Run both parts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("outputs/gpu_first"))
    parser.add_argument("--seconds", type=float, default=345.0, help="for all")
    parser.add_argument("--jobs", type=int, default=15)
    parser.add_argument("--sharing", type=int, default=9, help="of the jobs on the device")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--skip-execution", action="store_true")
    parser.add_argument("more", nargs="*", help="further arguments of criteria.py, after --")
    given = parser.parse_args()
    began = time.monotonic()
    for place in (given.out, given.work):
        place.mkdir(parents=True, exist_ok=True)
    logs = given.out / "criteria.log"
    data = ["--root", given.data / "mnist", "--cifar", given.data / "cifar10-images.tar.gz"]
    common = [*data, "--out", given.work]
    preparing = begun("criteria.py", [*common, "--prepare"], given.data, logs)
    if not given.skip_execution:
        try:
            log = given.out / "execution.log"
            where = ["--out", given.out / "execution_cuda.json"]
            timing = begun("execution_cuda.py", where, given.data, log)
            ended(timing, began + EXECUTION, given.work, given.out)
            tail(log, 40)
        except Exception:
            traceback.print_exc()
    print(f"{time.monotonic() - began:.0f} s: execution", flush=True)
    try:
        ended(preparing, began + EXECUTION + 30.0, given.work, given.out)
        print(f"{time.monotonic() - began:.0f} s: prepared", flush=True)
        minutes = (began + given.seconds - 8.0 - time.monotonic()) / 60.0
        how = ["--device", given.device, "--jobs", given.jobs, "--sharing", given.sharing]
        more = [*common, *how, "--minutes", minutes, *given.more]
        jobs = begun("criteria.py", more, given.data, logs)
        ended(jobs, began + given.seconds, given.work, given.out)
        tail(logs, 25)
    except Exception:
        traceback.print_exc()
    pack(given.work, given.out)
    print(f"{time.monotonic() - began:.0f} s: all", flush=True)


if __name__ == "__main__":
    main()
