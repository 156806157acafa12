"""The suite of storages, on each kind's real server."""

from __future__ import annotations

import functools
import http.server
import json
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from conformance.storage_suite import StorageSuite
from hdfs import Hdfs
from secure import secure, server_context
from servers import Server
from threaded import threaded

from cloudmesh.sparknomad.errors import (
    InputError,
    NotFoundError,
    SparknomadError,
    StorageError,
)
from cloudmesh.sparknomad.specfile import build_spec, spec_to_dict
from cloudmesh.sparknomad.storage.profile import StorageProfile
from cloudmesh.sparknomad.storage.profiles import open_storage
from cloudmesh.sparknomad.storage.storage import Storage
from cloudmesh.sparknomad.storage.transfer import plan_transfer, transfer
from cloudmesh.sparknomad.storage.url import parse_url


def opened(**fields: Any) -> Storage:
    return open_storage(build_spec(StorageProfile, {"name": "there", **fields}))


def plain(**values: str) -> dict[str, Any]:
    return {"source": "plain", "values": values}


def s3_keys(server: Server) -> dict[str, Any]:
    return plain(access_key=server.access_key, secret_key=server.secret_key)


READ_AND_WRITE = """
import json, sys
from cloudmesh.sparknomad.specfile import build_spec
from cloudmesh.sparknomad.storage.profile import StorageProfile
from cloudmesh.sparknomad.storage.profiles import open_storage
from cloudmesh.sparknomad.storage.url import parse_url
profile = build_spec(StorageProfile, json.load(open(sys.argv[1])))
there, url = open_storage(profile), parse_url("there:secret")
there.write(url, b"told to nobody")
assert there.read(url) == b"told to nobody"
there.remove(url)
"""


class TestFile(StorageSuite):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> Storage:
        return opened(url=f"file://{tmp_path}/store/", kind="file")


