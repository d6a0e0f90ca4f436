"""Quantization after training: method by bits, what it costs in error and what it takes in bytes.

python benchmarks/ptq.py --net lenet5 --root DIR [--seeds 0 1 2] [--epochs 3]
python benchmarks/ptq.py --net gpt --root FILE
python benchmarks/ptq.py --net resnet20 --root DIR_OR_TAR --dense SEED0.pt SEED1.pt ...

--root: MNIST's IDX files; a text; images in train/<class>/ and test/<class>/. A dense network is
trained for each seed, or read from the state dict of --dense. It is quantized by each method, to
each number of bits, weights alone (W) and with inputs of 8 bits (WA); each is packed, read back
into a network as its class builds it, and measured on the test set once. Prints Markdown: means
over the seeds with their standard deviation, and bytes of files on disk. What has been measured is
kept in --out and not repeated.
"""

import argparse
import json
import logging
import statistics
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from bare_trainer import bare_trainer
from lightning.pytorch import seed_everything
from torch import Tensor, nn
from torch.nn import functional as F

from boildown import load, pack
from boildown.callbacks.budget import ComputeBudget
from boildown.callbacks.learning_rate import ScheduleLearningRate
from boildown.checkpoint import load_state_dict
from boildown.data.imagefolder import ImageFolder
from boildown.data.mnist import MNIST
from boildown.data.text import Text
from boildown.models.lenet import LeNet5
from boildown.models.resnet import ResNet
from boildown.models.transformer import GPT
from boildown.quantize.layers import Plan, quantized
from boildown.quantize.mixed import spread_bits
from boildown.schedule import Cosine
from boildown.tasks.classification import Classification
from boildown.tasks.language import Language

METHODS = ("nearest", "gptq", "adaround")
BITS = (8, 4, 3, 2)


class Images:
    """A net for images, its data, and its error in %."""

    unit = "test error, %"

    def __init__(self, data: Any, build: Callable[[], nn.Module], rate: float) -> None:
        data.prepare()
        self.data, self.build, self.rate = data, build, rate

    def task(self, net: nn.Module) -> Classification:
        def optimizer(params: Any) -> torch.optim.Optimizer:
            return torch.optim.AdamW(params, lr=self.rate)

        return Classification(net, optimizer=optimizer, num_classes=10)

    @torch.no_grad()
    def figure(self, net: nn.Module) -> float:
        wrong, count = 0, 0
        for inputs, targets in self.data.test_dataloader():
            wrong += int((net(inputs).argmax(1) != targets).sum())
            count += len(targets)
        return 100.0 * wrong / count


class Words(Images):
    """A net for text, and its bits per byte."""

    unit = "bits per byte"

    def task(self, net: nn.Module) -> Language:
        def optimizer(params: Any) -> torch.optim.Optimizer:
            return torch.optim.AdamW(params, lr=self.rate, weight_decay=0.0)

        return Language(net, optimizer=optimizer)

    @torch.no_grad()
    def figure(self, net: nn.Module) -> float:
        nats, count = 0.0, 0
        for inputs, targets in self.data.test_dataloader():
            each = F.cross_entropy(
                net(inputs).flatten(0, 1), targets.flatten(), ignore_index=-100, reduction="sum"
            )
            nats += float(each)
            count += int((targets != -100).sum())
        return nats / count / torch.log(torch.tensor(2.0)).item()


def lenet5(root: str, seed: int, out: Path) -> Images:
    data = MNIST(
        root=root, download=False, batch_size=128, eval_batch_size=1000, val_size=5000, seed=seed
    )
    return Images(data, lambda: LeNet5((1, 28, 28), 10), 1e-3)


def gpt(root: str, seed: int, out: Path) -> Images:
    data = Text(
        path=root, context=64, objective="causal", val_size=0.05, test_size=0.05, batch_size=32,
        eval_batch_size=256, seed=seed,
    )  # fmt: skip

    def build() -> nn.Module:
        return GPT((64,), 256, width=64, depth=2, heads=None, tied=False, dropout=0.0)

    return Words(data, build, 5e-3)


def resnet20(root: str, seed: int, out: Path) -> Images:
    data = ImageFolder(
        root=root, size=32, augment=None, cache=out / "images", batch_size=128,
        eval_batch_size=500, val_size=5000, seed=seed,
    )  # fmt: skip
    return Images(data, lambda: ResNet((3, 32, 32), 10, width=16, depth=20), 1e-3)


NETS = {"lenet5": lenet5, "gpt": gpt, "resnet20": resnet20}


def trained(case: Images, seed: int, epochs: int) -> nn.Module:
    """By AdamW with a cosine."""
    seed_everything(seed, verbose=False)
    net = case.build()
    trainer = bare_trainer(
        [ComputeBudget(epochs=epochs), ScheduleLearningRate(shape=Cosine(warmup=0.02))]
    )
    trainer.fit(case.task(net), case.data.train_dataloader())
    return net.eval()


