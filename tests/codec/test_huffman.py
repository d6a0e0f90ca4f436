"""boildown.codec.huffman against dahuffman, which gives the lengths and can read the streams."""

import itertools

import numpy as np
import pytest
from dahuffman import HuffmanCodec
from dahuffman.huffmancodec import PrefixCodec
from hypothesis import given, settings
from hypothesis import strategies as st

from boildown.codec import huffman
from boildown.codec.error import CodecError

COUNTS = st.lists(st.integers(0, 10**9), min_size=1, max_size=300).filter(any)
MESSAGES = st.lists(st.integers(0, 40), max_size=300).filter(lambda m: len(set(m)) > 1)


def fibonacci(size: int) -> np.ndarray:
    """The counts that make the longest codes."""
    counts = [1, 1]
    while len(counts) < size:
        counts.append(counts[-1] + counts[-2])
    return np.array(counts)


def coded(message: list[int]) -> tuple[np.ndarray, np.ndarray, bytes, int]:
    """Symbols, lengths, stream and bits."""
    symbols = np.array(message, np.uint8)
    counts = np.bincount(symbols)
    lengths = huffman.code_lengths(counts)
    bits = int((counts * lengths).sum())
    return symbols, lengths, huffman.encode(symbols, lengths, -(-bits // 8)), bits


@settings(deadline=None)
@given(MESSAGES)
def test_round_trip_in_as_many_bits_as_dahuffman(message: list[int]) -> None:
    symbols, lengths, stream, bits = coded(message)
    back, size = huffman.decode(memoryview(stream), lengths, symbols.size)
    assert back.tolist() == message
    assert size == len(stream)
    counts = {symbol: message.count(symbol) for symbol in set(message)}
    table = HuffmanCodec.from_frequencies(counts, eof=message[0]).get_code_table()
    assert bits == sum(counts[symbol] * table[symbol][0] for symbol in counts)


@settings(deadline=None)
@given(MESSAGES)
def test_dahuffman_reads_our_streams(message: list[int]) -> None:
    _, lengths, stream, _ = coded(message)
    codes = huffman.canonical_codes(lengths)
    table = {s: (int(lengths[s]), int(codes[s])) for s in set(message)}
    read = PrefixCodec(table).decode_streaming(stream)
    assert list(itertools.islice(read, len(message))) == message


@settings(deadline=None)
@given(COUNTS)
def test_tables_come_back(counts: list[int]) -> None:
    lengths = huffman.code_lengths(np.array(counts))
    ranked = np.sort(lengths[np.array(counts) > 0])
    packed = huffman.pack_ranked_lengths(ranked)
    back, size = huffman.unpack_ranked_lengths(memoryview(packed + b"rest"), 300)
    assert back.tolist() == ranked.tolist()
    assert size == len(packed)
    if ranked.size > 1:
        packed = huffman.pack_lengths(lengths)
        back, size = huffman.unpack_lengths(memoryview(packed + b"rest"), lengths.size)
        assert back.tolist() == lengths.tolist()
        assert size == len(packed)


@given(st.lists(st.integers(1, 50), min_size=2, max_size=8), st.integers(3, 8))
def test_limited_lengths_are_the_best_there_are(counts: list[int], longest: int) -> None:
    longest = min(longest, 4)
    lengths = huffman.limited_lengths(np.array(counts), longest)
    best = min(
        sum(c * b for c, b in zip(sorted(counts, reverse=True), bits, strict=True))
        for bits in itertools.combinations_with_replacement(range(1, longest + 1), len(counts))
        if sum(2.0**-b for b in bits) <= 1
    )
    assert lengths.max() <= longest
    assert int((np.array(counts) * lengths).sum()) == best


def test_long_codes_are_limited_and_read_by_search() -> None:
    lengths = huffman.code_lengths(fibonacci(40))
    assert lengths.max() == huffman.LONGEST
    assert (2.0**-lengths).sum() == 1
    symbols = np.random.default_rng(0).integers(0, 40, 5000).astype(np.uint8)
    bits = int(lengths[symbols].sum())
    stream = huffman.encode(symbols, lengths, -(-bits // 8))
    assert (huffman.decode(memoryview(stream), lengths, 5000)[0] == symbols).all()


def test_largest_alphabet() -> None:
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 1000, 1 << 16)
    lengths = huffman.limited_lengths(counts, 20)
    symbols = rng.integers(0, 1 << 16, 10**5).astype(np.uint16)
    stream = huffman.encode(symbols, lengths, -(-int(lengths[symbols].sum()) // 8))
    assert (huffman.decode(memoryview(stream), lengths, symbols.size)[0] == symbols).all()
    assert len(huffman.pack_ranked_lengths(np.sort(lengths))) < 64


@pytest.mark.parametrize("lengths", [[1], [1, 1, 1], [1, 2], [2, 2, 2], [24, 24], [1, 1, 24]])
def test_codes_that_are_none_are_refused(lengths: list[int]) -> None:
    with pytest.raises(CodecError, match="no complete prefix code"):
        huffman.decode(memoryview(bytes(99)), np.array(lengths), 3)


def test_streams_end_exactly() -> None:
    lengths = np.array([1, 2, 2])
    with pytest.raises(CodecError, match="last byte"):
        huffman.decode(memoryview(b"\x01"), lengths, 3)
    with pytest.raises(CodecError, match="too soon"):
        huffman.decode(memoryview(b"\xff"), lengths, 5)
    with pytest.raises(CodecError, match="1 bytes are left, too few"):
        huffman.decode(memoryview(b"\x00"), lengths, 9)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=40), st.integers(1, 64))
def test_tables_of_noise_are_read_or_refused(noise: bytes, alphabet: int) -> None:
    for read in (huffman.unpack_lengths, huffman.unpack_ranked_lengths):
        try:
            lengths, _ = read(memoryview(noise), alphabet)
            huffman.decode(memoryview(noise), lengths, 20)
        except CodecError:
            continue
        assert lengths.size <= alphabet
