"""Hadoop's own distributed file system."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cloudmesh.sparknomad.errors import SpecError
from cloudmesh.sparknomad.storage.authorities import authorities_file
from cloudmesh.sparknomad.storage.storage import HadoopSettings, Storage
from cloudmesh.sparknomad.storage.url import StorageURL

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem
    from requests import Session

__all__ = ["HdfsStorage"]

_APPEND_RETRIES = 6


class HdfsStorage(Storage):
    """HDFS through WebHDFS and Hadoop's own client.

    The profile's URL names the NameNode's RPC address, its endpoint the NameNode's HTTP address.
    """

    kind = "hdfs"
    extra = "hdfs"
    options = frozenset({"user", "certificate", "key", "token_file"})
    renames = True
    longest_name = 7999

    def _filesystem(self) -> AbstractFileSystem:
        from fsspec.implementations.webhdfs import WebHDFS

        if not self.profile.endpoint:
            raise SpecError(
                f"Storage profile {self.profile.name!r}: endpoint: missing.",
                hint="Name the NameNode's HTTP address, such as http://namenode:9870: what is "
                "done from this machine goes through WebHDFS.",
            )
        parts = urlsplit(self.profile.endpoint)
        options = self.profile.options
        shown = options.get("certificate")
        filesystem = WebHDFS(
            parts.hostname,
            parts.port or 9870,
            user=options.get("user"),
            use_https=parts.scheme == "https",
            session_cert=(shown, options["key"]) if shown else None,
            use_listings_cache=False,
            skip_instance_cache=True,
        )
        _be_patient(filesystem.session)
        if self.profile.ca:
            # Given with each request: of a session, `REQUESTS_CA_BUNDLE` would take its place.
            ask = filesystem.session.request
            filesystem.session.request = partial(ask, verify=str(authorities_file(self.profile)))
        # No proxy of the environment may stand between us and a cluster.
        filesystem.session.trust_env = not shown
        if options.get("token_file"):
            token = Path(options["token_file"]).read_text("utf-8").strip()
            filesystem.session.headers["X-Nomad-Token"] = token
        return filesystem

    def _path(self, url: StorageURL) -> str:
        return f"/{url.path}".rstrip("/") or "/"

    def _version(self, info: Mapping[str, Any]) -> tuple[str, str]:
        # A file that is written anew has another id, also within one tick of the clock.
        return f"{info.get('fileId', '')}-{info.get('modificationTime', '')}", ""

    def _rename(self, partial: str, path: str) -> None:
        # HDFS does not rename onto what is there.
        if self.filesystem.exists(path):
            self.filesystem.rm_file(path)
        super()._rename(partial, path)

    def _remove_directory(self, path: str) -> None:
        # This file system takes no patterns here.
        self.filesystem.rm(path, recursive=True)

    def _hadoop(self, url: StorageURL) -> HadoopSettings:
        return HadoopSettings(f"hdfs://{url.authority}/{url.path}")


def _be_patient(session: Session) -> None:
    """Send again what HDFS refuses only for now.

    A piece that is appended while the block before it is not told of by its DataNode yet is
    answered with 403 (``AlreadyBeingCreatedException``, ``RecoveryInProgressException``), and
    nothing of it is taken. Nothing but appending and concatenating is asked by POST.
    """
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    retries = Retry(
        total=_APPEND_RETRIES,
        backoff_factor=0.2,
        status_forcelist=[403],
        allowed_methods={"POST"},
        raise_on_status=False,
    )
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retries))
