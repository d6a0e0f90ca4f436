"""What a newcomer types first: own modules beside one, dashes, classes, completion."""

import sys
from pathlib import Path

import pytest
import torch
from runs import call_here, result_of
from torch import nn

import boildown

OWN = """
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, TensorDataset

class Points(LightningDataModule):
    def __init__(self, samples=96, batch_size=16):
        super().__init__()
        points = torch.randn(samples, 2, generator=torch.Generator().manual_seed(0))
        self.pairs = TensorDataset(points, (points[:, 0] > 0).long())
        self.batch_size = batch_size

    def train_dataloader(self):
        return DataLoader(self.pairs, self.batch_size)

    val_dataloader = test_dataloader = train_dataloader
"""


def test_ones_own_data_beside_one_is_found_and_told_nothing_of_the_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "beside_data.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    given = ("data._target_=beside_data.Points", "+data.samples=64", "data.batch_size=8")
    short = ("model=mlp", "model.width=4", "budget.epochs=1", "logger=none", "validations=1")
    done = call_here(*given, *short, "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    config = result_of(tmp_path / "run")["config"]["data"]
    assert config == {"_target_": "beside_data.Points", "batch_size": 8, "samples": 64}
    told = call_here(*given, *short, "data.val_size=3", "hydra.run.dir=other")
    assert "data.val_size: unknown key (value 3); Points takes samples, batch_size" in told.stderr


def test_settings_have_no_dashes() -> None:
    done = call_here("--compression=deep")
    assert done.returncode == 1
    assert done.stderr == (
        "boildown: --compression=deep: settings have no dashes; write compression=deep\n"
    )


def test_a_class_is_no_network(tmp_path: Path) -> None:
    boildown.pack({"weight": torch.ones(2, 2)}, tmp_path / "a.boil")
    with pytest.raises(ValueError, match=r"give a network, Linear\(\), and not its class"):
        boildown.load(tmp_path / "a.boil", nn.Linear)


def test_completion_shows_what_is_public() -> None:
    assert set(dir(boildown)) >= {"CodecError", "compress", "load", "pack", "unpack"}
    assert "Any" not in dir(boildown)
