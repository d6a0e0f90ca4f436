"""Two smaller layers for each: ranks learned in one's own Trainer, or found without training.

    python examples/low_rank.py [--epochs 30]

Both networks go to a file and back into what their class builds, by a line each.
"""

import argparse
from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from own_script import Digits, error_of, network
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import boildown
from boildown.callbacks import ComputeBudget, LearnRanks
from boildown.lowrank.prune_ranks import prune_ranks


def fit(module: LightningModule, data: TensorDataset, epochs: int, *callbacks: Callback) -> None:
    """Train, as one does anyway."""
    trainer = Trainer(
        max_epochs=epochs,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
        callbacks=list(callbacks),
    )
    trainer.fit(module, DataLoader(data, batch_size=64, shuffle=True, drop_last=True))


def main(epochs: int, directory: Path) -> None:
    """Train with and without LearnRanks, prune the ranks of the latter, pack, load, measure."""
    digits = load_digits()
    inputs = torch.tensor(digits.data, dtype=torch.float32) / 16.0
    targets = torch.tensor(digits.target)
    train = TensorDataset(inputs[:1200], targets[:1200])
    validation, test = (inputs[1200:1400], targets[1200:1400]), (inputs[1400:], targets[1400:])

    seed_everything(0, verbose=False)
    learned = Digits()
    learn = LearnRanks(factors=0.4, begin=0.2, end=0.5)
    fit(learned, train, epochs, ComputeBudget(epochs=epochs), learn)  # ends with the last choice
    learned.model = learn.restructure(learned.model)
    fit(learned, train, max(1, epochs // 2))

    dense = Digits()
    fit(dense, train, epochs)
    pruned = prune_ranks(
        dense.model.eval(),
        inputs[:300],
        tolerance=0.005,
        evaluate=lambda model: error_of(model, *validation),
    ).model

    models: dict[str, nn.Module] = {
        "learned": learned.model,
        "pruned": pruned,
        "dense": dense.model,
    }
    for name, model in models.items():
        file = directory / f"{name}.boil"
        size = boildown.pack(model, file)
        loaded = boildown.load(file, network())
        parameters = sum(p.numel() for p in loaded.parameters())
        print(f"{file}: {size} bytes, {parameters} parameters, error {error_of(loaded, *test):.2%}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--out", type=Path, default=Path())
    args = parser.parse_args()
    main(args.epochs, args.out)
