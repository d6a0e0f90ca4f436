"""The page served on this machine alone, kept up to date while runs finish."""

import errno
import hashlib
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from boildown.report.asked import Asked
from boildown.report.build import gather
from boildown.report.page import live_page, plotly
from boildown.report.results import find

HOST = "127.0.0.1"


class Live:
    """The page of some directories as their results are now.

    Args:
        paths: directories to search, or result.json files.
        asked: the size or error that the best run is looked for under.
    """

    def __init__(self, paths: Sequence[Path], asked: Asked) -> None:
        self._paths = paths
        self._asked = asked
        self._lock = threading.Lock()
        self._held = ("", "")

    def version(self) -> str:
        """A digest of which results there are and when each was written."""
        digest = hashlib.sha256()
        for directory in find(self._paths):
            digest.update(f"{directory}".encode(errors="surrogateescape"))
            for name in ("result.json", "error.json", "metrics.csv"):
                digest.update(f"{name} {_stamp(directory / name)}".encode())
        return digest.hexdigest()[:16]

    def page(self) -> str:
        """The page; it is made anew only where the results have changed."""
        with self._lock:
            version = self.version()
            if self._held[0] != version:
                self._held = version, self._make(version)
            return self._held[1]

    def _make(self, version: str) -> str:
        try:
            content = gather(self._paths, asked=self._asked)
        except ValueError as error:
            return live_page(None, f"Nothing to show yet. {error}", version)
        return live_page(content, "", version)


def _stamp(path: Path) -> str:
    """When it was written, and how large it is."""
    try:
        status = path.stat()
    except OSError:
        return "none"
    return f"{status.st_mtime_ns} {status.st_size}"


def server(paths: Sequence[Path], port: int, asked: Asked) -> ThreadingHTTPServer:
    """A server that answers on this machine alone; `serve_forever` starts it.

    Args:
        paths: directories to search, or result.json files.
        port: to listen on; 0 for a free one.
        asked: the size or error that the best run is looked for under.

    Raises:
        FileNotFoundError, NotADirectoryError: for a path that is no directory.
        ValueError: for a port that is taken, not allowed or out of range.
    """
    find(paths)
    if not 0 <= port < 1 << 16:
        raise ValueError(f"--port {port}: a port is between 0 and 65535")

    class Handler(_Handler):
        live = Live(paths, asked)

    try:
        made = ThreadingHTTPServer((HOST, port), Handler)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ValueError(
                f"--port {port} is in use; give another, or 0 for a free one"
            ) from None
        raise ValueError(f"--port {port}: {error.strerror}; give another, above 1023") from None
    Handler.port = made.server_port
    return made


def serve(paths: Sequence[Path], port: int, asked: Asked) -> None:
    """Serve until Ctrl-C; see `server`."""
    with server(paths, port, asked) as running:
        print(f"http://{HOST}:{running.server_port}/ is the report; Ctrl-C stops it", flush=True)
        try:
            running.serve_forever()
        except KeyboardInterrupt:
            print()


class _Handler(BaseHTTPRequestHandler):
    """Three addresses: the page, the plotting library, the version of the results."""

    live: Live
    port: int

    def do_GET(self) -> None:
        own = {f"{name}:{self.port}" for name in (HOST, "localhost")}
        if self.headers.get("Host") not in own:  # a foreign page that resolves its name to here
            self._send(403, "text/plain", "this report is for this machine alone\n")
        elif self.path == "/":
            self._answer()
        elif self.path == "/version":
            self._send(200, "text/plain", self._version())
        elif self.path == "/plotly.js":
            self._send(200, "text/javascript", plotly(), "max-age=86400")
        else:
            self._send(404, "text/plain", "no such page\n")

    def _version(self) -> str:
        try:
            return self.live.version()
        except OSError:
            return "gone"

    def _answer(self) -> None:
        try:
            self._send(200, "text/html", self.live.page())
        except OSError as error:  # the directory is gone
            self._send(500, "text/plain", f"{error}\n")

    def _send(self, status: int, kind: str, text: str, cache: str = "no-store") -> None:
        data = text.encode("utf-8", errors="replace")
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Cache-Control", cache)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of each request."""
