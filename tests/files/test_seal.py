"""boildown.files.seal: an archive that says whether it is as it was written."""

import zipfile
from pathlib import Path

import pytest
import torch

from boildown.files.seal import is_sound, seal


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    path = tmp_path / "state.ckpt"
    torch.save({"weight": torch.arange(12.0), "name": "a"}, path)
    assert is_sound(path) is None
    seal(path)
    return path


def test_a_sealed_checkpoint_is_read_as_any_other(sealed: Path) -> None:
    assert is_sound(sealed) is True
    for mmap in (False, True):
        held = torch.load(sealed, weights_only=True, mmap=mmap)
        assert torch.equal(held["weight"], torch.arange(12.0))
    with zipfile.ZipFile(sealed) as archive:
        assert archive.testzip() is None
        assert archive.comment.startswith(b"boildown sha256 ")


def test_no_flipped_bit_goes_unnoticed(sealed: Path) -> None:
    content = sealed.read_bytes()
    for place in range(0, len(content), 7):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        sealed.write_bytes(damaged)
        in_seal_itself = len(content) - 80 <= place < len(content) - 64
        assert is_sound(sealed) is (None if in_seal_itself else False), place


def test_no_cut_file_passes(sealed: Path) -> None:
    content = sealed.read_bytes()
    for length in (0, 1, 79, 80, 81, len(content) // 2, len(content) - 80, len(content) - 1):
        sealed.write_bytes(content[:length])
        assert not is_sound(sealed)


def test_only_archives_without_a_comment_are_sealed(sealed: Path) -> None:
    for content in (sealed.read_bytes(), b"", b"text", bytes(100)):
        sealed.write_bytes(content)
        with pytest.raises(ValueError, match="is no zip archive without a comment"):
            seal(sealed)
        assert sealed.read_bytes() == content
