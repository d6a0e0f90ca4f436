"""boildown.lowrank.batchnorm: the same outputs without the batch-norms."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

from boildown.lowrank.batchnorm import fold_batchnorm
from boildown.lowrank.factorize import factorize, restructure, structure
from boildown.models.resnet import ResNet


def shaken(norm: Any) -> Any:
    """With statistics and, if any, gains of its own."""
    with torch.no_grad():
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2.0)
        if norm.affine:
            norm.weight.normal_()
            norm.bias.normal_()
    return norm


@pytest.mark.parametrize(
    ("layer", "norm", "shape"),
    [
        (nn.Linear(5, 4), nn.BatchNorm1d(4), (3, 5)),
        (nn.Linear(5, 4, bias=False), nn.BatchNorm1d(4, affine=False), (3, 5)),
        (nn.Conv1d(5, 4, 3), nn.BatchNorm1d(4), (2, 5, 7)),
        (nn.Conv2d(4, 6, 3, groups=2, bias=False), nn.BatchNorm2d(6, eps=0.1), (2, 4, 7, 7)),
        (nn.Conv3d(2, 4, 2), nn.BatchNorm3d(4), (2, 2, 3, 3, 3)),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)], ids=str
)
def test_folding_changes_no_output(
    layer: nn.Module, norm: nn.Module, shape: tuple[int, ...], dtype: torch.dtype, tolerance: float
) -> None:
    model = nn.Sequential(layer, shaken(norm)).to(dtype).eval()
    before = copy.deepcopy(model.state_dict())
    folded = fold_batchnorm(model, [("0", "1")])
    x = torch.randn(shape, dtype=dtype)
    torch.testing.assert_close(folded(x), model(x), rtol=tolerance, atol=tolerance)
    assert type(folded[1]) is nn.Identity
    assert {tensor.dtype for tensor in folded.state_dict().values()} == {dtype}
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_folded_and_factorised_network_has_a_structure() -> None:
    torch.manual_seed(0)
    model = ResNet((3, 32, 32), 10, width=16, depth=8).eval()
    norms = [n for n, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)]
    for name in norms:
        shaken(model.get_submodule(name))
    convs = [n for n, m in model.named_modules() if isinstance(m, nn.Conv2d)]
    pairs = list(zip(convs, norms, strict=True))
    folded = fold_batchnorm(model, pairs)
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        wanted = model(x)
        assert float((folded(x) - wanted).norm() / wanted.norm()) < 1e-4
    small = factorize(folded, {convs[-1]: 8})
    found = structure(model, small)
    assert found[convs[0]] == {"bias": True}
    assert found[norms[0]] == {"identity": True}
    assert found[convs[-1]] == {"scheme": "channel", "rank": 8, "bias": True}
    again = restructure(model, found)
    again.load_state_dict(small.state_dict())
    assert torch.equal(again(x), small(x))


def test_what_cannot_be_folded_is_named() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.bn, self.other = nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 3)
            self.other.weight = self.one.weight
            self.free, self.wide = nn.Linear(3, 3), nn.BatchNorm1d(4)
            self.live = nn.BatchNorm1d(3, track_running_stats=False)
            self.embed, self.relu = nn.Embedding(3, 3), nn.ReLU()

    model = Shared()
    for pairs, says in (
        ([("fc", "bn")], "no module 'fc'"),
        ([("one", "bn")], "one shares its tensors"),
        ([("free", "bn"), ("free", "wide")], "free is to be folded twice"),
        ([("free", "wide")], "free and wide: 3 outputs do not fit a batch-norm of 4"),
        ([("free", "live")], "no running statistics"),
        ([("free", "relu")], "a ReLU is no batch-norm"),
        ([("embed", "bn")], "a Embedding cannot take a bias"),
    ):
        with pytest.raises(ValueError, match=says):
            fold_batchnorm(model, pairs)
