"""State dicts that try the codec, and what equality means for it."""

from collections.abc import Mapping

import torch
from hypothesis import strategies as st
from torch import Tensor

from boildown.codec.dtypes import NAMES

BITS = [0, 0x80000000, 0x7FC00001, 0xFF800123, 0x7F800000, 0xFF800000, 1, 0x807FFFFF]


def special() -> Tensor:
    """fp32: both zeros, NaNs with payloads, infinities, subnormals."""
    signed = [bits - (bits >> 31 << 32) for bits in BITS]
    return torch.tensor(signed, dtype=torch.int32).view(torch.float32)


def compressed(shape: tuple[int, ...], kept: float, bits: int, seed: int = 0) -> Tensor:
    """Gaussian, the largest kept, shared by evenly spaced fp16 values."""
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    pruned = round((1 - kept) * weight.numel())
    if pruned:
        weight[weight.abs() <= weight.abs().flatten().kthvalue(pruned).values] = 0
    most = weight.abs().max().item()
    levels = torch.linspace(-most, most, 2**bits).half().float()
    shared = levels[torch.bucketize(weight, (levels[1:] + levels[:-1]) / 2)]
    return torch.where(weight != 0, shared, 0.0)


def lenet300(seed: int = 0) -> dict[str, Tensor]:
    """LeNet-300-100 at 3, 8 and 40 % kept and 3, 3 and 4 bits."""
    return {
        "fc1.weight": compressed((300, 784), 0.03, 3, seed),
        "fc1.bias": compressed((300,), 1.0, 4, seed + 1),
        "fc2.weight": compressed((100, 300), 0.08, 3, seed + 2),
        "fc2.bias": torch.zeros(100),
        "fc3.weight": compressed((10, 100), 0.4, 4, seed + 3),
        "fc3.bias": compressed((10,), 1.0, 4, seed + 4),
    }


def every_kind() -> dict[str, Tensor]:
    """One tensor of each kind that could go wrong."""
    g = torch.Generator().manual_seed(0)
    base = torch.randn(6, generator=g)
    grid = torch.randint(-5, 6, (30, 33), generator=g) * torch.tensor(0.0137)
    state = {
        "special": special(),
        "special, repeated": special()[torch.randint(0, len(BITS), (999,), generator=g)],
        "both zeros": special()[torch.randint(0, 2, (640,), generator=g)],
        "scalar": torch.tensor(2.5),
        "num_batches_tracked": torch.tensor(12345),
        "empty": torch.empty(0),
        "empty too": torch.empty(3, 0, 2, dtype=torch.bool),
        "tied": base,
        "tied too": base,
        "other view of tied": base.reshape(2, 3),
        "slice of tied": base[1:3],
        "transposed": torch.randn(5, 7, generator=g).t(),
        "expanded": torch.randn(5, 1, generator=g).expand(5, 70),
        "parameter": torch.nn.Parameter(torch.randn(3, generator=g)),
        "conjugate": torch.randn(4, dtype=torch.complex64, generator=g).conj(),
        "sparse complex128": torch.zeros(90, dtype=torch.complex128).index_fill(
            0, torch.tensor([3, 50]), 1 + 2j
        ),
        "arange": torch.arange(500),
        "negative": -torch.arange(70000, dtype=torch.int32),
        "bf16 in fp32": torch.randn(50, generator=g).bfloat16().float(),
        "fp32 in fp64": torch.randn(50, generator=g).double(),
        "zeros": torch.zeros(5000),
        "constant": torch.full((5000,), 2.5),
        "one in many": torch.zeros(99999).index_fill(0, torch.tensor([77777]), 1.5),
        "grid": grid,
        "sparse grid": torch.where(torch.rand(30, 33, generator=g) < 0.2, grid, 0),
        "sparse raw": torch.randn(40, 50, generator=g).where(
            torch.rand(40, 50, generator=g) < 0.1, 0
        ),
        "many values": torch.randint(0, 70000, (90000,), generator=g).float(),
        "fp16, many values": torch.randn(60000, generator=g).half(),
        "\ud800\u00e9\u4e2d\n\0": torch.ones(0, 5),
        "": torch.tensor(True),
    }
    for name in NAMES:
        dtype = getattr(torch, name)
        raw = torch.randint(0, 2 if dtype is torch.bool else 256, (16 * 33,), generator=g)
        state[name] = raw.to(torch.uint8).view(dtype)
        half = torch.zeros(16 * 33, dtype=torch.uint8)
        half[::48] = 1
        state[f"{name}, sparse"] = half.view(dtype)
    return state


@st.composite
def states(draw: st.DrawFn) -> dict[str, Tensor]:
    """Any names, dtypes and shapes; few or many values, few or many zeros."""
    state = {}
    names = draw(st.lists(st.text(max_size=8), unique=True, max_size=4))
    for name in names:
        dtype = getattr(torch, draw(st.sampled_from(NAMES)))
        shape = draw(st.lists(st.integers(0, 9), max_size=4))
        numel = int(torch.tensor(shape).prod()) if shape else 1
        size = numel * dtype.itemsize
        g = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
        most = 2 if dtype is torch.bool else draw(st.sampled_from([1, 2, 4, 256]))
        raw = torch.randint(0, most, (size,), generator=g).to(torch.uint8)
        zero = torch.rand(numel, generator=g) < draw(st.sampled_from([0.0, 0.5, 0.97]))
        raw = torch.where(zero.repeat_interleave(dtype.itemsize), 0, raw)
        state[name] = raw.view(dtype).reshape(shape) if numel else torch.empty(shape, dtype=dtype)
    return state


def plain_bytes(tensor: Tensor) -> bytes:
    """The elements' bits, in order."""
    plain = tensor.detach().resolve_conj().contiguous().reshape(-1)
    return plain.view(torch.uint8).numpy().tobytes() if plain.numel() else b""


def assert_same(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> None:
    """Names, order, dtypes, shapes and every bit."""
    assert list(left) == list(right)
    for name, tensor in left.items():
        assert (tensor.dtype, tensor.shape) == (right[name].dtype, right[name].shape), name
        assert plain_bytes(tensor) == plain_bytes(right[name]), name
