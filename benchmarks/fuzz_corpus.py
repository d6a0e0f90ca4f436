"""Good files of all kinds to start from: both versions, every dtype, every coder, many patterns."""

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from fuzz_parts import Parts, seal
from torch import Tensor

from boildown import codec
from boildown.codec import dtypes
from boildown.codec.tensor import plan

State = dict[str, Tensor]
CODERS = ("best", "fast", "huffman")


def patterns(dtype: str, generator: torch.Generator) -> Iterator[tuple[str, Tensor]]:
    """Tensors of one dtype that its coders take to differently."""
    kind, item = getattr(torch, dtype), dtypes.itemsize(dtype)
    noise = torch.randint(0, 2 if dtype == "bool" else 256, (48 * item,), generator=generator)
    yield "noise", noise.to(torch.uint8).view(kind).reshape(6, 8)
    few = noise.to(torch.uint8).reshape(48, item)[:3]
    pick = torch.randint(0, 3, (400,), generator=generator)
    yield "few", few[pick].contiguous().view(kind).reshape(20, 20)
    kept = torch.rand(600, 1, generator=generator) < 0.1
    rare = torch.where(kept, few[pick.repeat(2)[:600]], 0)
    yield "rare", rare.to(torch.uint8).contiguous().view(kind).reshape(30, 20)
    yield "constant", few[:1].expand(700, item).contiguous().view(kind).reshape(700)
    yield "zeros", torch.zeros(900, item, dtype=torch.uint8).view(kind).reshape(30, 30)
    if (kind.is_floating_point and item > 1) or dtype == "float8_e4m3fn":
        normal = torch.randn(40, 50, generator=generator) * 0.05
        yield "normal", normal.to(kind)
        yield (
            "signed zeros",
            torch.where(normal.abs() > 0.06, normal, -0.0 * normal.sign()).to(kind),
        )
        yield "row", (torch.randn(200, generator=generator) * 0.1).to(kind)
    elif not kind.is_complex and dtype not in ("bool", "float4_e2m1fn_x2"):
        codes = (torch.randn(30, 40, generator=generator) * 9).round()
        yield "codes", codes.to(torch.int64).to(torch.uint8).view(torch.uint8).to(kind)


def fp32_patterns(generator: torch.Generator) -> Iterator[tuple[str, Tensor]]:
    """What compression leaves of weights."""
    weight = torch.randn(40, 60, generator=generator)
    step = torch.rand(40, 1, generator=generator) * 0.02 + 0.01
    yield "grid", (weight / step / 40).round().clamp(-8, 7) * step + 0.0
    yield "grid 8", (weight / step / 4).round().clamp(-128, 127) * step + 0.0
    levels = torch.linspace(-2, 2, 32).half().float()
    shared = levels[torch.bucketize(weight, (levels[1:] + levels[:-1]) / 2)]
    kept = torch.where(weight.abs() > 1.5, shared, 0.0)
    yield "shared", kept
    kept = kept.clone()
    kept[torch.rand(40, generator=generator) < 0.5] = 0
    kept[:, torch.rand(60, generator=generator) < 0.5] = 0
    yield "dead rows", kept
    yield "ternary", torch.where(weight > 1, 0.11, torch.where(weight < -1, -0.07, 0.0))
    yield "bf16 in fp32", weight.bfloat16().float()
    yield "deep", torch.where(weight.abs() > 1, weight, 0.0).reshape(8, 5, 6, 10)
    yield "conv", shared.reshape(20, 10, 3, 4)
    yield "one in many", torch.zeros(9999).index_fill(0, torch.tensor([7777]), 1.5)
    yield "many values", torch.randint(0, 7000, (9000,), generator=generator).float()


