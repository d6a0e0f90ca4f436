"""boildown.compress: a smaller network in one call."""

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from draws import draw
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import boildown
from boildown.allocate.size import UnreachableSizeError
from boildown.lowrank.factorize import factorize


class Net(nn.Module):
    """With a norm, whose statistics are in the file."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(
            nn.Linear(20, 200), nn.ReLU(), nn.Linear(200, 50), nn.BatchNorm1d(50), nn.ReLU()
        )
        self.head = nn.Linear(50, 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.body(x))
        return y


X = draw(256, 20, seed=1)
Y = (X[:, :3] + 0.1 * draw(256, 3, seed=2)).argmax(1)


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        F.cross_entropy(model(X), Y).backward()
        optimizer.step()
    return model.eval()


def error(model: nn.Module) -> float:
    with torch.no_grad():
        return float((model(X).argmax(1) != Y).float().mean())


def dense_bytes(model: nn.Module) -> int:
    return 4 * sum(p.numel() for p in model.parameters())


DATA: dict[str, Any] = {
    "tensors": (X, Y),
    "dataset": TensorDataset(X, Y),
    "loader": DataLoader(TensorDataset(X, Y), 32),
    "batches": list(zip(X.split(64), Y.split(64), strict=True)),
    "two batches": list(zip(X.split(128), Y.split(128), strict=True)),
}


@pytest.mark.parametrize("kind", DATA)
def test_a_smaller_network_in_one_call(kind: str, trained: nn.Module, tmp_path: Path) -> None:
    before = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
    path = tmp_path / "small.boil"
    small = boildown.compress(trained, DATA[kind], ratio=5, epochs=12, lr=0.005, path=path)
    assert 0.97 * dense_bytes(trained) / 5 <= path.stat().st_size <= dense_bytes(trained) / 5
    assert isinstance(small, Net)
    assert not small.training
    loaded = boildown.load(path, Net())
    assert torch.equal(loaded(X), small(X))
    assert error(small) <= error(trained) + 0.05
    assert all(torch.equal(before[name], t) for name, t in trained.state_dict().items())
    assert not trained.training


def test_a_loss_of_ones_own_and_a_low_rank_network(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = factorize(nn.Sequential(nn.Linear(20, 60), nn.ReLU(), nn.Linear(60, 2)), {"0": 8})
    with torch.no_grad():
        targets = model(X)
    small = boildown.compress(model, (X, targets), 4, loss=F.mse_loss, epochs=6,
                              path=tmp_path / "a.boil")  # fmt: skip
    assert (tmp_path / "a.boil").stat().st_size <= dense_bytes(model) / 4
    given = nn.Sequential(nn.Linear(20, 60), nn.ReLU(), nn.Linear(60, 2))
    assert torch.equal(boildown.load(tmp_path / "a.boil", given)(X), small(X))


class Lit(LightningModule):
    pass


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"ratio": 1}, "ratio must be a number above 1, got 1"),
        ({"ratio": float("nan")}, "ratio must be a number above 1, got nan"),
        ({"epochs": 0}, "epochs must be a number above 0"),
        ({"lr": -1.0}, "lr must be a number above 0"),
        ({"data": (X, Y[:5])}, "256 inputs and 5 targets"),
        ({"data": iter([(X, Y)])}, "the length of the data, a list_iterator, is not known"),
        ({"data": []}, "data is empty"),
        ({"data": [X, X, X]}, r"a batch must be \(inputs, targets\), got a Tensor"),
        ({"data": (X, X[:, 0])}, "whole numbers, got targets of torch.float32: give loss"),
        ({"loss": lambda a, b: F.cross_entropy(a, b, reduction="none")}, "loss must give a single"),
        ({"model": Lit()}, "expected a network, got a Lit; give the network in it"),
        ({"model": "net.pt"}, "expected a network, got a str$"),
        ({"model": Net().requires_grad_(False)}, "no parameter of the model is trained"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(change: dict[str, Any], why: str) -> None:
    given: dict[str, Any] = {"model": Net(), "data": (X, Y), "ratio": 5} | change
    with pytest.raises(ValueError, match=why) as told:
        boildown.compress(**given)
    assert "\n" not in str(told.value)


def test_a_size_out_of_reach_is_refused_before_the_training() -> None:
    with pytest.raises(UnreachableSizeError, match=r"ratio=500\) is out of reach"):
        boildown.compress(Net(), (X, Y), ratio=500, loss=lambda a, b: pytest.fail("trained"))


def test_a_file_that_cannot_be_written(
    trained: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FileNotFoundError, match="there is no directory"):
        boildown.compress(trained, (X, Y), path=tmp_path / "no" / "a.boil",
                          loss=lambda a, b: pytest.fail("trained"))  # fmt: skip
    assert list(tmp_path.iterdir()) == []

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("boildown.compressing.pack", full)
    with pytest.warns(UserWarning, match=r"was not written: .*No space.*compress returns"):
        small = boildown.compress(trained, (X, Y), 5, epochs=2, path=tmp_path / "a.boil")
    assert isinstance(small, Net)


def test_nothing_is_said_but_the_progress(
    trained: nn.Module, capsys: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        boildown.compress(trained, (X, Y), 5, epochs=3)
    said = capsys.readouterr()
    assert said.err == ""
    assert all("%" in line for line in said.out.splitlines())
    assert said.out.splitlines()[-1].startswith("100%  share  loss ")


def test_it_is_imported_when_it_is_called() -> None:
    code = (
        "import sys, boildown; print({'torch', 'lightning'} & set(sys.modules), boildown.compress)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.startswith("set() <function compress")


def test_bytes_may_be_asked_for_instead_of_a_ratio(trained: nn.Module, tmp_path: Path) -> None:
    boildown.compress(trained, (X, Y), bytes=6000, epochs=2, path=tmp_path / "small.boil")
    assert 5500 < (tmp_path / "small.boil").stat().st_size <= 6000


@pytest.mark.parametrize(
    ("sizes", "why"),
    [
        ({"bytes": 6000, "ratio": 4}, "are two sizes"),
        ({"bytes": 0}, "bytes must be a number above 0 and below"),
        ({"bytes": 10**9}, "bytes must be a number above 0 and below"),
        ({"bytes": "6000"}, "got '6000'"),
    ],
)
def test_sizes_that_are_none_are_refused(
    trained: nn.Module, sizes: dict[str, Any], why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        boildown.compress(trained, (X, Y), **sizes)
