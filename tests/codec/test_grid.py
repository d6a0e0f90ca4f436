"""Weights on grids whose steps differ from block to block: small, bit for bit, and nothing else."""

import hashlib
import random
import tracemalloc
from math import prod
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from states import assert_same
from torch import Tensor

from boildown import codec
from boildown.codec import CodecError
from boildown.codec.blocks import BLOCK
from boildown.codec.bytewise import varint
from boildown.codec.dtypes import to_words
from boildown.codec.tensor import DENSE, GRID, RAW, SIGNED_ZEROS, plan, read_tensor

FIXED = 0  # coder of symbols


def on_grid(
    *shape: int, bits: int = 4, length: int | None = None, seed: int = 0, kept: float = 1.0
) -> Tensor:
    """Normal codes times the steps of blocks of so many elements, a channel's by default."""
    g = torch.Generator().manual_seed(seed)
    size = prod(shape)
    most = 2 ** (bits - 1)
    codes = (torch.randn(size, generator=g) * most / 2.5).round().clamp(-most, most - 1)
    codes *= torch.rand(size, generator=g) < kept
    blocks = codes.reshape(-1, length or size // shape[0])
    steps = torch.rand(len(blocks), 1, generator=g) * 0.1 + 0.001
    return (blocks * steps + 0.0).reshape(shape)  # no -0.0


def ternary(*shape: int, seed: int = 0) -> Tensor:
    """Zero and two values for each channel."""
    g = torch.Generator().manual_seed(seed)
    signs = torch.randint(-1, 2, shape, generator=g).reshape(shape[0], -1)
    below, above = torch.rand(2, shape[0], 1, generator=g) + 0.01
    return (signs * torch.where(signs < 0, below, above) + 0.0).reshape(shape)


def inspected(tensor: Tensor, path: Path) -> codec.TensorReport:
    """What a file says of a tensor that has come back from it."""
    state = {"w": tensor}
    assert codec.pack(state, path, coder="huffman") == codec.estimate(state, coder="huffman")
    assert_same(state, codec.unpack(path))
    return codec.inspect(path)[0]


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize(
    ("shape", "length"),
    [((60, 784), None), ((60, 784), 56), ((50, 20, 5, 5), None), ((64, 256), 32), ((90, 15), None)],
)
def test_a_grid_takes_its_bits_and_a_step_for_each_block(
    tmp_path: Path, bits: int, shape: tuple[int, ...], length: int | None
) -> None:
    tensor = on_grid(*shape, bits=bits, length=length)
    found = inspected(tensor, tmp_path / "model.boil")
    blocks = tensor.numel() // (length or tensor.numel() // shape[0])
    assert found.coder.startswith("grid")
    assert found.weight_bits == bits
    assert found.weight_bits_coded is not None
    assert found.weight_bits_coded <= bits
    assert found.bytes <= tensor.numel() * bits / 8 + 4 * blocks + 2**bits * 2 + 40


def test_ternary_channels_have_a_step_for_each_sign(tmp_path: Path) -> None:
    tensor = ternary(60, 784)
    found = inspected(tensor, tmp_path / "model.boil")
    assert (found.coder, found.weight_bits) == ("grid dense huffman", 2)
    assert found.bytes < 60 * 784 * 5 / 3 / 8 + 60 * 2 * 4 + 40


def test_zeros_become_gaps(tmp_path: Path) -> None:
    tensor = on_grid(60, 784, kept=0.1)
    found = inspected(tensor, tmp_path / "model.boil")
    assert found.coder == "grid sparse huffman"
    assert found.position_bits is not None
    assert found.bytes < 60 * 784 * 0.1 * (4 + 5) / 8 + 60 * 4


def test_zeros_may_have_signs(tmp_path: Path) -> None:
    tensor = on_grid(60, 784)
    signed = torch.where((tensor == 0) & (torch.rand(60, 784) < 0.5), -0.0, tensor)
    found = inspected(signed, tmp_path / "model.boil")
    assert found.coder == "grid dense huffman, signed zeros"
    bare = codec.encode({"w": signed}, zero_signs=False, coder="huffman")
    assert bare == codec.encode({"w": tensor}, coder="huffman")


def test_codes_beyond_a_byte_are_those_of_affine_grids(tmp_path: Path) -> None:
    """Whole numbers from -255 to 255, the difference of a code of 8 bits and a zero point."""
    g = torch.Generator().manual_seed(0)
    codes = torch.randint(0, 256, (40, 500), generator=g) - torch.randint(0, 256, (40, 1))
    tensor = codes * (torch.rand(40, 1, generator=g) + 0.01)
    found = inspected(tensor, tmp_path / "model.boil")
    assert found.coder == "grid dense huffman"
    assert found.bytes < 40 * 500 * 9.2 / 8 + 1200


def test_steps_that_fit_two_bytes_take_two(tmp_path: Path) -> None:
    tensor = on_grid(1000, 16, bits=2)
    codes = tensor.sign()
    exact = codes * (torch.rand(1000, 1) + 0.5).half().float() + 0.0
    other = codes * (torch.rand(1000, 1) + 0.5) + 0.0
    small, large = (inspected(t, tmp_path / "model.boil").bytes for t in (exact, other))
    assert 1900 < large - small < 2100


def test_a_tensor_of_few_values_is_stored_as_ever(tmp_path: Path) -> None:
    """One step for all of it: a codebook takes no more."""
    tensor = on_grid(60, 784, length=60 * 784)
    assert inspected(tensor, tmp_path / "model.boil").coder == "dense huffman"


@pytest.mark.parametrize(
    "tensor",
    [
        torch.randn(60, 784),
        torch.randn(60, 784) * (torch.rand(60, 784) < 0.02) + 0.0,
        on_grid(60, 784) * (1 + 1e-6 * torch.randn(60, 784)),
        on_grid(60, 784).double(),
        on_grid(60, 784).half(),
        on_grid(60, 784).t().contiguous(),  # its channels are not along the first axis
        on_grid(60, 784) * 1e-38,  # steps that a processor may take for 0
        torch.where(torch.rand(60, 784) < 1e-3, torch.inf, on_grid(60, 784)),
    ],
)
def test_what_is_no_grid_is_stored_otherwise(tmp_path: Path, tensor: Tensor) -> None:
    assert "grid" not in inspected(tensor, tmp_path / "model.boil").coder


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_tensor_of_blocks_comes_back(data: st.DataObject) -> None:
    shape = data.draw(st.lists(st.integers(1, 12), min_size=1, max_size=4))
    bits, seed = data.draw(st.integers(2, 8)), data.draw(st.integers(0, 2**32))
    tensor = on_grid(*shape, bits=bits, seed=seed, kept=data.draw(st.sampled_from([0.05, 1.0])))
    other = data.draw(st.sampled_from([tensor, -tensor, ternary(*shape, seed=seed)]))
    state = {"w": other, "more": other.t() if other.dim() == 2 else other.flatten()}
    encoded = codec.encode(state, coder="huffman")
    assert codec.estimate(state, coder="huffman") == len(encoded)
    assert_same(state, codec.decode(encoded)[0])


@pytest.mark.parametrize("kept", [0.05, 1.0])
def test_blocks_that_lie_across_the_pieces_of_a_large_tensor(kept: float) -> None:
    tensor = on_grid(700, 999, kept=kept)
    assert tensor.numel() > 2 * BLOCK
    data = codec.encode({"w": tensor}, coder="huffman")
    assert len(data) < tensor.numel() / 2 + 4000
    assert_same({"w": tensor}, codec.decode(data)[0])


def test_it_takes_little_memory() -> None:
    words = to_words(on_grid(6000, 1000))
    data = b"".join(plan(words, "float32", channel=1000, paper=True).write())  # all is compiled
    assert data[0] == GRID
    tracemalloc.start()
    for _ in plan(words, "float32", channel=1000, paper=True).write():
        pass
    packing = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    read_tensor(data, "float32", words.size)
    unpacking = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert packing < 0.4 * words.nbytes
    assert unpacking + len(data) < 1.5 * words.nbytes


def pinned(kept: int) -> tuple[np.ndarray, bytes]:
    """A tensor that no version of a library changes, and its bytes."""
    at = np.arange(40 * 64, dtype=np.int64)
    codes = at * at * 7919 % 1009 % 15 - 7
    codes[at * 31 % 97 % 10 >= kept] = 0
    steps = (np.arange(40, dtype=np.float32) + np.float32(3)) / np.float32(7)
    words = (codes.reshape(40, 64).astype(np.float32) * steps[:, None]).view(np.uint32).reshape(-1)
    return words, b"".join(plan(words, "float32", channel=64, paper=True).write())


@pytest.mark.parametrize(("kept", "digest"), [(10, "1ce9ab8446763270"), (2, "b6013306488ff64c")])
def test_the_bytes_are_those_of_ever_and_come_back(kept: int, digest: str) -> None:
    words, data = pinned(kept)
    assert data[0] == GRID
    assert hashlib.sha256(data).hexdigest()[:16] == digest
    assert (read_tensor(data, "float32", words.size)[0] == words).all()


PAYLOADS = {
    "channels": on_grid(20, 30),
    "groups": on_grid(20, 32, length=16, bits=3),
    "ternary": ternary(20, 30),
    "sparse": on_grid(20, 100, kept=0.1),
    "raw": on_grid(20, 9, bits=8),
    "signed": -on_grid(20, 30),
}


@pytest.mark.parametrize("name", PAYLOADS)
def test_payloads_of_noise_are_read_or_refused(name: str) -> None:
    """With checksums out of the way: the decoder itself holds."""
    tensor, rng = PAYLOADS[name], random.Random(0)
    words, size = to_words(tensor), tensor.numel()
    good = b"".join(plan(words, "float32", channel=size // len(tensor)).write())
    assert good[0] == GRID or good[:2] == bytes([SIGNED_ZEROS, GRID])
    assert (read_tensor(good, "float32", size)[0] == words).all()
    refused = 0
    for _ in range(500):
        bad = bytearray(good)
        reach = min(len(bad), rng.choice([4, 20, 10_000]))
        for _ in range(rng.randint(1, 4)):
            bad[rng.randrange(reach)] = rng.randrange(256)
        if rng.random() < 0.3:
            bad = bad[: rng.randrange(len(bad) + 1)]
        try:
            back, _ = read_tensor(bytes(bad), "float32", size)
        except CodecError:
            refused += 1
        else:
            assert (back.shape, back.dtype) == (words.shape, words.dtype)
    assert refused > 50


def payload(length: int, steps: bytes, codes: bytes, *, by_sign: bool = False) -> bytes:
    return bytes([GRID]) + varint(4 * length + 2 + by_sign) + steps + codes


def raw_steps(*steps: float) -> bytes:
    return bytes([RAW]) + np.array(steps, np.float32).tobytes()


def raw_codes(*codes: int) -> bytes:
    return bytes([RAW]) + np.array(codes, np.int16).tobytes()


GOOD = payload(2, raw_steps(0.5, 0.25), raw_codes(1, -2, 0, 255))


def test_the_bytes_mean_what_they_say() -> None:
    back, anatomy = read_tensor(GOOD, "float32", 4)
    assert back.view(np.float32).tolist() == [0.5, -1.0, 0.0, 63.75]
    assert (anatomy.coder, anatomy.weight_bits) == ("grid raw", 2)
    narrow = bytes([GRID, 8]) + raw_steps(0.5, 0.25) + bytes([RAW, 1, 254, 0, 127])
    back, anatomy = read_tensor(narrow, "float32", 4)
    assert back.view(np.float32).tolist() == [0.5, -1.0, 0.0, 31.75]
    signs = payload(4, raw_steps(0.5, 0.25), raw_codes(1, -2, 0, 255), by_sign=True)
    back, _ = read_tensor(signs, "float32", 4)
    assert back.view(np.float32).tolist() == [0.25, -1.0, 0.0, 63.75]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (bytes([GRID]), "1 bytes should follow"),
        (payload(0, b"", b""), "blocks of 0 elements do not make up its 4"),
        (payload(1, b"", b""), "blocks of 1 elements"),
        (payload(3, b"", b""), "blocks of 3 elements"),
        (payload(8, b"", b""), "blocks of 8 elements"),
        (payload(2**60, b"", b""), "blocks of 1152921504606846976 elements"),
        (payload(2, raw_steps(0.5), b""), "8 bytes should follow, and 4 do"),
        (payload(2, raw_steps(0.5, 0.0), raw_codes(1, 1, 1, 1)), "not a normal number above 0"),
        (payload(2, raw_steps(0.5, -1.0), raw_codes(1, 1, 1, 1)), "not a normal number above 0"),
        (payload(2, raw_steps(0.5, np.inf), raw_codes(1, 1, 1, 1)), "not a normal number"),
        (payload(2, raw_steps(0.5, np.nan), raw_codes(1, 1, 1, 1)), "not a normal number"),
        (payload(2, raw_steps(0.5, 1e-40), raw_codes(1, 1, 1, 1)), "not a normal number"),
        (payload(2, raw_steps(0.5, 0.5), raw_codes(1, 1, 1)), "8 bytes should follow, and 6"),
        (payload(2, raw_steps(0.5, 0.5), raw_codes(1, 1, 1, 256)), "whole numbers beyond 255"),
        (payload(2, raw_steps(0.5, 0.5), raw_codes(1, 1, 1, -32768)), "numbers beyond 255"),
        (payload(2, raw_steps(0.5, 0.5), bytes([GRID, 8])), "first byte, 9, stands for no way"),
        (payload(2, bytes([GRID, 8]), b""), "first byte, 9, stands for no way"),
        (payload(2, raw_steps(0.5, 0.5), bytes([SIGNED_ZEROS])), "first byte, 5, stands for"),
        (payload(2, raw_steps(0.5, 0.5), bytes([DENSE, FIXED, 0])), "a codebook of 0"),
        (GOOD + b"x", "1 bytes are left over"),
    ],
)
def test_payloads_that_lie_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(CodecError, match=message):
        read_tensor(data, "float32", 4)


@pytest.mark.parametrize("dtype", ["float64", "int16", "complex64"])
def test_only_float32_has_grids(dtype: str) -> None:
    with pytest.raises(CodecError, match=f"there are none of {dtype}"):
        read_tensor(GOOD, dtype, 4)
