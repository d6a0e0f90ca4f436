"""Decode a folder or tar of images once, into arrays on disk that are then mapped."""

import hashlib
import io
import json
import os
import shutil
import tarfile
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np

from boildown.files.atomic import part_beside, remove_parts
from boildown.files.progress import progress
from boildown.files.regular import check_regular

FORMAT = 3  # of the cached arrays; after a change old ones are no longer found
SUFFIXES = frozenset(
    ".bmp .gif .jpeg .jpg .pgm .png .ppm .tif .tiff .webp".split()  # noqa: SIM905
)
TRAIN = "train"
TESTS = ("test", "val")  # folders of the test part; the first that exists is taken
CHUNK = 64  # images held in memory while decoding
LARGE = 1 << 14  # bytes; handing a smaller image to a thread costs more than it gains
PIXELS_MOST = 1 << 26  # of an image, some 200 MB once decoded
BYTES_MOST = 1 << 26  # of an image's file
MEMBERS_MOST = 1 << 21  # of a tar: a gzip of some MB may hold a million empty ones
WORKERS = 8  # threads; Pillow decodes without the interpreter lock


@dataclass(frozen=True)
class Decoded:
    """Images in the cache.

    Attributes:
        train: (N, 3, size, size) uint8, mapped read-only.
        train_targets: (N,) int64.
        test: as `train`.
        test_targets: as `train_targets`.
        classes: sorted names; position i names target i.
        mean: of each channel of the training images, in [0, 255].
        std: deviation, likewise.
    """

    train: np.ndarray
    train_targets: np.ndarray
    test: np.ndarray
    test_targets: np.ndarray
    classes: list[str]
    mean: list[float]
    std: list[float]


@dataclass(frozen=True)
class _Listing:
    """What there is to decode: "train/cat/1.png" and the like, and the class folders."""

    files: list[str]
    folders: set[str]
    read: Callable[[], Iterator[tuple[str, bytes]]]  # each name with its bytes, in any order


def decode(
    root: Path,
    size: int,
    cache: Path,
    *,
    pixels_most: int = PIXELS_MOST,
    bytes_most: int = BYTES_MOST,
    members_most: int = MEMBERS_MOST,
) -> Decoded:
    """Images of `root`, decoded now or earlier.

    The middle of each image, as high as wide, is cut out and scaled to `size` pixels.
    Results lie in `cache` under a name that depends on the root's path, its files' sizes and
    times of change, and `size`; they appear there whole or not at all. A tar is never unpacked.

    Args:
        root: a directory, or a tar (compressed or not), of train/<class>/<image> and
            test/<class>/<image>; val/ stands in for a missing test/.
        size: pixels, of both sides.
        cache: where to keep decoded images; made if missing.
        pixels_most: the most pixels an image may have, looked at before it is decoded.
        bytes_most: the most bytes the file of an image may have, in a tar too.
        members_most: the most members a tar may have, folders and other files included.

    Raises:
        FileNotFoundError: if `root` does not exist.
        ValueError: if it is not laid out so, or an image is damaged or too large, naming it.
        ImportError: if there is something to decode and no Pillow.
    """
    root = root.absolute()
    if not root.exists():
        raise FileNotFoundError(f"no such directory or tar of images: {root}")
    listing = None
    if root.is_dir():
        listing, stamp = _list_directory(root, bytes_most)
    else:
        status = root.stat()
        stamp = f"{status.st_size} {status.st_mtime_ns}"
    key = hashlib.sha256(f"{FORMAT}\0{root}\0{size}\0{stamp}".encode()).hexdigest()[:32]
    target = cache / key
    found = _found(target) if target.is_dir() else None
    if found is None:
        if listing is None:
            check_regular(root)
            listing = _list_tar(root, bytes_most, members_most)
        _require_pillow()
        cache.mkdir(parents=True, exist_ok=True)
        remove_parts(cache)
        draft = part_beside(target)
        draft.mkdir()
        try:
            _decode_all(root, listing, size, draft, pixels_most)
            try:
                draft.rename(target)
            except OSError:
                if not target.is_dir():  # else another process was faster, with the same result
                    raise
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return found or _load(target)


