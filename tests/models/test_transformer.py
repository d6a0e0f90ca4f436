"""boildown.models.transformer: who sees what, what is tied, and what it costs in names."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn
from torch.nn import functional as F

import boildown
from boildown.models import build
from boildown.models.transformer import BERT, GPT, Transformer

CONF = Path(__file__).parents[2] / "conf" / "model"


def made(name: str, **changes: Any) -> Transformer:
    config = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    torch.manual_seed(0)
    small = {"input_shape": (12,), "num_classes": 50, "width": 64, "depth": 2}
    model = build(config | small | changes)
    assert isinstance(model, Transformer)
    return model.eval()


@pytest.mark.parametrize("name", ["gpt", "bert"])
@pytest.mark.parametrize("tied", [True, False])
def test_parameters_and_output_shape(name: str, tied: bool) -> None:
    model = made(name, tied=tied)
    read = 51 if name == "bert" else 50
    embeddings = (read + 12) * 64
    blocks = 2 * (12 * 64**2 + 2 * 64)
    head = 0 if tied else 50 * 64
    assert sum(p.numel() for p in model.parameters()) == embeddings + blocks + 64 + head
    assert model(torch.zeros(3, 12, dtype=torch.int64)).shape == (3, 12, 50)
    assert model(torch.zeros(3, 5, dtype=torch.int64)).shape == (3, 5, 50)


def test_names() -> None:
    assert list(made("gpt", depth=1).state_dict()) == [
        "embed.weight", "position.weight", "blocks.0.norm1.weight", "blocks.0.qkv.weight",
        "blocks.0.out.weight", "blocks.0.norm2.weight", "blocks.0.up.weight",
        "blocks.0.down.weight", "norm.weight", "head.weight",
    ]  # fmt: skip


@pytest.mark.parametrize("at", [0, 5, 11])
def test_who_sees_what(at: int) -> None:
    symbols = torch.arange(12)[None]
    changed = symbols.clone()
    changed[0, at] = 40
    for name in ("gpt", "bert"):
        model = made(name)
        with torch.no_grad():
            moved = (model(symbols) != model(changed)).any(2)[0].tolist()
        assert moved == [name == "bert" or i >= at for i in range(12)]


def test_attention_is_that_of_the_formula() -> None:
    """softmax(q k^T / sqrt(d)) v over what lies before, head by head."""
    model = made("gpt", depth=1, width=64)
    block = model.blocks[0]
    x = torch.randn(2, 6, 64)
    q, k, v = block.qkv(block.norm1(x)).split(64, dim=2)
    heads = []
    for h in range(2):
        part = slice(32 * h, 32 * h + 32)
        scores = q[..., part] @ k[..., part].transpose(1, 2) / 32**0.5
        scores = scores.masked_fill(torch.ones(6, 6).triu(1).bool(), float("-inf"))
        heads.append(scores.softmax(2) @ v[..., part])
    after = x + block.out(torch.cat(heads, 2))
    expected = after + block.down(F.gelu(block.up(block.norm2(after))))
    torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize("name", ["gpt", "bert"])
def test_a_tied_model_trains_one_tensor_and_packs_it_once(name: str, tmp_path: Path) -> None:
    model = made(name, tied=True)
    assert model.head.weight is model.embed.weight
    config = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    config |= {"input_shape": [12], "num_classes": 50, "width": 64, "depth": 2, "tied": True}
    boildown.pack(model.state_dict(), tmp_path / "tied.boil", config=config)
    from boildown.codec import inspect

    coders = {tensor.name: tensor.coder for tensor in inspect(tmp_path / "tied.boil")}
    assert coders["head.weight"] == "tied to embed.weight"
    loaded = boildown.load(tmp_path / "tied.boil")
    assert isinstance(loaded, GPT | BERT)
    assert loaded.head.weight is loaded.embed.weight
    symbols = torch.arange(12)[None]
    assert torch.equal(loaded(symbols), model(symbols))


@pytest.mark.parametrize("name", ["gpt", "bert"])
def test_gradients_reach_every_weight(name: str) -> None:
    model = made(name)
    symbols = torch.arange(48).reshape(4, 12)
    F.cross_entropy(model(symbols).flatten(0, 1), symbols.flatten()).backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())


def test_a_model_learns_to_copy() -> None:
    model = made("bert").train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.005)
    symbols = torch.randint(0, 50, (32, 12), generator=torch.Generator().manual_seed(0))
    for _ in range(40):
        loss = F.cross_entropy(model(symbols).flatten(0, 1), symbols.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 1.0  # log 50 = 3.9 in the beginning


def test_dropout_drops_in_training_only() -> None:
    model = made("gpt", dropout=0.5)
    symbols = torch.arange(12)[None]
    assert torch.equal(model(symbols), model(symbols))
    model.train()
    assert not torch.equal(model(symbols), model(symbols))
    assert sum(isinstance(m, nn.Dropout) for m in model.modules()) == 3


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"input_shape": (1, 28, 28)}, r"GPT needs windows .* got input_shape \(1, 28, 28\)"),
        ({"heads": 3}, "heads must divide the width 64, got 3"),
        ({"heads": 0}, "heads must divide the width 64, got 0"),
        ({"width": 0}, "width, depth and num_classes must be at least 1, got 0, 2 and 50"),
        ({"depth": 0}, "must be at least 1, got 64, 0 and 50"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
    ],
)
def test_bad_settings(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        made("gpt", **changes)
