"""What lies on web servers: for reading only."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cloudmesh.sparknomad.storage.authorities import trusting
from cloudmesh.sparknomad.storage.credentials import CredentialField
from cloudmesh.sparknomad.storage.storage import HadoopSettings, Storage
from cloudmesh.sparknomad.storage.url import StorageURL

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

__all__ = ["HttpStorage"]

_FILE_SYSTEM = "sparknomad.HttpFileSystem"


class HttpStorage(Storage):
    """Web servers through ``aiohttp``; Spark reads what was staged into the cluster."""

    kind = "http"
    extra = "http"
    writable = False
    longest_name = 8000
    fields = (
        CredentialField("user", "HTTP_STORAGE_USER", secret=False, optional=True),
        CredentialField("password", "HTTP_STORAGE_PASSWORD", optional=True),
        CredentialField("token", "HTTP_STORAGE_TOKEN", optional=True),
    )

    def _filesystem(self) -> AbstractFileSystem:
        import aiohttp
        from fsspec.implementations.http import HTTPFileSystem

        given: dict[str, Any] = {}
        if "token" in self.credentials:
            given["headers"] = {"Authorization": f"Bearer {self.credentials['token']}"}
        elif "user" in self.credentials:
            password = self.credentials.get("password", "")
            given["auth"] = aiohttp.BasicAuth(self.credentials["user"], password)
        if self.profile.ca:
            given["ssl"] = trusting(self.profile)
        return HTTPFileSystem(use_listings_cache=False, skip_instance_cache=True, **given)

    def _path(self, url: StorageURL) -> str:
        return str(url)

    def _version(self, info: Mapping[str, Any]) -> tuple[str, str]:
        return str(info.get("ETag") or info.get("last-modified") or "").strip('"'), ""

    def _hadoop(self, url: StorageURL) -> HadoopSettings:
        """For the transfer agent only: Hadoop itself reads no ranges from web servers."""
        conf = dict.fromkeys(("fs.http.impl", "fs.https.impl"), _FILE_SYSTEM)
        header = self._authorization()
        secrets = {f"fs.http.authorization.{url.authority}": header} if header else {}
        return HadoopSettings(str(url), conf, secrets)

    def _authorization(self) -> str:
        if "token" in self.credentials:
            return f"Bearer {self.credentials['token']}"
        if "user" not in self.credentials:
            return ""
        pair = f"{self.credentials['user']}:{self.credentials.get('password', '')}"
        return f"Basic {b64encode(pair.encode()).decode()}"