def dense_net(args: argparse.Namespace, case: Images, place: int, seed: int) -> nn.Module:
    """Read, or trained and kept."""
    net = case.build()
    if args.dense:
        net.load_state_dict(load_state_dict(Path(args.dense[place])))
        return net.eval()
    kept = args.out / f"{args.net}_{seed}_{args.epochs}.boil"
    if not kept.exists():
        pack(trained(case, seed, args.epochs), kept)
    return load(kept, net)


def measured(case: Images, net: nn.Module, file: Path) -> tuple[int, float]:
    """Bytes of a file, and the figure of what is read from it."""
    size = pack(net, file)
    return size, case.figure(load(file, case.build()))


def quantize(
    case: Images,
    dense: nn.Module,
    pairs: Sequence[tuple[Tensor, Tensor]],
    plan: Plan,
    file: Path,
    *,
    spread: bool,
) -> dict[str, Any]:
    samples = torch.cat([inputs for inputs, _ in pairs])
    start = time.perf_counter()
    if spread:
        bits = spread_bits(dense, pairs, plan, F.cross_entropy, samples=len(samples))
        plan = replace(plan, bits=bits)
    found = quantized(dense, samples, plan, samples=len(samples))
    seconds = time.perf_counter() - start
    size, figure = measured(case, found.model, file)
    errors = [one.error for one in found.weights.values() if one.error is not None]
    return {
        "bytes": size,
        "figure": figure,
        "seconds": seconds,
        "layers": statistics.geometric_mean(max(error, 1e-12) for error in errors),
        "told": found.told,
    }


def calibration(case: Images, most: int) -> list[tuple[Tensor, Tensor]]:
    pairs: list[tuple[Tensor, Tensor]] = []
    for inputs, targets in case.data.train_dataloader():
        left = most - sum(len(each) for each, _ in pairs)
        pairs.append((inputs[:left], targets[:left]))
        if len(inputs) >= left:
            break
    return pairs


def run(args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Key -> what was measured."""
    kept = args.out / f"{args.net}.json"
    found: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    for place, seed in enumerate(args.seeds):
        case = NETS[args.net](args.root, seed, args.out)
        dense = dense_net(args, case, place, seed)
        samples = calibration(case, args.samples)
        cases = [(m, b, a) for b in args.bits for m in args.methods for a in (None, 8)]
        cases = [one for one in cases if one[2] is None or (args.activations and one[1] in (8, 4))]
        for method, bits, inputs in [("dense", 0, None), *cases]:
            key = f"{seed} {method} {bits} {inputs or ''}".strip()
            if key in found:
                continue
            file = args.out / f"{args.net} {key}.boil"
            if method == "dense":
                size, figure = measured(case, dense, file)
                found[key] = {"bytes": size, "figure": figure}
            else:
                name, _, spread = method.partition("+")
                plan = Plan(bits, inputs, name, args.granularity)
                found[key] = quantize(case, dense, samples, plan, file, spread=bool(spread))
            print(key, found[key], flush=True)
            kept.write_text(json.dumps(found, indent=1))
    return found


def mean(values: Iterable[float], digits: int) -> str:
    """With the standard deviation behind it."""
    each = list(values)
    spread = f" ± {statistics.stdev(each):.{digits}f}" if len(each) > 1 else ""
    return f"{statistics.mean(each):.{digits}f}{spread}"


def table(args: argparse.Namespace, found: dict[str, Any]) -> None:
    unit = NETS[args.net](args.root, args.seeds[0], args.out).unit
    digits = 4 if args.net == "gpt" else 2
    dense = [found[f"{seed} dense 0"] for seed in args.seeds]
    print(f"\n{args.net}: dense {mean((one['figure'] for one in dense), digits)} ({unit}), "
          f"{mean((one['bytes'] for one in dense), 0)} bytes\n")  # fmt: skip
    print(f"| bits | method | {unit}, W | {unit}, WA8 | outputs lost, W | bytes, W | seconds |")
    print("|---|---|---|---|---|---|---|")
    for bits in args.bits:
        for method in args.methods:
            alone = [found[f"{seed} {method} {bits}"] for seed in args.seeds]
            with_inputs = [found.get(f"{seed} {method} {bits} 8") for seed in args.seeds]
            both = "-" if None in with_inputs else mean((o["figure"] for o in with_inputs), digits)
            print(
                f"| {bits} | {method} | {mean((o['figure'] for o in alone), digits)} | {both} | "
                f"{statistics.mean(o['layers'] for o in alone):.2g} | "
                f"{statistics.mean(o['bytes'] for o in alone):,.0f} | "
                f"{statistics.mean(o['seconds'] for o in alone):.0f} |"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--net", choices=NETS, required=True)
    parser.add_argument("--root", required=True)
    parser.add_argument("--dense", nargs="+")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--bits", type=int, nargs="+", default=list(BITS))
    parser.add_argument("--activations", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--samples", type=int, default=1024)
    parser.add_argument("--granularity", default="channel")
    parser.add_argument("--out", type=Path, default=Path("outputs/ptq"))
    args = parser.parse_args()
    if args.granularity.isdecimal():
        args.granularity = int(args.granularity)
    args.out.mkdir(parents=True, exist_ok=True)
    if args.dense:
        args.seeds = args.seeds[: len(args.dense)]
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    table(args, run(args))


if __name__ == "__main__":
    main()
