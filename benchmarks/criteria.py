"""Which criterion, at which sparsity: two LeNets on MNIST and ResNet-20 on CIFAR-10.

python benchmarks/criteria.py --root MNIST --cifar cifar10-images.tar.gz --out DIR --jobs 15
python benchmarks/criteria.py --out DIR --tables           # what was measured, in Markdown and PNGs

Magnitude, LAMP, Taylor, OBD, OBS, Wanda, movement, SparseGPT and ALPS, and chance as the control,
at 50 to 98 % zeros, three seeds each: cut at once without training, and gradually, cubic over the
first 70 % of a fine-tuning, in 10 cuts. All tensors are ranked together; SparseGPT and ALPS cut as
many of each as LAMP. Errors are of the network read back from its .boil file; the theoretical
speed-up is dense FLOPs over those of the nonzero weights, layer by layer. Each job leaves a file in
--out and is not run again, so a run may be ended at any time and go on later. With --device cuda,
--sharing workers share it for ResNet-20; the others do the LeNets on CPUs.
"""

import argparse
import logging
import multiprocessing
import os
import time
import traceback
import warnings
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

import torch
from criteria_data import decode
from criteria_jobs import AT_ONCE, GRADUALLY, NETS, Job, Settings, run, through_file

SEEDS = (0, 1, 2)
FIRST = ("magnitude", "random", "wanda", "sparsegpt", "alps", "lamp")  # what is wanted most
BITS = ("w4a4", "w3a3", "ternary", "w3mixed", "w3all", "w4", "w2", "w3prox")
FEW_BITS = 5  # of these, wanted first
ON_DEVICE = "resnet20"
HOPELESS = 3  # jobs of the device that failed before any other was done
CRASHES = 5  # of workers, after which no new one is started


def plan(nets: list[str], seeds: list[int]) -> list[Job]:
    """All jobs, those first whose figures are wanted most."""
    jobs = []
    for net in nets:
        rest = tuple(name for name in GRADUALLY if name not in FIRST)
        most, others = (0.9, 0.98), (0.95, 0.8, 0.5)
        jobs += [Job(net, seed, "dense") for seed in seeds]
        jobs += [Job(net, seed, "errors") for seed in seeds]
        jobs += _all(net, seeds, "once", AT_ONCE, (*most, *others))
        jobs += [Job(net, seed, "bits", name) for name in BITS[:FEW_BITS] for seed in seeds]
        jobs += _all(net, seeds, "gradual", (*FIRST, *rest), most)
        jobs += [Job(net, seed, "bits", name) for name in BITS[FEW_BITS:] for seed in seeds]
        jobs += _all(net, seeds, "gradual", (*FIRST, *rest), others)
    return jobs


def _all(
    net: str, seeds: list[int], how: str, names: tuple[str, ...], sparsities: tuple[float, ...]
) -> list[Job]:
    return [
        Job(net, seed, how, name, sparsity)
        for sparsity in sparsities
        for name in names
        for seed in seeds
    ]


