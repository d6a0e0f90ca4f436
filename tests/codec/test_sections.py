"""Files of several sections: pieces, keys, bases, what is loaded late, progress, coders."""

import resource
import threading
import tracemalloc
import weakref
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from states import assert_same, compressed, every_kind
from torch import Tensor

from boildown import codec
from boildown.codec import CodecError
from boildown.codec.base import digest_of
from boildown.codec.container import open_file
from boildown.codec.entry import Entry
from boildown.codec.in_order import AHEAD, ROOM, in_order
from boildown.codec.index import DIFFERENCE, MIXED
from boildown.codec.pieces import count_of, spans_of
from boildown.codec.sections import CODERS

BLOCK = 1 << 21


def large() -> dict[str, Tensor]:
    """Tensors that are divided, by rows and within a row, and some that share a section."""
    g = torch.Generator().manual_seed(0)
    rows = torch.randint(-3, 4, (1200, 2000), generator=g) * 0.25
    return {
        "first": torch.randn(7, generator=g),
        "rows": rows,
        "row": (torch.arange(BLOCK + 5) % 3).to(torch.uint8),
        "wide": (torch.arange(2 * ((1 << 20) + 1)) % 5 == 0).to(torch.int8).reshape(2, -1),
        "three": torch.zeros(3, 1 << 20),
        "tied": rows,
        "last": compressed((100, 100), 0.1, 3),
    }


def test_large_tensors_come_back_from_their_pieces(tmp_path: Path) -> None:
    state, path = large(), tmp_path / "model.boil"
    size = codec.pack(state, path)
    back = codec.unpack(path)
    assert_same(state, back)
    assert back["tied"] is back["rows"]
    assert codec.estimate(state) == size == path.stat().st_size
    assert codec.decode(codec.encode(state))[0]["rows"].equal(state["rows"])
    report = codec.inspect_file(path)
    assert sum(t.bytes for t in report.tensors) + report.header == size
    assert [t.nonzero for t in report.tensors][1] == int(state["rows"].count_nonzero())


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 60), max_size=4), st.sampled_from(["int8", "complex128"]))
def test_pieces_are_whole_rows_and_all_words(shape: list[int], dtype: str) -> None:
    entry = Entry("w", dtype, tuple(shape))
    spans = list(spans_of(entry, 3, 5)) if entry.numel else []
    assert len(spans) == count_of([entry], 5)
    at = 0
    for span in spans:
        assert (span.place, span.start) == (3, at)
        assert 0 < span.columns <= span.size <= max(32, span.columns)
        assert span.whole == (len(spans) == 1)
        if len(spans) > 1 and len(shape) > 1 and shape[0] > 1:
            assert span.columns == entry.words // shape[0]
            assert span.start % span.columns == span.size % span.columns == 0
        at += span.size
    assert at == entry.words


def test_keys_are_read_alone(tmp_path: Path) -> None:
    state, path = large(), tmp_path / "model.boil"
    codec.pack(state, path, coder="huffman")
    some = codec.unpack(path, ["tied", "first"])
    assert_same({name: state[name] for name in ("tied", "first")}, some)
    assert codec.unpack(path, []) == {}
    assert list(codec.unpack(path, ["last", "last"])) == ["last"]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(CodecError, match="checksum is wrong"):
        codec.unpack(path)
    assert codec.unpack(path, ["first"])["first"].equal(state["first"])
    with pytest.raises(CodecError, match=r"model\.boil: it has no tensor 'lust': there is last"):
        codec.unpack(path, ["lust"])
    with pytest.raises(CodecError, match=r"no tensor 'zz': there is first, rows, row"):
        codec.unpack(path, ["zz"])
    with pytest.raises(CodecError, match=r"keys are the text 'last'; give a list"):
        codec.unpack(path, "last")


def test_keys_of_a_file_of_version_1() -> None:
    path = Path(__file__).with_name("golden") / "version1" / "names.boil"
    whole = codec.unpack(path)
    assert_same(
        {name: whole[name] for name in ("tied again", "empty", "scalar")},
        codec.unpack(path, ["tied again", "empty", "scalar"]),
    )


