"""Dynamic sparse training, pure: densities of Erdos-Renyi kernels, and what is exchanged."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from boildown.prune.densities import erk
from boildown.prune.rewiring import exchanged, rewired

SHAPES = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=3),
    st.lists(st.integers(1, 40), min_size=2, max_size=4),
    min_size=1,
    max_size=6,
)


@given(SHAPES, st.floats(0.0, 1.0))
@settings(max_examples=200, deadline=None)
def test_densities_are_in_proportion_and_give_the_density(
    shapes: dict[str, list[int]], density: float
) -> None:
    found = erk(shapes, density)
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    assert all(0.0 <= kept <= 1.0 + 1e-9 for kept in found.values())
    alive = sum(found[name] * sizes[name] for name in shapes)
    assert alive == pytest.approx(density * sum(sizes.values()), abs=1e-6)
    factors = [
        found[name] / (sum(shapes[name]) / sizes[name]) for name in shapes if found[name] < 1.0
    ]
    assert factors == pytest.approx([factors[0]] * len(factors)) if factors else density == 1.0


def test_densities_of_the_paper() -> None:
    """LeNet-300-100 by hand: (300 + 784) / (300 x 784) and so on, at a tenth of the weights."""
    shapes = {"fc1": (300, 784), "fc2": (100, 300), "fc3": (10, 100)}
    found = erk(shapes, 0.1)
    raw = {"fc1": 1084 / 235200, "fc2": 400 / 30000, "fc3": 110 / 1000}
    # 0.1 x 266200 = 26620 = f x (1084 + 400 + 110), and f x 0.11 > 1: fc3 stays whole.
    factor = (26620 - 1000) / (1084 + 400)
    assert found == {"fc1": pytest.approx(factor * raw["fc1"]), "fc2": pytest.approx(
        factor * raw["fc2"]), "fc3": 1.0}  # fmt: skip


def by_loops(weight: list[float], alive: list[bool], growth: list[float], count: int) -> list[bool]:
    there = sorted((abs(w), i) for i, w in enumerate(weight) if alive[i])
    kept = [alive[i] and i not in {i for _, i in there[:count]} for i in range(len(weight))]
    empty = sorted((-g, i) for i, g in enumerate(growth) if not kept[i])
    for _, i in empty[:count]:
        kept[i] = True
    return kept


@given(st.integers(0, 1000), st.integers(1, 30), st.floats(0.0, 1.0))
@settings(max_examples=100, deadline=None)
def test_the_smallest_make_room_for_the_largest_growth(seed: int, size: int, share: float) -> None:
    g = torch.Generator().manual_seed(seed)
    weight, growth = torch.randint(-4, 5, (2, size), generator=g).float()
    mask = torch.rand(size, generator=g) < 0.5
    count = int(share * int(mask.sum()))
    found = rewired(weight.reshape(1, -1), mask.reshape(1, -1), growth.reshape(1, -1), count)
    assert int(found.sum()) == int(mask.sum())
    assert found.flatten().tolist() == by_loops(
        weight.tolist(), mask.tolist(), growth.tolist(), count
    )


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="cannot exchange 3 of 2"):
        rewired(torch.ones(4), torch.tensor([True, True, False, False]), torch.ones(4), 3)
    with pytest.raises(ValueError, match=r"density must be in \[0, 1\], got 2"):
        erk({"a": (2, 2)}, 2.0)
    with pytest.raises(ValueError, match="nothing to prune"):
        erk({}, 0.5)
    assert [exchanged(10, u, 0.4) for u in (0.0, 1.0)] == [4, 0]
