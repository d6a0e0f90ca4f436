"""A network that comes to a fit in evaluation mode is named, unless it is frozen on purpose."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
from fits import fit
from lightning.fabric.utilities.warnings import PossibleUserWarning
from torch import nn

from boildown.callbacks import ComputeBudget, Prune, QuantizeAfter, RoundWeights
from boildown.tasks.classification import Classification

SAID = "in evaluation mode when the fit begins"


def net() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(12, 8), nn.BatchNorm1d(8), nn.Sequential(nn.ReLU(), nn.Linear(8, 8)),
        nn.BatchNorm1d(8), nn.Linear(8, 3),
    )  # fmt: skip


def said_of(model: nn.Module, make: Any = Classification, *techniques: Any) -> list[str]:
    """What boildown warned of, in a fit of one epoch."""
    own = list(techniques) or [Prune(sparsity=0.5), RoundWeights()]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit([ComputeBudget(epochs=1), *own], model=model, make=make)
    lightnings = [w for w in caught if issubclass(w.category, PossibleUserWarning)]
    assert len(lightnings) >= any(not part.training for part in model.modules())
    return [str(w.message) for w in caught if SAID in str(w.message)]


def modes(*evaluating: int) -> nn.Sequential:
    model = net()
    for place in evaluating:
        model[place].eval()
    return model


def frozen(*places: int) -> nn.Sequential:
    model = modes(*places)
    for place in places:
        model[place].requires_grad_(False)
    return model


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: net().eval(), "so: model; "),
        (lambda: modes(1, 3), "so: model.1, model.3; "),
        (lambda: modes(2), "so: model.2; "),
    ],
)
def test_what_is_in_evaluation_mode_is_named_once(
    make: Callable[[], nn.Module], named: str
) -> None:
    (said,) = said_of(make())
    assert named in said
    assert "model.train()" in said


@pytest.mark.parametrize("make", [net, lambda: frozen(1), lambda: frozen(0, 1, 2)])
def test_what_trains_or_is_frozen_is_not(make: Callable[[], nn.Module]) -> None:
    assert said_of(make()) == []


def test_a_teacher_is_not() -> None:
    class Taught(Classification):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.teacher = net().eval()

        def configure_optimizers(self) -> Any:
            return self.optimizer(self.model.parameters())

    assert said_of(net(), Taught) == []


def test_many_are_counted() -> None:
    model = nn.Sequential(nn.Linear(12, 3), *(nn.BatchNorm1d(3) for _ in range(12)))
    for part in model[1:]:
        part.eval()
    (said,) = said_of(model)
    assert "model.8 and 4 more;" in said


def test_every_technique_says_it() -> None:
    inputs = [fit([ComputeBudget(epochs=0.1)])[0].train_dataloader]
    after = QuantizeAfter(bits=8, calibration=lambda: inputs[0])
    assert len(said_of(net().eval(), Classification, after)) == 1
    assert len(said_of(net().eval(), Classification, RoundWeights())) == 1
