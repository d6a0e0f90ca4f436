"""boildown.flops against closed forms."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from boildown.flops import training_flops


def test_linear_layers() -> None:
    model = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 3))
    # forward, gradient of the weights, gradient of the inputs (not of the network's own)
    expected = 2 * 8 * (3 * (12 * 16 + 16 * 3) - 12 * 16)
    assert training_flops(model, torch.randn(8, 12)) == expected


def test_convolution() -> None:
    model = nn.Conv2d(3, 5, 3, padding=1)
    assert training_flops(model, torch.randn(2, 3, 8, 8)) == 2 * 2 * (2 * 5 * 3 * 9 * 64)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(8, 8, bias=False)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        heads = self.project(inputs)[:, None]
        return F.scaled_dot_product_attention(heads, heads, heads)


def test_attention_is_seen() -> None:
    batch, length, width = 2, 16, 8
    projection = 2 * 2 * batch * length * width * width
    scores = 2 * batch * length * length * width
    counted = training_flops(Attention(), torch.randn(batch, length, width))
    assert counted - projection == pytest.approx(2 * scores * 3.25, rel=0.1)


def test_nothing_changes() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    generator = torch.get_rng_state()
    training_flops(model, torch.randn(8, 4, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(torch.get_rng_state(), generator)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
