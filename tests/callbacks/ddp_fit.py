"""Run by test_ddp.py in two processes: fit with both techniques, save each rank's weights."""

import sys
from pathlib import Path

import torch
from lightning.pytorch import Trainer, seed_everything
from torch import nn

from boildown.callbacks.budget import ComputeBudget
from boildown.callbacks.prune import Prune
from boildown.callbacks.share import ShareWeights
from boildown.data.loader import TensorLoader
from boildown.schedule import Cubic
from boildown.task import Classification


def main() -> None:
    directory = Path(sys.argv[1])
    torch.set_num_threads(1)
    seed_everything(0, verbose=False)
    make = torch.Generator().manual_seed(0)
    inputs, targets = (
        torch.randn(64, 20, generator=make),
        torch.randint(0, 4, (64,), generator=make),
    )
    task = Classification(
        nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 4)),
        optimizer=lambda p: torch.optim.AdamW(p, lr=0.01),
        num_classes=4,
    )
    trainer = Trainer(
        accelerator="cpu",
        strategy="ddp",
        devices=2,
        max_epochs=-1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        limit_val_batches=0,
        callbacks=[
            ComputeBudget(steps=40),
            Prune(sparsity=0.8, schedule=Cubic(), begin=0.2, end=0.5),
            ShareWeights(bits=3, begin=0.6),
        ],
    )
    trainer.fit(task, TensorLoader(inputs, targets, 8, shuffle=True, seed=0, drop_last=True))
    torch.save(task.model.state_dict(), directory / f"rank{trainer.global_rank}.pt")


if __name__ == "__main__":
    main()
