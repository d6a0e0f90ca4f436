"""Fetch a file over HTTP, verified, from the first mirror that has it."""

import hashlib
import http.client
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from boildown.files.atomic import part_beside, remove_parts
from boildown.files.progress import progress

CHUNK = 1 << 16  # bytes that are read at once


def fetch(urls: Sequence[str], path: str | Path, *, checksum: str, timeout: float) -> Path:
    """Download to `path`, trying `urls` in order until one gives the expected bytes.

    The bytes stream into a temporary file beside `path`, which takes its place only once the
    checksum is right; a failure leaves nothing behind. A file already there with the right
    checksum is not fetched again. Progress and time left go to stderr.

    Args:
        urls: http or https mirrors of one file.
        path: where it shall be; missing parent directories are made.
        checksum: `"sha256:<hex>"` or `"md5:<hex>"` of the file.
        timeout: seconds to wait for a connection, and for each further chunk.

    Returns:
        `path`.

    Raises:
        ValueError: if there are no urls, one is not http(s), or `checksum` is malformed.
        OSError: if every mirror failed, naming each with its reason.
    """
    path = Path(path)
    algorithm, _, expected = checksum.partition(":")
    length = {"sha256": 64, "md5": 32}.get(algorithm)
    if length is None or len(expected) != length or set(expected) - set("0123456789abcdef"):
        raise ValueError(
            f'checksum must be "sha256:" or "md5:" and lower case hex digits, got {checksum!r}'
        )
    if not urls or not all(url.startswith(("http://", "https://")) for url in urls):
        raise ValueError(f"urls must be one or more http(s) addresses, got {list(urls)}")
    if path.is_file() and _digest(path, algorithm) == expected:
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_parts(path.parent)
    reasons = []
    for url in urls:
        part = part_beside(path)
        try:
            _stream(url, part, path.name, timeout)
            found = _digest(part, algorithm)
            if found != expected:
                raise OSError(f"wrong {algorithm}: expected {expected}, found {found}")
            part.replace(path)
        except (OSError, http.client.HTTPException) as error:
            reasons.append(f"{url}: {error or type(error).__name__}")
        else:
            return path
        finally:
            part.unlink(missing_ok=True)
    raise OSError(f"cannot download {path.name}: " + "; ".join(reasons))


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _stream(url: str, path: Path, label: str, timeout: float) -> None:
    with urllib.request.urlopen(url, timeout=timeout) as response:
        promised = response.headers.get("Content-Length")
        total = int(promised) if promised and promised.isdecimal() else None
        received = 0
        with path.open("wb") as file, progress(label, total, in_bytes=True) as advance:
            while chunk := response.read(CHUNK):
                file.write(chunk)
                received += len(chunk)
                advance(len(chunk))
    if total is not None and received < total:
        raise OSError(f"connection ended after {received} of {total} bytes")
