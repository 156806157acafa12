"""The suite of storages, on each kind's real server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conformance.storage_suite import StorageSuite
from hdfs import Hdfs
from servers import Server

from cloudmesh.sparknomad.specfile import build_spec
from cloudmesh.sparknomad.storage.profile import StorageProfile
from cloudmesh.sparknomad.storage.profiles import open_storage
from cloudmesh.sparknomad.storage.storage import Storage


def opened(**fields: Any) -> Storage:
    return open_storage(build_spec(StorageProfile, {"name": "there", **fields}))


def plain(**values: str) -> dict[str, Any]:
    return {"source": "plain", "values": values}


def s3_keys(server: Server) -> dict[str, Any]:
    return plain(access_key=server.access_key, secret_key=server.secret_key)


class TestFile(StorageSuite):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> Storage:
        return opened(url=f"file://{tmp_path}/store/", kind="file")


class TestS3(StorageSuite):
    @pytest.fixture
    def storage(self, s3_server: Server) -> Storage:
        credentials = s3_keys(s3_server)
        endpoint = s3_server.endpoint
        return opened(url="s3://lab/x/", kind="s3", endpoint=endpoint, credentials=credentials)


class TestSwift(StorageSuite):
    @pytest.fixture
    def storage(self, swift_server: Server) -> Storage:
        credentials = s3_keys(swift_server)
        endpoint = swift_server.endpoint
        return opened(
            url="swift://lab/x/", kind="swift", endpoint=endpoint, credentials=credentials
        )


class TestGoogle(StorageSuite):
    @pytest.fixture
    def storage(self, gcs_server: Server) -> Storage:
        return opened(
            url="gs://lab/x/",
            kind="gcs",
            endpoint=gcs_server.endpoint,
            options={"project": "test"},
            credentials={"source": "none"},
        )


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


class TestHdfs(StorageSuite):
    @pytest.fixture
    def storage(self, hdfs_server: Hdfs) -> Storage:
        return opened(
            url=f"{hdfs_server.url}x/",
            kind="hdfs",
            endpoint=hdfs_server.endpoint,
            options={"user": "spark"},
        )
