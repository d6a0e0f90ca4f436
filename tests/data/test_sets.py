"""boildown.data.digits and mnist: parts, seeds, places to look in, and refusals."""

import gzip
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from boildown.data import mnist
from boildown.data.base import Dataset
from boildown.data.digits import Digits
from boildown.data.idx import read_idx
from boildown.data.mnist import FILES, MNIST, FashionMNIST

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data" / "mnist"
DEBIAN = Path(FashionMNIST.PLACES[0])


def settings(name: str, **changes: Any) -> dict[str, Any]:
    loaded = yaml.safe_load((ROOT / "conf" / "data" / f"{name}.yaml").read_text())
    del loaded["_target_"]
    loaded.pop("defaults", None)
    return loaded | {"seed": 0} | changes


def rows(data: Dataset, part: str) -> set[bytes]:
    loader = {"val": data.val_dataloader, "test": data.test_dataloader}.get(part)
    batches = loader() if loader else data.train_dataloader()
    return {x.numpy().tobytes() for inputs, _ in batches for x in inputs}


def digits(**changes: Any) -> Digits:
    return Digits(**settings("digits", **changes))


def test_digits_shapes_and_statistics() -> None:
    data = digits(batch_size=1437 - 200)
    x, y = next(iter(data.train_dataloader()))
    assert x.shape == (1237, *data.input_shape) == (1237, 1, 8, 8)
    assert (x.dtype, y.dtype) == (torch.float32, torch.int64)
    assert abs(x.mean()) < 0.02
    assert abs(x.std() - 1) < 0.02
    assert (data.num_classes, data.classes) == (10, list("0123456789"))
    assert sum(len(y) for _, y in data.val_dataloader()) == 200
    assert sum(len(y) for _, y in data.test_dataloader()) == 360


def test_parts_are_disjoint_and_seeded_and_the_test_part_is_fixed() -> None:
    a, same, other = digits(batch_size=1), digits(batch_size=1), digits(batch_size=1, seed=1)
    parts = {part: rows(a, part) for part in ("train", "val", "test")}
    assert sum(map(len, parts.values())) == len(set.union(*parts.values()))
    assert all(rows(same, part) == parts[part] for part in parts)
    assert rows(other, "test") == parts["test"]
    assert rows(other, "val") != parts["val"]
    assert len(rows(other, "val") & parts["val"]) < 60


def test_the_test_part_never_changes() -> None:
    """Errors from different versions of boildown or torch stay comparable."""
    x, y = next(iter(digits().test_dataloader()))
    pixels = (x * Digits.STD + Digits.MEAN).round().int()
    assert (int(pixels.sum()), int((y * torch.arange(360)).sum())) == (113519, 299906)


def test_order_depends_on_the_seed() -> None:
    first = [next(iter(digits(seed=seed).train_dataloader()))[0] for seed in (0, 0, 1)]
    assert torch.equal(first[0], first[1])
    assert not torch.equal(first[0], first[2])


def test_val_size_as_a_fraction() -> None:
    assert sum(len(y) for _, y in digits(val_size=0.1).val_dataloader()) == 144


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "batch_size must be .* at least 1, got 0"),
        ({"batch_size": 3.5}, "batch_size .* got 3.5"),
        ({"eval_batch_size": -1}, "eval_batch_size .* got -1"),
        ({"seed": -1}, "seed must .* got -1"),
        ({"seed": None}, "seed must .* got None"),
        ({"val_size": 0}, "val_size must be a count .* or a fraction .* got 0"),
        ({"val_size": 1.0}, "val_size .* got 1.0"),
        ({"val_size": True}, "val_size .* got True"),
        ({"val_size": "5"}, "val_size .* got '5'"),
        ({"val_size": 1437}, "val_size=1437 takes 1437 of 1437 .* at most 1436"),
        ({"val_size": 0.0001}, "val_size=0.0001 takes 0 of 1437"),
    ],
)
def test_bad_settings_are_refused_at_once(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        digits(**changes)


def idx(array: np.ndarray) -> bytes:
    shape = b"".join(n.to_bytes(4, "big") for n in array.shape)
    return bytes([0, 0, 8, array.ndim]) + shape + array.tobytes()


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_idx(tmp_path: Path, compress: Any) -> None:
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    path = tmp_path / "a"
    path.write_bytes(compress(idx(array)))
    assert np.array_equal(read_idx(path), array)
    assert read_idx(path).dtype == np.uint8


GOOD = idx(np.zeros((2, 3), np.uint8))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "begins 00 00 08 .* got an empty file"),
        (b"PK\3\4" + GOOD, "got 50 4b 03 04"),
        (b"\0\0\x0d" + GOOD[3:], "unsigned bytes, .* got 00 00 0d 02"),
        (GOOD[:10], "header of 12 bytes, the file has 10"),
        (GOOD[:-1], r"truncated: shape \(2, 3\) takes 18 bytes .* has 17"),
        (GOOD + b"\0", "trailing bytes: .* takes 18 .* has 19"),
        (b"\0\0\x08\x02" + b"\xff" * 8, "truncated"),
        (gzip.compress(GOOD, mtime=0)[:-9], "damaged gzip file"),
        (gzip.compress(GOOD, mtime=0)[:12] + b"\xff" * 20, "damaged gzip file"),
    ],
)
def test_damaged_idx(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "some-idx"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"some-idx: .*{message}"):
        read_idx(path)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(FashionMNIST, "PLACES", ())
    return tmp_path / "cache" / "boildown"


