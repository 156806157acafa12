"""What is kept of a run within its cluster, and what goes with it, when its storage fails."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from threaded import threaded

from cloudmesh.sparknomad.incluster import run_staging, run_transfers

TABLES = "/webhdfs/v1/sparknomad/warehouses/r-1"


@dataclass
class Hdfs:
    """Takes no file; removes what it is told to."""

    address: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list)

    @property
    def cluster(self) -> dict[str, Any]:
        return {
            "hdfs": self.address,
            "events": "/sparknomad/events",
            "runs": "/sparknomad/runs",
            "warehouse": "/sparknomad/warehouses/r-1",
        }


@pytest.fixture
def hdfs() -> Iterator[Hdfs]:
    made = Hdfs()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *words: object) -> None:
            return

        def answer(self) -> None:
            made.asked.append((self.command, self.path.partition("?")[0]))
            self.send_response(200 if self.command == "DELETE" else 400)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_PUT = do_DELETE = answer  # noqa: N815 - http.server's names

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made.address = f"127.0.0.1:{server.server_port}"
        with threaded(server):
            yield made


def test_a_runs_tables_go_though_nothing_can_be_kept_of_it(
    hdfs: Hdfs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_staging, "_PATIENCE_SECONDS", 0)
    outcome, events = tmp_path / "outcome.json", tmp_path / "events"
    outcome.write_text("{}")
    events.mkdir()
    (events / "app-1").write_text("")
    problem = run_staging.keep(events, outcome, "r-1", hdfs.cluster)
    assert "/sparknomad/events/app-1" in problem
    places = [path.removeprefix("/webhdfs/v1/sparknomad/") for _, path in hdfs.asked]
    assert places[0].startswith("events/") and places[-1] == "warehouses/r-1"
    assert any(place.startswith("runs/r-1.json") for place in places)


def test_a_runs_tables_go_before_its_end_is_told(hdfs: Hdfs) -> None:
    run_staging.drop_tables(hdfs.cluster)
    assert hdfs.asked == [("DELETE", TABLES)]


def test_a_storage_that_is_away_does_not_hold_up_the_end_of_a_run(hdfs: Hdfs) -> None:
    run_staging.drop_tables({**hdfs.cluster, "hdfs": "127.0.0.1:1"})
    run_staging.drop_tables({})
    assert hdfs.asked == []


def test_workers_that_do_not_answer_a_check_are_told() -> None:
    step = run_transfers._missing(1, 2)
    assert (step["step"], step["ok"]) == ("workers", False)
    assert step["detail"].startswith("1 of 2 workers answered")
