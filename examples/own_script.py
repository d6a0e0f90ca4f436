"""Compression in a Lightning script of one's own: no Hydra, no data or models of boildown's.

    python examples/own_script.py [--epochs 60]

Trains a small network on scikit-learn's digits, as it is and once more with its weights pruned and
shared, packs it, and compares the error read from the file with that of the dense network.
"""

import argparse
from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import boildown
from boildown.callbacks import ComputeBudget, Prune, ShareWeights


def network() -> nn.Sequential:
    """64 pixels -> 10 classes."""
    return nn.Sequential(nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 10))


class Digits(LightningModule):
    """What one writes anyway: nothing in it knows of compression."""

    def __init__(self) -> None:
        super().__init__()
        self.model = network()

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.model(inputs)
        return logits

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        inputs, targets = batch
        return F.cross_entropy(self(inputs), targets)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=0.002)


def error_of(model: nn.Module, inputs: Tensor, targets: Tensor) -> float:
    """Fraction of the images that are told wrongly."""
    with torch.no_grad():
        return float((model(inputs).argmax(1) != targets).float().mean())


def trained(epochs: int, data: TensorDataset, *techniques: Callback) -> nn.Module:
    """The network after so many epochs, compressed on the way by the techniques that are given."""
    seed_everything(0, verbose=False)
    task = Digits()
    trainer = Trainer(
        max_epochs=epochs,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        callbacks=[
            ComputeBudget(epochs=epochs),  # the clock: begin and end are fractions of it
            *techniques,
        ],
    )
    trainer.fit(task, DataLoader(data, batch_size=64, shuffle=True, drop_last=True))
    return task.model


def main(epochs: int, file: Path) -> None:
    """Train, compress, pack, load and measure."""
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16.0
    targets = torch.tensor(digits.target)
    train = TensorDataset(inputs[:1400], targets[:1400])

    dense = trained(epochs, train)
    small = trained(epochs, train, Prune(sparsity=0.8), ShareWeights(bits=5, dtype="float16"))

    size = boildown.pack(small, file)
    before = 4 * sum(p.numel() for p in small.parameters())
    loaded = boildown.load(file, network())
    print(f"{file}: {size} of {before} bytes, {before / size:.1f}x smaller")
    for name, model in (("dense", dense), ("from the file", loaded)):
        print(f"test error, {name}: {error_of(model, inputs[1400:], targets[1400:]):.2%}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--out", type=Path, default=Path("digits.boil"))
    args = parser.parse_args()
    main(args.epochs, args.out)
