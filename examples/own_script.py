"""Compression in a Lightning script of one's own: no Hydra, no data or models of boildown's.

    python examples/own_script.py [--steps 600]

Trains a small network on scikit-learn's digits, prunes it, shares its weights, packs it, and reads
the error from the file.
"""

import argparse
from pathlib import Path

import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
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


def main(steps: int, file: Path) -> None:
    """Train, compress, pack, load and measure."""
    seed_everything(0, verbose=False)
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16.0
    targets = torch.tensor(digits.target)
    train = TensorDataset(inputs[:1400], targets[:1400])
    task = Digits()
    trainer = Trainer(
        max_epochs=-1,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        callbacks=[
            ComputeBudget(steps=steps),  # the clock: the others' begin and end are fractions of it
            Prune(sparsity=0.9),
            ShareWeights(bits=5, dtype="float16"),
        ],
    )
    trainer.fit(task, DataLoader(train, batch_size=64, shuffle=True, drop_last=True))

    size = boildown.pack(task.model.state_dict(), file)
    dense = 4 * sum(p.numel() for p in task.model.parameters())
    model = boildown.load(file, network())
    error = error_of(model, inputs[1400:], targets[1400:])
    print(f"{file}: {size} of {dense} bytes, {dense / size:.1f}x smaller, test error {error:.2%}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--out", type=Path, default=Path("digits.boil"))
    args = parser.parse_args()
    main(args.steps, args.out)
