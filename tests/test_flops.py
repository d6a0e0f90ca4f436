"""boildown.flops against closed forms."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from boildown.flops import training_flops
from boildown.models.transformer import BERT, GPT, Transformer


def test_linear_layers() -> None:
    model = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 3))
    # forward, gradient of the weights, gradient of the inputs (not of the network's own)
    expected = 2 * 8 * (3 * (12 * 16 + 16 * 3) - 12 * 16)
    assert training_flops(model, torch.randn(8, 12)) == expected


def test_convolution() -> None:
    model = nn.Conv2d(3, 5, 3, padding=1)
    assert training_flops(model, torch.randn(2, 3, 8, 8)) == 2 * 2 * (2 * 5 * 3 * 9 * 64)


@pytest.mark.parametrize(
    ("kernel", "stride", "groups", "bias"), [(3, 1, 1, True), (5, 2, 1, False), (3, 1, 4, True)]
)
def test_convolutions_behind_the_first(kernel: int, stride: int, groups: int, bias: bool) -> None:
    first = nn.Conv2d(3, 8, 3, padding=1)
    second = nn.Conv2d(8, 12, kernel, stride, kernel // 2, groups=groups, bias=bias)
    side = -(-16 // stride)
    of_first = 2 * 16 * 16 * (8 * 3 * 9)
    of_second = 2 * side * side * (12 * 8 // groups * kernel**2)
    counted = training_flops(nn.Sequential(first, nn.ReLU(), second), torch.randn(4, 3, 16, 16))
    # the first layer's inputs need no gradient: 2 passes instead of 3
    assert counted == pytest.approx(4 * (2 * of_first + 3 * of_second), rel=0.01)


@pytest.mark.parametrize("kind", [GPT, BERT])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize(
    ("width", "depth", "context"), [(32, 1, 16), (64, 2, 64), (128, 4, 32), (96, 3, 256)]
)
def test_transformer(
    kind: type[Transformer], tied: bool, width: int, depth: int, context: int
) -> None:
    """6 N D and attention: Kaplan et al. 2020, section 2.1; Chowdhery et al. 2022, appendix B."""
    model = kind((context,), 256, width, depth, None, tied, 0.0)
    batch = torch.zeros(4, context, dtype=torch.int64)
    counted = training_flops(model, batch)

    layers = [m.weight for m in model.modules() if isinstance(m, nn.Linear)]
    weights = sum(weight.numel() for weight in layers)
    assert weights == depth * 12 * width**2 + model.head.weight.numel()
    per_token = 6 * weights + 12 * depth * width * context
    assert counted == pytest.approx(per_token * batch.numel(), rel=0.01)

    with torch.device("meta"):
        copy = kind((context,), 256, width, depth, None, tied, 0.0)
    with FlopCounterMode(display=False) as counter:
        copy(batch.to("meta")).sum().backward()
    assert counted == pytest.approx(counter.get_total_flops(), rel=0.01)


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
