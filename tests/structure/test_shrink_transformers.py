"""Networks of transformers' library, small and without weights, where it is installed."""

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch

from boildown.structure.shrink import groups_of, shrink

library = pytest.importorskip("transformers", reason="pip install 'boildown[peers]'")
SMALL = {
    "vocab_size": 99,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "pad_token_id": 0,
}
SYMBOLS = {"input_ids": torch.arange(1, 10)[None]}
IMAGES = {"pixel_values": torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))}
NETWORKS: dict[str, tuple[Callable[[], Any], dict[str, torch.Tensor], set[int]]] = {
    "bert": (
        lambda: library.BertForSequenceClassification(library.BertConfig(**SMALL)),
        SYMBOLS,
        {4, 32, 48},
    ),
    "llama": (  # outputs of a class of its own, a cache of keys, grouped queries, rotary positions
        lambda: library.LlamaForCausalLM(library.LlamaConfig(**SMALL, num_key_value_heads=2)),
        SYMBOLS,
        {2, 48},
    ),
    "qwen3": (
        lambda: library.Qwen3ForCausalLM(
            library.Qwen3Config(**SMALL, num_key_value_heads=2, head_dim=8)
        ),
        SYMBOLS,
        {2, 48},
    ),
    "mobilenet": (
        lambda: library.MobileNetV2ForImageClassification(
            library.MobileNetV2Config(depth_multiplier=0.25, image_size=32)
        ),
        IMAGES,
        {8, 16, 48, 96},
    ),
    "convnext": (
        lambda: library.ConvNextForImageClassification(
            library.ConvNextConfig(hidden_sizes=[8, 16], depths=[2, 2], num_stages=2)
        ),
        IMAGES,
        {32, 64},
    ),
}


@pytest.mark.filterwarnings("ignore")  # of the library's
@pytest.mark.parametrize("name", NETWORKS)
def test_their_networks_get_smaller(name: str) -> None:
    make, example, sizes = NETWORKS[name]
    torch.manual_seed(0)
    model = make()
    groups, _ = groups_of(model, example)
    assert {len(group) for group in groups} >= sizes
    draw = random.Random(0)
    plan = {g.name: draw.sample(range(len(g)), draw.randrange(1, len(g))) for g in groups}
    smaller = shrink(model, plan, example, groups)  # which tries that it says the same
    assert sum(p.numel() for p in smaller.parameters()) < sum(p.numel() for p in model.parameters())
