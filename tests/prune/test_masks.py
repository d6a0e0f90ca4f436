"""boildown.prune.masks: exact counts, the smallest first, for good."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from boildown.prune.masks import at_floor, global_masks, layer_masks, smallest


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40), st.data())
@settings(max_examples=100, deadline=None)
def test_exactly_the_smallest_in_order(numbers: list[int], data: st.DataObject) -> None:
    scores = torch.tensor(numbers, dtype=torch.float32)
    count = data.draw(st.integers(0, len(numbers)))
    expected = sorted(range(len(numbers)), key=lambda i: (numbers[i], i))[:count]
    assert smallest(scores, count).nonzero().flatten().tolist() == sorted(expected)


@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.5, 0.99, 1.0])
def test_masks_cut_exactly_the_asked_fraction(sparsity: float) -> None:
    scores = {"kernel": torch.randn(3, 4, 2), "matrix": torch.randn(7, 11)}
    masks = global_masks(scores, sparsity)
    assert sum(int((~m).sum()) for m in masks.values()) == round(sparsity * 101)
    layers = layer_masks(scores, {"kernel": sparsity, "matrix": 0.5})
    assert int((~layers["kernel"]).sum()) == round(sparsity * 24)
    assert int((~layers["matrix"]).sum()) == round(0.5 * 77)


@given(st.floats(0.0, 1.0), st.floats(1e-6, 1e6), st.integers(0, 1000))
@settings(max_examples=100, deadline=None)
def test_no_tensor_is_emptied_by_a_ranking_of_all(sparsity: float, scale: float, seed: int) -> None:
    torch.manual_seed(seed)
    scores = {"a": torch.rand(40, 10), "small": torch.rand(3, 7) * scale, "one": torch.rand(1)}
    masks = global_masks(scores, sparsity)
    assert sum(int((~m).sum()) for m in masks.values()) == round(sparsity * 422)
    for mask in masks.values() if round(sparsity * 422) < 419 else ():
        assert int(mask.sum()) >= 0.1 * (1.0 - sparsity) * mask.numel()
        assert mask.any()


def test_tensors_at_their_floor_are_found() -> None:
    torch.manual_seed(0)
    scores = {"large": 1.0 + torch.rand(40, 10), "small": torch.rand(20, 10), "one": torch.rand(1)}
    assert at_floor(global_masks(scores, 0.6)) == {"small": pytest.approx(0.04)}
    assert at_floor(global_masks({"a": torch.rand(40, 10), "b": torch.rand(400)}, 0.9)) == {}
    assert at_floor(global_masks(scores, 0.0)) == at_floor(global_masks(scores, 1.0)) == {}


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match=r"\[0, 1\], got 1.5"):
        global_masks({"w": torch.ones(4)}, 1.5)
    with pytest.raises(ValueError, match="nothing to prune"):
        global_masks({}, 0.5)
    with pytest.raises(ValueError, match="cannot take 5 of 4"):
        smallest(torch.ones(4), 5)