class Encrypted:
    """What is reached by TLS, too."""

    @pytest.fixture(autouse=True)
    def bundles(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE"):
            monkeypatch.delenv(name, raising=False)

    def test_its_own_authority_is_trusted(self, storage: Storage, tmp_path: Path) -> None:
        with secure(storage.profile.endpoint, tmp_path) as (endpoint, authority, proxy):
            profile = replace(storage.profile, endpoint=endpoint, ca=str(authority))
            there, url = open_storage(profile), parse_url("there:secret")
            there.write(url, b"told to nobody")
            assert there.read(url) == b"told to nobody"
            there.remove(url)
            assert proxy.asked

    def test_a_certificate_that_nobody_trusts_is_told_at_once(
        self, storage: Storage, tmp_path: Path
    ) -> None:
        context, _ = server_context(tmp_path, "127.0.0.1")
        with Greeted(context) as server, threaded(server):
            endpoint = f"https://127.0.0.1:{server.server_port}"
            there = open_storage(replace(storage.profile, endpoint=endpoint))
            with pytest.raises(StorageError) as caught:
                list(there.list(parse_url("there:")))
        assert "name its CA in the profile" in str(caught.value.hint)
        assert server.greeted == 1, "it was tried again"


class Greeted(HTTPServer):
    """Counts who begins to speak TLS with it."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), BaseHTTPRequestHandler)
        self.context, self.greeted = context, 0

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self.greeted += 1
        return self.context.wrap_socket(connection, server_side=True), address


@pytest.mark.servers
class TestS3(Encrypted, StorageSuite):
    @pytest.fixture
    def storage(self, s3_server: Server) -> Storage:
        credentials = s3_keys(s3_server)
        endpoint = s3_server.endpoint
        return opened(url="s3://lab/x/", kind="s3", endpoint=endpoint, credentials=credentials)


@pytest.mark.servers
class TestSwift(Encrypted, StorageSuite):
    @pytest.fixture
    def storage(self, swift_server: Server) -> Storage:
        credentials = s3_keys(swift_server)
        endpoint = swift_server.endpoint
        return opened(
            url="swift://stack/x/", kind="swift", endpoint=endpoint, credentials=credentials
        )


@pytest.mark.servers
class TestGoogle(Encrypted, StorageSuite):
    @pytest.fixture
    def storage(self, gcs_server: Server) -> Storage:
        return opened(
            url="gs://lab/x/",
            kind="gcs",
            endpoint=gcs_server.endpoint,
            options={"project": "test"},
            credentials={"source": "none"},
        )


@pytest.mark.servers
class TestAzure(StorageSuite):
    @pytest.fixture
    def storage(self, azure_server: Server) -> Storage:
        account = azure_server.access_key
        return opened(
            url=f"abfs://lab@{account}.dfs.core.windows.net/x/",
            kind="azure",
            endpoint=azure_server.endpoint.removesuffix(f"/{account}"),
            credentials=plain(account_key=azure_server.secret_key),
        )

    def test_its_own_authority_is_trusted_if_all_trust_it(
        self, storage: Storage, tmp_path: Path
    ) -> None:
        """The library decides whom it trusts when it is imported."""
        path = tmp_path / "profile.json"
        with secure(storage.profile.endpoint, tmp_path) as (endpoint, authority, proxy):
            profile = replace(storage.profile, endpoint=endpoint, ca=str(authority))
            path.write_text(json.dumps(spec_to_dict(profile)))
            words = [sys.executable, "-c", READ_AND_WRITE, str(path)]
            environment = {"PATH": os.defpath, "PYTHONPATH": os.pathsep.join(sys.path)}
            for trusted in ({}, {"SSL_CERT_FILE": str(authority)}):
                done = subprocess.run(
                    words,
                    env={**environment, **trusted},
                    capture_output=True,
                    text=True,
                    timeout=120,
                    check=False,
                )
                assert (done.returncode == 0) is bool(trusted), done.stderr
                assert trusted or f"SSL_CERT_FILE={authority}" in done.stderr
            assert proxy.asked


@pytest.mark.spark
class TestHdfs(StorageSuite):
    @pytest.fixture
    def storage(self, hdfs_server: Hdfs) -> Storage:
        return opened(
            url=f"{hdfs_server.url}x/",
            kind="hdfs",
            endpoint=hdfs_server.endpoint,
            options={"user": "spark"},
        )


class TestHttp:
    """A web server is only read."""

    @pytest.fixture
    def storage(self, tmp_path: Path) -> Iterator[Storage]:
        (tmp_path / "sub").mkdir()
        (tmp_path / "a b.csv").write_bytes(b"0123456789")
        handler = functools.partial(QuietHandler, directory=str(tmp_path))
        with (
            http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server,
            threaded(server),
        ):
            url = f"http://127.0.0.1:{server.server_port}/"
            yield opened(url=url, kind="http", credentials={"source": "none"})

    def test_what_is_there_is_read(self, storage: Storage) -> None:
        url = parse_url("there:a%20b.csv")
        assert storage.info(url).size == 10
        assert storage.read(url) == b"0123456789"
        assert storage.checksum(storage.info(url)) == ""

    def test_what_is_not_there_is_told(self, storage: Storage) -> None:
        with pytest.raises(NotFoundError):
            storage.info(parse_url("there:none"))

    def test_nothing_is_written(self, storage: Storage) -> None:
        url = parse_url("there:x")
        for call in (lambda: storage.write(url, b""), lambda: storage.remove(url)):
            with pytest.raises(InputError, match="only be read"):
                call()

    def test_it_is_fetched(self, storage: Storage, tmp_path: Path) -> None:
        here = opened(url=f"file://{tmp_path}/to/", kind="file")
        planned = plan_transfer(storage, parse_url("there:a%20b.csv"), parse_url("there:got"))
        assert transfer(storage, here, planned, print).objects == 1
        assert (tmp_path / "to/got").read_bytes() == b"0123456789"

    def test_its_own_authority_is_trusted(self, tmp_path: Path) -> None:
        (tmp_path / "web").mkdir()
        (tmp_path / "web/a.csv").write_bytes(b"0123456789")
        handler = functools.partial(QuietHandler, directory=str(tmp_path / "web"))
        context, authority = server_context(tmp_path / "keys", "127.0.0.1")
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            server.socket = context.wrap_socket(server.socket, server_side=True)
            with threaded(server):
                url = f"https://127.0.0.1:{server.server_port}/"
                fields = {"url": url, "kind": "http", "credentials": {"source": "none"}}
                there = opened(**fields, ca=str(authority))
                assert there.read(parse_url("there:a.csv")) == b"0123456789"
                with pytest.raises(SparknomadError, match=r"(?i)certificate"):
                    opened(**fields).info(parse_url("there:a.csv"))


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass
