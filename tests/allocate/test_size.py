"""boildown.allocate.size: a file of the asked size."""

import pytest
import torch
from torch import nn

from boildown.allocate.size import SparsityForSize, UnreachableSizeError, bits_for_ratio
from boildown.codec import encode, estimate
from boildown.prune.masks import global_masks, magnitude
from boildown.share.kmeans import round_to, share_tensor


@pytest.mark.parametrize("ratio", [8.0, 30.0])
def test_the_file_has_the_asked_size(ratio: float) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(100, 80), nn.Linear(80, 10))
    parameters = {n: p.detach() for n, p in model.named_parameters()}
    scores = magnitude({n: p for n, p in parameters.items() if p.ndim > 1})
    bits = bits_for_ratio(ratio)
    rule = SparsityForSize(measure=estimate, bits=bits, ratio=ratio, dtype="float16")
    masks = global_masks(scores, rule(parameters, {}, scores))
    state = {n: round_to(p, torch.float16) for n, p in parameters.items()}
    for name, mask in masks.items():
        cut = torch.where(mask, parameters[name], 0.0)
        state[name] = round_to(share_tensor(cut, bits), torch.float16)
    dense = 4 * sum(p.numel() for p in parameters.values())
    assert len(encode(state)) == pytest.approx(dense / ratio, rel=0.02)


def test_a_size_out_of_reach_is_refused() -> None:
    weight = {"w": torch.randn(20, 20)}
    rule = SparsityForSize(measure=estimate, bits=4, ratio=500.0)
    with pytest.raises(UnreachableSizeError, match="out of reach: what is not pruned takes"):
        rule(weight, {}, magnitude(weight))


def test_a_ratio_must_shrink() -> None:
    with pytest.raises(ValueError, match=r"above 1, got 0.5"):
        bits_for_ratio(0.5)