def _found(folder: Path) -> Decoded | None:
    """What an earlier call has left; None, and it is removed, if it is damaged."""
    try:
        found = _load(folder, check=True)
        shape = found.train.shape[1:]
        labels = set(range(len(found.classes)))
        train, test = (found.train, found.train_targets), (found.test, found.test_targets)
        for images, targets in (train, test):
            if (
                images.dtype != np.uint8
                or images.shape != (len(targets), *shape)
                or not set(np.unique(targets).tolist()) <= labels
            ):
                raise ValueError("its parts do not belong together")
        if not np.isfinite([found.mean, found.std]).all() or min(found.std) < 1.0:
            raise ValueError("its mean or deviation is none")
    except (OSError, ValueError, TypeError, LookupError, EOFError, SyntaxError) as error:
        warnings.warn(
            f"{folder}: the decoded images are damaged ({error}); they are decoded anew",
            stacklevel=4,
        )
        shutil.rmtree(folder, ignore_errors=True)
        return None
    return found


def _load(folder: Path, check: bool = False) -> Decoded:
    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    for name, crc in about.pop("crc32").items():
        if check and _crc32(folder / name) != crc:
            raise ValueError(f"{name} is not what was written")
    arrays = {}
    for part in ("train", "test"):
        arrays[part] = np.load(folder / f"{part}.npy", mmap_mode="r")
        arrays[f"{part}_targets"] = np.load(folder / f"{part}_targets.npy")
    return Decoded(**arrays, **about)


def _crc32(path: Path) -> int:
    """Of a file, in pieces: 1 to 3 GB a second."""
    crc = 0
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            crc = zlib.crc32(piece, crc)
    return crc


def _list_directory(root: Path, bytes_most: int) -> tuple[_Listing, str]:
    files, folders, stamp = [], set(), hashlib.sha256()
    for split in (TRAIN, *TESTS):
        for folder in sorted((root / split).iterdir()) if (root / split).is_dir() else []:
            if folder.name.startswith(".") or not folder.is_dir():
                continue
            folders.add(f"{split}/{folder.name}")
            with os.scandir(folder) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    name = f"{split}/{folder.name}/{entry.name}"
                    if _is_image(name) and entry.is_file():
                        status = entry.stat()
                        stamp.update(f"{name}\0{status.st_size} {status.st_mtime_ns}\0".encode())
                        files.append(name)
    stamp.update("\0".join(sorted(folders)).encode())

    def read() -> Iterator[tuple[str, bytes]]:
        # Reads only the files that will be decoded: val/ may be large and unused.
        chosen = {TRAIN, _test_split(folders)}
        for name in files:
            if name.split("/")[0] in chosen:
                _check_bytes(root, name, (root / name).stat().st_size, bytes_most)
                yield name, (root / name).read_bytes()

    return _Listing(files, folders, read), stamp.hexdigest()


def _list_tar(root: Path, bytes_most: int, members_most: int) -> _Listing:
    with _stream_tar(root) as tar:
        paths = []
        for member in _members(root, tar, members_most):
            if member.isfile():  # before it is passed over, which inflates it
                _check_bytes(root, member.name, member.size, bytes_most)
            if member.isfile() or member.isdir():
                paths.append((_parts(member.name), member.isfile()))
    splits = {TRAIN, *TESTS}
    tops = {parts[0] for parts, _ in paths if parts}
    wrapped = len(tops) == 1 and not tops & splits
    files, folders = [], set()
    for whole, is_file in paths:
        parts = whole[wrapped:]
        if len(parts) < 2 or parts[0] not in splits or parts[1].startswith("."):
            continue
        if not is_file and len(parts) == 2:
            folders.add("/".join(parts))
        if is_file and len(parts) == 3:
            folders.add("/".join(parts[:2]))
            if _is_image(parts[2]):
                files.append("/".join(parts))
    name, times = Counter(files).most_common(1)[0] if files else ("", 0)
    if times > 1:
        raise ValueError(f"{root}: {name} is in the tar {times} times")

    def read() -> Iterator[tuple[str, bytes]]:
        chosen = {TRAIN, _test_split(folders)}
        wanted = {name for name in files if name.split("/")[0] in chosen}
        with _stream_tar(root) as tar:
            for member in _members(root, tar, members_most):
                name = "/".join(_parts(member.name)[wrapped:])
                if name in wanted and member.isfile():
                    content = tar.extractfile(member)
                    assert content is not None
                    yield name, content.read(bytes_most + 1)

    return _Listing(files, folders, read)


