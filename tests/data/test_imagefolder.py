"""boildown.data.imagefolder and decode, on pictures drawn here."""

import resource
import shutil
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from boildown.data.decode import decode
from boildown.data.imagefolder import ImageFolder

CLASSES = ("cat", "dog", "emu")


def draw(path: Path, level: int, size: tuple[int, int] = (8, 8)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((size[1], size[0], 3), level, np.uint8)
    pixels[..., 1] += 1
    Image.fromarray(pixels).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Six training and two test pictures of each class; the grey level tells which."""
    folder = tmp_path / "images"
    for c, name in enumerate(CLASSES):
        for i in range(6):
            draw(folder / "train" / name / f"{i}.png", 10 * i + 70 * c)
        for i in range(2):
            draw(folder / "test" / name / f"{i}.png", 5 + 10 * i + 70 * c)
    return folder


def images(root: Path, **changes: Any) -> ImageFolder:
    settings: dict[str, Any] = {
        "root": root,
        "size": 8,
        "augment": None,
        "cache": root.parent / "cache",
        "batch_size": 5,
        "eval_batch_size": 4,
        "val_size": 3,
        "seed": 0,
    }
    return ImageFolder(**settings | changes)


def pack(root: Path, mode: str, prefix: str) -> Path:
    path = root.parent / f"images-{prefix.replace('/', '_')}.{mode.replace(':', '.')}"
    with tarfile.open(path, mode) as tar:
        for file in sorted(root.rglob("*"), reverse=True):
            tar.add(file, f"{prefix}{file.relative_to(root)}", recursive=False)
    return path


def everything(data: ImageFolder) -> list[Any]:
    parts = (data.train_dataloader(), data.val_dataloader(), data.test_dataloader())
    return [(x, y) for part in parts for x, y in part]


def test_pictures_become_standardised_tensors(root: Path) -> None:
    data = images(root)
    assert (data.input_shape, data.num_classes, data.classes) == ((3, 8, 8), 3, list(CLASSES))
    x = torch.cat([x for x, _ in data.test_dataloader()])
    y = torch.cat([y for _, y in data.test_dataloader()])
    assert y.tolist() == [0, 0, 1, 1, 2, 2]
    levels = torch.tensor([10.0 * i + 70 * c for c in range(3) for i in range(6)])
    expected = (5 + 10 * torch.tensor([0, 1] * 3) + 70 * y - levels.mean()) / levels.std(
        correction=0
    )
    torch.testing.assert_close(x, expected.view(6, 1, 1, 1).expand(6, 3, 8, 8))
    assert [len(y) for _, y in data.val_dataloader()] == [3]
    assert [len(y) for _, y in data.train_dataloader()] == [5, 5, 5]


@pytest.mark.parametrize("prefix", ["", "./", "wrapped/", "./a"])
@pytest.mark.parametrize("mode", ["w:", "w:gz"])
def test_a_tar_gives_what_the_directory_gives(root: Path, mode: str, prefix: str) -> None:
    prefix = prefix if prefix in ("", "./") else f"{prefix}/".replace("//", "/")
    tar = pack(root, mode, prefix)
    pairs = zip(everything(images(tar)), everything(images(root)), strict=True)
    assert all(torch.equal(x, u) and torch.equal(y, v) for (x, y), (u, v) in pairs)
    assert not (tar.parent / "train").exists()


def test_a_tar_cannot_write_anywhere(root: Path, tmp_path: Path) -> None:
    tar = pack(root, "w:", "")
    with tarfile.open(tar, "a") as archive:
        for name in ("../../escaped.png", "/train/cat/../../../escaped.png"):
            archive.add(root / "train" / "cat" / "0.png", name)
        link = tarfile.TarInfo("train/cat/link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hosts"
        archive.addfile(link)
    before = set(tmp_path.rglob("*"))
    assert len(decode(tar, 8, tmp_path / "cache").train) == 18
    new = set(tmp_path.rglob("*")) - before
    assert all((tmp_path / "cache") in (path, *path.parents) for path in new)


def test_decoded_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images(root).prepare()
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert everything(images(root))
    assert isinstance(decode(root, 8, root.parent / "cache").train, np.memmap)
    (root / "train" / "cat" / "0.png").touch()
    with pytest.raises(ImportError, match=r"pip install 'boildown\[images\]'"):
        images(root).prepare()
    with pytest.raises(ImportError, match="Pillow"):
        images(root, size=4).prepare()


@pytest.mark.parametrize("name", ["about.json", "train.npy", "test.npy", "train_targets.npy"])
@pytest.mark.parametrize("damage", ["cut", "emptied", "gone", "overwritten", "flipped"])
def test_a_damaged_cache_is_named_and_rebuilt(root: Path, name: str, damage: str) -> None:
    before = everything(images(root))
    (folder,) = (root.parent / "cache").iterdir()
    file = folder / name
    content = file.read_bytes()
    if damage == "gone":
        file.unlink()
    else:
        damaged = {"cut": content[:-3], "emptied": b"", "overwritten": b"\xff" * len(content)}
        damaged["flipped"] = content[:-1] + bytes([content[-1] ^ 1])
        file.write_bytes(damaged[damage])
    with pytest.warns(UserWarning, match=f"{folder.name}: the decoded images are damaged"):
        after = everything(images(root))
    assert all(
        torch.equal(x, u) and torch.equal(y, v)
        for (x, y), (u, v) in zip(before, after, strict=True)
    )
    assert file.read_bytes() == content
    assert everything(images(root))  # and no word of it


@pytest.mark.parametrize("size", [(16, 16), (20, 10), (3, 7), (8, 9)])
def test_other_sizes_are_scaled_and_cut(root: Path, size: tuple[int, int]) -> None:
    draw(root / "train" / "cat" / "0.png", 200, size)
    decoded = decode(root, 8, root.parent / "cache")
    assert decoded.train.shape == (18, 3, 8, 8)
    assert (decoded.train[0, 0] == 200).all()
    assert (decoded.train[0, 1] == 201).all()


def test_the_middle_is_kept(root: Path) -> None:
    wide = np.zeros((8, 24), np.uint8)
    wide[:, 8:16] = 255
    Image.fromarray(wide).save(root / "train" / "cat" / "0.png")
    assert (decode(root, 8, root.parent / "cache").train[0] == 255).all()


def test_val_stands_in_for_test(root: Path) -> None:
    expected = everything(images(root))
    (root / "test").rename(root / "val")
    assert all(
        torch.equal(x, u) for (x, _), (u, _) in zip(everything(images(root)), expected, strict=True)
    )


def test_no_test_images(root: Path) -> None:
    shutil.rmtree(root / "test")
    for source in (root, pack(root, "w:", "")):
        with pytest.raises(ValueError, match="no test/<class>/ nor val/<class>/; expected train/"):
            images(source).prepare()


def test_no_training_images(root: Path) -> None:
    shutil.rmtree(root / "train")
    for source in (root, pack(root, "w:", "")):
        with pytest.raises(ValueError, match="no train/<class>/; expected train/"):
            images(source).prepare()


def test_different_classes(root: Path) -> None:
    (root / "test" / "emu").rename(root / "test" / "yak")
    for source in (root, pack(root, "w:gz", "")):
        with pytest.raises(ValueError, match="only in train/: emu; only in test/: yak"):
            images(source).prepare()


def test_an_empty_class(root: Path) -> None:
    for file in (root / "test" / "dog").iterdir():
        file.rename(file.with_suffix(".txt"))
    for source in (root, pack(root, "w:gz", "")):
        with pytest.raises(ValueError, match=r"no images in test/dog/; expected files that end in"):
            images(source).prepare()


@pytest.mark.parametrize("content", [b"", b"no picture", None])
def test_a_damaged_image_is_named(root: Path, content: bytes | None) -> None:
    path = root / "train" / "dog" / "3.png"
    path.write_bytes(path.read_bytes()[:45] if content is None else content)
    for source in (root, pack(root, "w:gz", "")):
        with pytest.raises(ValueError, match=r"cannot decode train/dog/3\.png"):
            images(source).prepare()
    assert list((root.parent / "cache").iterdir()) == []


def test_damaged_tars(root: Path) -> None:
    tar = pack(root, "w:gz", "")
    for content in (b"", b"no tar at all" * 100, tar.read_bytes()[: tar.stat().st_size // 2]):
        tar.write_bytes(content)
        with pytest.raises(ValueError, match="nor a tar that can be read"):
            images(tar).prepare()


def test_a_name_twice(root: Path) -> None:
    tar = pack(root, "w:", "")
    with tarfile.open(tar, "a") as archive:
        archive.add(root / "train" / "cat" / "0.png", "train/cat/0.png")
    with pytest.raises(ValueError, match=r"train/cat/0\.png is in the tar 2 times"):
        images(tar).prepare()


def test_missing_root(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no such directory or tar of images: .*absent"):
        images(tmp_path / "absent").prepare()


def test_hidden_and_other_files_are_ignored(root: Path) -> None:
    (root / "train" / "cat" / "._0.png").write_bytes(b"resource fork")
    (root / "train" / "cat" / "labels.txt").write_text("0")
    (root / "train" / ".cache").mkdir()
    assert len(decode(root, 8, root.parent / "cache").train) == 18


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"size": 0}, "size must be"), ({"augment": "mixup"}, "null or crop_flip, got 'mixup'")],
)
def test_bad_settings(root: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        images(root, **changes)


def test_augmentation_resumes_and_spares_evaluation(root: Path) -> None:
    for_each = {"size": 16, "augment": "crop_flip"}
    plain, augmented = images(root, size=16), images(root, **for_each)
    assert torch.equal(*(next(iter(data.test_dataloader()))[0] for data in (plain, augmented)))
    straight = [x for x, _ in augmented.train_dataloader()]
    resumed = images(root, **for_each).train_dataloader()
    resumed.load_state_dict({"epoch": 0, "batch": 1})
    assert all(map(torch.equal, [x for x, _ in resumed], straight[1:]))
    assert not torch.equal(straight[0], next(iter(plain.train_dataloader()))[0])


@pytest.mark.parametrize("size", [(1, 4000), (4000, 1), (1, 60_000), (60_000, 1), (3, 20_000)])
def test_a_long_image_is_cut_before_it_is_scaled(root: Path, size: tuple[int, int]) -> None:
    draw(root / "train" / "cat" / "long.png", 5, size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    decoded = decode(root, 64, root.parent / "cache")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB
    assert decoded.train[6, :, 0, 0].tolist() == [5, 6, 5]


def test_an_image_of_many_pixels_is_refused_before_it_is_decoded(root: Path) -> None:
    Image.new("1", (13_000, 13_000)).save(root / "train" / "cat" / "many.png")
    with pytest.raises(ValueError, match=r"many\.png has 13000 x 13000 pixels, .* pixels_most"):
        images(root)._read()
    with pytest.raises(ValueError, match=r"has 8 x 8 pixels, an image 63 at most"):
        images(root, pixels_most=63)._read()
    Image.new("1", (13_000, 14_000)).save(root / "train" / "cat" / "many.png")  # over Pillow's own
    images(root, pixels_most=200_000_000)._read()


def test_a_large_member_of_a_tar_is_refused_before_it_is_inflated(root: Path) -> None:
    path = pack(root, "w:gz", "")
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        member = tarfile.TarInfo("train/cat/0.png")
        member.size = 1 << 27
        tar.addfile(member, Zeros(1 << 27))  # type: ignore[arg-type]
    began = time.monotonic()
    with pytest.raises(ValueError, match=r"0\.png has 134,217,728 bytes, .* bytes_most"):
        images(path)._read()
    assert time.monotonic() - began < 1.0
    with pytest.raises(ValueError, match=r"has .* bytes, an image 10 at most"):
        images(root, bytes_most=10)._read()


@pytest.mark.parametrize("where", ["train/red/{}.png", "other/{}", "{}"])
def test_a_tar_of_very_many_members_is_refused(where: str, tmp_path: Path) -> None:
    path = tmp_path / "many.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for i in range(101):
            tar.addfile(tarfile.TarInfo(where.format(i)))
    message = r"many\.tar\.gz: the tar has over 100 members; .* allow more with members_most$"
    with pytest.raises(ValueError, match=message):
        images(path, members_most=100)._read()


def test_all_members_of_a_tar_count_and_as_many_as_allowed_are_read(root: Path) -> None:
    path = pack(root, "w", "")
    with tarfile.open(path) as tar:
        count = len(tar.getmembers())
    with pytest.raises(ValueError, match="members_most"):
        images(path, members_most=count - 1)._read()
    train, _ = images(path, members_most=count)._read()
    assert len(train.targets) > 1


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_a_tar_of_names_of_names_is_refused(kind: bytes, tmp_path: Path) -> None:
    path = tmp_path / "names.tar"
    member = tarfile.TarInfo("a")
    member.type, member.size = kind, 4
    path.write_bytes((member.tobuf() + b"aaaa".ljust(512, b"\0")) * 3000)
    with pytest.raises(ValueError, match="nor a tar that can be read"):
        images(path)._read()


class Zeros:
    """A file of zeros."""

    def __init__(self, size: int) -> None:
        self.left = size

    def read(self, size: int) -> bytes:
        size = min(size, self.left)
        self.left -= size
        return bytes(size)