def states() -> Iterator[tuple[str, State, Any]]:
    """Name, tensors and config: one tensor each, then several together."""
    generator = torch.Generator().manual_seed(0)
    together: State = {}
    for dtype in dtypes.NAMES:
        for name, tensor in patterns(dtype, generator):
            yield f"{dtype} {name}", {"w": tensor}, None
            together[f"{dtype}.{name}"] = tensor
    for name, tensor in fp32_patterns(generator):
        yield f"fp32 {name}", {"w": tensor}, None
        together[f"layers.{name}.weight"] = tensor
    yield "together", together, {"width": 3, "names": ["a", "b"], "rate": 0.5}
    tied = torch.randn(6, 9, generator=generator)
    mixed = {"a": tied, "b": tied, "empty": torch.empty(0, 3), "n": torch.tensor(7), "c": tied[1:]}
    yield "tied", mixed, {"_target_": "boildown.models.lenet.LeNet5"}
    yield "nothing", {}, None
    net = {f"block.{i}.conv.weight": torch.randn(9, 8, generator=generator) for i in range(12)}
    yield "net", net | {f"block.{i}.bn.count": torch.tensor(100) for i in range(12)}, None
    rows = torch.randn(500, 700, generator=generator)
    yield "large", {"w": torch.where(rows.abs() > 2, (rows * 4).round() / 4, 0.0)}, None
    normal = torch.randn(700, 800, generator=generator)
    parts = {"a": normal.half(), "b": normal.bfloat16(), "c": normal[:300].clone()}
    yield "sections", parts, None  # over a MiB, and over 64 KiB in the file
    yield "filled", {"w": torch.zeros(4_700_000, dtype=torch.int8)}, None


def base_state() -> State:
    """What some files are told by their differences to."""
    generator = torch.Generator().manual_seed(1)
    normal = torch.randn(50, 70, generator=generator)
    return {
        "a": normal,
        "b": normal.bfloat16(),
        "c": normal.half(),
        "d": (normal * 20).round().to(torch.int8),
        "e": torch.where(normal.abs() > 1, (normal * 4).round() / 4, 0.0),
        "f": torch.arange(9),
    }


def based_states() -> Iterator[tuple[str, State]]:
    """States near the base: a little further on, in part, the same, and with a stranger."""
    generator, base = torch.Generator().manual_seed(2), base_state()
    noise = torch.randn(50, 70, generator=generator)
    on = base | {n: (base[n] + 0.001 * noise).to(base[n].dtype) for n in "abc"}
    yield "a step on", on
    yield "one row", base | {"a": torch.cat([base["a"][:7], noise[:1], base["a"][8:]])}
    yield "the same", base
    yield "codes", {"d": base["d"] + (noise > 2), "e": base["e"].roll(1, 0), "new": noise}


def write1(state: State, config: Any) -> bytes:
    """A file of version 1: payloads of its coders, sealed."""
    index: list[Any] = [config]
    payloads = []
    for name, tensor in state.items():
        words, dtype = dtypes.to_words(tensor), dtypes.name_of(tensor)
        channel = words.size // len(tensor) if tensor.dim() > 1 and words.size else 0
        payload = b"".join(bytes(p) for p in plan(words, dtype, channel=channel).write())
        index.append([name, dtypes.NAMES.index(dtype), len(payload), *tensor.shape])
        payloads.append(payload)
    return seal(Parts(1, index, b"", True, False, tuple(payloads)))


def writers() -> dict[str, Callable[[State, Any], bytes]]:
    """What makes files, by name: version 1, and each coder that `encode` can be told."""
    found: dict[str, Callable[[State, Any], bytes]] = {"version 1": write1}
    if "coder" in inspect.signature(codec.encode).parameters:
        encode: Any = codec.encode
        found |= {c: partial(_with, encode, c) for c in CODERS}
    return found


def _with(encode: Any, coder: str, state: State, config: Any) -> bytes:
    return bytes(encode(state, config, coder=coder))


def checked(name: str, data: bytes, state: State, base: State | None = None) -> tuple[str, bytes]:
    """A file that has been read back, bit for bit."""
    decode: Any = codec.decode
    back, _ = decode(data, base=base) if base else decode(data)
    assert list(back) == list(state), name
    for key, tensor in state.items():
        assert back[key].shape == tensor.shape, (name, key)
        if tensor.numel():
            same = np.array_equal(dtypes.to_words(back[key]), dtypes.to_words(tensor))
            assert same, (name, key)
    return name, data


def artifacts() -> Iterator[tuple[str, bytes]]:
    """Name and bytes of every good file; each is read back, bit for bit."""
    for name, state, config in states():
        for way, write in writers().items():
            yield checked(f"{way}, {name}", write(state, config), state)
    encode: Any = codec.encode
    if "base" in inspect.signature(encode).parameters:
        base = base_state()
        for name, state in based_states():
            yield checked(f"differences, {name}", encode(state, base=base), state, base)
