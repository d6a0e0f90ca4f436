"""Run by test_ddp.py in two processes: fit with both techniques, save each rank's weights.

Once in fp32, and once in fp16 with a loss that is infinite on one rank now and then; each rank
calibrates with samples of its own. The argument is a directory.
"""

import os
import sys
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from torch import Tensor, nn

from boildown.amp.plugins import fp16
from boildown.callbacks.budget import ComputeBudget
from boildown.callbacks.loss_scaling import LossScaling
from boildown.callbacks.prune import Prune
from boildown.callbacks.quantize import Quantize
from boildown.callbacks.share import ShareWeights
from boildown.data.loader import TensorLoader
from boildown.prune.criteria import movement, wanda
from boildown.quantize.activations import input_grids
from boildown.schedule import Cubic
from boildown.tasks.classification import Batch, Classification


class Uneven(Classification):
    """Its loss is infinite on rank 1 at the second and the fourth batch of an epoch."""

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        return loss * torch.inf if self.global_rank == 1 and batch_idx in (1, 3) else loss


def fit(directory: Path, amp: bool, grids: bool = False) -> None:
    seed_everything(0, verbose=False)
    make = torch.Generator().manual_seed(0)
    inputs, targets = (
        torch.randn(64, 20, generator=make),
        torch.randint(0, 4, (64,), generator=make),
    )
    task = (Uneven if amp else Classification)(
        nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 4)),
        optimizer=lambda p: torch.optim.AdamW(p, lr=0.01),
        num_classes=4,
    )
    budget = ComputeBudget(steps=40)
    own = torch.randn(64, 20, generator=torch.Generator().manual_seed(os.getpid()))  # of each rank
    by: dict[str, Any] = {"calibration": lambda: [(own, targets)], "reconstruct": "alps"}
    by |= {"criterion": movement if amp else wanda}
    held: list[Callback] = [
        Prune(sparsity=0.8, schedule=Cubic(), begin=0.2, end=0.5, **by),
        ShareWeights(bits=3, begin=0.6),
    ]
    if grids:
        calibration = by["calibration"]
        held = [
            Quantize(bits=3, activations=4, allocation="trace", begin=0.3, calibration=calibration)
        ]
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
        plugins=[fp16("cpu")] if amp else None,
        callbacks=[
            budget,
            *([LossScaling(every=3)] if amp else []),
            *held,
        ],
    )
    seed = trainer.global_rank if grids else 0  # other batches on each rank
    trainer.fit(task, TensorLoader(inputs, targets, 8, shuffle=True, seed=seed, drop_last=True))
    counted = {"made": torch.tensor(budget.steps), "skipped": torch.tensor(budget.skipped_steps)}
    for layer, entry in input_grids(task.model).items():
        counted[f"{layer} inputs"] = torch.tensor(entry["input_grid"]["scale"])
    kind = "grids" if grids else "fp16" if amp else "fp32"
    name = f"{kind}-rank{trainer.global_rank}.pt"
    torch.save(task.model.state_dict() | counted, directory / name)


if __name__ == "__main__":
    fit(Path(sys.argv[1]), amp=False)
    fit(Path(sys.argv[1]), amp=True)
    fit(Path(sys.argv[1]), amp=True, grids=True)
    sys.stdout.flush()
    os._exit(0)  # what shuts down may abort: see boildown.run.leading
