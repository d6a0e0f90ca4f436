"""boildown.calibrate.batches: what is read of calibration data, and what passing them costs."""

from collections.abc import Iterator

import pytest
import torch
from draws import draw
from torch import Tensor, nn

from boildown.calibrate.batches import calibration_flops, collect


def test_collect_reads_no_more_than_it_needs() -> None:
    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for i in range(3):
            assert i < 2, "read too far"
            yield torch.full((4, 2), float(i)), torch.zeros(4)

    kept = collect(batches(), 6)
    assert [len(k) for k in kept] == [4, 2]
    assert torch.cat(kept)[:, 0].tolist() == [0, 0, 0, 0, 1, 1]
    assert [len(k) for k in collect(torch.zeros(600, 1), 1000)] == [256, 256, 88]
    with pytest.raises(ValueError, match="samples must be at least 1, got 0"):
        collect(torch.zeros(3, 1), 0)


def test_flops_of_batches_of_several_sizes() -> None:
    model = nn.Linear(3, 2)
    data = [draw(4, 3), (draw(4, 3), 0), draw(1, 3)]
    assert calibration_flops(model, data, passes=2) == 2 * 2 * 9 * 6


def test_flops_are_counted_in_evaluation_mode() -> None:
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2)).train()
    assert calibration_flops(model, draw(1, 3)) >= 2 * 6  # one sample cannot be normalised
    assert [module.training for module in model.modules()] == [True] * 3
