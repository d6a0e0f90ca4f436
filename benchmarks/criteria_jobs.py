"""One job of the comparison of criteria: train, prune, measure, and keep the figures in a file."""

import functools
import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from bare_trainer import bare_trainer
from bits_jobs import quantize_of
from criteria_data import Data, cifar, error, mnist
from lightning.pytorch import Callback, seed_everything
from lightning.pytorch.plugins.environments import LightningEnvironment
from torch import Tensor, nn
from torch.nn import functional as F

from boildown import codec
from boildown.calibrate.evidence import Evidence
from boildown.calibrate.grams import input_moments
from boildown.calibrate.moments import damped_second
from boildown.callbacks.budget import ComputeBudget
from boildown.callbacks.learning_rate import ScheduleLearningRate
from boildown.callbacks.prune import Prune
from boildown.flops import layer_positions
from boildown.models.lenet import LeNet5, LeNet300
from boildown.models.resnet import ResNet
from boildown.prune import criteria, reconstruct
from boildown.prune.layers import chooser, refit_
from boildown.prune.masks import global_masks
from boildown.prune.reconstruct import Choose, Method, Solution
from boildown.quantize.activations import KEY, attach_all, input_grids
from boildown.schedule import Cosine
from boildown.tasks.classification import Classification

METHODS = {name: reconstruct.METHODS[name] for name in ("sparsegpt", "alps")}
SPARSITIES = (0.5, 0.8, 0.9, 0.95, 0.98)
AT_ONCE = ("magnitude", "lamp", "random", "taylor", "obd", "obs", "wanda", *METHODS)
GRADUALLY = (*AT_ONCE[:-2], "movement", *METHODS)
SAMPLES, CALIBRATED = 512, 128  # images that evidence is taken from, and of a batch of them
CUTS = 10
ERRORS_AT = 0.9


class Job(NamedTuple):
    """What is measured; `how` is dense, errors, once or gradual."""

    net: str
    seed: int
    how: str
    criterion: str = "none"
    sparsity: float = 0.0

    @property
    def name(self) -> str:
        return f"{self.net}-{self.seed}-{self.how}-{self.criterion}-{self.sparsity:g}"


@dataclass(frozen=True)
class Kind:
    """A network, and how it is trained."""

    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    batch: int
    epochs: int  # of the dense training
    more: int  # of the fine-tuning
    longer: int  # of that on grids
    dense: Callable[[Any], torch.optim.Optimizer]
    fine: Callable[[Any], torch.optim.Optimizer]
    precision: Any = "32-true"
    warmup: float = 0.0


Adam = torch.optim.Adam
SGD = partial(torch.optim.SGD, momentum=0.9, nesterov=True, weight_decay=5e-4)
GREY, COLOURED = (1, 28, 28), (3, 32, 32)
NETS = {
    "lenet300": Kind(
        *(partial(LeNet300, GREY, 10), GREY, 128, 5, 3, 5),
        *(partial(Adam, lr=2e-3), partial(Adam, lr=1e-3)),
    ),
    "lenet5": Kind(
        *(partial(LeNet5, GREY, 10), GREY, 128, 5, 3, 5),
        *(partial(Adam, lr=1e-3), partial(Adam, lr=5e-4)),
    ),
    "resnet20": Kind(
        *(partial(ResNet, COLOURED, 10, 16, 20), COLOURED, 512, 30, 6, 10),
        *(partial(SGD, lr=0.4), partial(SGD, lr=0.1)),
        *("bf16-mixed", 0.15),
    ),
}


@dataclass(frozen=True)
class Settings:
    """Where everything lies; `smoke` is a trial with a few images and one epoch."""

    root: str
    out: Path
    smoke: bool = False

    @property
    def decoded(self) -> Path:
        return self.out / "cifar.pt"

    def file(self, job: Job) -> Path:
        return self.out / f"{job.name}.json"

    def dense(self, job: Job) -> Path:
        """The dense network that a job begins with."""
        return self.out / f"{job.net}-{job.seed}.pt"

    def epochs(self, job: Job) -> int:
        kind = NETS[job.net]
        more = kind.longer if job.how == "bits" else kind.more
        return 1 if self.smoke else kind.epochs if job.how == "dense" else more


