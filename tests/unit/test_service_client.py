"""The Python client against answers of a service that is ill, and long lists."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from threaded import threaded

from cloudmesh.sparknomad import connection
from cloudmesh.sparknomad.client import Remote
from cloudmesh.sparknomad.errors import StorageError, UnreachableError
from cloudmesh.sparknomad.service.operations import Operations
from cloudmesh.sparknomad.service.store import ServiceStore, new_id

Answer = tuple[int, Any]


class Ill:
    """A service that answers as it is told, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answer: Callable[[str, str], Answer | None] = lambda method, path: (200, [])
        self.asked: list[tuple[str, str, str | None]] = []
        self.url = ""


@pytest.fixture
def ill(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ill]:
    made = Ill()
    monkeypatch.setattr(connection, "_TRIES", 3)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            made.asked.append((self.command, self.path, self.headers.get("Idempotency-Key")))
            told = made.answer(self.command, self.path)
            if told is None:  # it was done, but nobody hears of it
                self.close_connection = True
                self.connection.close()
                return
            body = json.dumps(told[1]).encode()
            self.send_response(told[0])
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815

        def log_message(self, *arguments: object) -> None:
            del arguments

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server, threaded(server):
        made.url = f"http://127.0.0.1:{server.server_port}/v1"
        yield made


def test_the_services_own_error_is_told(ill: Ill) -> None:
    problem = {"code": "storage_failed", "detail": "aws: access denied", "hint": "Mend the key."}
    ill.answer = lambda method, path: (502, problem)
    with pytest.raises(StorageError, match="access denied") as told:
        Remote(ill.url, "t").job_run("job", {})
    assert told.value.hint == "Mend the key." and len(ill.asked) == 3
    assert len({key for _, _, key in ill.asked}) == 1 and ill.asked[0][2]


def test_what_no_service_says_is_none(ill: Ill) -> None:
    ill.answer = lambda method, path: (503, "<html>a proxy</html>")
    with pytest.raises(UnreachableError, match="it answered 503"):
        Remote(ill.url, "t").job_list()


def test_what_is_sent_again_has_the_same_key_also_to_destroy(ill: Ill) -> None:
    def answer(method: str, path: str) -> Answer | None:
        if method == "DELETE":
            lost = len(ill.asked) == 1
            return None if lost else (202, {"operation": "0" * 32})
        return 200, {"lines": 0, "state": "succeeded", "result": {"found": True}}

    ill.answer = answer
    assert Remote(ill.url, "t").cluster_destroy("c")
    keys = [key for method, _, key in ill.asked if method == "DELETE"]
    assert len(keys) == 2 and keys[0] == keys[1] and keys[0]


def test_a_long_list_is_fetched_page_by_page(ill: Ill) -> None:
    runs = [
        {"run": f"r-{number}", "job": "j", "cluster": "c", "state": "succeeded",
         "submitted": 1.0, "parameters": {}}
        for number in range(2345)
    ]  # fmt: skip

    def answer(method: str, path: str) -> Answer:
        del method
        query = dict(part.split("=") for part in path.partition("?")[2].split("&"))
        begin = int(query["after"][2:]) + 1 if "after" in query else 0
        assert int(query["limit"]) <= 1000
        return 200, runs[begin : begin + int(query["limit"])]

    ill.answer = answer
    remote = Remote(ill.url, "t")
    assert [each.run for each in remote.job_runs()] == [each["run"] for each in runs]
    assert len(remote.job_runs(limit=1500)) == 1500
    assert [each.run for each in remote.job_runs(limit=2, after="r-6")] == ["r-7", "r-8"]
    assert remote.job_runs(limit=0) == []


# operations


def test_how_an_operation_has_ended_stays(tmp_path: Path) -> None:
    store = ServiceStore(tmp_path / "service.db")
    operation = new_id()
    store.accept(operation, "cluster_scale", {}, "me")
    store.begin(operation)
    store.finish(operation, problem={"code": "conflict"})
    store.finish(operation, result={"late": True})
    ended = store.operation(operation)
    assert (ended.state, ended.problem) == ("failed", {"code": "conflict"})


def test_what_goes_on_is_waited_for(tmp_path: Path) -> None:
    store, may_end = ServiceStore(tmp_path / "service.db"), threading.Event()
    operations = Operations(store, lambda verb, given, say: may_end.wait(10), print)
    operation = new_id()
    operations.accept(operation, "cluster_scale", {}, "me")
    give_up = time.monotonic() + 10
    while store.operation(operation).state != "running":
        assert time.monotonic() < give_up
        time.sleep(0.01)
    operations.close()
    assert operations.going == 1
    may_end.set()
    operations.wait()
    assert operations.going == 0 and store.operation(operation).state == "succeeded"
