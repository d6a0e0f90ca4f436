"""Bits by what they cost and harm: against brute force, and the curvature against autograd."""

import itertools
import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from boildown.allocate.widths import (
    Option,
    allocate_bits,
    check_groups,
    cost_of,
    groups_among,
    harm_by,
    least_cost,
    options_of,
)
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


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 1000),
    st.lists(st.integers(0, 2), min_size=1, max_size=6),
    st.integers(1, 5),
    st.floats(0.0, 1.0),
)
def test_groups_get_the_best_bits_that_are_alike(
    seed: int, of: list[int], widths: int, at: float
) -> None:
    """Against all bits that are alike within the groups 1 and 2; 0 is none."""
    options = drawn(seed, len(of), widths)
    groups = [[f"w{i}" for i, one in enumerate(of) if one == group] for group in (1, 2)]
    groups = [group for group in groups if group]
    every = [
        dict(zip(options, each, strict=True))
        for each in itertools.product(range(2, 2 + widths), repeat=len(of))
    ]
    alike = [bits for bits in every if all(len({bits[n] for n in g}) == 1 for g in groups)]
    costs = [cost_of(options, bits) for bits in alike]
    assert least_cost(options, groups) == pytest.approx(min(costs))
    budget = min(costs) + at * (max(costs) - min(costs))
    found = allocate_bits(options, budget, groups)
    assert list(found) == list(options)
    assert all(len({found[name] for name in group}) == 1 for group in groups)
    assert cost_of(options, found) <= budget * (1 + 1e-9)

    def loss(bits: dict[str, int]) -> float:
        return sum(options[n][b].loss for n, b in bits.items())

    best = min(loss(b) for b, c in zip(alike, costs, strict=True) if c <= budget)
    assert loss(found) == pytest.approx(best, rel=1e-9)


def test_groups_take_the_widths_that_all_members_have() -> None:
    options = drawn(0, 2, 3)
    del options["w0"][2], options["w1"][4]
    assert allocate_bits(options, 1e9, [["w0", "w1"]]) == {"w0": 3, "w1": 3}
    del options["w0"][3]
    with pytest.raises(ValueError, match="w0, w1 have no number of bits in common"):
        allocate_bits(options, 1e9, [["w0", "w1"]])
    with pytest.raises(ValueError, match="w7 is none of the weights, w0, w1"):
        allocate_bits(options, 1e9, [["w0", "w7"]])
    with pytest.raises(ValueError, match="named twice"):
        allocate_bits(options, 1e9, [["w0"], ["w0"]])


def test_members_are_found_by_patterns_and_bad_groups_are_named() -> None:
    names = [f"{i}.{part}.weight" for i in (0, 1) for part in ("q", "k", "up")]
    assert groups_among([["0.q", "0.k"], ["*.up"]], names, "groups") == [
        ["0.q.weight", "0.k.weight"],
        ["0.up.weight", "1.up.weight"],
    ]
    with pytest.raises(
        ValueError, match=r"groups: 0\.k\.weight is in two .*\['0\.\?'\] and \['k'\]"
    ):
        groups_among([["0.?"], ["k"]], names, "groups")
    with pytest.raises(ValueError, match=r"quantize\.groups: the pattern 'v' matches no tensor"):
        groups_among([["q", "v"]], names, "quantize.groups")


@pytest.mark.parametrize("given", ["q", ["q", "k"], [[]], [["q"], []], [["q", 3]], 3, [None]])
def test_what_is_no_list_of_lists_is_refused(given: object) -> None:
    with pytest.raises(ValueError, match="groups must be a list of lists of names or patterns"):
        check_groups(given, "groups")


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