class Late(Mapping[str, Tensor]):
    """Tensors that are made when asked for, of which no two are wanted at a time."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        self.state = state
        self.nbytes = sum(tensor.nbytes for tensor in state.values())

    def __getitem__(self, name: str) -> Tensor:
        return self.state[name].clone()

    def __iter__(self) -> Iterator[str]:
        return iter(self.state)

    def __len__(self) -> int:
        return len(self.state)


def test_what_is_loaded_late_is_packed_like_what_is_there(tmp_path: Path) -> None:
    state = large()
    del state["tied"]
    data = codec.encode(state)
    assert codec.encode(Late(state)) == data
    assert codec.pack(Late(state), tmp_path / "model.boil") == len(data)


def test_tensors_that_take_turns_in_one_place_are_not_tied() -> None:
    """Each is gone when the next is made, in the same memory."""

    class Turns(Late):
        def __getitem__(self, name: str) -> Tensor:
            return torch.full((100_000,), float(name))

    names = {str(i): torch.zeros(100_000) for i in range(20)}
    back, _ = codec.decode(codec.encode(Turns(names), coder="huffman"))
    assert [float(tensor[0]) for tensor in back.values()] == list(range(20))
    assert len({tensor.data_ptr() for tensor in back.values()}) == 20


def test_packing_what_is_loaded_late_takes_little_memory(tmp_path: Path) -> None:
    """Numpy's memory is traced, torch's is not: the tensors are arrays."""

    class Arrays(Late):
        def __getitem__(self, name: str) -> Tensor:
            noise = np.random.default_rng(int(name)).integers(0, 9, (4000, 4000), np.int8)
            return torch.from_numpy(noise.astype(np.float32))

    shape = torch.empty(4000, 4000, device="meta")
    state, path = Arrays({str(i): shape for i in range(3)}), tmp_path / "model.boil"
    codec.pack({"w": torch.ones(3)}, path)
    tracemalloc.start()
    codec.pack(state, path, coder="huffman")
    packing = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    one = state["2"]
    start = tracemalloc.get_traced_memory()[0]
    back = codec.unpack(path, ["2"])
    unpacking = tracemalloc.get_traced_memory()[1] - start
    tracemalloc.stop()
    assert packing < 2.5 * shape.nbytes  # the tensor itself, and at most 1.5 times as much
    assert unpacking < shape.nbytes + (1 << 26)
    assert back["2"].equal(one)


def told_of(work: Callable[..., object]) -> list[tuple[int, int]]:
    seen: list[tuple[int, int]] = []
    work(progress=lambda done, in_all: seen.append((done, in_all)))
    return seen


def test_progress_goes_up_to_all(tmp_path: Path) -> None:
    state, path = large(), tmp_path / "model.boil"
    in_all = sum(tensor.nbytes for name, tensor in state.items() if name != "tied")
    for told in (state, Late({name: t for name, t in state.items() if name != "tied"})):
        seen = told_of(partial(codec.pack, told, path, coder="huffman"))
        assert [all_ for _, all_ in seen] == [in_all] * len(seen)
        assert seen == sorted(seen)
        assert seen[-1][0] == in_all
    seen = told_of(partial(codec.unpack, path, ["rows", "first"]))
    assert seen[-1] == (state["rows"].nbytes + state["first"].nbytes,) * 2


def unsized(i: int) -> int:
    return 0


def test_large_work_waits_for_its_turn() -> None:
    most = 0
    taken = list[int]()

    def sized(i: int) -> int:
        taken.append(i)
        return ROOM // 2

    for i, _ in enumerate(in_order(lambda i: i, range(20), sized)):
        most = max(most, len(taken) - i)
    assert most == 3  # two at a time, and one that waits


def test_work_comes_back_in_order_and_little_of_it_waits() -> None:
    taken: list[int] = []
    threads = set()

    def items() -> Iterator[int | None]:
        for i in range(20):
            taken.append(i)
            yield i
            if i == 9:
                yield None

    def work(i: int) -> int:
        threads.add(threading.current_thread())
        return i * i

    for i, result in enumerate(in_order(work, items(), unsized)):
        assert result == i * i
        assert len(taken) <= i + 1 + AHEAD
        assert i > 9 or taken[-1] <= 9 or i == 9
    assert threading.main_thread() not in threads
    assert list(in_order(work, [None], unsized)) == list(in_order(work, [], unsized)) == []
    assert list(in_order(work, [3], unsized)) == [9]
    assert threading.main_thread() in threads


def test_nothing_is_kept_of_what_is_done() -> None:
    class Item:
        pass

    alive = weakref.WeakSet[Item]()

    def items() -> Iterator[Item]:
        for _ in range(20):
            item = Item()
            alive.add(item)
            yield item
            del item

    for i, _ in enumerate(in_order(lambda item: None, items(), lambda item: 0)):
        assert i < 10 or len(alive) <= AHEAD + 2


def test_what_fails_in_a_thread_fails_here() -> None:
    def work(i: int) -> int:
        if i == 3:
            raise CodecError("three")
        return i

    found = []
    with pytest.raises(CodecError, match="three"):
        found.extend(in_order(work, range(100), unsized))


@pytest.mark.parametrize("coder", CODERS)
def test_every_coder_gives_every_bit_back(coder: str, tmp_path: Path) -> None:
    state, path = every_kind(), tmp_path / "model.boil"
    size = codec.pack(state, path, coder=coder)
    assert_same(state, codec.unpack(path))
    assert codec.estimate(state, coder=coder) == len(codec.encode(state, coder=coder)) == size


def test_coders_that_there_are_none_of_are_refused(tmp_path: Path) -> None:
    state = {"w": torch.ones(2)}
    for work in (codec.encode, codec.estimate):
        with pytest.raises(CodecError, match="coder 'zip' is none of auto, best, fast, huffman"):
            work(state, coder="zip")
    with pytest.raises(CodecError, match="coder 'huffman' cannot tell differences"):
        codec.encode(state, coder="huffman", base=state)


def tuned() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A state dict, and one that differs from it in part."""
    base = large() | {"head": torch.randn(50, 10), "gone": torch.ones(3)}
    base["noise"] = torch.randn(300, 1000)
    state = dict(base)
    state["head"] = torch.randn(20, 10)
    state["noise"] = base["noise"].clone()
    state["noise"][7] += 1
    state["last"] = state["last"].half()
    state["new"] = torch.randn(5)
    del state["gone"]
    return base, state


