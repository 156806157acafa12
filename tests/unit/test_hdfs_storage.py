"""Writing to HDFS through WebHDFS, by a server that is busy now and then."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from threaded import threaded

from cloudmesh.sparknomad.errors import SparknomadError
from cloudmesh.sparknomad.storage.kinds import hdfs
from cloudmesh.sparknomad.storage.kinds.hdfs import HdfsStorage
from cloudmesh.sparknomad.storage.profile import StorageProfile
from cloudmesh.sparknomad.storage.url import parse_url


class Server(ThreadingHTTPServer):
    """A NameNode and DataNode that keep one file, and refuse so many appends first."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.refusals = 0
        self.content = b""
        self.names: list[str] = []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def _told(self) -> tuple[str, bool]:
        query = parse_qs(urlsplit(self.path).query)
        return query["op"][0].upper(), "data" in query

    def _answer(self, code: int, document: object = None, **headers: str) -> None:
        body = json.dumps(document).encode() if document is not None else b""
        self.send_response(code)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _redirect(self) -> None:
        self._answer(307, Location=f"http://127.0.0.1:{self.server.server_port}{self.path}&data=1")

    def do_GET(self) -> None:
        remote = {"RemoteException": {"exception": "FileNotFoundException", "message": "none"}}
        self._answer(404, remote)

    def do_PUT(self) -> None:
        operation, data = self._told()
        if operation == "CREATE":
            self._answer(201) if data else self._redirect()
            return
        if operation == "RENAME":
            self.server.names.append(operation)
        self._answer(200, {"boolean": True})

    def do_DELETE(self) -> None:
        self._answer(200, {"boolean": True})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if not self._told()[1]:
            self._redirect()
        elif self.server.refusals:
            self.server.refusals -= 1
            self._answer(403, {"RemoteException": {"exception": "AlreadyBeingCreatedException"}})
        else:
            self.server.content += body
            self._answer(200)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made, threaded(made):
        yield made


def written(server: Server, data: bytes) -> None:
    profile = StorageProfile(
        "lab", "hdfs://lab:1/", "hdfs", f"http://127.0.0.1:{server.server_port}"
    )
    storage = HdfsStorage(profile, {})
    with storage.create(parse_url("lab:file")) as write:
        write(data)
    storage.close()


def test_an_append_that_is_refused_for_now_is_sent_again(server: Server) -> None:
    server.refusals = 2
    written(server, b"x" * 1000)
    assert server.content == b"x" * 1000
    assert server.names == ["RENAME"]


def test_an_append_that_is_always_refused_is_told_and_nothing_is_seen(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hdfs, "_APPEND_RETRIES", 1)
    server.refusals = 100
    with pytest.raises(SparknomadError, match="403"):
        written(server, b"x")
    assert server.names == []
