"""A server's certificate is checked against what was named, whatever the environment says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from secure import secure
from threaded import threaded

from cloudmesh.sparknomad.cluster.nomad.hosts.pki import Authority
from cloudmesh.sparknomad.manager import Sparknomad
from cloudmesh.sparknomad.storage.kinds.hdfs import HdfsStorage
from cloudmesh.sparknomad.storage.profile import StorageProfile
from cloudmesh.sparknomad.storage.url import parse_url

FILE = {"FileStatus": {"type": "FILE", "length": 3, "modificationTime": 1, "fileId": 7,
                       "pathSuffix": ""}}  # fmt: skip


class Handler(BaseHTTPRequestHandler):
    """A service without clusters, and a NameNode with one file."""

    def do_GET(self) -> None:
        body = json.dumps([] if self.path.startswith("/v1/") else FILE).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *words: object) -> None:
        return


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Path]]:
    """The URL and its authority; the environment names another one."""
    other = Authority(tmp_path / "other", "somebody")
    other.ensure()
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, str(other.certificate))
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        target = f"http://127.0.0.1:{server.server_port}"
        with threaded(server), secure(target, tmp_path / "own") as (url, authority, _):
            yield url, authority


def test_the_services(served: tuple[str, Path]) -> None:
    url, authority = served
    assert Sparknomad.connect(f"{url}/v1", "secret", ca=authority).cluster_list() == []


def test_a_name_nodes(served: tuple[str, Path]) -> None:
    url, authority = served
    profile = StorageProfile("h", "hdfs://namenode:8020/", "hdfs", url, ca=str(authority))
    found = HdfsStorage(profile, {}).info(parse_url("hdfs://namenode:8020/file"))
    assert found.size == 3