def _check_bytes(root: Path, name: str, size: int, most: int) -> None:
    if size > most:
        raise ValueError(
            f"{root}: {name[:200]} has {size:,} bytes, an image {most:,} at most; leave it out, or "
            "allow more with bytes_most"
        )


def _members(root: Path, tar: tarfile.TarFile, most: int) -> Iterator[tarfile.TarInfo]:
    """The members of a tar, of which none is kept."""
    count = 0
    while (member := tar.next()) is not None:
        count += 1
        if count > most:
            raise ValueError(
                f"{root}: the tar has over {most:,} members; leave out what is no image, or allow "
                "more with members_most"
            )
        yield member
        tar.members.clear()  # type: ignore[attr-defined]  # a kilobyte each


@contextmanager
def _stream_tar(root: Path) -> Iterator[tarfile.TarFile]:
    """`tarfile.open` front to back, whose errors say which file is damaged."""
    try:
        with tarfile.open(root, "r|*") as tar:
            yield tar
    except (tarfile.TarError, EOFError, RecursionError, zlib.error) as error:
        raise ValueError(f"{root}: not a directory, nor a tar that can be read: {error}") from error


def _parts(name: str) -> list[str]:
    return [part for part in name.split("/") if part not in ("", ".")]


def _is_image(name: str) -> bool:
    base = name.rpartition("/")[2]
    return not base.startswith(".") and os.path.splitext(base)[1].lower() in SUFFIXES  # noqa: PTH122


def _test_split(folders: set[str]) -> str:
    """Test, or else val: whichever has class folders; "" if neither."""
    return next((s for s in TESTS if any(f.startswith(f"{s}/") for f in folders)), "")


def _checked(root: Path, listing: _Listing) -> tuple[list[str], dict[str, list[str]]]:
    """The classes, and the sorted files of the two parts to decode."""
    test = _test_split(listing.folders)
    found = {
        split: {
            folder.split("/")[1] for folder in listing.folders if folder.startswith(f"{split}/")
        }
        for split in (TRAIN, test)
    }
    if not found[TRAIN] or not test:
        missing = "train/<class>/" if not found[TRAIN] else "test/<class>/ nor val/<class>/"
        raise ValueError(
            f"{root}: no {missing}; expected train/<class>/<image> and test/<class>/<image>"
        )
    if found[TRAIN] != found[test]:
        only = [
            f"only in {split}/: {', '.join(sorted(found[split] - found[other]))}"
            for split, other in ((TRAIN, test), (test, TRAIN))
            if found[split] - found[other]
        ]
        raise ValueError(f"{root}: train/ and {test}/ have different classes; {'; '.join(only)}")
    filled = {name.rpartition("/")[0] for name in listing.files}
    for split, classes in found.items():
        for name in sorted(classes):
            if f"{split}/{name}" not in filled:
                raise ValueError(
                    f"{root}: no images in {split}/{name}/; expected files that end in "
                    f"{', '.join(sorted(SUFFIXES))}"
                )
    files = {
        part: sorted(name for name in listing.files if name.startswith(f"{split}/"))
        for part, split in (("train", TRAIN), ("test", test))
    }
    return sorted(found[TRAIN]), files