def write_mnist(folder: Path, compress: Any = bytes, suffix: str = "") -> Path:
    """Files of the right shapes: label i % 10, every pixel the label."""
    folder.mkdir(parents=True)
    for images, labels, n in ((FILES[0], FILES[1], 60000), (FILES[2], FILES[3], 10000)):
        y = (np.arange(n) % 10).astype(np.uint8)
        (folder / f"{labels}{suffix}").write_bytes(compress(idx(y)))
        x = np.broadcast_to(y[:, None, None], (n, 28, 28))
        (folder / f"{images}{suffix}").write_bytes(compress(idx(np.ascontiguousarray(x))))
    return folder


def check_mnist(data: MNIST) -> None:
    x, y = next(iter(data.train_dataloader()))
    assert x.shape == (128, 1, 28, 28)
    expected = (y / 255 - data.MEAN) / data.STD
    torch.testing.assert_close(x[:, 0, 3, 4], expected.float())
    assert len(data.train_dataloader()) == 55000 // 128
    counts = [
        sum(len(y) for _, y in part) for part in (data.val_dataloader(), data.test_dataloader())
    ]
    assert counts == [5000, 10000]


@pytest.mark.parametrize("inside", ["", "raw", "MNIST/raw"])
def test_mnist_is_found_in_root(tmp_path: Path, cache: Path, inside: str) -> None:
    write_mnist(tmp_path / "here" / inside)
    check_mnist(MNIST(**settings("mnist", root=str(tmp_path / "here"), download=False)))
    assert not cache.exists()


@pytest.mark.parametrize("kind", [MNIST, FashionMNIST])
def test_mnist_is_found_in_the_cache(cache: Path, kind: type[MNIST]) -> None:
    def fast(content: bytes) -> bytes:
        return gzip.compress(content, 1)

    write_mnist(cache / kind.NAME.lower(), fast, ".gz")
    check_mnist(kind(**settings("mnist", download=False)))


def test_missing_mnist_says_where_it_looked_and_what_to_do(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = tmp_path / "absent"
    with pytest.raises(FileNotFoundError) as error:
        MNIST(**settings("mnist", root=absent, download=False)).prepare()
    message = str(error.value)
    assert "\n" not in message
    for part in (f"root={absent} is not a directory", *FILES, "data.root", "data.download=true"):
        assert part in message
    with pytest.raises(FileNotFoundError, match=r"with or without .gz\) in root="):
        MNIST(**settings("mnist", root=tmp_path, download=False)).prepare()

    def fail(*_: Any, **__: Any) -> Path:
        raise OSError("no network")

    monkeypatch.setattr(mnist, "fetch", fail)
    with pytest.raises(FileNotFoundError, match=r"set data.root .*\(no network\)"):
        MNIST(**settings("mnist")).prepare()


def test_mnist_is_downloaded_to_the_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def record(urls: list[str], path: Path, *, checksum: str, timeout: float) -> Path:
        asked.append((urls, path, checksum))
        if len(asked) == 1:
            write_mnist(cache / "mnist")
        return path.with_suffix("")

    monkeypatch.setattr(mnist, "fetch", record)
    check_mnist(MNIST(**settings("mnist")))
    assert [path for _, path, _ in asked] == [cache / "mnist" / f"{name}.gz" for name in FILES]
    assert asked[0][0] == [f"{mirror}{FILES[0]}.gz" for mirror in MNIST.MIRRORS]
    assert tuple(checksum for *_, checksum in asked) == MNIST.CHECKSUMS


def test_files_of_another_shape_are_refused(tmp_path: Path, cache: Path) -> None:
    folder = write_mnist(tmp_path / "here")
    (folder / FILES[3]).write_bytes(idx(np.zeros(9999, np.uint8)))
    with pytest.raises(ValueError, match=rf"{FILES[3]}: expected shape \(10000,\), got \(9999,\)"):
        MNIST(**settings("mnist", root=folder)).prepare()
    (folder / FILES[3]).write_bytes(idx(np.full(10000, 10, np.uint8)))
    with pytest.raises(ValueError, match=rf"{FILES[3]}: expected labels 0 to 9, got 10"):
        MNIST(**settings("mnist", root=folder)).prepare()


def check_real(data: MNIST) -> None:
    x = torch.cat([x for part in (data.train_dataloader(), data.val_dataloader()) for x, _ in part])
    assert abs(x.mean()) < 0.01
    assert abs(x.std() - 1) < 0.01
    y = torch.cat([y for _, y in data.test_dataloader()])
    assert y.bincount().min() > 890


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs MNIST's files")
def test_real_mnist() -> None:
    check_real(MNIST(**settings("mnist", root=SHARED, download=False)))


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="needs Debian's dataset-fashion-mnist")
def test_real_fashion_mnist() -> None:
    data = FashionMNIST(**settings("fashion_mnist", download=False))
    check_real(data)
    assert data.classes[9] == "Ankle boot"


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (bytes([0, 0, 8, 1, 0, 0, 0, 9]), "trailing bytes"),
        (b"not an IDX file", "expected an IDX file"),
        (bytes([0, 0, 8, 2, 255, 255, 255, 255, 255, 255, 255, 255]), "allow more with bytes_most"),
        (bytes([0, 0, 8, 1, 0, 255, 255, 255]), "trailing bytes"),
    ],
)
def test_a_gzip_is_inflated_no_further_than_its_header_promises(
    head: bytes, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(head + bytes(1 << 24), 9))
    tracemalloc.start()
    with pytest.raises(ValueError, match=message):
        read_idx(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000 if head[5:6] != b"\xff" or len(head) > 9 else 80_000_000
