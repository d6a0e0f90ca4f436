"""boildown.prune.patterns: what is cut as one, against loops over single weights."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from boildown.prune.masks import global_masks, layer_masks
from boildown.prune.patterns import Blocks, NofM, pattern_named


def groups(mask: Tensor, of: int) -> Tensor:
    """(groups, M) of a mask, along its second axis."""
    return mask.movedim(1, -1).reshape(-1, of)


@given(st.integers(0, 1000), st.sampled_from([(2, 4), (1, 2), (4, 8), (1, 3), (5, 6)]))
@settings(max_examples=50, deadline=None)
def test_the_n_largest_of_each_m_stay(seed: int, nm: tuple[int, int]) -> None:
    torch.manual_seed(seed)
    kept, of = nm
    pattern = NofM(kept, of)
    scores = {"conv": torch.rand(3, 2 * of, 2, 3), "fc": 100.0 * torch.rand(5, 4 * of)}
    for masks in (
        global_masks(scores, pattern.least, pattern),
        layer_masks(scores, dict.fromkeys(scores, pattern.least), pattern),
    ):
        for name, mask in masks.items():
            each = groups(mask, of)
            assert (each.sum(1) == kept).all()
            for row, found in zip(groups(scores[name], of), each, strict=True):
                assert set(found.nonzero().flatten().tolist()) == set(row.topk(kept)[1].tolist())


@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.3, 0.5, 0.7, 0.9])
def test_on_the_way_and_beyond_no_more_than_n_of_m_are_doomed(sparsity: float) -> None:
    torch.manual_seed(0)
    scores = {"conv": torch.rand(4, 8, 3, 3), "fc": torch.rand(10, 16)}
    masks = global_masks(scores, sparsity, NofM(2, 4))
    assert sum(int((~m).sum()) for m in masks.values()) == round(sparsity * 448)
    final = global_masks(scores, 0.5, NofM(2, 4))
    for name, mask in masks.items():
        left = groups(mask, 4).sum(1)
        assert (left >= 2).all() if sparsity <= 0.5 else (left <= 2).all()
        assert (mask | ~final[name]).all() if sparsity <= 0.5 else (final[name] | ~mask).all()


def test_what_is_cut_stays_among_what_goes() -> None:
    torch.manual_seed(0)
    before = torch.ones(6, 8, dtype=torch.bool)
    for sparsity in (0.1, 0.25, 0.4, 0.5, 0.6):
        scores = torch.rand(6, 8).masked_fill(~before, -torch.inf)
        mask = layer_masks({"w": scores}, {"w": sparsity}, NofM(2, 4))["w"]
        assert not (mask & ~before).any()
        assert int((~mask).sum()) == round(sparsity * 48)
        before = mask


@pytest.mark.parametrize(("rows", "columns"), [(1, 4), (4, 4), (2, 3)])
def test_blocks_go_by_their_mean(rows: int, columns: int) -> None:
    torch.manual_seed(0)
    scores = {"conv": torch.rand(4, 4, 3, 3), "fc": torch.rand(8, 12)}
    masks = global_masks(scores, 0.5, Blocks(rows, columns))
    means = []
    for name, mask in masks.items():
        matrix, whole = mask.flatten(1), scores[name].flatten(1)
        for i in range(0, len(matrix), rows):
            for j in range(0, matrix.shape[1], columns):
                block = matrix[i : i + rows, j : j + columns]
                assert block.all() or not block.any()
                mean = float(whole[i : i + rows, j : j + columns].mean())
                means.append((mean, bool(block.all())))
    dropped = [mean for mean, kept in means if not kept]
    assert len(dropped) == round(0.5 * len(means))
    assert max(dropped) < min(mean for mean, kept in means if kept)


@pytest.mark.parametrize("name", ["4:2", "0:4", "2:2", "2;4", "x4", "0x4", 24, "2:4 ", "-1x4"])
def test_what_is_no_pattern_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"prune\.pattern must be N:M .* got"):
        pattern_named(name, "prune.pattern")


def test_what_does_not_fit_is_said() -> None:
    assert NofM(2, 4).misfit((8, 6, 4, 4)) == "6 inputs, which 4 does not divide"
    assert Blocks(4, 1).misfit((6, 8)) == "6 outputs, which 4 does not divide"
    assert Blocks(1, 5).misfit((6, 2, 3, 3)) == "18 inputs, which 5 does not divide"
    assert NofM(2, 4).misfit((3, 8)) == Blocks(3, 3).misfit((6, 2, 3, 3)) == ""