def run(job: Job, settings: Settings, device: str) -> None:
    """Measure a job and write what was found."""
    began, data = time.perf_counter(), data_of(job.net, settings, device)
    if job.how == "dense":
        seed_everything(job.seed, verbose=False)
        net = placed(NETS[job.net].build(), job, device)
        trained(net, data, job, settings, device)
        if not all(torch.isfinite(p).all() for p in net.parameters()):
            raise RuntimeError(f"{job.name} has diverged")
        part = settings.dense(job).with_suffix(".part")
        torch.save({n: t.cpu().contiguous() for n, t in net.state_dict().items()}, part)
        part.replace(settings.dense(job))
    else:
        net = NETS[job.net].build()
        net.load_state_dict(torch.load(settings.dense(job), weights_only=True))
        net = placed(net, job, device)
    found: dict[str, Any] = {}
    if job.how == "errors":
        found = {"layers": layer_errors(net, data, device)}
    else:
        if job.how == "once":
            at_once(net, data, job, device)
        elif job.how == "gradual":
            gradually(net, data, job, settings, device)
        elif job.how == "bits":
            on_grids(net, data, job, settings, device)
        found = judged(net, data, job, settings.out, device)
    where = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    found |= {**job._asdict(), "epochs": settings.epochs(job), "device": where}
    found["seconds"] = round(time.perf_counter() - began, 2)
    part = settings.file(job).with_suffix(f".{os.getpid()}")
    part.write_text(json.dumps(found))
    part.replace(settings.file(job))


@cache
def data_of(net: str, settings: Settings, device: str) -> Data:
    most = 512 if settings.smoke else None
    if NETS[net].shape == COLOURED:
        return cifar(settings.decoded, device, most)
    return mnist(settings.root, device, most)


def placed(net: nn.Module, job: Job, device: str) -> nn.Module:
    """On the device, those of coloured images in the order that is fastest there."""
    coloured = NETS[job.net].shape == COLOURED
    order = torch.channels_last if coloured else torch.preserve_format
    return net.to(device=device, memory_format=order).eval()


