"""boildown.data.download, against a server on this machine."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from boildown.data.download import fetch

CONTENT = bytes(range(256)) * 1000
SHA256 = "sha256:" + hashlib.sha256(CONTENT).hexdigest()
MD5 = "md5:" + hashlib.md5(CONTENT).hexdigest()
WRONG = "sha256:" + "0" * 64


class Handler(BaseHTTPRequestHandler):
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path == "/missing":
            self.send_error(404)
            return
        self.send_response(200)
        if self.path != "/unsized":
            self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[: 1000 if self.path == "/cut" else None])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Handler.asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


@pytest.mark.parametrize("checksum", [SHA256, MD5])
@pytest.mark.parametrize("name", ["good", "unsized"])
def test_success(server: str, tmp_path: Path, checksum: str, name: str) -> None:
    path = tmp_path / "new" / "file"
    assert fetch([f"{server}/{name}"], path, checksum=checksum, timeout=5) == path
    assert path.read_bytes() == CONTENT
    assert list(path.parent.iterdir()) == [path]


def test_progress_is_shown(server: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fetch([f"{server}/good"], tmp_path / "some-file", checksum=SHA256, timeout=5)
    shown = capsys.readouterr()
    assert "some-file" in shown.err
    assert not shown.out


def test_a_file_already_there_is_not_fetched_again(server: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    fetch([f"{server}/good"], path, checksum=SHA256, timeout=5)
    assert Handler.asked == []
    path.write_bytes(CONTENT[:-1])
    fetch([f"{server}/good"], path, checksum=SHA256, timeout=5)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("bad", ["missing", "cut"])
def test_the_next_mirror_is_tried(server: str, tmp_path: Path, bad: str) -> None:
    path = tmp_path / "file"
    fetch([f"{server}/{bad}", f"{server}/good"], path, checksum=SHA256, timeout=5)
    assert path.read_bytes() == CONTENT
    assert Handler.asked == [f"/{bad}", "/good"]
    assert list(tmp_path.iterdir()) == [path]


def test_every_reason_is_told_and_nothing_is_left_behind(server: str, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="cannot download file") as error:
        fetch(
            [f"{server}/{name}" for name in ("good", "missing", "cut")],
            tmp_path / "file",
            checksum=WRONG,
            timeout=5,
        )
    message = str(error.value)
    assert f"{server}/good: wrong sha256: expected {WRONG[7:]}, found {SHA256[7:]}" in message
    assert f"{server}/missing: HTTP Error 404" in message
    assert f"{server}/cut: connection ended after 1000 of {len(CONTENT)} bytes" in message
    assert list(tmp_path.iterdir()) == []


def test_a_failure_keeps_the_old_file(server: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(OSError, match="wrong sha256"):
        fetch([f"{server}/good"], path, checksum=WRONG, timeout=5)
    assert path.read_bytes() == b"old"


def test_bad_arguments_are_refused(tmp_path: Path) -> None:
    for checksum in ("", "sha1:" + "0" * 40, SHA256[:-1], MD5.upper()):
        with pytest.raises(ValueError, match="checksum must be"):
            fetch(["http://localhost"], tmp_path / "file", checksum=checksum, timeout=1)
    for urls in ([], ["file:///etc/hosts"]):
        with pytest.raises(ValueError, match="urls must be"):
            fetch(urls, tmp_path / "file", checksum=SHA256, timeout=1)
