"""How fast the codec's coders are, one thread, beside dahuffman and constriction.

Symbols of about 5 bits, Huffman coded; maps of 5 bits of which 90 % are zeros, by the static range
coder and by mixed predictions; exponents, by mixed predictions; bfloat16 words, by `coder="fast"`.
Rounds are interleaved and medians taken; dahuffman gets fewer symbols, as it takes seconds for what
takes milliseconds here. constriction, a static entropy coder in Rust, is left out where it is not
installed.

    taskset -c 0 python benchmarks/codec_speed.py
"""

import statistics
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from dahuffman import HuffmanCodec
from numpy.typing import NDArray

from boildown import codec
from boildown.codec import huffman, ranges
from boildown.codec.bytewise import Reader
from boildown.codec.mixed import pieces as mixed
from boildown.codec.piece import Piece

OURS, THEIRS, MIXED, ROUNDS = 10**7, 2 * 10**5, 1 << 20, 5
Works = dict[str, tuple[Callable[[], object], float, str]]


def seconds(work: Callable[[], object]) -> float:
    """Time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def huffman_works(rng: np.random.Generator) -> Works:
    """Huffman codes, and those of dahuffman."""
    symbols = np.clip(np.rint(rng.normal(32, 7.7, OURS)), 0, 63).astype(np.uint8)
    counts = np.bincount(symbols, minlength=64)
    lengths = huffman.code_lengths(counts)
    stream = huffman.encode(symbols, lengths, -(-int((counts * lengths).sum()) // 8))
    few = symbols[:THEIRS].tolist()
    theirs = HuffmanCodec.from_data(few)
    their_stream = theirs.encode(few)
    assert (huffman.decode(memoryview(stream), lengths, OURS)[0] == symbols).all()
    million = "million symbols/s"
    return {
        "huffman, encode": (
            lambda: huffman.encode(symbols, lengths, len(stream)), OURS / 1e6, million),
        "huffman, decode": (
            lambda: huffman.decode(memoryview(stream), lengths, OURS), OURS / 1e6, million),
        "dahuffman, encode": (lambda: theirs.encode(few), THEIRS / 1e6, million),
        "dahuffman, decode": (lambda: theirs.decode(their_stream), THEIRS / 1e6, million),
    }  # fmt: skip


def sparse_map(rng: np.random.Generator) -> NDArray[Any]:
    """Places in a codebook of 31 values and 0; 90 % are 0."""
    return np.where(rng.random(MIXED) < 0.1, rng.integers(1, 32, MIXED), 0)


def range_works(rng: np.random.Generator) -> Works:
    """The static range coder, and constriction's."""
    symbols = sparse_map(rng).astype(np.uint16)
    counts = np.bincount(symbols)
    order = np.argsort(-counts, kind="stable")
    ranked = np.argsort(order)[symbols].astype(np.uint16)
    parts = ranges.frequencies_of(counts[order])
    stream = ranges.encode(ranked, parts)
    assert (ranges.decode(Reader(stream), parts, MIXED) == ranked).all()
    million = "million symbols/s"
    works: Works = {
        "range, encode": (lambda: ranges.encode(ranked, parts), MIXED / 1e6, million),
        "range, decode": (
            lambda: ranges.decode(Reader(stream), parts, MIXED), MIXED / 1e6, million),
    }  # fmt: skip
    if find_spec("constriction"):
        import constriction

        model = constriction.stream.model.Categorical(counts / counts.sum(), perfect=False)
        whole = symbols.astype(np.int32)

        def encode() -> NDArray[np.uint32]:
            coder = constriction.stream.queue.RangeEncoder()
            coder.encode(whole, model)
            return coder.get_compressed()

        words = encode()
        works["constriction, encode"] = encode, MIXED / 1e6, million
        works["constriction, decode"] = (
            lambda: constriction.stream.queue.RangeDecoder(words).decode(model, MIXED),
            MIXED / 1e6,
            million,
        )
    return works


def mixed_works(name: str, words: NDArray[Any], dtype: str) -> Works:
    """Mixed predictions, all choices included."""
    piece = Piece(words, dtype, 1024)
    data = mixed.encode([piece])
    kind = mixed.Kind(dtype, words.size, 1024)
    assert (mixed.decode(data, [kind])[0][0] == words).all()
    million = "million symbols/s"
    return {
        f"mixed, {name}, encode": (lambda: mixed.encode([piece]), MIXED / 1e6, million),
        f"mixed, {name}, decode": (lambda: mixed.decode(data, [kind]), MIXED / 1e6, million),
    }


def fast_works() -> Works:
    """A whole file of one tensor of bfloat16."""
    state = {"w": torch.randn(2048, 4096, generator=torch.Generator().manual_seed(0)).bfloat16()}
    data = codec.encode(state, coder="fast")
    size = state["w"].nbytes / 1e6
    return {
        "fast, bfloat16, encode": (lambda: codec.encode(state, coder="fast"), size, "MB/s"),
        "fast, bfloat16, decode": (lambda: codec.decode(data), size, "MB/s"),
    }


def main() -> None:
    """Print the figures."""
    rng = np.random.default_rng(0)
    values = np.linspace(0, 1, 32, dtype=np.float32)
    weights = rng.standard_normal(MIXED).astype(np.float32)
    works = {
        **huffman_works(rng),
        **range_works(rng),
        **mixed_works("5-bit map", values[sparse_map(rng)].view(np.uint32), "float32"),
        **mixed_works("fp32 weights", weights.view(np.uint32), "float32"),
        **fast_works(),
    }
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(ROUNDS):
        for name, (work, _, _) in works.items():
            times[name].append(seconds(work))
    print(f"medians of {ROUNDS} rounds")
    for name, (_, amount, unit) in works.items():
        print(f"{name:32} {amount / statistics.median(times[name]):8.1f} {unit}")


if __name__ == "__main__":
    main()
