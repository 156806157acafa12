"""What the unit tests share: a home of their own, and hypothesis without a database."""

from __future__ import annotations

import http.server
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from threaded import threaded

settings.register_profile("unit", deadline=None, database=None, derandomize=True)
settings.load_profile("unit")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty configuration directory and cache, and a working directory beside them."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.setenv("CLOUDMESH_CONFIG_DIR", str(tmp_path / "configuration"))
    monkeypatch.setenv("SPARKNOMAD_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def master() -> Iterator[dict[str, Any]]:
    """A Spark master's page; what it answers can be changed."""
    answers: dict[str, Any] = {
        "body": json.dumps(
            {
                "workers": [
                    {
                        "state": "ALIVE",
                        "cores": 2,
                        "coresfree": 2,
                        "memory": 4096,
                        "memoryfree": 4096,
                    }
                ]
            }
        ),
        "missing": 0,
    }

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = answers["body"].encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body) + answers["missing"]))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            del arguments

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        answers["url"] = f"http://127.0.0.1:{server.server_port}"
        with threaded(server):
            yield answers
