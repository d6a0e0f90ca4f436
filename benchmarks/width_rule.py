"""Where the best learning rate lies at each width, with one rate for all and with the width rule.

    python benchmarks/width_rule.py
    python benchmarks/width_rule.py --path FILE --widths 32 64 128 --steps 250

Prints the training loss (mean over the last tenth) of MLPs on MNIST-1D, or with --path of GPTs of
two blocks on a text (nats per byte), a table for each rule: a rule that works has its smallest
losses in one column.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from boildown.data.loader import Loader
from boildown.data.mnist1d import MNIST1D
from boildown.data.text import Text
from boildown.models.mlp import MLP
from boildown.models.transformer import GPT
from boildown.schedule import Cosine
from boildown.tasks.width import scale_rates, width_factors

Build = Callable[[int], nn.Module]


def mlp(width: int) -> MLP:
    """A net of three hidden layers."""
    return MLP((40,), 10, widths=None, width=width, depth=3)


def gpt(width: int) -> GPT:
    """Two blocks over windows of 64 bytes."""
    return GPT((64,), 256, width=width, depth=2, heads=None, tied=False, dropout=0.0)


def loss(
    build: Build, loader: Loader, width: int, rate: float, base_width: int | None, steps: int
) -> float:
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
    shape, losses = Cosine(floor=0.01, warmup=0.02), []
    while len(losses) < steps:
        for inputs, targets in loader:
            for group, peak in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = peak * shape(min(len(losses) / steps, 1.0))
            optimizer.zero_grad()
            outputs = model(inputs)
            now = F.cross_entropy(outputs.flatten(0, -2), targets.flatten())
            now.backward()
            optimizer.step()
            losses.append(now.item())
            if len(losses) == steps:
                break
    return sum(losses[-steps // 10 :]) / (steps // 10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--path", type=Path, help="of a text; then the models are GPTs")
    parser.add_argument("--widths", type=int, nargs="+", default=[32, 128, 512])
    parser.add_argument("--base-width", type=int, default=32)
    parser.add_argument("--steps", type=int, default=500)
    args = parser.parse_args()
    rates = [2.0**-k for k in range(10, 3, -1)]
    build: Build = mlp if args.path is None else gpt

    def loader() -> Loader:
        if args.path is None:
            return MNIST1D(
                samples=10000, batch_size=128, eval_batch_size=1000, val_size=0.1, seed=0
            ).train_dataloader()
        return Text(
            path=args.path,
            context=64,
            objective="causal",
            val_size=0.05,
            test_size=0.05,
            batch_size=32,
            eval_batch_size=256,
            seed=0,
        ).train_dataloader()

    for name, base in (("one rate for all", None), ("the width rule", args.base_width)):
        print(f"\n{name}\n| width |" + "".join(f" {rate:.4f} |" for rate in rates))
        print("|---" * (len(rates) + 1) + "|")
        for width in args.widths:
            losses = [loss(build, loader(), width, rate, base, args.steps) for rate in rates]
            best = min(losses)
            row = "".join(f" {'**' * (v == best)}{v:.3f}{'**' * (v == best)} |" for v in losses)
            print(f"| {width} |{row}", flush=True)


if __name__ == "__main__":
    main()
