"""Write the golden files: each a small file of the version that boildown writes, and what is in it.

    python tests/codec/golden/make.py DIRECTORY [OPTION=VALUE ...]

Options are those of `boildown.codec.encode`; base=DIRECTORY writes differences to the files there.
See README.md beside this script.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from boildown import codec
from boildown.codec.dtypes import NAMES

State = dict[str, Tensor]


def g(seed: int = 0) -> torch.Generator:
    """Random numbers that do not change with the process."""
    return torch.Generator().manual_seed(seed)


def dtypes() -> State:
    """Each dtype: noise, all but zeros, and one value."""
    state: State = {}
    for name in NAMES:
        dtype = getattr(torch, name)
        noise = torch.randint(0, 2 if dtype is torch.bool else 256, (16 * 5,), generator=g())
        state[f"{name} noise"] = noise.to(torch.uint8).view(dtype)
        few = torch.zeros(16 * 40, dtype=torch.uint8)
        few[::48] = 1
        state[f"{name} sparse"] = few.view(dtype)
        ones = torch.ones(16 * 20, dtype=torch.uint8)
        state[f"{name} constant"] = ones.view(dtype)
    return state


def forms() -> State:
    """Values in each narrower form: raw, in a codebook and beside gaps."""
    order = torch.randperm(300, generator=g())
    wide = {
        "float16 in float32": torch.randn(300, generator=g()).half().float(),
        "bfloat16 in float32": (torch.randn(300, generator=g()) * 1e30).bfloat16().float(),
        "float16 in float64": torch.randn(300, generator=g()).half().double(),
        "float32 in float64": torch.randn(300, generator=g()).double(),
        "int8 in int16": (order % 256 - 128).short(),
        "int8 in int32": (order % 256 - 128).int(),
        "int16 in int32": (order * 100 - 9000).int(),
        "int8 in int64": order % 256 - 128,
        "int16 in int64": order * 100 - 9000,
        "int32 in int64": order * 10_000_000 - 10**9,
        "own": torch.randn(300, generator=g()),
    }
    state = dict(wide)
    for name, tensor in wide.items():
        few = torch.randint(0, 5, (400,), generator=g(1))
        state[f"{name}, codebook"] = tensor[few]
        kept = torch.rand(300, generator=g(2)) < 0.1
        state[f"{name}, sparse raw"] = torch.where(kept, tensor, torch.zeros_like(tensor))
    level = torch.randint(-100, 101, (3000,), generator=g(3))
    state["a grid as codebook"] = level * torch.tensor(0.0123)
    return state


def codes() -> State:
    """Codebooks of 1, 2, 3, many values; fixed and Huffman codes, short and long ones."""
    even = torch.arange(256).repeat(4)[torch.randperm(1024, generator=g())]
    skewed = (torch.randn(4000, generator=g()) * 2).round() + 0.25
    geometric = torch.cat([torch.full((1 << i,), i + 0.5) for i in range(15)])
    values = torch.randn(256, generator=g(1))
    return {
        "fixed, 256": values[even],
        "fixed, 2": values[even % 2],
        "fixed, 4": values[even % 4],
        "fixed, 8 in a tensor of a codebook larger than it": values[even[:11] % 8],
        "huffman": skewed,
        "huffman, codes of 1 to 14 bits": geometric[torch.randperm(len(geometric), generator=g(2))],
        "huffman, 3": values[even % 3],
        "huffman, 2000": (torch.randn(12000, generator=g(4)) * 300).round() / 7,
        "constant": torch.full((50, 7), 1.2345),
        "zeros": torch.zeros(3, 4, 5),
    }


def _kept(share: float, shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.rand(shape, generator=g(seed)) < share


def positions() -> State:
    """Gaps of each width, fixed and Huffman coded, fillers, no element at the end."""
    values = torch.randn(16, generator=g())
    state: State = {}
    for i, share in enumerate((0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002)):
        shape = (60, 150)
        mask = _kept(share, shape, i)
        few = values[torch.randint(0, 16, shape, generator=g(i + 10))]
        state[f"codebook, {share} kept"] = torch.where(mask, few, 0)
        state[f"raw, {share} kept"] = torch.where(mask, torch.randn(shape, generator=g(i)), 0)
    for every in (2, 5, 16, 100, 256, 300):
        state[f"every {every}th"] = torch.zeros(3000).index_fill(0, torch.arange(0, 3000, every), 7)
    for at in (0, 1, 254, 255, 256, 70_000, 299_999):
        alone = torch.zeros(300_000)
        alone[at] = 1.5
        state[f"one at {at}"] = alone
    state["two"] = torch.zeros(600_000).index_fill(0, torch.tensor([5, 599_999]), -2.0)
    return state


def signs() -> State:
    """-0.0 among zeros, with each coder inside."""
    state: State = {}
    for name in ("float32", "float64", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"):
        weight = torch.randn(1200, generator=g(5))
        state[f"sparse, {name}"] = (weight * _kept(0.1, (1200,), 6)).to(getattr(torch, name))
    shared = torch.tensor([-1.5, 0.3, 2.0])[torch.randint(0, 3, (1300,), generator=g(7))]
    state["sparse codebook"] = shared.repeat(4) * _kept(0.03, (5200,), 8)
    state["dense codebook"] = shared * _kept(0.8, (1300,), 9)
    state["raw"] = torch.cat([torch.randn(99, generator=g(10)), torch.tensor([-0.0, 0.0, -0.0])])
    state["both zeros"] = torch.tensor([0.0, -0.0])[torch.randint(0, 2, (77,), generator=g(11))]
    state["all negative"] = torch.full((45,), -0.0)
    step = torch.rand(20, 1, generator=g(12)) + 0.1
    state["grid"] = torch.randint(-3, 4, (20, 50), generator=g(13)) * step
    state["grid"][0, :5] *= -0.0
    for name in ("complex64", "complex128", "complex32"):
        real, imaginary = torch.randn(2, 600, generator=g(14)) * _kept(0.1, (2, 600), 15)
        state[name] = torch.complex(real.double(), -imaginary.double()).to(getattr(torch, name))
    return state


def grids() -> State:
    """Grids by tensor, channel, group, sign; wide; sparse; in convolutions."""
    whole = torch.randint(-100, 101, (40, 48), generator=g())
    few = torch.randint(-3, 4, (40, 48), generator=g(1))
    channel = torch.rand(40, 1, generator=g(2)) * 0.01 + 0.001
    group = torch.rand(40, 3, 1, generator=g(3)) * 0.01 + 0.001
    ternary = torch.randint(-1, 2, (40, 48), generator=g(4))
    two = torch.where(ternary < 0, channel, channel.flip(0))
    kernel = torch.randint(-7, 8, (8, 6, 3, 3), generator=g(5))
    wide = torch.randint(-255, 256, (40, 48), generator=g(6))
    return {
        "tensor, wide": wide * torch.tensor(0.0137),
        "channel": whole * channel,
        "channel, wide": wide * channel,
        "channel, few": few * channel,
        "channel, sparse": few * _kept(0.1, (40, 48), 7) * channel,
        "group": (whole.reshape(40, 3, 16) * group).reshape(40, 48),
        "channel, by sign": ternary * two,
        "convolution": kernel * (torch.rand(8, 1, 1, 1, generator=g(8)) + 0.1),
        "channel of zeros": few * torch.where(torch.arange(40) % 3 == 0, 0, channel[:, 0])[:, None],
    }


BITS = [0, 0x80000000, 0x7FC00001, 0xFF800123, 0x7F800000, 0xFF800000, 1, 0x807FFFFF]


def names() -> State:
    """Ties, empty tensors, scalars, odd names, special numbers, views."""
    base = torch.randn(6, generator=g())
    special = torch.tensor([bits - (bits >> 31 << 32) for bits in BITS], dtype=torch.int32)
    return {
        "first": base,
        "scalar": torch.tensor(2.5),
        "counter": torch.tensor(12345),
        "tied": base,
        "other view": base.reshape(2, 3),
        "empty": torch.empty(0),
        "empty, in three": torch.empty(3, 0, 2, dtype=torch.bool),
        "tied again": base,
        "transposed": torch.randn(5, 7, generator=g(1)).t(),
        "six sides": torch.arange(64.0).reshape(2, 1, 2, 4, 1, 4),
        "special": special.view(torch.float32),
        "special, repeated": special.view(torch.float32)[
            torch.randint(0, len(BITS), (999,), generator=g(2))
        ],
        "\ud800\u00e9\u4e2d\n\0": torch.ones(2),
        "": torch.tensor(True),
    }


def lenet() -> State:
    """LeNet-300-100 of 8x8 pixels, pruned and shared."""
    shapes = {"fc1": (300, 64), "fc2": (100, 300), "fc3": (10, 100)}
    state: State = {}
    for i, (name, shape) in enumerate(shapes.items()):
        values = torch.tensor([-0.5, -0.25, 0.25, 0.5])[torch.randint(0, 4, shape, generator=g(i))]
        state[f"{name}.weight"] = values * _kept(0.1, shape, i + 5) + 0.0
        state[f"{name}.bias"] = torch.randn(shape[0], generator=g(i)).half().float()
    return state


LENET = {"_target_": "boildown.models.lenet.LeNet300", "input_shape": [1, 8, 8], "num_classes": 10}
CONFIG = {
    "_target_": "my.Model",
    "nested": {
        "list": [1, -1, 2**63, -(2**63), 1.5, None, True, "\ud800\u00e9"],
        "bytes": b"\0\xff",
    },
    "empty": [[], {}, ""],
}


def large() -> State:
    """Tensors of several blocks, of several sections where a version has them."""
    weight = torch.randint(0, 3, (700, 1000), generator=g()) * _kept(0.02, (700, 1000), 1)
    return {
        "sparse": weight * 0.125,
        "shared": (torch.arange(600_000) % 1000 == 0).float() + 0.5,
        "int8": (torch.arange(600_000) % 7 == 0).to(torch.int8),
    }


def divided() -> State:
    """Tensors beyond a block of 2^20 words: divided by rows, and within a row; one tied."""
    rows = torch.zeros(1100, 2000)
    rows[::7, ::50] = 0.5
    return {
        "small": torch.randn(9, generator=g()),
        "rows": rows,
        "row": torch.arange((1 << 21) + 9).remainder(97).eq(0).to(torch.uint8),
        "last": torch.arange(5),
        "tied": rows,
    }


FILES: dict[str, tuple[State, Any]] = {
    "nothing": ({}, None),
    "one": ({"w": torch.tensor([1.5, -2.0])}, None),
    "config": ({"w": torch.arange(5)}, CONFIG),
    "deflated": ({f"layer.{i}.weight": torch.full((2, 3), float(i)) for i in range(30)}, {"a": 1}),
    "filled": ({"w": torch.zeros(300, 1000, dtype=torch.float64), "v": torch.ones(10)}, None),
    "lenet": (lenet(), LENET),
    "dtypes": (dtypes(), None),
    "forms": (forms(), None),
    "codes": (codes(), None),
    "positions": (positions(), None),
    "signs": (signs(), None),
    "grids": (grids(), None),
    "names": (names(), {"a": "b"}),
    "large": (large(), None),
    "divided": (divided(), None),
    "promised": ({"w": torch.zeros(5_000_000, dtype=torch.int8)}, None),
}
RELATIVE = ("nothing", "lenet", "dtypes", "forms", "signs", "grids", "names", "divided")


def nudged(state: State) -> State:
    """Tensors as they were, with few or all words off by a little, in another shape, and a new."""
    made: dict[int, Tensor] = {}
    for i, tensor in enumerate(state.values()):
        if id(tensor) in made:
            continue
        size, most = tensor.numel(), 1 if tensor.dtype is torch.bool else 7
        share = min((0.0, 0.02, 1.0, 0.3)[i % 4], 1000 / max(size, 1))
        noise = torch.randint(0, most + 1, (size,), generator=g(i)) * _kept(share, (size,), i)
        words = tensor.detach().resolve_conj().contiguous().clone()
        if size:
            words.reshape(-1).view(torch.uint8).reshape(size, -1)[:, 0] ^= noise.to(torch.uint8)
        made[id(tensor)] = words.reshape(-1) if i % 7 == 6 else words
    return {name: made[id(tensor)] for name, tensor in state.items()} | {"new": torch.ones(3, 3)}


def plain_json(value: Any) -> Any:
    """Data that JSON holds: bytes are a map of one key."""
    if isinstance(value, bytes):
        return {"__bytes__": value.hex()}
    if isinstance(value, dict):
        return {key: plain_json(item) for key, item in value.items()}
    return [plain_json(item) for item in value] if isinstance(value, list | tuple) else value


def tensor_bytes(tensor: Tensor) -> np.ndarray[Any, Any]:
    """The bytes of the elements, in order, little-endian."""
    if not tensor.numel():
        return np.empty(0, np.uint8)
    plain = tensor.detach().resolve_conj().contiguous().reshape(-1)
    return plain.view(torch.uint8).numpy()


def write(directory: Path, name: str, data: bytes, state: State, config: Any) -> None:
    """A file, and beside it what is in it."""
    places: dict[int, int] = {}
    arrays: dict[str, Any] = {}
    rows = []
    for place, (key, tensor) in enumerate(state.items()):
        tied = places.get(id(tensor))
        places.setdefault(id(tensor), place)
        dtype = str(tensor.dtype).removeprefix("torch.")
        rows.append({"name": key, "dtype": dtype, "shape": list(tensor.shape), "tied": tied})
        if tied is None:
            arrays[str(place)] = tensor_bytes(tensor)
    index = json.dumps({"config": plain_json(config), "tensors": rows}).encode()
    (directory / f"{name}.boil").write_bytes(data)
    np.savez_compressed(directory / f"{name}.npz", index=np.frombuffer(index, np.uint8), **arrays)


def early() -> bytes:
    """A file of version 1 whose fill counts elements, 2048 of any size to a byte, as once."""
    body = codec.encode({"w": torch.zeros(1 << 20, dtype=torch.float64)})[: (1 << 9) - 16]
    return body + hashlib.blake2b(body, digest_size=16).digest()


def main(directory: Path, options: dict[str, Any]) -> None:
    """Write all of them; the tensors of some take other coders with other options."""
    directory.mkdir(parents=True, exist_ok=True)
    bases = Path(options.pop("base")) if "base" in options else None
    for name, (state, config) in FILES.items():
        if bases is not None and name not in RELATIVE:
            continue
        base = None if bases is None else codec.unpack(bases / f"{name}.boil")
        held = state if base is None else nudged(state)
        write(directory, name, codec.encode(held, config, base=base, **options), held, config)
    if codec.encode({})[4] == 1:
        write(directory, "early", early(), {"w": torch.zeros(1 << 20, dtype=torch.float64)}, None)


if __name__ == "__main__":
    main(Path(sys.argv[1]), dict(pair.split("=") for pair in sys.argv[2:]))
