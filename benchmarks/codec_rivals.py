"""Other packers behind one door: what is encoded and decoded, and what that takes.

Each `rival` is given the same streams (`codec_streams`). Lengths and dtypes are not counted for it;
codebooks, and the tables of symbols that it needs, are.
"""

import lzma
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from codec_streams import CODES, FLOATS, Numbers, Stream, groups_of, planes_of, words_of

from boildown.codec.bytewise import varint

SAMPLE = 200_000  # symbols that dahuffman is timed on; its bytes are counted for all


@dataclass(frozen=True)
class Rival:
    """A packer.

    Attributes:
        name: as in the table.
        encode: streams -> what it keeps, and the bytes of that.
        decode: what it keeps -> arrays of words, in the order of `expected`.
        expected: the arrays that must come back.
        share: of the work that is done, where it is too slow for all.
    """

    name: str
    encode: Callable[[list[Stream]], tuple[Any, int]]
    decode: Callable[[Any], list[Numbers]]
    expected: Callable[[list[Stream]], list[Numbers]]
    share: Callable[[list[Stream]], float] = lambda streams: 1.0


def _grouped(streams: list[Stream]) -> list[Numbers]:
    return list(groups_of(streams).values())


def _single(streams: list[Stream]) -> list[Numbers]:
    return [stream.words for stream in streams]


def bytewise(
    name: str, pack: Callable[[bytes], bytes], unpack: Callable[[bytes], bytes], planes: bool
) -> Rival:
    """A packer of bytes, given words as they are or their byte planes."""

    def encode(streams: list[Stream]) -> tuple[Any, int]:
        kept = []
        for (dtype, width), words in groups_of(streams).items():
            split = planes_of(words, dtype) if planes and width > 1 else [words]
            packed = [pack(part.tobytes()) for part in split]
            kept.append((dtype, width, packed))
        return kept, sum(len(part) for *_, packed in kept for part in packed)

    def decode(kept: Any) -> list[Numbers]:
        found = []
        for dtype, width, packed in kept:
            parts = [np.frombuffer(unpack(part), np.uint8) for part in packed]
            split = planes and width > 1
            found.append(words_of(parts, dtype) if split else parts[0].view(f"u{width}"))
        return found

    return Rival(name, encode, decode, _grouped)


def symbol_arrays(streams: list[Stream]) -> list[tuple[Numbers, bool]]:
    """What coders of symbols get, and whether it may stay raw: maps, or planes of other words."""
    arrays = []
    for s in streams:
        if s.dtype == CODES:
            arrays.append((s.words, False))
        else:
            arrays += [(plane, True) for plane in planes_of(s.words, s.dtype)]
    return arrays


def _symbols(streams: list[Stream]) -> list[Numbers]:
    return [array for array, _ in symbol_arrays(streams)]


def constriction() -> Rival:
    """Range coding by the symbols' own distribution, whose counts are stored as varints."""
    stream = import_module("constriction").stream

    def model(counts: Numbers) -> Any:
        return stream.model.Categorical(counts.astype(np.float64) / counts.sum(), perfect=False)

    def pack(array: Numbers) -> tuple[Any, int]:
        values, codes = np.unique(array, return_inverse=True)
        counts = np.bincount(codes)
        full = np.zeros(int(values[-1]) + 1, np.int64)
        full[values] = counts
        table = len(b"".join(varint(int(count)) for count in full))
        if values.size == 1:
            return (full, array.size, None), table
        coder = stream.queue.RangeEncoder()
        coder.encode(codes.astype(np.int32), model(counts))
        packed = coder.get_compressed()
        return (full, array.size, packed), table + packed.nbytes

    def unpack(kept: Any) -> Numbers:
        full, size, packed = kept
        values = np.flatnonzero(full)
        if packed is None:
            return np.full(size, values[0])
        decoder = stream.queue.RangeDecoder(packed)
        return values[decoder.decode(model(full[values]), size)]

    return _symbolwise("constriction", pack, unpack)


def _symbolwise(
    name: str, pack: Callable[[Numbers], tuple[Any, int]], unpack: Callable[[Any], Numbers]
) -> Rival:
    def encode(streams: list[Stream]) -> tuple[Any, int]:
        kept: list[tuple[bool, Any]] = []
        total = 0
        for array, may in symbol_arrays(streams):
            found, size = pack(array)
            raw = may and size >= array.nbytes
            kept.append((raw, array if raw else found))
            total += array.nbytes if raw else size
        return kept, total

    def decode(kept: Any) -> list[Numbers]:
        return [found if raw else unpack(found) for raw, found in kept]

    return Rival(name, encode, decode, _symbols)


