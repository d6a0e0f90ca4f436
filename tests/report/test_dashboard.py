"""The dashboard, against a stand-in for wandb's server: it keeps views, and knows nothing else."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from boildown.cli import main

pytest.importorskip("wandb_workspaces")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # its own, on import


class StandIn(BaseHTTPRequestHandler):
    """Answers the questions of GraphQL that a dashboard asks; it is not wandb's own server."""

    views: dict[str, dict[str, Any]]
    projects: list[str]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        asked = json.loads(body) if self.path == "/graphql" else {"query": ""}  # or telemetry
        answer = json.dumps({"data": self._answer(asked["query"], asked.get("variables") or {})})
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(answer.encode())

    def do_GET(self) -> None:
        self.send_response(404)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self, query: str, given: dict[str, Any]) -> dict[str, Any]:
        if "upsertView" in query:
            return {"upsertView": self._put(given)}
        if "allViews" in query:
            kind, name = given.get("viewType", "runs"), given.get("viewName")
            found = [
                {"node": view, "cursor": ""}
                for view in self.views.values()
                if view["type"] == kind and name in (None, view["name"])
            ]
            page = {"endCursor": "", "hasNextPage": False}
            return {"project": {"allViews": {"edges": found, "pageInfo": page}}}
        if "internalId" in query:
            return {"project": {"id": "p", "internalId": "UHJvamVjdEludGVybmFsSWQ6MQ=="}}
        if "upsertModel" in query:
            name = given.get("input", given).get("name") or given.get("project")
            self.projects.append(name)
            project = {"id": "p", "name": name, "entityName": "me"}
            return {"upsertModel": {"project": project, "model": project, "inserted": True}}
        if "models(" in query or "projects(" in query:
            page = {"endCursor": "", "hasNextPage": False}
            rest = {"createdAt": "2026-01-01T00:00:00Z", "isBenchmark": False, "user": None}
            edges = [
                {"cursor": "", "node": {"id": "p", "name": n, "entityName": "me", **rest}}
                for n in self.projects
            ]
            return {"models": {"edges": edges, "pageInfo": page}}
        me = {"id": "u", "name": "me", "username": "me", "entity": "me", "flags": "{}"}
        me |= {"teams": {"edges": []}, "admin": False, "email": ""}
        return {"viewer": me, "serverInfo": {"features": [], "cliVersionInfo": {}}}

    def _put(self, given: dict[str, Any]) -> dict[str, Any]:
        key = given.get("id") or f"view{len(self.views)}"
        new = key not in self.views
        self.views[key] = {
            "id": key,
            "name": given["name"],
            "type": given["type"],
            "displayName": given["displayName"],
            "description": given.get("description") or "",
            "spec": given["spec"],
            "project": {"id": "p", "name": given["projectName"], "entityName": "me"},
            "user": {"username": "me", "photoUrl": None, "email": ""},
            "createdAt": "2026-01-01T00:00:00Z",
            "updatedAt": "2026-01-01T00:00:00Z",
            "previewUrl": None,
            "viewCount": 0,
        }
        return {"view": self.views[key], "inserted": new}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[StandIn]]:
    handler = type("Fresh", (StandIn,), {"views": {}, "projects": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{served.server_address[1]}")
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        monkeypatch.setenv("WANDB_MODE", "online")
        yield handler
        served.shutdown()


def test_a_dashboard_is_made_and_made_again_in_its_place(
    server: type[StandIn], capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert main(["dashboard", "--project", "boildown", "--entity", "me"]) == 0, (
            capsys.readouterr().err
        )
    kinds = sorted(view["type"] for view in server.views.values())
    assert kinds == ["project-view", "runs"]
    specs = {view["type"]: view["spec"] for view in server.views.values()}
    for name in ("final/bytes", "compressed/test/error", "val/error", "sparsity/"):
        assert name in specs["project-view"]
        assert name in specs["runs"]
    told = capsys.readouterr().out
    assert "/me/boildown" in told
    assert "/reports/" in told


@pytest.mark.parametrize("name", ["a/b", "50%", "", "x" * 200, "a\nb"])
def test_an_odd_name_is_refused_in_a_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dashboard", "--project", name]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "--project" in said


def test_offline_it_says_what_there_is_instead(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dashboard", "--project", "boildown"]) == 1
    assert "boildown report DIR" in capsys.readouterr().err
