"""What `SaveNewest` says to a script of one's own, before any work and while it saves."""

import logging
from pathlib import Path

import fits
import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from torch import Tensor, nn
from torch.optim import SGD
from torch.utils.data import DataLoader, TensorDataset

from boildown.callbacks.save import SaveNewest
from boildown.tasks.classification import Classification


def test_a_directory_is_refused_before_the_training(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"{tmp_path} is a directory.*newest.ckpt"):
        SaveNewest(tmp_path)


def test_a_fit_without_validation_would_save_nothing_and_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at validations, and this fit has none"):
        fits.fit(
            [SaveNewest(tmp_path / "newest.ckpt")],
            max_epochs=1,
            limit_val_batches=0,
            enable_checkpointing=True,
        )


def test_saving_says_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        fits.fit([SaveNewest(tmp_path / "newest.ckpt")], max_epochs=2, enable_checkpointing=True)
    assert "weights_only" not in caplog.text
    assert (tmp_path / "newest.ckpt").exists()


def test_torchs_loader_resumes_to_the_bit_at_the_end_of_an_epoch(tmp_path: Path) -> None:
    """Its order is drawn from the generator whose state is in the checkpoint."""

    def trained(place: Path, epochs: int) -> dict[str, Tensor]:
        seed_everything(1 if place.exists() else 0, verbose=False)  # a new process, another state
        task = Classification(
            nn.Sequential(*fits.layers()), optimizer=lambda p: SGD(p, lr=0.1), num_classes=3
        )
        save = SaveNewest(place)
        trainer = Trainer(max_epochs=epochs, logger=False, callbacks=[save], accelerator="cpu")
        data = TensorDataset(*fits.drawn())
        shuffled = DataLoader(data, 8, shuffle=True)
        trainer.fit(task, shuffled, DataLoader(data, 64), ckpt_path=save.own(), weights_only=True)
        return task.model.state_dict()

    straight = trained(tmp_path / "straight.ckpt", 4)
    trained(tmp_path / "killed.ckpt", 2)
    resumed = trained(tmp_path / "killed.ckpt", 4)
    torch.testing.assert_close(resumed, straight, rtol=0, atol=0)
