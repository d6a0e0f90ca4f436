"""boildown.structure.weights: by what a parameter is."""

import pytest
import torch
from torch import nn

from boildown.structure.weights import weights_in


class Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.zeros(3, 4))
        self.scale = nn.Parameter(torch.zeros(1, 1, 4))
        self.token = nn.Parameter(torch.zeros(1, 8))
        self.positions = nn.Parameter(torch.zeros(1, 5, 8))


CASES: list[tuple[nn.Module, set[str]]] = [
    (nn.Linear(1, 4), {"weight"}),
    (nn.Conv2d(4, 4, 3, groups=4), {"weight"}),
    (nn.Embedding(5, 3), {"weight"}),
    (nn.Bilinear(2, 3, 4), {"weight"}),
    (nn.GRU(3, 4), {"weight_ih_l0", "weight_hh_l0"}),
    (nn.LSTMCell(3, 4), {"weight_ih", "weight_hh"}),
    (nn.LSTM(3, 4, proj_size=2), {"weight_ih_l0", "weight_hh_l0", "weight_hr_l0"}),
    (nn.MultiheadAttention(8, 2, add_bias_kv=True), {"in_proj_weight", "out_proj.weight"}),
    (nn.LayerNorm([2, 3]), set()),
    (nn.BatchNorm2d(3), set()),
    (nn.PReLU(4), set()),
    (nn.utils.parametrizations.weight_norm(nn.Linear(3, 4)), {"parametrizations.weight.original1"}),
    (
        nn.utils.parametrizations.spectral_norm(nn.Linear(3, 4)),
        {"parametrizations.weight.original"},
    ),
    (Own(), {"matrix", "positions"}),
]


@pytest.mark.parametrize(("module", "wanted"), CASES, ids=lambda v: type(v).__name__)
def test_weights_are_found_by_what_they_are(module: nn.Module, wanted: set[str]) -> None:
    assert set(weights_in(module)) == wanted


@pytest.mark.filterwarnings("ignore:.*weight_norm.*")
def test_the_older_weight_norm_has_a_gain_too() -> None:
    assert set(weights_in(nn.utils.weight_norm(nn.Linear(3, 4)))) == {"weight_v"}


def test_tied_weights_have_one_name() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    assert set(weights_in(model)) == {"0.weight"}


def test_a_lazy_layer_is_named() -> None:
    with pytest.raises(ValueError, match=r"0\.weight is not initialised yet"):
        weights_in(nn.Sequential(nn.LazyConv2d(3, 1)))
