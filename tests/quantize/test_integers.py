"""Whole numbers out of a weight's values."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from boildown.quantize.integers import integers_of


@settings(deadline=None)  # the first compiles
@given(
    outputs=st.integers(1, 6),
    groups=st.integers(1, 4),
    size=st.integers(4, 20),
    low=st.integers(-255, 0),
    bits=st.integers(2, 8),
    seed=st.integers(0, 999),
)
def test_codes_steps_and_zero_points_give_the_weight_to_the_bit(
    outputs: int, groups: int, size: int, low: int, bits: int, seed: int
) -> None:
    torch.manual_seed(seed)
    low = max(low, 1 - 2**bits)
    whole = torch.randint(low, low + 2**bits, (outputs, groups, size))
    steps = torch.rand(outputs, groups, 1) + 0.01
    weight = (whole.float() * steps).flatten(1)
    found = integers_of(weight)
    assert found is not None
    assert torch.equal(found.values(), weight)
    assert found.codes.dtype == torch.int8
    assert found.codes.shape == weight.shape
    assert found.group >= size


def test_one_step_to_an_output_is_enough_for_a_grid_of_the_tensor() -> None:
    torch.manual_seed(0)
    found = integers_of(torch.randint(-128, 128, (5, 3, 4, 4)) * 0.37)
    assert found is not None
    assert found.steps.shape == (5, 1)
    assert not found.zeros.any()


def test_weights_on_no_grid_are_told() -> None:
    torch.manual_seed(0)
    assert integers_of(torch.randn(8, 64)) is None
    assert integers_of(torch.randn(8)) is None
    assert integers_of(torch.randint(0, 4, (8, 64)).double()) is None
