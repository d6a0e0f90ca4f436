"""The mixing coder: what is written comes back, takes what it should, and nothing else is read."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from boildown.codec.dtypes import NAMES, to_words, word_type
from boildown.codec.error import CodecError
from boildown.codec.huffman import canonical_codes, code_lengths
from boildown.codec.mixed import pieces as mixed
from boildown.codec.mixed import tables, trees
from boildown.codec.mixed.forms import fold, unfold
from boildown.codec.piece import Piece

WIDE = [name for name in NAMES if name != "bool"]


def piece(tensor: Tensor, base: Tensor | None = None) -> Piece:
    words = to_words(tensor)
    columns = words.size // len(tensor) if tensor.dim() > 1 else words.size
    name = str(tensor.dtype).removeprefix("torch.")
    return Piece(words, name, columns, base=None if base is None else to_words(base))


def kinds(pieces: list[Piece]) -> list[mixed.Kind]:
    return [mixed.Kind(p.dtype, p.words.size, p.columns) for p in pieces]


@dataclass(frozen=True)
class Encoded:
    """A stream, and what it tells of each piece: its form and the bits that it takes."""

    data: bytes
    forms: tuple[str, ...]
    bits: tuple[float, ...]


def there_and_back(*pieces: Piece) -> Encoded:
    data = mixed.encode(pieces)
    back = mixed.decode(data, kinds(list(pieces)), [p.base for p in pieces])
    for one, (words, _) in zip(pieces, back, strict=True):
        assert words.dtype == one.words.dtype
        np.testing.assert_array_equal(words, one.words)
    told = [anatomy for _, anatomy in back]
    bits = ((a.weight_bits_coded or 0) * p.words.size for a, p in zip(told, pieces, strict=True))
    return Encoded(data, tuple(a.coder for a in told), tuple(bits))


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(WIDE),
    st.integers(1, 7),
    st.integers(1, 40),
    st.integers(0, 5),
    st.integers(0, 2**32 - 1),
)
def test_words_of_every_dtype_come_back(
    dtype: str, rows: int, columns: int, kind: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    word = word_type(dtype)
    top = 2 ** (8 * word.itemsize)
    few = rng.integers(0, top, 1 + kind * 4, dtype=np.uint64).astype(word)
    words = {
        0: np.zeros(rows * columns, word),
        1: rng.integers(0, top, rows * columns, dtype=np.uint64).astype(word),
        2: rng.choice(few, rows * columns),
        3: rng.choice(few, rows * columns) * (rng.random(rows * columns) < 0.2).astype(word),
        4: np.arange(rows * columns, dtype=np.uint64).astype(word),
        5: np.full(rows * columns, top // 2, np.uint64).astype(word),
    }[kind]
    there_and_back(Piece(words, dtype, columns), Piece(words[:1], dtype, 1))


@given(
    st.lists(st.integers(0, 2**32 - 1), min_size=1), st.sampled_from(["float32", "int32", "uint32"])
)
def test_keys_fold_and_rise_with_magnitudes(numbers: list[int], dtype: str) -> None:
    words = np.array(numbers, np.uint32)
    keys = fold(words, dtype)
    np.testing.assert_array_equal(unfold(keys, dtype), words)
    if dtype == "int32":
        values = words.view(np.int32).astype(np.int64)
        assert (np.abs(values)[np.argsort(keys)] == np.sort(np.abs(values))).all()


@given(
    st.lists(st.integers(0, 900), min_size=2, max_size=60).filter(lambda c: sum(map(bool, c)) > 1)
)
def test_a_tree_has_the_canonical_codes(counts: list[int]) -> None:
    lengths = code_lengths(np.array(counts))
    tree = trees.tree_of(lengths)
    assert tree is not None
    used = lengths > 0
    np.testing.assert_array_equal(tree.codes[used], canonical_codes(lengths)[used])
    for symbol in np.flatnonzero(used):
        node = 0
        for depth in range(int(lengths[symbol]) - 1, -1, -1):
            node = tree.children[node, tree.codes[symbol] >> depth & 1]
        assert node == -1 - symbol
    assert (np.diff(tree.levels[used]) > 0).all() or used.sum() > 50


@pytest.mark.parametrize("lengths", [[1], [1, 1, 1], [2, 2, 2], [0, 0], [0, 1], [25, 25]])
def test_lengths_of_no_code_make_no_tree(lengths: list[int]) -> None:
    assert trees.tree_of(np.array(lengths)) is None


@pytest.mark.parametrize("size", [2, 3, 5, 8, 100])
def test_even_codes_are_complete(size: int) -> None:
    assert trees.tree_of(trees.even(size)) is not None
    assert trees.tree_of(trees.first_apart(size)) is not None
    assert np.ptp(trees.even(size)) <= 1


def test_no_entry_of_a_table_is_near_a_half() -> None:
    # So every language's logarithm and exponential round to the same tables.
    stretch = [256 * math.log((i + 0.5) / (4095.5 - i)) for i in range(4096)]
    squash = [65536 / (1 + math.exp(-x / 256)) for x in range(-tables.MOST, tables.MOST + 1)]
    for value in [*stretch, *squash]:
        assert abs(value % 1 - 0.5) > 1e-5


def entropy(values: np.ndarray) -> float:
    counts = np.unique(values, return_counts=True)[1]
    return float((counts * np.log2(values.size / counts)).sum()) / 8


def test_independent_symbols_take_their_entropy() -> None:
    rng = np.random.default_rng(0)
    weight = rng.integers(-3, 4, (200, 300)) * (rng.random((200, 300)) < 0.1) * 0.25
    encoded = there_and_back(piece(torch.from_numpy(weight).float()))
    assert len(encoded.data) < 1.01 * entropy(weight) + 30


def test_rows_and_columns_of_unlike_density_are_seen() -> None:
    rng = np.random.default_rng(1)
    density = rng.beta(0.3, 2, (200, 1)) * rng.beta(0.5, 1, (1, 300))
    weight = (rng.random((200, 300)) < density) * 0.5
    encoded = there_and_back(piece(torch.from_numpy(weight).float()))
    assert len(encoded.data) < 0.85 * entropy(weight)


def test_dead_units_take_next_to_nothing() -> None:
    weight = torch.zeros(500, 800)
    live = torch.randn(40, 100, generator=torch.Generator().manual_seed(0)).sign() * 0.0625
    weight[:40, :100] = live
    encoded = there_and_back(piece(weight))
    assert len(encoded.data) < live.numel() / 8 + 40


def test_no_piece_takes_more_than_raw_by_64_bytes() -> None:
    rng = np.random.default_rng(2)
    for dtype in NAMES:
        word = word_type(dtype)
        top = 2 if dtype == "bool" else 2 ** (8 * word.itemsize)
        words = rng.integers(0, top, 5000, dtype=np.uint64).astype(word)
        encoded = there_and_back(Piece(words, dtype, 100))
        signs = 5000 // 8 if word.itemsize == 1 else 0  # a bit for each zero of a float of a byte
        assert len(encoded.data) <= words.nbytes + 64 + signs, dtype


def test_floats_that_are_shorter_than_their_type_take_less() -> None:
    whole = torch.randn(100, 200, generator=torch.Generator().manual_seed(3))
    short = there_and_back(piece(whole.half().float())).data
    assert len(short) < 0.45 * 4 * whole.numel()
    assert len(there_and_back(piece(whole)).data) < 0.85 * 4 * whole.numel()


def test_what_repeats_is_found() -> None:
    row = torch.randn(2000, generator=torch.Generator().manual_seed(4))  # too many for a codebook
    encoded = there_and_back(piece(row.repeat(64, 1)))
    assert encoded.forms == ("deflated",)
    assert len(encoded.data) < 1.5 * row.numel() * 4


def test_little_differs_little_is_stored() -> None:
    base = torch.randn(64, 64, generator=torch.Generator().manual_seed(5))
    fine = base * (1 + 1e-5 * torch.randn(64, 64, generator=torch.Generator().manual_seed(6)))
    encoded = there_and_back(piece(fine, base))
    assert encoded.forms == ("difference",)
    assert len(encoded.data) < 0.4 * 4 * base.numel()
    assert len(there_and_back(piece(base, base)).data) < 16


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int16, torch.complex64])
def test_differences_of_any_bits_come_back(dtype: torch.dtype) -> None:
    g = torch.Generator().manual_seed(7)
    size = dtype.itemsize * 300
    first, second = (torch.randint(0, 256, (size,), generator=g).byte().view(dtype) for _ in "ab")
    there_and_back(piece(first.reshape(10, -1), second.reshape(10, -1)))
    one = piece((first.view(torch.uint8) ^ 1).view(dtype), first)
    data = mixed.encode([one])
    with pytest.raises(CodecError, match="not there"):
        mixed.decode(data, kinds([one]))


def test_bits_add_up_to_the_stream() -> None:
    pieces = [piece(torch.randn(30, 40)), piece(torch.zeros(9)), piece(torch.arange(50))]
    encoded = there_and_back(*pieces)
    assert len(encoded.data) - 3 <= sum(encoded.bits) / 8 <= len(encoded.data) + 1


def test_signs_of_zeros_are_kept_or_dropped() -> None:
    weight = torch.randn(20, 30) * (torch.rand(20, 30) < 0.3)
    one = piece(weight)
    kept = there_and_back(one)
    dropped = mixed.encode([one], zero_signs=False)
    assert len(dropped) < len(kept.data)
    words = mixed.decode(dropped, kinds([one]))[0][0]
    assert torch.equal(torch.from_numpy(words.view(np.float32)).reshape(20, 30), weight + 0.0)


def test_every_cut_and_every_longer_stream_is_refused() -> None:
    pieces = [piece(torch.randn(12, 9)), piece(torch.tensor(7))]
    data = mixed.encode(pieces)
    for size in range(len(data)):
        with pytest.raises(CodecError):
            mixed.decode(data[:size], kinds(pieces))
    with pytest.raises(CodecError):
        mixed.decode(data + b"\0", kinds(pieces))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60), st.sampled_from(NAMES), st.integers(1, 500), st.integers(1, 30))
def test_any_bytes_are_read_or_refused(data: bytes, dtype: str, size: int, columns: int) -> None:
    kind = mixed.Kind(dtype, size * columns, columns)
    try:
        ((words, _),) = mixed.decode(data, [kind], [np.zeros(size * columns, word_type(dtype))])
    except CodecError:
        return
    assert words.size == size * columns
