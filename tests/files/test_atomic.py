"""boildown.files.atomic: a file appears whole or not at all, and nothing else is replaced."""

import errno
import os
import resource
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from boildown.files.atomic import new_directory, remove_parts, replace_file, replacing


@pytest.fixture
def umask() -> Iterator[int]:
    mask = os.umask(0o027)
    yield 0o027
    os.umask(mask)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_permissions(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "file"
    replace_file(path, [b"new"])
    assert mode(path) == 0o666 & ~umask
    for kept in (0o600, 0o664, 0o444):
        path.chmod(kept)
        replace_file(path, [b"newer"])
        assert mode(path) == kept


def test_a_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "file", tmp_path / "link"
    link.symlink_to("there/file")
    for content in (b"first", b"second"):  # a link to nothing, then to a file
        replace_file(link, [content])
        assert link.is_symlink()
        assert target.read_bytes() == content
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["file", "link", "there"]


def test_what_is_no_file_stays(tmp_path: Path) -> None:
    pipe, link, loop = tmp_path / "pipe", tmp_path / "link", tmp_path / "loop"
    os.mkfifo(pipe)  # as good as /dev/null, which a mistake would replace
    link.symlink_to("pipe")
    loop.symlink_to("loop")
    for path, message in [
        (pipe, "pipe is a device or the like; give the name of a file"),
        (link, "link is a device or the like"),
        (tmp_path, "is a directory; give the name of a file"),
        (loop, "Too many levels of symbolic links: .*loop"),
        (tmp_path / "no" / "file", "there is no directory .*no"),
    ]:
        with pytest.raises(OSError, match=message):
            replace_file(path, [b"new"])
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert loop.is_symlink()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link", "loop", "pipe"]


@pytest.mark.parametrize("character", ["n", "é", "網"])
def test_the_longest_names(tmp_path: Path, character: str) -> None:
    path = tmp_path / (character * (255 // len(character.encode())))
    replace_file(path, [b"new"])
    assert path.read_bytes() == b"new"


def test_an_error_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match=rf"File too large: '{path}'"):
            replace_file(path, [bytes(2000)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    missing = f"No such file or directory: '{path}'"
    with pytest.raises(FileNotFoundError, match=missing), replacing(path):
        pass  # nothing is written
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_an_error_in_a_directory_names_the_directory(tmp_path: Path) -> None:
    path = tmp_path / "directory"
    full = (errno.ENOSPC, "No space left on device")
    with pytest.raises(OSError, match=rf"{full[1]}: '{path}'$"), new_directory(path) as made:
        raise OSError(*full, str(made / "model.boil"))
    with pytest.raises(FileNotFoundError, match="source"), new_directory(path):
        (tmp_path / "source").read_bytes()
    assert not list(tmp_path.iterdir())


def test_where_nothing_can_be_removed_the_first_error_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"

    def read_only(part: Path, *_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(part))

    monkeypatch.setattr(Path, "open", read_only)
    monkeypatch.setattr(Path, "unlink", read_only)
    with pytest.raises(OSError, match=rf"Read-only file system: '{path}'$"):
        replace_file(path, [b"new"])


def test_an_error_about_another_file_names_that(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="source"), replacing(tmp_path / "file") as part:
        part.write_bytes((tmp_path / "source").read_bytes())


def test_what_dead_processes_left_is_removed(tmp_path: Path) -> None:
    with replacing(tmp_path / "file") as part:
        name = part.name
        part.write_bytes(b"new")
        assert remove_parts(tmp_path) == []  # this process lives
        of_dead = part.with_name(name.replace(f"-{os.getpid()}-", f"-{2**22 + 1}-"))
        elsewhere = part.with_name(of_dead.name.replace(".file.", ".file.otherhost"))
        mine = part.with_name("my.part")
        for path in (of_dead, elsewhere, mine):
            path.touch()
        folder = part.with_name(of_dead.name.replace(".file.", ".folder."))
        folder.mkdir()
        (folder / "half").touch()
        assert remove_parts(tmp_path) == [of_dead.name, folder.name]
        assert {elsewhere, mine, part} <= set(tmp_path.iterdir())
    assert remove_parts(tmp_path, alone=True) == [elsewhere.name]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "my.part"]
