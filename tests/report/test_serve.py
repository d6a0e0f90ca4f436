"""The report while a sweep runs: served on this machine alone, and kept up to date."""

import http.client
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from made import put, result

from boildown.cli import main
from boildown.report.asked import Asked
from boildown.report.serve import server


@contextmanager
def served(*paths: Path) -> Iterator[ThreadingHTTPServer]:
    with server(paths, 0, Asked()) as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield made
        finally:
            made.shutdown()
            thread.join()


def get(made: ThreadingHTTPServer, path: str, host: str | None = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", made.server_port, timeout=60)
    connection.request("GET", path, headers={} if host is None else {"Host": host})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def test_the_page_follows_the_results(tmp_path: Path) -> None:
    (tmp_path / "0" / ".hydra").mkdir(parents=True)
    with served(tmp_path) as made:
        status, page = get(made, "/")
        assert status == 200
        assert "Nothing to show yet" in page
        assert "stopped before its first checkpoint" in page
        first = get(made, "/version")[1]
        assert f'data-version="{first}"' in page
        assert get(made, "/version")[1] == first
        put(tmp_path / "0", result())
        put(tmp_path / "1", result(seed=1))
        second = get(made, "/version")[1]
        assert second != first
        _, page = get(made, "/")
        assert "2 runs from" in page
        assert f'data-version="{second}"' in page
        assert '<a href="./' not in page  # no directory is served
        assert len(page) < 200_000  # without the plotting library
        put(tmp_path / "1", "")
        assert "1 run from" in get(made, "/")[1]


def test_only_its_own_addresses_and_names_are_answered(tmp_path: Path) -> None:
    put(tmp_path / "a", result())
    with served(tmp_path) as made:
        assert made.server_address[0] == "127.0.0.1"
        status, library = get(made, "/plotly.js")
        assert (status, "Plotly" in library) == (200, True)
        for path in ("/a/result.json", "/../etc/passwd", "/index.html"):
            assert get(made, path)[0] == 404
        port = made.server_port
        assert get(made, "/", f"localhost:{port}")[0] == 200
        for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", ""):
            assert get(made, "/", host)[0] == 403


def test_a_directory_that_goes_away_does_not_end_the_server(tmp_path: Path) -> None:
    put(tmp_path / "a" / "b", result())
    with served(tmp_path / "a") as made:
        shutil.rmtree(tmp_path / "a")
        assert get(made, "/version") == (200, "gone")
        assert get(made, "/")[0] == 500
        put(tmp_path / "a" / "b", result())
        assert get(made, "/")[0] == 200


def test_a_port_in_use_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert main(["report", "--serve", str(tmp_path), "--port", port]) == 1
    error = capsys.readouterr().err
    assert error == f"boildown: --port {port} is in use; give another, or 0 for a free one\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing"], "missing: no such directory"),
        ([".", "--wandb"], "--serve writes nothing: log to wandb by a report without it"),
        ([".", "--port", "70000"], "--port 70000: a port is between 0 and 65535"),
    ],
)
def test_what_cannot_be_served_is_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["report", "--serve", *arguments]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_the_command_serves_until_it_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(self: ThreadingHTTPServer) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ThreadingHTTPServer, "serve_forever", interrupted)
    assert main(["report", "--serve", str(tmp_path), "--port", "0"]) == 0
    assert "Ctrl-C stops it" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []  # nothing is written