def test_a_base_makes_a_file_of_what_differs(tmp_path: Path) -> None:
    base, state = tuned()
    path = tmp_path / "model.boil"
    size = codec.pack(state, path, config={"a": 1}, base=base)
    assert size < 0.2 * codec.estimate(state)
    assert_same(state, codec.unpack(path, base=base))
    assert_same({"head": state["head"]}, codec.unpack(path, ["head"], base=base))
    assert_same(state, codec.decode(codec.encode(state, base=base), base=base)[0])
    assert codec.estimate(state, {"a": 1}, base=base) == size
    assert codec.read_config(path) == {"a": 1}
    with path.open("rb") as file:
        assert open_file(file).base == digest_of(base)


def test_another_base_is_refused(tmp_path: Path) -> None:
    base, state = tuned()
    path = tmp_path / "model.boil"
    codec.pack(state, path, base=base)
    needed = digest_of(base).hex()
    with pytest.raises(CodecError, match=f"digest {needed}: give that as base="):
        codec.unpack(path)
    other = base | {"gone": torch.zeros(3)}
    with pytest.raises(CodecError, match=f"{needed}, and the base given has [0-9a-f]{{32}}"):
        codec.unpack(path, base=other)
    with pytest.raises(CodecError, match="the base is a Linear, no state dict"):
        codec.unpack(path, base=torch.nn.Linear(2, 2))  # type: ignore[arg-type]
    with pytest.raises(CodecError, match="the base: tensor 'w': only dense"):
        codec.encode(state, base={"w": torch.ones(2).to_sparse()})


def test_a_base_that_is_no_use_is_not_told() -> None:
    state = {"w": torch.randn(9)}
    data = codec.encode(state, base={"v": torch.randn(9)})
    assert codec.decode(data)[0]["w"].equal(state["w"])
    assert len(data) == len(codec.encode(state))


def test_the_digest_of_a_base_is_that_of_the_page() -> None:
    import hashlib

    state = {"é": torch.tensor([[1.0, 2.0]]), "n": torch.tensor(3), "e": torch.empty(0)}
    told = b"\1e\0\1\0" + b"\1n\x08\0" + np.array(3, "<i8").tobytes()
    told += b"\2\xc3\xa9\0\2\1\2" + np.array([1, 2], "<f4").tobytes()
    digest = hashlib.blake2b(told, digest_size=16).digest()
    assert digest_of(state) == digest_of(dict(sorted(state.items()))) == digest
    assert (MIXED, DIFFERENCE) == (1, 2)


@pytest.mark.parametrize("error", [OSError("gone"), KeyboardInterrupt(), CodecError("no")])
def test_what_stops_in_the_middle_leaves_the_old_file(error: BaseException, tmp_path: Path) -> None:
    class Broken(Late):
        def __getitem__(self, name: str) -> Tensor:
            if name == "3":
                raise error
            return super().__getitem__(name)

    path = tmp_path / "model.boil"
    path.write_bytes(b"old")
    state = Broken({str(i): torch.randn(1 << 20) for i in range(5)})
    before = threading.active_count()
    with pytest.raises(type(error)):
        codec.pack(state, path)
    assert threading.active_count() == before
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["model.boil"]


def test_a_full_disk_in_the_middle_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "model.boil"
    codec.pack(large(), path)  # numba keeps what it compiled, on the disk too
    old = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            codec.pack(large(), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == old
    assert [p.name for p in tmp_path.iterdir()] == ["model.boil"]
