"""Rows, filters and whole layers at zero, then shared or rounded, then packed: all stays finite."""

from pathlib import Path
from typing import Any

import pytest
import torch
from fits import drawn, fit
from torch import Tensor, nn

import boildown
from boildown.callbacks.prune import Prune
from boildown.callbacks.quantize import Quantize
from boildown.callbacks.round import RoundWeights
from boildown.callbacks.share import ShareWeights


class Small(nn.Module):
    """A convolution with a norm, a residual branch, and two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(1, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.branch = nn.Conv2d(8, 8, 3, padding=1)
        self.fc1 = nn.Linear(8, 16)
        self.fc2 = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.conv(x)))
        x = torch.relu(x + self.branch(x)).mean((2, 3))
        return self.fc2(torch.relu(self.fc1(x)))


def dead_rows(weights: Any) -> dict[str, Tensor]:
    """Scores by which the first half of the rows goes, and all of the branch."""
    scores = {}
    for name, weight in weights.items():
        rows = torch.arange(len(weight), dtype=torch.float32) + 1.0
        scores[name] = rows.view(-1, *[1] * (weight.ndim - 1)).expand_as(weight).clone()
    return scores


def trained(finish: list[Any], **options: Any) -> nn.Module:
    inputs, targets = drawn(64, 64, 3)
    prune = Prune(
        keep={"branch": 1e-6, "conv": 0.5, "fc1": 0.5}, criterion=dead_rows, begin=0.2, end=0.4,
        check="step",
    )  # fmt: skip
    _, model = fit(
        [prune, *finish], lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
        model=Small(), data=(inputs.view(64, 1, 8, 8), targets), max_epochs=4, **options,
    )  # fmt: skip
    return model


FINISH: dict[str, list[Any]] = {
    "shared": [{"bits": 4}],
    "shared in fp16": [{"bits": 3, "dtype": "float16"}],
    "shared in bf16, twice": [{"bits": 2, "dtype": "bfloat16", "rounds": 2}],
    "shared, biases too": [{"bits": {"*": 3}, "dtype": "float16"}],
    "not tuned": [{"bits": 5, "dtype": "float16", "tune": False}],
    "paper's sum": [{"bits": 1, "gradient": "sum", "dtype": "float16"}],
    "rounded": [],
}
GRIDS: dict[str, dict[str, Any]] = {
    "by channel": {"bits": 4},
    "by tensor, steps fixed": {"bits": 3, "granularity": "tensor", "learn": False},
    "blocks of inputs": {"bits": 4, "granularity": 4, "exclude": ["conv", "branch"]},
    "ternary": {"bits": "ternary"},
    "inputs too": {"bits": 8, "activations": 8},
}


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("finish", FINISH)
def test_dead_rows_and_a_dead_layer_stay_finite(
    finish: str, precision: str, tmp_path: Path
) -> None:
    last: list[Any] = [ShareWeights(begin=0.5, check="step", **how) for how in FINISH[finish]]
    model = trained(last or [RoundWeights(dtype="float16")], precision=precision)
    state = model.state_dict()
    assert all(torch.isfinite(tensor).all() for tensor in state.values())
    assert not state["branch.weight"].any()
    for name in ("conv.weight", "fc1.weight"):
        half = len(state[name]) // 2
        assert not state[name][:half].any()
        assert state[name][half:].any()
    path = tmp_path / "model.boil"
    boildown.pack(model, path)
    found = boildown.unpack(path)
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())
    loaded = boildown.load(path, Small()).eval()
    x = drawn(64, 64, 3)[0].view(64, 1, 8, 8)
    with torch.no_grad():
        said = loaded(x)
        torch.testing.assert_close(said, model.eval()(x), rtol=0, atol=0)
    assert torch.isfinite(said).all()


@pytest.mark.parametrize("grid", GRIDS)
def test_dead_rows_and_a_dead_layer_on_a_grid(grid: str, tmp_path: Path) -> None:
    inputs, targets = drawn(64, 64, 3)
    quantize = Quantize(
        begin=0.5,
        check="step",
        calibration=lambda: [(inputs.view(64, 1, 8, 8), targets)],
        **GRIDS[grid],
    )
    model = trained([quantize])
    state = model.state_dict()
    assert all(torch.isfinite(tensor).all() for tensor in state.values())
    assert not state["branch.weight"].any()
    assert not state["fc1.weight"][:8].any()
    boildown.pack(model, tmp_path / "model.boil")
    found = boildown.unpack(tmp_path / "model.boil")
    assert all(torch.equal(found[name], state[name]) for name in state)
    with torch.no_grad():
        assert torch.isfinite(model.eval()(inputs.view(64, 1, 8, 8))).all()


def test_a_network_of_zeros_is_shared_and_packed(tmp_path: Path) -> None:
    model = Small()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    inputs, targets = drawn(64, 64, 3)
    _, model = fit(
        [ShareWeights(bits={"*": 3}, begin=0.0, dtype="float16", check="step")],
        model=model, data=(inputs.view(64, 1, 8, 8), targets), max_epochs=2,
    )  # fmt: skip
    boildown.pack(model, tmp_path / "model.boil")
    assert not any(p.any() for p in boildown.load(tmp_path / "model.boil", Small()).parameters())
