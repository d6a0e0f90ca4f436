"""Bits by what they cost and harm: against brute force, and the curvature against autograd."""

import itertools
import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from boildown.allocate.widths import Option, allocate_bits, cost_of, harm_by, options_of
from boildown.calibrate.curvature import mean_traces
from boildown.calibrate.evidence import Evidence


def drawn(seed: int, weights: int, widths: int) -> dict[str, dict[int, Option]]:
    make = torch.Generator().manual_seed(seed)
    found = {}
    for i in range(weights):
        size, harm = torch.rand(2, generator=make).tolist()
        found[f"w{i}"] = {
            bits: Option(100 * (0.1 + size) * bits, (0.01 + harm) * 4.0**-bits)
            for bits in range(2, 2 + widths)
        }
    return found


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1000), st.integers(1, 6), st.integers(1, 7), st.floats(0.0, 1.0))
def test_no_other_bits_do_less_harm(seed: int, weights: int, widths: int, at: float) -> None:
    options = drawn(seed, weights, widths)
    least = cost_of(options, dict.fromkeys(options, 2))
    most = cost_of(options, dict.fromkeys(options, 1 + widths))
    budget = least + at * (most - least)
    bits = allocate_bits(options, budget)
    assert cost_of(options, bits) <= budget * (1 + 1e-9)
    best = min(
        sum(options[n][b].loss for n, b in zip(options, each, strict=True))
        for each in itertools.product(range(2, 2 + widths), repeat=weights)
        if sum(options[n][b].cost for n, b in zip(options, each, strict=True)) <= budget
    )
    found = sum(options[n][b].loss for n, b in bits.items())
    assert found == pytest.approx(best, rel=1e-9)


def test_two_hundred_layers_take_less_than_a_second() -> None:
    options = drawn(0, 200, 8)
    budget = cost_of(options, dict.fromkeys(options, 4))
    before = time.perf_counter()
    allocate_bits(options, budget)
    assert time.perf_counter() - before < 1.0


def net() -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)).double()
    return model, torch.randn(32, 4).double(), torch.randint(0, 2, (32,))


def test_traces_are_those_of_the_whole_hessian() -> None:
    model, inputs, targets = net()
    names = ["0.weight", "2.weight"]
    found = mean_traces(
        model, [0], names, lambda _: F.cross_entropy(model(inputs), targets), probes=4000
    )
    for name in names:
        weight = model.get_parameter(name)

        def said(flat: Tensor, name: str = name, weight: Tensor = weight) -> Tensor:
            made = torch.func.functional_call(model, {name: flat.view_as(weight)}, (inputs,))
            return F.cross_entropy(made, targets)

        whole = torch.autograd.functional.hessian(said, weight.detach().flatten())
        mean = float(torch.as_tensor(whole).diagonal().mean())
        assert found[name] == pytest.approx(mean, rel=0.1)


def test_a_weight_that_does_not_matter_has_no_curvature() -> None:
    model, inputs, _ = net()
    model.add_module("aside", nn.Linear(3, 3).double())
    found = mean_traces(model, [0], ["aside.weight"], lambda _: model[0](inputs).square().mean())  # type: ignore[index]
    assert found == {"aside.weight": 0.0}


@pytest.mark.parametrize("by", ["trace", "measured"])
def test_harm_grows_as_bits_go(by: str) -> None:
    model, inputs, _ = net()
    said = model(inputs).detach()
    weights = {n: p for n, p in model.named_parameters() if p.ndim > 1}
    before = {n: p.detach().clone() for n, p in weights.items()}
    evidence = Evidence(
        model, weights, lambda: [(inputs, said)], lambda b: F.mse_loss(model(b[0]), b[1])
    )

    def rounded(name: str, bits: int) -> Tensor:
        step = before[name].abs().max() / 2 ** (bits - 1)
        return (before[name] / step).round() * step

    options = options_of(weights, rounded, harm_by(by, evidence, weights))  # type: ignore[arg-type]
    for name, some in options.items():
        assert some[8].loss < some[2].loss
        assert torch.equal(weights[name], before[name])
        assert some[8].cost > some[2].cost
