"""boildown.flops against closed forms."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from boildown.flops import credited, flops_by_weight, forward_flops, layer_positions, training_flops
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


def test_each_weight_has_its_share() -> None:
    model = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 3))
    counted = flops_by_weight(model, torch.randn(8, 12))
    assert counted == {"0.weight": 2 * 2 * 8 * 12 * 16, "2.weight": 3 * 2 * 8 * 16 * 3}


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Conv2d(5, 4, 3)), (2, 3, 8, 8)),
        (
            nn.Sequential(nn.Conv1d(2, 4, 3, stride=2), nn.BatchNorm1d(4), nn.Conv1d(4, 2, 1)),
            (3, 2, 9),
        ),
        (nn.Sequential(nn.Flatten(), nn.Linear(8, 4, bias=False), nn.Linear(4, 2)), (5, 2, 4)),
    ],
)
def test_the_shares_add_up_to_the_whole(model: nn.Module, shape: tuple[int, ...]) -> None:
    inputs = torch.randn(shape)
    assert sum(flops_by_weight(model, inputs).values()) == training_flops(model, inputs)


def test_a_grouped_kernel_costs_three_times_its_forward_pass() -> None:
    model = nn.Sequential(nn.Conv2d(4, 8, 1), nn.Conv2d(8, 8, 3, padding=1, groups=4))
    counted = flops_by_weight(model, torch.randn(2, 4, 6, 6))
    assert counted == {
        "0.weight": 2 * 2 * 2 * 36 * 8 * 4,
        "1.weight": 3 * 2 * 2 * 36 * 8 * (8 // 4) * 9,
    }


@pytest.mark.parametrize("transposed", [False, True])
def test_strided_and_transposed_kernels_add_up(transposed: bool) -> None:
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    model = nn.Sequential(nn.Conv2d(2, 3, 1), kind(3, 4, 3, stride=2))
    inputs = torch.randn(2, 2, 7, 7)
    assert sum(flops_by_weight(model, inputs).values()) == training_flops(model, inputs)


def test_attention_belongs_to_no_weight() -> None:
    inputs = torch.randn(2, 16, 8)
    counted = flops_by_weight(Attention(), inputs)
    assert counted == {"project.weight": 2 * 2 * 2 * 16 * 8 * 8}  # no gradient of the inputs
    assert sum(counted.values()) < training_flops(Attention(), inputs)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(11, 8)
        self.head = nn.Linear(8, 11, bias=False)
        self.head.weight = self.table.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.table(tokens))
        return logits


def test_a_tied_weight_counts_under_its_first_name() -> None:
    tokens = torch.randint(0, 11, (2, 5))
    assert flops_by_weight(Tied(), tokens) == {"table.weight": 3 * 2 * 10 * 8 * 11}


def test_a_frozen_weight_has_no_gradient_to_pay_for() -> None:
    model = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 4))
    model[1].requires_grad_(False)
    counted = flops_by_weight(model, torch.randn(3, 6))
    assert counted["1.weight"] == 2 * 2 * 3 * 5 * 4  # forward, gradient of its inputs
    assert sum(counted.values()) == training_flops(model, torch.randn(3, 6))


def test_credit_is_the_density() -> None:
    by_weight = {"a": 600, "b": 300}
    assert credited(1000, by_weight, {}) == 1000
    assert credited(1000, by_weight, {"a": 1.0, "b": 1.0}) == 1000
    assert credited(1000, by_weight, {"a": 0.1, "b": 0.1}) == 100 + 90
    assert credited(1000, by_weight, {"a": 0.5, "elsewhere": 0.5}) == 700


def test_nothing_changes() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    generator = torch.get_rng_state()
    training_flops(model, torch.randn(8, 4, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(torch.get_rng_state(), generator)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


class Keeping(nn.Module):
    """Its forward pass keeps activations and counts its calls."""

    def __init__(self, *, reads: bool) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)
        self.reads = reads
        self.calls = 0
        self.last: torch.Tensor | None = None
        self.all: list[torch.Tensor] = []
        self.by_name: dict[str, torch.Tensor] = {}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        self.last = self.by_name["x"] = self.inner(x)
        self.all.append(self.last)
        self.seen_by_inner = self.inner.seen = self.last  # type: ignore[assignment]
        return self.last * (self.last.sum().item() if self.reads else 1.0)


@pytest.mark.parametrize("reads", [False, True])
def test_what_a_forward_pass_keeps_is_not_replaced(reads: bool) -> None:
    for model in (Keeping(reads=reads), nn.Sequential(Keeping(reads=reads))):
        keeping = next(m for m in model.modules() if isinstance(m, Keeping))
        for calls in range(2):
            last, inner = keeping.last, keeping.inner
            for count in (training_flops, forward_flops, flops_by_weight, layer_positions):
                count(model, torch.randn(8, 4))  # type: ignore[operator]
            assert (keeping.calls, len(keeping.all)) == (calls, calls)
            assert keeping.last is last
            assert keeping.by_name.get("x") is last
            assert ("seen_by_inner" in vars(keeping), hasattr(inner, "seen")) == (calls > 0,) * 2
            model(torch.randn(8, 4))


def test_a_module_of_two_names_keeps_its_weights() -> None:
    twice = nn.Linear(6, 6)
    model = nn.Sequential(twice, nn.ReLU(), twice)
    before = twice.weight
    inputs = torch.randn(3, 6)
    assert training_flops(model, inputs) == 2 * 3 * 6 * 6 * (2 + 1 + 2)
    assert forward_flops(model, inputs) == 2 * 3 * 6 * 6 * 2
    assert layer_positions(model, inputs) == {"0": 2}
    assert model[0].weight is before
    assert model[2].weight is before
    assert not before.is_meta


class Looking(nn.Module):
    """Attention whose forward pass makes tensors, keeps a constant and reads a value."""

    def __init__(self, *, constant: bool, reads: bool) -> None:
        super().__init__()
        self.project = nn.Linear(8, 8)
        self.attend = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = nn.BatchNorm1d(5)
        self.constant = torch.full((8,), 2.0) if constant else None
        self.reads = reads

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.project(x * torch.ones(8)) + torch.arange(5)[:, None]
        x = x if self.constant is None else x * self.constant
        mask = torch.ones(5, 5, dtype=torch.bool).triu(1)
        x, _ = self.attend(x, x, x, attn_mask=mask, need_weights=False)
        x = self.norm(x)
        if self.reads and x.abs().max().item() < 0.0:
            raise AssertionError
        return {"said": F.scaled_dot_product_attention(x, x, x)}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("constant", "reads"), [(True, False), (False, True)])
def test_a_forward_pass_that_needs_values_counts_the_same(
    constant: bool, reads: bool, training: bool
) -> None:
    plain = Looking(constant=False, reads=False).train(training)
    model = Looking(constant=constant, reads=reads).train(training)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    generator = torch.get_rng_state()
    for inputs in (torch.ones(4, 5, 8), torch.empty(4, 5, 8, device="meta")):
        for count in (training_flops, forward_flops, flops_by_weight, layer_positions):
            assert count(model, inputs) == count(plain, inputs)  # type: ignore[operator]
    assert forward_flops(model, inputs) > 2 * 4 * 5 * 8 * 8 * 5  # attention is counted
    assert torch.equal(torch.get_rng_state(), generator)
    assert torch.backends.mha.get_fastpath_enabled()
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


def test_what_is_wrong_with_a_forward_pass_is_said_as_it_is() -> None:
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        training_flops(nn.Linear(4, 4), torch.randn(2, 5))
