"""Which criterion, at which sparsity: LeNet-300-100 on MNIST, random as the control.

python benchmarks/criteria.py --root DIR [--epochs 3] [--seeds 0 1 2] [--out DIR]

Prints, in Markdown: the relative error of each layer's outputs where 90 % of it is cut at once and
nothing is trained; test errors (means over the seeds) of cuts at once without training, all
tensors ranked together; and of gradual cuts, cubic over the first 70 % of a fine-tuning. SparseGPT
and ALPS cut as many of each tensor as LAMP. The theoretical speed-up of a linear network is one
over the fraction kept. What has been measured is kept in --out and not repeated.
"""

import argparse
import copy
import json
import logging
import statistics
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from torch import Tensor, nn
from torch.nn import functional as F

from boildown.calibrate.evidence import Evidence
from boildown.calibrate.grams import input_moments
from boildown.calibrate.moments import damped_second
from boildown.callbacks.budget import ComputeBudget
from boildown.callbacks.learning_rate import ScheduleLearningRate
from boildown.callbacks.prune import Prune
from boildown.data.loader import TensorLoader
from boildown.data.mnist import MNIST
from boildown.models.lenet import LeNet300
from boildown.prune import criteria
from boildown.prune.layers import chooser, refit_
from boildown.prune.masks import global_masks
from boildown.prune.reconstruct import METHODS
from boildown.schedule import Cosine
from boildown.tasks.classification import Classification

SPARSITIES = (0.5, 0.8, 0.9, 0.95, 0.98)
AT_ONCE = ("magnitude", "lamp", "random", "taylor", "obd", "obs", "wanda")
GRADUALLY = (*AT_ONCE, "movement")
FITTED = ("sparsegpt", "alps")
BATCH, SAMPLES = 128, 1024


class Data:
    """MNIST in memory: the last 5,000 training images are not trained on."""

    def __init__(self, root: str) -> None:
        mnist = MNIST(
            root=root, download=False, batch_size=BATCH, eval_batch_size=1000, val_size=5000, seed=0
        )
        train, test = mnist._read()
        self.train = train.inputs[:55000], train.targets[:55000]
        self.held = train.inputs[55000:], train.targets[55000:]
        self.test = test.inputs, test.targets
        inputs, targets = (part[:SAMPLES] for part in self.train)
        self.calibration = list(zip(inputs.split(BATCH), targets.split(BATCH), strict=True))

    def error(self, net: nn.Module) -> float:
        """Of the test set, in %."""
        with torch.no_grad():
            wrong = (net(self.test[0]).argmax(1) != self.test[1]).float().mean()
        return 100.0 * float(wrong)


def trained(
    net: nn.Module, data: Data, seed: int, epochs: int, rate: float, *extra: Callback
) -> None:
    """Train in place, by Adam with a cosine."""
    seed_everything(seed, verbose=False)
    task = Classification(net, optimizer=lambda p: torch.optim.Adam(p, lr=rate), num_classes=10)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=-1,
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        limit_val_batches=0,
        callbacks=[ComputeBudget(epochs=epochs), ScheduleLearningRate(shape=Cosine()), *extra],
    )
    loader = TensorLoader(*data.train, BATCH, shuffle=True, seed=seed, drop_last=True)
    trainer.fit(task, loader)


def at_once(dense: nn.Module, data: Data, name: str, sparsity: float) -> nn.Module:
    """Cut without training."""
    net = copy.deepcopy(dense)
    weights = {n: p for n, p in net.named_parameters() if p.ndim > 1}

    def loss(batch: Any) -> Tensor:
        return F.cross_entropy(net(batch[0]), batch[1])

    evidence = Evidence(net, weights, lambda: data.calibration, loss)
    judge = getattr(criteria, "lamp" if name in FITTED else name)
    masks = global_masks(criteria.scored(judge, weights, evidence), sparsity)
    if name in FITTED:
        choose = {n: chooser(1.0 - float(m.float().mean())) for n, m in masks.items()}
        refit_(net, evidence, choose, masks, METHODS[name])
    else:
        with torch.no_grad():
            for weight, mask in zip(weights.values(), masks.values(), strict=True):
                weight.mul_(mask)
    return net


