"""A trained network made smaller in one call.

    python examples/one_call.py [--ratio 20]

Trains a small network on scikit-learn's digits in plain PyTorch, compresses it, and compares the
error of what the file holds with that of the dense network.
"""

import argparse
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

import boildown


def network() -> nn.Sequential:
    """64 pixels -> 10 classes."""
    return nn.Sequential(
        nn.Linear(64, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10)
    )


def trained(inputs: Tensor, targets: Tensor, epochs: int = 30) -> nn.Sequential:
    """The network after a training that knows nothing of compression."""
    torch.manual_seed(0)
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.002)
    for _ in range(epochs):
        for batch in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            F.cross_entropy(model(inputs[batch]), targets[batch]).backward()
            optimizer.step()
    return model


def error_of(model: nn.Module, inputs: Tensor, targets: Tensor) -> float:
    """Fraction of the images that are told wrongly."""
    with torch.no_grad():
        return float((model(inputs).argmax(1) != targets).float().mean())


def main(ratio: float, epochs: float, file: Path) -> None:
    """Train, compress, load and measure."""
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16.0
    targets = torch.tensor(digits.target)
    test = inputs[1400:], targets[1400:]

    model = trained(inputs[:1400], targets[:1400])
    boildown.compress(model, (inputs[:1400], targets[:1400]), ratio, epochs=epochs, path=file)

    size, before = file.stat().st_size, 4 * sum(p.numel() for p in model.parameters())
    print(f"{file}: {size} of {before} bytes, {before / size:.1f}x smaller")
    print(f"test error, dense: {error_of(model, *test):.2%}")
    print(f"test error, from the file: {error_of(boildown.load(file, network()), *test):.2%}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ratio", type=float, default=20.0)
    parser.add_argument("--epochs", type=float, default=20.0)
    parser.add_argument("--out", type=Path, default=Path("digits.boil"))
    args = parser.parse_args()
    main(args.ratio, args.epochs, args.out)
