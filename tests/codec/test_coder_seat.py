"""The seat of coders: a new one is a file and a row, for writing, reading, estimate and inspect."""

import tracemalloc
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import byte_planes
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from states import assert_same, compressed, every_kind
from torch import Tensor

from boildown import codec
from boildown.codec import CodecError, huffman
from boildown.codec.bytewise import Reader, varint
from boildown.codec.coder import Coder
from boildown.codec.dtypes import to_words
from boildown.codec.kernels import Words
from boildown.codec.symbols import SYMBOL_CODERS, SymbolCoder, Symbols
from boildown.codec.tensor import CODERS, SIGNED_ZEROS, plan, read_tensor

BYTE_PLANES = 17  # the first number that is free
UNARY = 3  # and the first among the coders of symbols
DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def row(monkeypatch: pytest.MonkeyPatch) -> None:
    coder = Coder(byte_planes.plan, byte_planes.read)
    monkeypatch.setitem(CODERS, BYTE_PLANES, coder)


def trained() -> dict[str, Tensor]:
    """For each of three coders a tensor that it stores in the fewest bytes."""
    weight = torch.randn(300, 200)
    masked = weight * (torch.rand(300, 200) < 0.95)  # -0.0 among the zeros
    return {"weight": weight, "masked": masked, "shared": compressed((100, 100), 0.1, 4)}


@pytest.mark.usefixtures("row")
def test_a_new_coder_is_chosen_where_it_is_smallest_and_comes_back(tmp_path: Path) -> None:
    state, path = trained(), tmp_path / "model.boil"
    size = codec.pack(state, path, coder="huffman")
    assert size == codec.estimate(state, coder="huffman")
    assert_same(state, codec.unpack(path))
    coders = [tensor.coder for tensor in codec.inspect(path)]
    assert coders == ["byte planes", "byte planes, signed zeros", "sparse huffman"]


@pytest.mark.usefixtures("row")
def test_all_kinds_of_tensors_come_back_beside_it() -> None:
    state = every_kind()
    data = codec.encode(state, coder="huffman")
    assert codec.estimate(state, coder="huffman") == len(data)
    assert_same(state, codec.decode(data)[0])


def test_it_saves_bytes_and_a_file_without_its_row_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    state = {"weight": trained()["weight"]}
    without = codec.encode(state, coder="huffman")
    with monkeypatch.context() as patch:
        patch.setitem(CODERS, BYTE_PLANES, Coder(byte_planes.plan, byte_planes.read))
        data = codec.encode(state, coder="huffman")
        assert len(data) < 0.9 * len(without)
        assert_same(state, codec.decode(without)[0])
    unknown = r"'weight': .*first byte, 17, .*none that this version knows.*newer boildown"
    with pytest.raises(CodecError, match=unknown):
        codec.decode(data)


@pytest.mark.usefixtures("row")
def test_every_flip_of_its_bytes_is_refused_or_changes_nothing() -> None:
    """With checksums out of the way; a bit that fills a byte of zlib's has no meaning."""
    words = to_words(torch.randn(200))
    good = b"".join(plan(words, "float32", paper=True).write())
    assert good[0] == BYTE_PLANES
    refused = 0
    for at in range(1, len(good)):
        for bit in range(8):
            bad = bytearray(good)
            bad[at] ^= 1 << bit
            try:
                back, _ = read_tensor(bytes(bad), "float32", 200)
            except CodecError:
                refused += 1
                continue
            assert (back == words).all()
    assert refused > 0.99 * 8 * (len(good) - 1)


def planes(*contents: bytes) -> bytes:
    packed = [zlib.compress(content) for content in contents]
    return bytes([BYTE_PLANES]) + b"".join(varint(len(p)) + p for p in packed)


@pytest.mark.usefixtures("row")
@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (bytes([BYTE_PLANES, 3]) + b"abc", "does not inflate"),
        (bytes([BYTE_PLANES, 99]) + b"abc", "99 bytes should follow"),
        (planes(b"12", b"12", b"12"), "1 bytes should follow"),
        (planes(b"12", b"12", b"12", b"1"), "does not hold 2 bytes"),
        (planes(b"12", b"12", b"12", b"123"), "does not hold 2 bytes"),
        (planes(b"12", b"12", b"12", b"12") + b"x", "1 bytes are left over"),
        (bytes([SIGNED_ZEROS, SIGNED_ZEROS]), "the first byte, 5, stands for"),
    ],
)
def test_what_it_does_not_write_is_refused(payload: bytes, message: str) -> None:
    with pytest.raises(CodecError, match=message):
        read_tensor(payload, "float32", 2)


@pytest.mark.usefixtures("row")
def test_it_inflates_no_more_than_the_tensor_holds() -> None:
    bomb = planes(bytes(50_000_000))
    tracemalloc.start()
    with pytest.raises(CodecError, match="does not hold 2 bytes"):
        read_tensor(bomb, "float32", 2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


def unary(size: int) -> huffman.Lengths:
    """1, 2, ... size - 1, size - 1 bits: known from the size, so that no table is needed."""
    return np.minimum(np.arange(1, size + 1), size - 1)


def plan_unary(words: Words, counts: NDArray[np.int64]) -> Symbols | None:
    if counts.size > huffman.LONGEST:
        return None
    order = np.argsort(-counts, kind="stable")
    lengths = unary(counts.size)
    size = -(-int((counts[order] * lengths).sum()) // 8)
    return Symbols(
        order, varint(counts.size), size, partial(huffman.encode_blocks, lengths=lengths)
    )


def read_unary(read: Reader) -> tuple[int, Callable[[int], list[NDArray[Any]]]]:
    size = read.varint()
    if not 1 <= size <= huffman.LONGEST:
        raise CodecError(f"a unary code of {size} symbols")

    def symbols(count: int) -> list[NDArray[Any]]:
        found, taken = huffman.decode(memoryview(read.data)[read.at :], unary(size), count)
        read.take(taken)
        return [found]  # all in one block

    return size, symbols


def test_a_new_coder_of_symbols_is_a_row_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ranks = torch.tensor([1.5, 2.5, -7.0, 0.1, 9.0, 11.0])
    geometric = ranks[torch.bucketize(torch.rand(4000), 1 - 0.5 ** torch.arange(1.0, 6))]
    sparse = torch.zeros(80_000).index_copy(0, torch.arange(4000) * 19, geometric)
    state, path = {"dense": geometric, "sparse": sparse}, tmp_path / "model.boil"
    without = codec.estimate(state, coder="fast")
    with monkeypatch.context() as patch:
        patch.setitem(SYMBOL_CODERS, UNARY, SymbolCoder("unary", plan_unary, read_unary))
        size = codec.pack(state, path, coder="fast")
        assert size == codec.estimate(state, coder="fast") < without
        assert_same(state, codec.unpack(path))
        assert [t.coder for t in codec.inspect(path)] == ["dense unary", "sparse unary"]
    with pytest.raises(CodecError, match="coded by method 3, which this version does not know"):
        codec.unpack(path)


def test_numbers_are_for_ever() -> None:
    """Files hold them. A new row adds to these and changes none."""
    assert list(CODERS) == [0, 1, 2, 3, 5, 9, 13]
    assert all(number < 4 or number % 4 == 1 for number in CODERS)
    assert sorted(SYMBOL_CODERS) == [0, 1, 2]


def test_the_page_shows_this_coder() -> None:
    code = Path(byte_planes.__file__).read_text()
    assert any(code.strip() in page.read_text() for page in DOCS.glob("extend*.md"))