def gradually(
    dense: nn.Module, data: Data, name: str, sparsity: float, seed: int, epochs: int
) -> nn.Module:
    """Cut over the first 70 % of a fine-tuning."""
    net = copy.deepcopy(dense)
    judge = getattr(criteria, "lamp" if name in FITTED else name)
    prune = Prune(
        sparsity=sparsity,
        criterion=judge,
        reconstruct=name if name in FITTED else None,
        calibration=lambda: data.calibration,
        samples=SAMPLES,
        begin=0.0,
        end=0.7,
    )
    trained(net, data, seed, epochs, 1e-3, prune)
    return net


def layer_errors(dense: nn.Module, data: Data, sparsity: float = 0.9) -> dict[str, list[float]]:
    """Method -> for each layer, tr(E H E^T) / tr(W H W^T), E what was lost of W."""
    found: dict[str, list[float]] = {}
    inputs = torch.cat([batch for batch, _ in data.calibration])
    for path, module in dense.named_modules():
        if not isinstance(module, nn.Linear):
            continue
        moments = input_moments(dense, inputs, path)[0]
        true, second = moments.second(), damped_second(moments, 0.01, centred=False)
        weight, choose = module.weight.detach().double(), chooser(sparsity)
        made = {
            "magnitude": weight * choose(weight.abs()),
            "wanda": weight * choose(weight.abs() * true.diagonal().sqrt()),
            **{name: METHODS[name](weight, second, choose).weight for name in FITTED},
        }
        whole = float(((weight @ true) * weight).sum())
        for name, each in made.items():
            lost = weight - each
            found.setdefault(name, []).append(float(((lost @ true) * lost).sum()) / whole)
    return found


class Kept:
    """Figures by their key, in a file, so that nothing is measured twice."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self.figures: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}

    def get(self, key: str, measure: Callable[[], Any]) -> Any:
        if key not in self.figures:
            self.figures[key] = measure()
            self.path.write_text(json.dumps(self.figures, indent=1))
        return self.figures[key]


def table(title: str, names: tuple[str, ...], cell: Callable[[str, float], list[float]]) -> None:
    """Means over the seeds, a row for each criterion."""
    print(f"\n| {title} | " + " | ".join(map(str, SPARSITIES)) + " |")
    print("|---|" + "---|" * len(SPARSITIES))
    for name in names:
        means = [f"{statistics.mean(cell(name, sparsity)):.2f}" for sparsity in SPARSITIES]
        print(f"| {name} | " + " | ".join(means) + " |", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", required=True)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("outputs/criteria"))
    arguments = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    data, kept = Data(arguments.root), Kept(arguments.out / f"{arguments.epochs}.json")
    nets = {}
    for seed in arguments.seeds:
        seed_everything(seed, verbose=False)
        nets[seed] = LeNet300((1, 28, 28), 10)
        path = arguments.out / f"dense-{seed}-{arguments.epochs}.pt"
        if path.exists():
            nets[seed].load_state_dict(torch.load(path, weights_only=True))
        else:
            trained(nets[seed], data, seed, arguments.epochs, 2e-3)
            torch.save(nets[seed].state_dict(), path)
    errors = [kept.get(f"dense/{seed}", lambda n=net: data.error(n)) for seed, net in nets.items()]
    print(f"dense: {statistics.mean(errors):.2f} %")
    print("\n| error of the outputs at 0.9 | first | second | third |\n|---|---|---|---|")
    for name, each in layer_errors(nets[arguments.seeds[0]], data).items():
        print(f"| {name} | " + " | ".join(f"{value:.4f}" for value in each) + " |")

    def once(name: str, sparsity: float) -> list[float]:
        return [
            kept.get(
                f"once/{name}/{sparsity}/{seed}",
                lambda n=net: data.error(at_once(n, data, name, sparsity)),
            )
            for seed, net in nets.items()
        ]

    def slowly(name: str, sparsity: float) -> list[float]:
        return [
            kept.get(
                f"gradual/{name}/{sparsity}/{seed}",
                lambda n=net, s=seed: data.error(
                    gradually(n, data, name, sparsity, s, arguments.epochs)
                ),
            )
            for seed, net in nets.items()
        ]

    table("at once, no training", (*AT_ONCE, *FITTED), once)
    table("gradually", (*GRADUALLY, *FITTED), slowly)


if __name__ == "__main__":
    main()
