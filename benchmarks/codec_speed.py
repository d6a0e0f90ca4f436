"""Symbols per second of Huffman encoding and decoding, one thread, against dahuffman.

About 5 bits per symbol. Rounds are interleaved and medians taken; dahuffman gets fewer symbols, as
it takes seconds for what takes milliseconds here.

    python benchmarks/codec_speed.py
"""

import statistics
import time
from collections.abc import Callable

import numpy as np
from dahuffman import HuffmanCodec

from boildown.codec import huffman

OURS, THEIRS, ROUNDS = 10**7, 2 * 10**5, 7


def seconds(work: Callable[[], object]) -> float:
    """Time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    """Print the figures."""
    rng = np.random.default_rng(0)
    symbols = np.clip(np.rint(rng.normal(32, 7.7, OURS)), 0, 63).astype(np.uint8)
    counts = np.bincount(symbols, minlength=64)
    lengths = huffman.code_lengths(counts)
    bits = int((counts * lengths).sum())
    stream = huffman.encode(symbols, lengths, -(-bits // 8))
    few = symbols[:THEIRS].tolist()
    theirs = HuffmanCodec.from_data(few)
    their_stream = theirs.encode(few)
    works = {
        "encode, boildown": (lambda: huffman.encode(symbols, lengths, len(stream)), OURS),
        "encode, dahuffman": (lambda: theirs.encode(few), THEIRS),
        "decode, boildown": (lambda: huffman.decode(memoryview(stream), lengths, OURS), OURS),
        "decode, dahuffman": (lambda: theirs.decode(their_stream), THEIRS),
    }
    assert (huffman.decode(memoryview(stream), lengths, OURS)[0] == symbols).all()
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(ROUNDS):
        for name, (work, _) in works.items():
            times[name].append(seconds(work))
    print(f"{bits / OURS:.2f} bits per symbol, medians of {ROUNDS} rounds")
    for name, (_, count) in works.items():
        print(f"{name:18} {count / statistics.median(times[name]) / 1e6:8.2f} million symbols/s")


if __name__ == "__main__":
    main()
