"""Where the best learning rate lies at each width, with one rate for all and with the width rule.

    python benchmarks/width_rule.py

Prints the training loss (mean over the last tenth) of MLPs on MNIST-1D, a table for each rule: a
rule that works has its smallest losses in one column.
"""

import argparse

import torch
from torch.nn import functional as F

from boildown.data.mnist1d import MNIST1D
from boildown.models.mlp import MLP
from boildown.schedule import Cosine
from boildown.width import scale_rates, width_factors


def build(width: int) -> MLP:
    """A net of three hidden layers."""
    return MLP((40,), 10, widths=None, width=width, depth=3)


def loss(data: MNIST1D, width: int, rate: float, base_width: int | None, steps: int) -> float:
    """Training loss of one run, over its last tenth."""
    torch.manual_seed(0)
    model = build(width)
    factors = {} if base_width is None else width_factors(build, width, base_width)
    optimizer = scale_rates(
        lambda groups: torch.optim.Adam(groups, lr=rate, fused=True),
        dict(model.named_parameters()),
        factors,
    )
    rates = [group["lr"] for group in optimizer.param_groups]
    shape, loader, losses = Cosine(floor=0.01, warmup=0.02), data.train_dataloader(), []
    while len(losses) < steps:
        for inputs, targets in loader:
            for group, peak in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = peak * shape(min(len(losses) / steps, 1.0))
            optimizer.zero_grad()
            now = F.cross_entropy(model(inputs), targets)
            now.backward()
            optimizer.step()
            losses.append(now.item())
    return sum(losses[-steps // 10 :]) / (steps // 10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--widths", type=int, nargs="+", default=[32, 128, 512])
    parser.add_argument("--base-width", type=int, default=32)
    parser.add_argument("--steps", type=int, default=500)
    args = parser.parse_args()
    rates = [2.0**-k for k in range(10, 3, -1)]
    data = MNIST1D(samples=10000, batch_size=128, eval_batch_size=1000, val_size=0.1, seed=0)
    for name, base in (("one rate for all", None), ("the width rule", args.base_width)):
        print(f"\n{name}\n| width |" + "".join(f" {rate:.4f} |" for rate in rates))
        print("|---" * (len(rates) + 1) + "|")
        for width in args.widths:
            losses = [loss(data, width, rate, base, args.steps) for rate in rates]
            best = min(losses)
            row = "".join(f" {'**' * (v == best)}{v:.3f}{'**' * (v == best)} |" for v in losses)
            print(f"| {width} |{row}", flush=True)


if __name__ == "__main__":
    main()
