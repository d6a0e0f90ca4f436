"""Damaged files with right checksums: each must be read or refused, soon and in little memory.

    python benchmarks/fuzz_codec.py --count 100000 --seed 0 --out FOLDER
    python benchmarks/fuzz_codec.py --count 10000 --seed 1 --bounds --out FOLDER

Good files of both versions, all dtypes and all coders (`fuzz_corpus.py`) are damaged in their
payloads, in their index or anywhere (`fuzz_mutate.py`), and their checksums made right again, so
that the decoders within are reached. Artifact number n of a seed is always the same. For each, a
worker process decodes; what counts as a finding, and is kept in FOLDER:

    crash       the process died, or was still at it after 30 s
    error       something other than CodecError was raised
    slow        more than 2 s of processor time, and 1 s for each 256 MiB promised, twice
    memory      more than 64 MiB beyond the bytes that the index promises, twice; and 16 MiB for
                what threads and the allocator hold, as what is resident is measured
    unsteady    the same file decoded differently the second time
    large       a state beyond what a file of this size may promise

`--bounds` has numba check every index, in a cache of its own. Linux only: peaks are the kernel's.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from fuzz_mutate import mutant
from fuzz_parts import Parts, take_apart

from boildown.files.progress import progress

HANG, STEP = 30.0, 0.5  # seconds until a worker is given up, and between looks at it
WARMING = -1
KEPT = 20  # files of a kind of finding; all are counted


def artifact(corpus: list[Parts], seed: int, number: int) -> tuple[bytes, Parts | None, str]:
    """Damaged file `number` of a seed."""
    return mutant(random.Random(f"{seed}/{number}"), corpus)


def load_corpus(folder: Path) -> list[Parts]:
    """The good files, taken apart."""
    return [take_apart(path.read_bytes()) for path in sorted(folder.glob("*.good"))]


@dataclass
class Worker:
    """A process that decodes artifacts, and the file in which it says at which one it is."""

    process: subprocess.Popen[bytes]
    status: Path
    at: int = WARMING
    since: float = field(default_factory=time.monotonic)

    def look(self) -> int:
        """The number it is at."""
        text = self.status.read_text().split()
        if text and int(text[0]) != self.at:
            self.at, self.since = int(text[0]), time.monotonic()
        return self.at

    def stuck(self) -> bool:
        """Whether it has been at one artifact for too long; the first takes compilation."""
        return self.at != WARMING and time.monotonic() - self.since > HANG


@dataclass
class Run:
    """What is asked, and what has come of it.

    Attributes:
        count: artifacts.
        seed: of all of them.
        out: where findings go.
        bounds: whether numba checks indices.
        counts: outcomes, by name.
        findings: number, kind and what was seen.
    """

    count: int
    seed: int
    out: Path
    bounds: bool
    counts: Counter[str] = field(default_factory=Counter)
    findings: list[dict[str, object]] = field(default_factory=list)

    def start(self, first: int, folder: Path) -> Worker:
        """A worker for the artifacts from `first` on."""
        environment = dict(os.environ) | {"MALLOC_MMAP_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"}
        if self.bounds:
            cache = folder / "numba"
            environment |= {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(cache)}
        status = folder / "status"
        status.write_text(str(WARMING))
        worker = Path(__file__).with_name("fuzz_worker.py")
        command = [sys.executable, str(worker), str(folder), str(self.seed), str(first)]
        command.append(str(self.count))
        with (folder / "found").open("ab") as found:
            process = subprocess.Popen(command, env=environment, stdout=found)
        return Worker(process, status)

    def keep(self, corpus: list[Parts], number: int, kind: str, seen: str) -> None:
        """A finding, with its artifact."""
        data, _, how = artifact(corpus, self.seed, number)
        path = self.out / f"{kind}-{self.seed}-{number}.boil"
        if sum(finding["kind"] == kind for finding in self.findings) < KEPT:
            path.write_bytes(data)
            print(f"{kind}: {path}: {how}: {seen[:200]}", file=sys.stderr, flush=True)
        found = {"seed": self.seed, "number": number, "kind": kind, "seen": seen, "damage": how}
        self.findings.append(found)

    def collect(self, corpus: list[Parts], folder: Path, read: int) -> int:
        """Take in what workers have written since; returns up to where it has been read."""
        with (folder / "found").open("rb") as file:
            file.seek(read)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                read += len(line)
                said = json.loads(line)
                self.counts.update(said.get("counts", {}))
                if "kind" in said:
                    self.keep(corpus, said["number"], said["kind"], said["seen"])
        return read

    def all(self, folder: Path) -> None:
        """Go through all artifacts, with a new worker after each crash."""
        corpus, first, read = load_corpus(folder), 0, 0
        (folder / "found").touch()
        with progress("files", self.count, in_bytes=False) as advance:
            done = 0
            while first < self.count:
                worker = self.start(first, folder)
                while worker.process.poll() is None and not worker.stuck():
                    time.sleep(STEP)
                    at = worker.look()
                    advance(max(at - done, 0))
                    done = max(at, done)
                    read = self.collect(corpus, folder, read)
                code = worker.process.poll()
                if code is None:
                    worker.process.kill()
                    worker.process.wait()
                read = self.collect(corpus, folder, read)
                at = worker.look()
                if code == 0:
                    break
                if at == WARMING:
                    raise SystemExit(f"the worker ended with {code} before its first artifact")
                self.keep(corpus, at, "crash", f"the worker ended with {code}")
                first = at + 1


def make_corpus(folder: Path) -> int:
    """Write the good files."""
    from fuzz_corpus import artifacts

    names = []
    for number, (name, data) in enumerate(artifacts()):
        (folder / f"{number:05}.good").write_bytes(data)
        names.append(name)
    return len(names)


def report(run: Run, seconds: float, good: int) -> str:
    """Counts and findings as text."""
    lines = [f"seed {run.seed}, {run.counts['artifacts']:,} artifacts from {good} good files"]
    lines[0] += f", {seconds:.0f} s{', indices checked' if run.bounds else ''}"
    lines += [f"{kind}: {run.counts[kind]:,}" for kind in ("read", "refused")]
    lines.append(f"findings: {len(run.findings)} {dict(Counter(f['kind'] for f in run.findings))}")
    worst = {k: v for k, v in run.counts.items() if k.startswith("most ")}
    lines += [f"{name}: {value:,}" for name, value in worst.items()]
    for head in ("damage", "reason"):
        told = Counter({k: v for k, v in run.counts.items() if k.startswith(head)})
        lines += [f"  {value:>8,}  {name}" for name, value in told.most_common(60)]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Make the good files, go through the damaged ones, and say what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("fuzz"))
    parser.add_argument("--bounds", action="store_true", help="have numba check every index")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    run = Run(arguments.count, arguments.seed, arguments.out, arguments.bounds)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        good = make_corpus(folder)
        begun = time.monotonic()
        try:
            run.all(folder)
        finally:
            told = report(run, time.monotonic() - begun, good)
            (arguments.out / f"report-{arguments.seed}.txt").write_text(told)
            kept = json.dumps(run.findings, indent=1)
            (arguments.out / f"findings-{arguments.seed}.json").write_text(kept)
    print(told)
    sys.exit(bool(run.findings))


if __name__ == "__main__":
    main()
