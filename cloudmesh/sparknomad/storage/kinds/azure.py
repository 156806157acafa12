"""Azure Blob Storage and Data Lake Storage."""

from __future__ import annotations

import configparser
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cloudmesh.sparknomad.errors import InputError, SpecError
from cloudmesh.sparknomad.storage.authorities import authorities_file
from cloudmesh.sparknomad.storage.credentials import CredentialField
from cloudmesh.sparknomad.storage.profile import CredentialSource
from cloudmesh.sparknomad.storage.storage import HadoopSettings, Storage
from cloudmesh.sparknomad.storage.url import StorageURL

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

__all__ = ["AzureStorage"]

_OAUTH = "org.apache.hadoop.fs.azurebfs.oauth2"
_FILE_COMMITTER = "org.apache.hadoop.mapreduce.lib.output.FileOutputCommitterFactory"
_LOGIN = "https://login.microsoftonline.com"


class AzureStorage(Storage):
    """Azure through ``adlfs`` and Hadoop's ``abfs``, or ``wasb`` where the URL says so.

    A URL names container and account: ``abfs://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH``;
    the account's name alone is enough.
    """

    kind = "azure"
    extra = "azure"
    fields = (
        CredentialField("account_key", "AZURE_STORAGE_KEY", optional=True),
        CredentialField("sas_token", "AZURE_STORAGE_SAS_TOKEN", optional=True),
        CredentialField("tenant_id", "AZURE_TENANT_ID", secret=False, optional=True),
        CredentialField("client_id", "AZURE_CLIENT_ID", secret=False, optional=True),
        CredentialField("client_secret", "AZURE_CLIENT_SECRET", optional=True),
    )

    @classmethod
    def files(cls, profile: str) -> Mapping[str, str]:
        """Read the section ``storage`` of ``~/.azure/config``, as the ``az`` command does."""
        directory = Path(os.environ.get("AZURE_CONFIG_DIR") or Path.home() / ".azure")
        parser = configparser.RawConfigParser()
        try:
            parser.read(directory.expanduser() / "config", "utf-8")
        except (configparser.Error, UnicodeDecodeError):
            return {}
        section = profile or "storage"
        if not parser.has_section(section):
            return {}
        names = {"account_key": "key", "sas_token": "sas_token"}
        found = {ours: parser.get(section, theirs, fallback="") for ours, theirs in names.items()}
        return {name: value for name, value in found.items() if value}

    # names

    def _account(self, url: StorageURL) -> tuple[str, str]:
        """Container and account of a URL."""
        container, at, host = url.authority.partition("@")
        if not (container and at and host):
            raise SpecError(
                f"{url}: names no account; write {url.scheme}://CONTAINER@ACCOUNT.dfs.core."
                "windows.net/PATH"
            )
        return container, host.split(".")[0]

    def _path(self, url: StorageURL) -> str:
        return f"{self._account(url)[0]}/{url.path}".rstrip("/")

    @property
    def _own_account(self) -> str:
        from cloudmesh.sparknomad.storage.url import parse_url

        return self._account(parse_url(self.profile.url))[1]

    # from this machine

    def _filesystem(self) -> AbstractFileSystem:
        import adlfs

        account = self._own_account
        if self.profile.ca and not os.environ.get("SSL_CERT_FILE"):
            raise InputError(
                f"Storage profile {self.profile.name!r}: ca: the library for Azure takes no "
                "authorities of its own, so this machine can't reach it with them alone; runs in "
                "a cluster can.",
                hint=f"export SSL_CERT_FILE={authorities_file(self.profile)}",
            )
        given: dict[str, Any] = {
            name: self.credentials[name]
            for name in ("account_key", "sas_token", "tenant_id", "client_id", "client_secret")
            if name in self.credentials
        }
        if self.profile.endpoint:
            given = {"connection_string": self._connection(account)}
        elif not self.credentials:
            given["anon"] = self.profile.credentials.source is not CredentialSource.INSTANCE
        return adlfs.AzureBlobFileSystem(
            account_name=account,
            use_listings_cache=False,
            skip_instance_cache=True,
            **given,
        )

    def _connection(self, account: str) -> str:
        parts = urlsplit(self.profile.endpoint)
        parts_of = [f"DefaultEndpointsProtocol={parts.scheme}", f"AccountName={account}"]
        if "account_key" in self.credentials:
            parts_of.append(f"AccountKey={self.credentials['account_key']}")
        if "sas_token" in self.credentials:
            parts_of.append(f"SharedAccessSignature={self.credentials['sas_token'].lstrip('?')}")
        parts_of.append(f"BlobEndpoint={self.profile.endpoint.rstrip('/')}/{account}")
        return ";".join(parts_of)

    def _remove_directory(self, path: str) -> None:
        # adlfs takes some names for patterns, whether they are escaped or not.
        for name in self.filesystem.find(path):
            self.filesystem.rm_file(name)

    def _version(self, info: Mapping[str, Any]) -> tuple[str, str]:
        settings = info.get("content_settings") or {}
        md5 = settings.get("content_md5") if isinstance(settings, Mapping) else None
        return str(info.get("etag") or "").strip('"'), bytes(md5).hex() if md5 else ""

    # Spark

    def _hadoop(self, url: StorageURL) -> HadoopSettings:
        container, account = self._account(url)
        if url.scheme.startswith("wasb"):
            return self._wasb(url, container, account)
        host = f"{account}.dfs.core.windows.net"
        secure = not self.profile.endpoint or self.profile.endpoint.startswith("https:")
        conf = {
            # The manifest committer and algorithm 1 need renames of directories, which only
            # accounts with a hierarchical namespace have.
            "mapreduce.outputcommitter.factory.scheme.abfs": _FILE_COMMITTER,
            "mapreduce.outputcommitter.factory.scheme.abfss": _FILE_COMMITTER,
            "mapreduce.fileoutputcommitter.algorithm.version": "2",
        }
        if self.profile.endpoint:
            conf |= {
                "fs.azure.abfs.endpoint": urlsplit(self.profile.endpoint).netloc,
                "fs.azure.always.use.https": str(secure).lower(),
                "fs.azure.account.hns.enabled": "false",
                "fs.azure.fns.account.service.type": "BLOB",
            }
        more, secrets = self._authenticated(container, account)
        scheme = "abfss" if secure else "abfs"
        place = f"{scheme}://{container}@{host}/{url.path}"
        return HadoopSettings(place, {**conf, **more}, secrets)

    def _authenticated(self, container: str, account: str) -> tuple[dict[str, str], dict[str, str]]:
        host = f"{account}.dfs.core.windows.net"
        told = self.credentials
        if "account_key" in told:
            hosts = (host, f"{account}.blob.core.windows.net")
            return {}, {f"fs.azure.account.key.{each}": told["account_key"] for each in hosts}
        if "sas_token" in told:
            return (
                {f"fs.azure.account.auth.type.{host}": "SAS"},
                {f"fs.azure.sas.fixed.token.{host}": told["sas_token"].lstrip("?")},
            )
        oauth = f"fs.azure.account.oauth.provider.type.{host}"
        if "client_secret" in told:
            tenant = f"{_LOGIN}/{told.get('tenant_id', 'common')}/oauth2/token"
            conf = {
                f"fs.azure.account.auth.type.{host}": "OAuth",
                oauth: f"{_OAUTH}.ClientCredsTokenProvider",
                f"fs.azure.account.oauth2.client.endpoint.{host}": tenant,
                f"fs.azure.account.oauth2.client.id.{host}": told.get("client_id", ""),
            }
            secret = f"fs.azure.account.oauth2.client.secret.{host}"
            return conf, {secret: told["client_secret"]}
        if self.profile.credentials.source is CredentialSource.INSTANCE:
            conf = {f"fs.azure.account.auth.type.{host}": "OAuth"}
            return {**conf, oauth: f"{_OAUTH}.MsiTokenProvider"}, {}
        return {}, {}

    def _wasb(self, url: StorageURL, container: str, account: str) -> HadoopSettings:
        """The older connector, which Hadoop 3.3 needs for emulators."""
        if self.profile.endpoint:
            conf = {"fs.azure.storage.emulator.account.name": account}
            return HadoopSettings(f"wasb://{container}@{account}/{url.path}", conf)
        host = f"{account}.blob.core.windows.net"
        secrets = {}
        if "account_key" in self.credentials:
            secrets[f"fs.azure.account.key.{host}"] = self.credentials["account_key"]
        if "sas_token" in self.credentials:
            key = f"fs.azure.sas.{container}.{host}"
            secrets[key] = self.credentials["sas_token"].lstrip("?")
        return HadoopSettings(f"wasbs://{container}@{host}/{url.path}", {}, secrets)