def dahuffman() -> Rival:
    """Huffman coding in Python; its table is counted as a byte for each symbol up to the last."""
    codec_of = import_module("dahuffman").HuffmanCodec

    plans: dict[int, list[tuple[Numbers, Any, int]]] = {}  # made once, outside what is timed

    def planned(streams: list[Stream]) -> list[tuple[Numbers, Any, int]]:
        """The arrays, what codes each (None where it stays raw), and its bytes."""
        if id(streams) in plans:
            return plans[id(streams)]
        found = []
        for array, may in symbol_arrays(streams):
            counts = np.bincount(array)
            codec = codec_of.from_frequencies({int(i): int(counts[i]) for i in counts.nonzero()[0]})
            lengths = {s: bits for s, (bits, _) in codec.get_code_table().items()}
            bits = sum(int(counts[s]) * lengths[s] for s in lengths if isinstance(s, int))
            size = -(-bits // 8) + counts.size
            raw = may and size >= array.nbytes
            found.append((array, None, array.nbytes) if raw else (array, codec, size))
        plans.clear()
        plans[id(streams)] = found
        return found

    def sample(streams: list[Stream]) -> list[tuple[Numbers, Any]]:
        found, left = [], SAMPLE
        for array, codec, _ in planned(streams):
            if codec is not None:
                found.append((array[:left].astype(np.uint32), codec))
                left -= found[-1][0].size
        return found

    def encode(streams: list[Stream]) -> tuple[Any, int]:
        kept = [(codec, codec.encode(array.tolist())) for array, codec in sample(streams)]
        return kept, sum(size for *_, size in planned(streams))

    def decode(kept: Any) -> list[Numbers]:
        return [np.array(codec.decode(packed), np.uint32) for codec, packed in kept]

    def expected(streams: list[Stream]) -> list[Numbers]:
        return [array for array, _ in sample(streams)]

    def share(streams: list[Stream]) -> float:
        size = sum(array.size for array, codec, _ in planned(streams) if codec is not None)
        return min(1.0, SAMPLE / max(size, 1))

    return Rival("dahuffman", encode, decode, expected, share)


def openzl() -> Rival:
    """OpenZL: the best of its generic graph, FieldLZ, entropy, and the parts of floats."""
    ext = import_module("openzl.ext")
    graphs, nodes = ext.graphs, ext.nodes
    parts = {
        "float32": nodes.Float32Deconstruct,
        "bfloat16": nodes.BFloat16Deconstruct,
        "float16": nodes.Float16Deconstruct,
    }

    def start(compressor: Any, dtype: str) -> Any:
        ways = [graphs.Compress()(compressor), graphs.FieldLz()(compressor)]
        if dtype in parts:
            entropy = graphs.Entropy()(compressor)
            lanes = nodes.TransposeSplit()(compressor, entropy)
            stored = graphs.Store()(compressor)
            ways += [parts[dtype]()(compressor, rest, entropy) for rest in (stored, lanes)]
        else:
            ways.append(graphs.Entropy()(compressor))
        return graphs.BruteForce(ways)(compressor)

    def encode(streams: list[Stream]) -> tuple[Any, int]:
        kept = []
        for (dtype, _), words in groups_of(streams).items():
            compressor = ext.Compressor()
            compressor.set_parameter(ext.CParam.FormatVersion, ext.MAX_FORMAT_VERSION)
            compressor.select_starting_graph(start(compressor, dtype))
            context = ext.CCtx()
            context.ref_compressor(compressor)
            context.set_parameter(ext.CParam.FormatVersion, ext.MAX_FORMAT_VERSION)
            kept.append(context.compress([ext.Input(ext.Type.Numeric, words)]))
        return kept, sum(map(len, kept))

    def decode(kept: Any) -> list[Numbers]:
        return [np.asarray(ext.DCtx().decompress(k)[0].content.as_nparray()) for k in kept]

    return Rival("openzl", encode, decode, _grouped)


def zipnn() -> Rival:
    """ZipNN on floats; it takes no others, which stay raw, and maps are not its trade."""
    packer = import_module("zipnn").ZipNN
    known = FLOATS | {"float8_e4m3fn", "float8_e5m2"}

    def encode(streams: list[Stream]) -> tuple[Any, int]:
        kept = []
        for (dtype, _), words in groups_of(streams).items():
            data = bytearray(words.tobytes())  # which it may overwrite
            if dtype not in known:
                kept.append((None, words, bytes(data)))
                continue
            one = packer(method="AUTO", input_format="byte", bytearray_dtype=dtype, threads=1)
            kept.append((one, words.dtype, bytes(one.compress(data))))
        return kept, sum(len(data) for *_, data in kept)

    def decode(kept: Any) -> list[Numbers]:
        found = []
        for one, kind, data in kept:
            if one is None:
                found.append(kind)
            else:
                found.append(np.frombuffer(bytes(one.decompress(bytearray(data))), kind))
        return found

    return Rival("zipnn", encode, decode, _grouped)


def _zlib() -> list[Rival]:
    return [bytewise("zlib -9", lambda d: zlib.compress(d, 9), zlib.decompress, False)]


def _xz() -> list[Rival]:
    return [bytewise("xz -9", lambda d: lzma.compress(d, preset=9), lzma.decompress, False)]


def _zstd() -> list[Rival]:
    zstd = import_module("zstandard")

    def pack(data: bytes) -> bytes:
        return bytes(zstd.ZstdCompressor(level=19).compress(data))

    def unpack(data: bytes) -> bytes:
        return bytes(zstd.ZstdDecompressor().decompress(data))

    return [
        bytewise("zstd -19", pack, unpack, False),
        bytewise("zstd -19 planes", pack, unpack, True),
    ]


MAKERS: dict[str, Callable[[], list[Rival]]] = {
    "zlib": _zlib,
    "xz": _xz,
    "zstandard": _zstd,
    "dahuffman": lambda: [dahuffman()],
    "constriction": lambda: [constriction()],
    "openzl": lambda: [openzl()],
    "zipnn": lambda: [zipnn()],
}


def rivals() -> tuple[list[Rival], dict[str, str]]:
    """Those that can be imported, and why the others cannot."""
    found: list[Rival] = []
    missing = {}
    for name, maker in MAKERS.items():
        try:
            found += maker()
        except ImportError as error:
            missing[name] = str(error)
    return found, missing
