"""Prune within budgets of nonzeros, operations and bytes, and by measured sensitivities."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fits import StopAt, drawn, fit
from torch import Tensor, nn

from boildown import codec
from boildown.allocate.size import AskedSize
from boildown.calibrate.evidence import EvidenceError
from boildown.callbacks.budget import ComputeBudget, clock_of
from boildown.callbacks.prune import Prune
from boildown.flops import flops_by_weight, forward_flops_by_weight
from boildown.prune.criteria import magnitude, movement
from boildown.schedule import Cubic, OneShot, Rounds

SCOPES = ("global", "layer", "erk", "sensitivity")
WINDOW: dict[str, Any] = {"begin": 0.25, "end": 0.75, "check": "step"}


def batches() -> list[tuple[Tensor, Tensor]]:
    inputs, targets = images()
    return list(zip(inputs.split(8), targets.split(8), strict=True))


def images() -> tuple[Tensor, Tensor]:
    inputs, targets = drawn(64, 64, 3)
    return inputs.view(64, 1, 8, 8), targets


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=2), nn.ReLU(), nn.Flatten(),
        nn.Linear(128, 24), nn.ReLU(), nn.Linear(24, 3),
    )  # fmt: skip


def pruned(**given: Any) -> tuple[Prune, nn.Module]:
    fitted = {name: given.pop(name) for name in ("resume", "extra") if name in given}
    prune = Prune(calibration=batches, **(WINDOW | given))
    _, model = fit(
        [ComputeBudget(steps=24), prune, *fitted.pop("extra", [])],
        model=net(), data=images(), val_check_interval=4, check_val_every_n_epoch=None, **fitted,
    )  # fmt: skip
    return prune, model


def operations_left(model: nn.Module) -> float:
    """Of the weights, if zeros cost nothing."""
    flops = forward_flops_by_weight(model, images()[0][:1])
    left = sum(
        flop * float((model.get_parameter(name) != 0).float().mean())
        for name, flop in flops.items()
    )
    return left / sum(flops.values())


def test_an_entry_costs_as_often_as_it_is_applied() -> None:
    model, x = net(), images()[0][:2]
    found = forward_flops_by_weight(model, x)
    each = {name: n / model.get_parameter(name).numel() / 2 / len(x) for name, n in found.items()}
    assert each == {"0.weight": 36.0, "2.weight": 16.0, "5.weight": 1.0, "7.weight": 1.0}
    training = flops_by_weight(model, x)
    assert all(training[n] in (2 * flops, 3 * flops) for n, flops in found.items())


@pytest.mark.parametrize("schedule", [Cubic(), OneShot(), Rounds(3)])
def test_sensitivities_share_out_what_stays(schedule: Any) -> None:
    prune, model = pruned(sparsity=0.9, scope="sensitivity", schedule=schedule)
    weights = [p for p in model.parameters() if p.ndim > 1]
    total = sum(weight.numel() for weight in weights)
    kept = sum(int((weight != 0).sum()) for weight in weights)
    assert kept == total - round(0.9 * total)
    densities = list(prune.densities.values())
    assert max(densities) > 2 * min(densities) > 0.0


@pytest.mark.parametrize("criterion", [magnitude, movement])
@pytest.mark.parametrize("scope", SCOPES)
def test_operations_are_met_from_below(scope: Any, criterion: Any) -> None:
    _, model = pruned(flops=0.2, scope=scope, criterion=criterion)
    assert 0.19 <= operations_left(model) <= 0.2 + 1e-9


@pytest.mark.parametrize("scope", SCOPES)
def test_both_budgets_are_met(scope: Any) -> None:
    for sparsity, flops in ((0.9, 0.5), (0.5, 0.2)):
        prune, model = pruned(flops=flops, sparsity=sparsity, scope=scope)
        assert operations_left(model) <= flops + 1e-9
        assert prune.sparsity >= sparsity - 1e-3  # each layer of erk is rounded


@pytest.mark.parametrize("pattern", ["1:2", "1x4", "4x1"])
@pytest.mark.parametrize("amount", [{"sparsity": 0.8}, {"flops": 0.2}])
def test_in_patterns(pattern: str, amount: dict[str, float]) -> None:
    settings = {"scope": "sensitivity", "exclude": ["0", "7"], "pattern": pattern}
    prune, model = pruned(**amount, **settings)
    if "sparsity" in amount:
        assert 0.8 <= prune.sparsity <= 0.81
    else:
        flops = forward_flops_by_weight(model, images()[0][:1])
        flops = {name: flops[name] for name in ("2.weight", "5.weight")}
        left = sum(f * prune.densities[f"model.{name}"] for name, f in flops.items())
        assert left <= 0.2 * sum(flops.values()) + 1e-6


@pytest.mark.parametrize("stop", [4, 8, 12, 20])
@pytest.mark.parametrize("given", [{"sparsity": 0.9}, {"flops": 0.3}])
@pytest.mark.filterwarnings("ignore:the training ended at")
def test_what_was_measured_resumes_to_the_bit(
    stop: int, given: dict[str, float], tmp_path: Path
) -> None:
    settings = {"scope": "sensitivity", **given}
    whole, straight = pruned(**settings)
    pruned(**settings, extra=[StopAt(stop, tmp_path / "stopped.ckpt")])
    again, resumed = pruned(**settings, resume=tmp_path / "stopped.ckpt")
    torch.testing.assert_close(resumed.state_dict(), straight.state_dict(), rtol=0, atol=0)
    assert again.selection.state_dict() == whole.selection.state_dict()


def test_a_file_of_the_asked_size_by_sensitivities() -> None:
    def measure(weights: Any) -> int:
        return codec.estimate({name: weight.detach() for name, weight in weights.items()})

    prune = Prune(scope="sensitivity", calibration=batches, **WINDOW)
    dense = 4 * sum(p.numel() for p in net().parameters())
    prune.size = AskedSize(2500, dense, measure, prune.preview)
    _, model = fit([ComputeBudget(steps=24), prune], model=net(), data=images())
    weights = {f"model.{name}": p.detach() for name, p in model.named_parameters()}
    assert 0.9 * 2500 <= codec.estimate(weights) <= 2500


def test_the_measurement_is_charged() -> None:
    spent = []
    for scope in ("erk", "sensitivity"):
        budget = ComputeBudget(steps=24, phases={"dense": 0.0, "prune": 0.25})
        prune = Prune(sparsity=0.5, scope=scope, calibration=batches, **WINDOW)  # type: ignore[arg-type]
        trainer, _ = fit([budget, prune], model=net(), data=images())
        clock = clock_of(trainer)
        assert clock is not None
        spent.append(clock.flops)
    assert spent[1] > spent[0]


BAD: list[tuple[dict[str, Any], str]] = [
    ({"flops": 0.0}, r"prune\.flops must be a number in \(0, 1\], got 0"),
    ({"flops": True}, r"prune\.flops must be a number .* got True"),
    ({"flops": 0.5, "keep": {"0": 0.1}}, "either flops or keep"),
    ({"sparsity": 0.5, "scope": "fisher"}, r"prune\.scope must be one of .*sensitivity, got"),
]


@pytest.mark.parametrize(("given", "says"), BAD)
def test_bad_budgets_are_named(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Prune(**given)


class Wants(nn.Module):
    """A network whose weights take no operation that is recognised."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(64, 3))

    def forward(self, x: Tensor) -> Tensor:
        return (x.flatten(1)[..., None] * self.weight.exp()).sum(1)


@pytest.mark.parametrize(
    ("given", "make", "says"),
    [
        ({"sparsity": 0.5, "scope": "sensitivity"}, None, "inputs are needed, and there are no"),
        ({"flops": 0.5}, None, "inputs are needed, and there are no calibration batches"),
        ({"flops": 0.5}, Wants, r"flops=0\.5: no operation .* \(model\.weight\); give"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_the_training(
    given: dict[str, Any], make: Callable[[], nn.Module] | None, says: str
) -> None:
    prune = Prune(calibration=None if make is None else batches, **given)
    model = net() if make is None else make()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises((EvidenceError, ValueError), match=says):
        fit([ComputeBudget(steps=8), prune], model=model, data=images())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