def trained(
    net: nn.Module, data: Data, job: Job, settings: Settings, device: str, *extra: Callback
) -> None:
    """Train in place, by a cosine over the whole training."""
    kind = NETS[job.net]
    seed_everything(job.seed, verbose=False)
    rates = kind.dense if job.how == "dense" else kind.fine
    task = Classification(net, optimizer=rates, num_classes=10)
    peaks = {"train": 0.1 if settings.smoke else 1.0}  # a trial has no time to warm up
    schedule = ScheduleLearningRate(shape=Cosine(warmup=kind.warmup), peaks=peaks)
    trainer = bare_trainer(
        [ComputeBudget(epochs=settings.epochs(job)), schedule, *extra],
        accelerator=device,
        devices=1,
        plugins=[LightningEnvironment()],  # each process is alone, whatever else is installed
        precision=kind.precision,
    )
    batch = min(kind.batch, len(data.train[1]) // 4)
    task.train()  # a fit leaves modes as they are, and in evaluation batch-norms learn nothing
    trainer.fit(task, data.loader(batch, job.seed))
    placed(net, job, device)  # a fit leaves it on the CPU


def judge_of(job: Job) -> criteria.Criterion:
    """The criterion that says how many of each tensor, and mostly which, are cut."""
    if job.criterion == "random":
        return partial(criteria.random, seed=job.seed)
    judge: criteria.Criterion = getattr(
        criteria, "lamp" if job.criterion in METHODS else job.criterion
    )
    return judge


def at_once(net: nn.Module, data: Data, job: Job, device: str) -> None:
    """Cut in place, without training."""
    weights = {n: p for n, p in net.named_parameters() if p.ndim > 1}
    calibration = data.calibration(SAMPLES, CALIBRATED)

    def loss(batch: Any) -> Tensor:
        return F.cross_entropy(net(batch[0]), batch[1])

    evidence = Evidence(net, weights, lambda: calibration, loss)
    masks = global_masks(criteria.scored(judge_of(job), weights, evidence), job.sparsity)
    if job.criterion in METHODS:
        choose = {n: chooser(1.0 - int(m.sum()) / m.numel()) for n, m in masks.items()}
        refit_(net, evidence, choose, masks, solver(job.criterion, device))
    else:
        with torch.no_grad():
            for weight, mask in zip(weights.values(), masks.values(), strict=True):
                weight.mul_(mask)


def gradually(net: nn.Module, data: Data, job: Job, settings: Settings, device: str) -> None:
    """Cut in place over the first 70 % of a fine-tuning, cubic."""
    calibration = data.calibration(SAMPLES, CALIBRATED)
    prune = Prune(
        sparsity=job.sparsity,
        criterion=judge_of(job),
        reconstruct=solver(job.criterion, device) if job.criterion in METHODS else None,
        calibration=lambda: calibration,
        samples=SAMPLES,
        begin=0.0,
        end=0.7,
        cuts=CUTS,
    )
    trained(net, data, job, settings, device, prune)
    where = {mask.device.type for mask in prune.masks.values()}
    if where != {device} or abs(prune.sparsity - job.sparsity) > 1e-4:
        raise RuntimeError(f"{job.name}: masks on {where}, sparsity {prune.sparsity:.5f}")


def on_grids(net: nn.Module, data: Data, job: Job, settings: Settings, device: str) -> None:
    """Fine-tune in place on the grids that the job's criterion names."""
    calibration = data.calibration(SAMPLES, CALIBRATED)
    quantize = quantize_of(job.net, job.criterion, lambda: calibration, SAMPLES)
    trained(net, data, job, settings, device, quantize)
    if not quantize.reached:
        raise RuntimeError(f"{job.name}: not on its grids")


def solver(name: str, device: str) -> Method:
    """A method that solves on the CPU, whatever device the layer is on.

    Its steps are many and small: on an accelerator that others share each would wait for its turn.
    """
    method = METHODS[name]
    if device == "cpu":
        return method

    @functools.wraps(method)
    def solved(weight: Tensor, second: Tensor, choose: Choose) -> Solution:
        stay = choose(weight.abs())
        own = chooser(1.0 - int(stay.sum()) / stay.numel(), alive=(weight != 0.0).cpu())
        made = method(weight.cpu(), second.cpu(), own)
        return Solution(made.weight.to(device), made.mask.to(device), made.flops)

    return solved


def through_file(net: nn.Module, job: Job, out: Path) -> tuple[nn.Module, int | None]:
    """The network as it is read back from its file, and the bytes of that.

    Where dahuffman is not installed there are no files: the network itself, and None.
    """
    if find_spec("dahuffman") is None:
        return net, None
    state = {n: t.detach().cpu().contiguous() for n, t in net.state_dict().items()}
    with tempfile.TemporaryDirectory(dir=out) as folder:
        path = Path(folder) / "model.boil"
        held = {"structure": input_grids(net)} if input_grids(net) else None
        size = codec.pack(state, path, config=held, zero_signs=False)
        again = NETS[job.net].build()
        again.load_state_dict(codec.unpack(path))
    return again, size


def judged(net: nn.Module, data: Data, job: Job, out: Path, device: str) -> dict[str, Any]:
    """Errors in %, of the network in its file; bytes; and what it would cost were zeros free."""
    again, size = through_file(net, job, out)
    for name, grid in input_grids(net).items():  # which the file holds beside its tensors
        attach_all(again, {name: grid[KEY]})
    again = placed(again, job, device)
    shape = NETS[job.net].shape
    places = layer_positions(again, torch.empty(1, *shape, device=device))
    weights = {n: again.get_parameter(f"{n}.weight") for n in places}
    left = {n: int(weight.count_nonzero()) for n, weight in weights.items()}
    cost = sum(places[n] * left[n] for n in places)
    return {
        "val": error(again, data.val),
        "test": error(again, data.test),
        "bytes": size,
        "dense_bytes": sum(tensor.nbytes for tensor in again.state_dict().values()),
        "weights": sum(weight.numel() for weight in weights.values()),
        "nonzero": sum(left.values()),
        "dense_flops": 2 * sum(places[n] * weights[n].numel() for n in places),
        "flops": 2 * cost,
    }


def layer_errors(net: nn.Module, data: Data, device: str) -> dict[str, dict[str, float]]:
    """Method -> layer -> tr(E H E^T) / tr(W H W^T), E what was lost of W, each layer cut alone."""
    inputs = torch.cat([batch for batch, _ in data.calibration(SAMPLES, CALIBRATED)])
    found: dict[str, dict[str, float]] = {}
    for path, module in net.named_modules():
        if not isinstance(module, nn.Linear | nn.Conv2d):
            continue
        moments = input_moments(net, inputs, path)[0]
        true, second = moments.second(), damped_second(moments, 0.01, centred=False)
        weight, choose = module.weight.detach().flatten(1).double(), chooser(ERRORS_AT)
        made = {
            "magnitude": weight * choose(weight.abs()),
            "wanda": weight * choose(weight.abs() * true.diagonal().sqrt()),
            **{m: solver(m, device)(weight, second, choose).weight for m in METHODS},
        }
        whole = float(((weight @ true) * weight).sum())
        for name, each in made.items():
            lost = weight - each
            share = float(((lost @ true) * lost).sum()) / whole
            found.setdefault(name, {})[path] = share
    return found
