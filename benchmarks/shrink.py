"""Structured pruning: how much faster half of the operations are, and which networks are handled.

python benchmarks/shrink.py                     # ResNet-20 at half its FLOPs, dense beside it
python benchmarks/shrink.py --models            # the tests' networks, beside torch-pruning

Goal: ResNet-20 on 32x32 images at half its FLOPs 1.6 times as fast at batch 64. Units go by
magnitude from an untrained network: values do not matter to the time. Dense and shrunk take turns,
each in contiguous memory and channels last, the better of which counts; the ratio is of medians.
With --models, half of every group goes; "same" is whether the outputs are those of the network with
these at zero, and for the peer whether it runs, at its own choice of half of every layer's outputs.
"""

import argparse
import copy
import statistics
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from boildown.flops import forward_flops
from boildown.models.resnet import ResNet
from boildown.prune.criteria import magnitude
from boildown.structure import selection
from boildown.structure.shrink import groups_of, masked, shrink
from boildown.structure.weights import weights_in

BATCHES = (1, 64, 256)
FORMATS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}


def at_flops(
    model: nn.Module, x: Tensor, fraction: float, scope: selection.Scope, multiple: int
) -> nn.Module:
    groups, _ = groups_of(model, x)
    ordered = selection.order(groups, magnitude(weights_in(model), None), scope, multiple)

    def cost(plan: Any) -> float:
        return forward_flops(shrink(model, plan, x, groups), x)

    return shrink(model, selection.fewest(ordered, cost, fraction * cost({})), x, groups)


def medians(ways: dict[str, tuple[nn.Module, Tensor]], repeats: int) -> dict[str, float]:
    """Milliseconds of each, measured in turns."""
    took: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(repeats + 2):
        for name, (model, x) in ways.items():
            began = time.perf_counter()
            model(x)
            if turn >= 2:
                took[name].append(1e3 * (time.perf_counter() - began))
    return {name: statistics.median(each) for name, each in took.items()}


@torch.no_grad()
def speed(fraction: float, repeats: int) -> None:
    torch.manual_seed(0)
    dense = ResNet((3, 32, 32), 10, 16, 20).eval()
    x = torch.randn(1, 3, 32, 32)
    nets = {"dense": dense}
    for scope in ("group", "global"):
        for multiple in (1, 8):
            nets[f"{scope} by {multiple}"] = at_flops(dense, x, fraction, scope, multiple)
    print(f"{torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}")
    for name, net in nets.items():
        flops = forward_flops(net, x) / forward_flops(dense, x)
        parameters = sum(p.numel() for p in net.parameters())
        print(f"{name}: {flops:.1%} of the FLOPs, {parameters:,} parameters")
    for batch in BATCHES:
        ways = {
            f"{name}, {layout}": (
                copy.deepcopy(net).to(memory_format=memory_format),
                torch.randn(batch, 3, 32, 32).to(memory_format=memory_format),
            )
            for name, net in nets.items()
            for layout, memory_format in FORMATS.items()
        }
        found = medians(ways, repeats)
        best = {n: min(t for way, t in found.items() if way.startswith(n)) for n in nets}
        each = ", ".join(f"{way} {t:.2f} ms" for way, t in found.items())
        ratios = ", ".join(f"{n} {best['dense'] / best[n]:.2f}x" for n in nets if n != "dense")
        print(f"batch {batch}: {ratios} ({each})", flush=True)


def models() -> None:
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "structure"))
    from shrinkable import CASES, case

    print(
        "| network | groups | refused | parameters left | same | torch-pruning |\n"
        + "|---" * 6
        + "|"
    )
    for name in CASES:
        model, example, _ = case(name)
        model.eval()
        groups, left = groups_of(model, example)
        plan = {group.name: list(range(len(group) // 2)) for group in groups}
        try:
            smaller = shrink(model, plan, example, groups)
            same = f"yes, to {apart(smaller, masked(model, plan, groups), example):.0e}"
        except ValueError as error:
            smaller, same = model, str(error)
        share = sum(p.numel() for p in smaller.parameters()) / sum(
            p.numel() for p in model.parameters()
        )
        print(
            f"| {name} | {len(groups)} | {len(left)} | {share:.0%} | {same} | {peer(name)} |",
            flush=True,
        )


@torch.no_grad()
def apart(one: nn.Module, other: nn.Module, example: Any) -> float:
    """The largest difference of the outputs over the largest output."""
    pairs = list(zip(_tensors(one(example)), _tensors(other(example)), strict=True))
    largest = max(float(b.abs().max()) for _, b in pairs)
    return max(float((a - b).abs().max()) for a, b in pairs) / largest


def peer(name: str) -> str:
    """What torch-pruning makes of the network: half of every layer, but for the last."""
    import torch_pruning
    from shrinkable import case

    model, example, _ = case(name)
    model.eval()
    before = sum(p.numel() for p in model.parameters())
    last = [m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d)][-1]
    try:
        torch_pruning.pruner.BasePruner(
            model,
            example,
            importance=torch_pruning.importance.MagnitudeImportance(),
            pruning_ratio=0.5,
            ignored_layers=[last],
            output_transform=lambda out: sum(t.sum() for t in _tensors(out)),
        ).step()
        model(example)
    except Exception as error:
        return f"{type(error).__name__}: {str(error).splitlines()[0][:60]}"
    return f"runs, {sum(p.numel() for p in model.parameters()) / before:.0%} left"


def _tensors(value: Any) -> list[Tensor]:
    from boildown.forward import tensors_of

    return tensors_of(value)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", action="store_true")
    parser.add_argument("--fraction", type=float, default=0.5)
    parser.add_argument("--repeats", type=int, default=60)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    models() if args.models else speed(args.fraction, args.repeats)


if __name__ == "__main__":
    main()