def _decode_all(root: Path, listing: _Listing, size: int, folder: Path, pixels_most: int) -> None:
    classes, files = _checked(root, listing)
    number = {name: i for i, name in enumerate(classes)}
    place: dict[str, tuple[str, int]] = {}
    for part, names in files.items():
        place |= {name: (part, row) for row, name in enumerate(names)}
        targets = np.array([number[name.split("/")[1]] for name in names], np.int64)
        np.save(folder / f"{part}_targets.npy", targets)

    def one(item: tuple[str, bytes]) -> np.ndarray:
        return _decode_one(root, *item, size, pixels_most)

    # In integers, so that the order the images come in does not show in the last digit.
    total, squares = np.zeros(3, np.int64), np.zeros(3, np.int64)
    with (
        _Rows(folder / "train.npy", len(files["train"]), size) as train,
        _Rows(folder / "test.npy", len(files["test"]), size) as test,
        ThreadPoolExecutor(min(WORKERS, os.cpu_count() or 1)) as pool,
        progress(f"decoding {root.name}", len(place), in_bytes=False) as advance,
        _own_limit(),
    ):
        rows = {"train": train, "test": test}
        stream = listing.read()
        while chunk := list(islice(stream, CHUNK)):
            large = sum(len(content) for _, content in chunk) > LARGE * len(chunk)
            for_each = pool.map if large else map
            trained = []
            for (name, _), pixels in zip(chunk, for_each(one, chunk), strict=True):
                part, row = place[name]
                rows[part].write(row, pixels)
                if part == "train":
                    trained.append(pixels)
            if trained:
                values = np.stack(trained).astype(np.int64)
                total += values.sum(axis=(0, 2, 3))
                squares += np.square(values, out=values).sum(axis=(0, 2, 3))
            advance(len(chunk))
    count = len(files["train"]) * size * size
    mean = total / count
    # A channel without variation would divide by zero; one grey level is the least that shows.
    std = np.sqrt(np.maximum(squares / count - mean**2, 1.0))
    about = {"classes": classes, "mean": mean.tolist(), "std": std.tolist()}
    about["crc32"] = {path.name: _crc32(path) for path in sorted(folder.glob("*.npy"))}
    (folder / "about.json").write_text(json.dumps(about), encoding="utf-8")


@contextmanager
def _own_limit() -> Iterator[None]:
    """Without Pillow's limit of pixels, as `_decode_one` looks at them itself."""
    from PIL import Image

    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


class _Rows:
    """A .npy file of images, written in any order.

    It is written by `write` and not through a memory map: on a full disk `write` raises an error,
    where a map would crash the process.
    """

    def __init__(self, path: Path, count: int, size: int) -> None:
        self.file: BinaryIO = path.open("wb")
        shape = (count, 3, size, size)
        np.lib.format.write_array_header_1_0(
            self.file, {"descr": "|u1", "fortran_order": False, "shape": shape}
        )
        self.begin = self.file.tell()
        self.row = 3 * size * size

    def write(self, row: int, pixels: np.ndarray) -> None:
        self.file.seek(self.begin + row * self.row)
        self.file.write(pixels.tobytes())

    def __enter__(self) -> "_Rows":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()


def _decode_one(
    root: Path, name: str, content: bytes, size: int, pixels_most: int = PIXELS_MOST
) -> np.ndarray:
    """One image as (3, size, size) uint8."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content)) as image:
            pixels = image.width * image.height
            if pixels > pixels_most:
                raise _TooLargeError(
                    f"{root}: {name} has {image.width} x {image.height} pixels, an image "
                    f"{pixels_most:,} at most; leave it out, or allow more with pixels_most"
                )
            image.draft("RGB", (2 * size, 2 * size))  # a JPEG need not be decoded at full size
            left, top, side = _middle(*image.size)
            part = image.crop((left, top, left + side, top + side))  # first, as it may be long
            picture = part.convert("RGB")
    except _TooLargeError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{root}: cannot decode {name}: {error}") from error
    if picture.size != (size, size):
        picture = picture.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(picture).transpose(2, 0, 1)


class _TooLargeError(ValueError):
    """An image has more pixels than are allowed."""


def _middle(width: int, height: int) -> tuple[int, int, int]:
    """Left and top edge and side of the square in the middle."""
    side = min(width, height)
    return (width - side) // 2, (height - side) // 2, side


def _require_pillow() -> None:
    try:
        import PIL  # noqa: F401
    except ImportError as error:
        raise ImportError("decoding images needs Pillow: pip install 'boildown[images]'") from error