def work(pipe: Connection, settings: Settings, device: str) -> None:
    """Do the jobs that come through a pipe, each with the device it is to be on."""
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    torch.set_num_threads(1)
    for name in ("lightning.pytorch", "lightning.fabric", "lightning"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    while True:
        try:
            job, where = pipe.recv()
        except EOFError:
            return
        try:
            run(job, settings, where)
            pipe.send("")
        except Exception:
            pipe.send(traceback.format_exc())


class Workers:
    """Processes that share the jobs.

    Args:
        settings: of the jobs.
        device: of ResNet-20's.
        count: of processes.
        sharing: of these that may use the device.
    """

    def __init__(self, settings: Settings, device: str, count: int, sharing: int) -> None:
        self.settings, self.device = settings, device
        self.context = multiprocessing.get_context("spawn")
        self.idle: list[Connection] = []
        self.busy: dict[Connection, Job] = {}
        self.places: dict[Connection, str] = {}
        self.processes: dict[Connection, SpawnProcess] = {}
        self.crashes = self.done = self.failed = 0
        self.on_device = [0, 0]  # of the device's jobs after the dense ones: done, failed
        for i in range(count):
            self._start(device if i < sharing else "cpu")

    def _start(self, place: str) -> None:
        own, theirs = self.context.Pipe()
        process = self.context.Process(
            target=work, args=(theirs, self.settings, place), daemon=True
        )
        process.start()
        theirs.close()
        self.idle.append(own)
        self.places[own], self.processes[own] = place, process

    def share(self, waiting: list[Job], until: float) -> None:
        """Do the jobs, in their order where they can be, as long as time lasts."""
        while (waiting or self.busy) and time.monotonic() < until:
            there = set(self.settings.out.glob("*.pt"))
            for pipe in list(self.idle):
                job = self._next(waiting, self.places[pipe], there)
                if job is not None:
                    waiting.remove(job)
                    self.idle.remove(pipe)
                    where = self.places[pipe] if job.net == ON_DEVICE else "cpu"
                    pipe.send((job, where))
                    self.busy[pipe] = job
            if self._is_hopeless():
                print("nothing works on the device", flush=True)
                break
            if not self.busy:
                break  # what is left waits for a dense network that could not be trained
            for pipe in wait(list(self.busy), timeout=0.5):
                assert isinstance(pipe, Connection)
                self._hear(pipe)
        print(f"{self.done} done, {self.failed} failed, {len(waiting)} not begun", flush=True)

    def _next(self, waiting: list[Job], place: str, there: set[Path]) -> Job | None:
        """What a worker can do now: one with a device prefers what is meant for it."""
        ready = [
            job
            for job in waiting
            if (job.how == "dense" or self.settings.dense(job) in there)
            and (job.net != ON_DEVICE or place == self.device)
            and (job.net != ON_DEVICE or self.settings.decoded in there)
        ]
        return min(ready, key=lambda job: job.net != ON_DEVICE, default=None)

    def _hear(self, pipe: Connection) -> None:
        job = self.busy.pop(pipe)
        try:
            error = pipe.recv()
            self.idle.append(pipe)
        except (EOFError, OSError):
            self.processes[pipe].join()
            error = f"its process ended with {self.processes[pipe].exitcode}"
            self.crashes += 1
            if self.crashes <= CRASHES:
                self._start(self.places[pipe])
        if job.net == ON_DEVICE and (job.how != "dense" or error):
            self.on_device[bool(error)] += 1
        if error:
            self.failed += 1
            print(f"{job.name} FAILED: {error}", flush=True)
            with (self.settings.out / "failures.log").open("a") as log:
                log.write(f"{job.name}\n{error}\n")
        else:
            self.done += 1
            print(f"{time.strftime('%H:%M:%S')} {job.name}", flush=True)

    def _is_hopeless(self) -> bool:
        """Whether a device that is lent by the minute is of no use."""
        done, failed = self.on_device
        return self.device != "cpu" and not done and failed >= HOPELESS

    def end(self) -> None:
        for process in self.processes.values():
            process.kill()
        for process in self.processes.values():
            process.join()


def sparse(net: torch.nn.Module) -> torch.nn.Module:
    """The network with nine of ten weights zero."""
    with torch.no_grad():
        for weight in net.parameters():
            weight.mul_(torch.rand_like(weight) > 0.9)
    return net


def main() -> None:
    """Measure, or show what was measured."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", help="the directory with MNIST's files")
    parser.add_argument("--cifar", type=Path, help="CIFAR-10 as JPEG files in a tar")
    parser.add_argument("--out", type=Path, default=Path("outputs/criteria"))
    parser.add_argument("--nets", nargs="+", choices=list(NETS), default=[*reversed(NETS)])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--sharing", type=int, default=7, help="of these on the device")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--minutes", type=float, default=1e6, help="after which all is ended")
    parser.add_argument("--smoke", action="store_true", help="512 images, one epoch")
    parser.add_argument("--only", nargs="+", default=[""], help="parts of the names of jobs")
    parser.add_argument("--prepare", action="store_true", help="read the images, and no more")
    parser.add_argument("--tables", action="store_true", help="show what was measured")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    if given.tables:
        from criteria_tables import show  # draws, which no worker does

        show(given.out)
        return
    until = time.monotonic() + 60.0 * given.minutes
    os.environ["OMP_NUM_THREADS"] = "1"
    settings = Settings(given.root, given.out, given.smoke)
    if given.cifar is not None and not settings.decoded.exists():
        decode(given.cifar, settings.decoded)
    if given.prepare:
        for net, kind in NETS.items():  # loops are compiled now, and not by each worker
            through_file(kind.build(), Job(net, 0, "dense"), given.out)
            through_file(sparse(kind.build()), Job(net, 0, "once"), given.out)
        return
    jobs = [job for job in plan(given.nets, given.seeds) if not settings.file(job).exists()]
    jobs = [job for job in jobs if any(part in job.name for part in given.only)]
    print(f"{len(jobs)} jobs", flush=True)
    workers = Workers(settings, given.device, given.jobs, given.sharing)
    try:
        workers.share(jobs, until)
    finally:
        workers.end()


if __name__ == "__main__":
    main()
