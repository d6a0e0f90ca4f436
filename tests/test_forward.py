"""boildown.forward: tensors in what a model takes and gives, and a model that stays as it was."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from boildown.forward import evaluating, hooks, inputs_of, tensors_of


def test_evaluating_covers_modules_one_by_one() -> None:
    model = nn.Sequential(nn.BatchNorm1d(2), nn.ReLU(), nn.Dropout())
    model[1].eval()
    with evaluating(model):
        assert not any(m.training for m in model.modules())
        assert not torch.is_grad_enabled()
    assert [m.training for m in model] == [True, False, True]


def test_inputs_come_first() -> None:
    x = torch.zeros(2)
    for batch in (x, (x, 1), [x], {"x": x, "y": 1}, ((x, x), 1), ("name", x)):
        assert inputs_of(batch) is x


def test_tensors_are_found_in_what_networks_return() -> None:
    @dataclass
    class Output:
        logits: Tensor
        hidden: tuple[Tensor, ...]
        name: str

    x, y = torch.zeros(1), torch.zeros(2)
    for value in ([x, y], {"a": x, "b": (y,)}, Output(x, (y,), "c")):
        found = tensors_of(value)
        assert found[0] is x
        assert found[1] is y
    assert tensors_of(Output) == []


def test_no_hook_is_left_by_an_error() -> None:
    model = nn.Linear(2, 2)

    def fail(*_: object) -> None:
        raise RuntimeError

    def work() -> None:
        with hooks() as handles:
            handles.append(model.register_forward_hook(fail))
            model(torch.zeros(1, 2))

    with pytest.raises(RuntimeError):
        work()
    assert not model._forward_hooks
