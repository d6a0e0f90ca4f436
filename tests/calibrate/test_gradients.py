"""boildown.calibrate.gradients: one engine for losses and for what a network says."""

from typing import Any

import pytest
import torch
from draws import draw
from torch import Tensor, nn
from torch.nn import functional as F

from boildown.calibrate.gradients import gradients, parts_of, projected, watching
from boildown.forward import run


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize(
    ("shape", "classes"),
    [((5, 4), 1), ((5, 3, 4), 2), ((5, 4, 2, 3), 1), ((5, 1), None)],
)
def test_what_all_classes_have_in_common_counts_for_nothing(
    shape: tuple[int, ...], classes: int | None
) -> None:
    """The last axis of (N, C) and (N, T, C), the second of images."""
    output = torch.zeros(shape, requires_grad=True)
    projected(output, generator()).backward()
    v = output.grad
    assert v is not None
    for axis in range(1, len(shape)):
        size = float(v.mean(axis).abs().max())
        assert size < 1e-6 if axis == classes else size > 1e-2


def test_tokens_and_samples_are_treated_alike() -> None:
    """Of a layer that sees (N, T, n), the gradients are those of N T samples of a class each."""
    model, x = nn.Linear(6, 4), draw(5, 3, 6)
    seen: list[Tensor] = []

    def second(inputs: Tensor) -> Tensor:
        found: list[Tensor] = []
        g = generator()
        with watching(nn.ModuleDict({"a": model}), ["a"], lambda n, x, y: found.append(y)):
            for _ in gradients(model, [inputs], ["weight"], lambda i: projected(model(i), g)):
                pass
        rows = found[0].flatten(0, -2)
        return rows.mT @ rows / len(rows)

    centred = torch.eye(4) - 0.25
    for inputs in (draw(3000, 2, 6), draw(6000, 6)):
        seen.append(second(inputs))
        torch.testing.assert_close(seen[-1], centred, rtol=0, atol=0.05)
    assert second(x).shape == (4, 4)


def test_a_loss_squared_gradient_by_gradient() -> None:
    """What pruning by gradients asks: the mean over samples of the squared gradient of a loss."""
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).requires_grad_(False)
    x, y = draw(12, 4), torch.arange(12) % 2

    def loss(batch: tuple[Tensor, Tensor]) -> Tensor:
        return F.cross_entropy(model(batch[0]), batch[1])

    batches = [(x[i : i + 1], y[i : i + 1]) for i in range(12)]
    names = [name for name, _ in model.named_parameters()]
    total = {name: torch.zeros_like(model.get_parameter(name)) for name in names}
    for found in gradients(model, batches, names, loss):
        for name, gradient in found.items():
            total[name] += gradient.square() / len(batches)
    weights = dict(model.named_parameters())

    def one(weights: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(torch.func.functional_call(model, weights, x[None]), y[None])

    each = torch.func.vmap(torch.func.grad(one), in_dims=(None, 0, 0))(weights, x, y)
    torch.testing.assert_close(total, {name: g.square().mean(0) for name, g in each.items()})
    assert not any(p.requires_grad or p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("inplace", [False, True])
def test_behind_a_relu_nothing_is_masked(inplace: bool) -> None:
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(inplace), nn.Linear(5, 1, bias=False))
    x = draw(8, 3)
    taken: list[tuple[str, Tensor, Tensor]] = []
    for behind in (True, False):
        with watching(model, ["0"], lambda *t: taken.append(t), behind_relu=behind) as reached:
            list(gradients(model, [x], ["0.weight"], lambda inputs: model(inputs).sum()))
        name, inputs, gradient = taken.pop()
        assert reached == {"0"}
        assert not taken
        assert (name, inputs.shape) == ("0", (8, 3))
        passed = 1.0 if behind else (model[0](x) > 0).float()
        torch.testing.assert_close(gradient, (model[2].weight * passed).expand(8, 5).detach())
    assert not any(m._forward_hooks for m in model.modules())


def test_what_moves_nothing_has_no_gradient() -> None:
    model = nn.ModuleDict({"a": nn.Linear(3, 2), "b": nn.Linear(3, 2)})
    ways: list[Any] = [lambda x: model["a"](x).sum(), lambda x: model["a"](x).detach().sum()]
    names = ["a.weight", "b.weight"]
    found = [next(iter(gradients(model, [draw(2, 3)], names, way))) for way in ways]
    assert [set(one) for one in found] == [{"a.weight"}, set()]


def test_batches_are_split_before_their_activations_are_held() -> None:
    seen: list[int] = []
    model = nn.Sequential(nn.Linear(2, 2))
    model.register_forward_hook(lambda m, args, y: seen.append(len(args[0])))
    list(gradients(model, parts_of(draw(70, 2)), ["0.weight"], lambda x: run(model, x).sum()))
    assert seen == [32, 32, 6]
