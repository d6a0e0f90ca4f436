"""A LightningDataModule as the data of a run: trained on, proven in a fresh process, resumed."""

import sys
from pathlib import Path

import pytest
from runs import call_here, result_of, stop_in, train

OWN = """
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, TensorDataset, random_split

class Rings(LightningDataModule):
    def __init__(self, samples=400, kind="classes", tests=True):
        super().__init__()
        self.samples, self.kind, self.tests = samples, kind, tests

    def setup(self, stage):
        g = torch.Generator().manual_seed(0)
        points = torch.randn(self.samples, 2, generator=g)
        radius = points.norm(dim=1)
        target = (radius > 1).long() + (radius > 2).long() if self.kind == "classes" else radius
        whole = TensorDataset(points, target)
        self.parts = random_split(whole, [0.6, 0.2, 0.2], generator=g)

    def loader(self, part, **options):
        return DataLoader(self.parts[part], batch_size=32, **options)

    def train_dataloader(self):
        return self.loader(0, shuffle=True, drop_last=True)

    def val_dataloader(self):
        return self.loader(1)

    def test_dataloader(self):
        return self.loader(2)

class Untested(Rings):
    test_dataloader = LightningDataModule.test_dataloader

class Listed(Rings):
    def train_dataloader(self):
        return [super().train_dataloader()]

class Dicts(Rings):
    def val_dataloader(self):
        return DataLoader([{"x": torch.zeros(2)}] * 4, batch_size=2)
"""
SHORT = ("logger=none", "model=mlp", "model.width=16", "budget.epochs=40", "validations=4")
DEEP = ("+compression=deep", "compression.ratio=3")


@pytest.fixture
def _own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_data.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.delitem(sys.modules, "own_data", raising=False)


def data(name: str, **settings: object) -> tuple[str, ...]:
    given = ", ".join(f"{key}: {value}" for key, value in settings.items())
    return ("~data", f"+data={{_target_: own_data.{name}{', ' * bool(given)}{given}}}")


@pytest.mark.usefixtures("_own")
def test_a_run_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    given = (*data("Rings", samples=1600), *SHORT, *DEEP)
    train(tmp_path / "whole", *given)
    result = result_of(tmp_path / "whole")
    assert result["dense"]["params"] == 2 * 16 + 16 + 16 * 16 + 16 + 16 * 3 + 3
    assert result["dense"]["metrics"]["test/error"] < 0.3
    stop_in("prune", tmp_path / "stopped", *given)
    train(tmp_path / "stopped", *given, "resume=true")
    files = [(tmp_path / run / "model.boil").read_bytes() for run in ("whole", "stopped")]
    assert files[0] == files[1]


@pytest.mark.usefixtures("_own")
def test_numbers_to_predict_are_found(tmp_path: Path) -> None:
    train(tmp_path / "run", *data("Rings", kind="radius"), "task=regression", *SHORT)
    assert result_of(tmp_path / "run")["dense"]["metrics"]["test/r2"] > 0.5


@pytest.mark.usefixtures("_own")
@pytest.mark.parametrize(
    ("given", "says"),
    [
        (data("Untested"), "Untested has no test_dataloader()"),
        (
            data("Listed"),
            "Listed.train_dataloader() makes a list; a run takes one",
        ),
        (data("Dicts"), "a batch of Dicts must be two tensors, inputs and targets, got a dict"),
        (data("Rings", kind="radius"), "not for data Rings; task=regression"),
        (data("Rings", samples=20), "at least one batch"),
    ],
)
def test_what_a_run_cannot_take_is_said(given: tuple[str, ...], says: str, tmp_path: Path) -> None:
    done = call_here(*given, *SHORT, f"hydra.run.dir={tmp_path / 'run'}")
    assert done.returncode == 1
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
