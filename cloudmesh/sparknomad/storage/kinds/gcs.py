"""Google Cloud Storage."""

from __future__ import annotations

import binascii
import json
import os
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudmesh.sparknomad.errors import CredentialError, InputError
from cloudmesh.sparknomad.storage.authorities import trusting
from cloudmesh.sparknomad.storage.credentials import CredentialField
from cloudmesh.sparknomad.storage.profile import CredentialSource
from cloudmesh.sparknomad.storage.storage import HadoopSettings, Storage
from cloudmesh.sparknomad.storage.url import StorageURL

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

__all__ = ["GoogleStorage"]

_FILE_COMMITTER = "org.apache.hadoop.mapreduce.lib.output.FileOutputCommitterFactory"
_ALWAYS = {
    "fs.gs.impl": "com.google.cloud.hadoop.fs.gcs.GoogleHadoopFileSystem",
    "fs.AbstractFileSystem.gs.impl": "com.google.cloud.hadoop.fs.gcs.GoogleHadoopFS",
    # Renames of single objects are atomic there: the plain committer leaves nothing doubled.
    "mapreduce.outputcommitter.factory.scheme.gs": _FILE_COMMITTER,
}

_TOKEN_URI = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
# Our own class: the connector's version 4 takes a key only as a file on every host.
_PROVIDER = "sparknomad.ServiceAccount"
_KEY = "fs.gs.sparknomad.service.account"
_KEY_FIELDS = ("client_email", "private_key", "token_uri")


class GoogleStorage(Storage):
    """GCS through ``gcsfs`` and Google's connector for Hadoop."""

    kind = "gcs"
    extra = "gcs"
    fields = (CredentialField("json", "GOOGLE_CREDENTIALS_JSON"),)
    options = frozenset({"project"})

    @classmethod
    def files(cls, profile: str) -> Mapping[str, str]:
        """Read the application default credentials, where Google's tools look for them."""
        named = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
        usual = Path.home() / ".config/gcloud/application_default_credentials.json"
        try:
            text = (Path(named).expanduser() if named else usual).read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            return {}
        return {"json": text}

    def _document(self) -> dict[str, Any]:
        try:
            document = json.loads(self.credentials["json"])
        except ValueError:
            document = None
        if not isinstance(document, dict) or "type" not in document:
            raise CredentialError(
                f"Storage profile {self.profile.name!r}: json: no credentials of Google.",
                hint="Give the content of a service account's key, or of the application "
                "default credentials.",
            )
        return document

    def _filesystem(self) -> AbstractFileSystem:
        # Asking for a bucket's layout takes minutes where a server does not know the question.
        os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
        import gcsfs

        token: Any = self._document() if self.credentials else "anon"
        if self.profile.credentials.source is CredentialSource.INSTANCE:
            token = "cloud"  # noqa: S105 - a word of gcsfs's
        return gcsfs.GCSFileSystem(
            token=token,
            project=self.profile.options.get("project", ""),
            endpoint_url=self.profile.endpoint or None,
            session_kwargs=self._session() if self.profile.ca else None,
            use_listings_cache=False,
            skip_instance_cache=True,
        )

    def _session(self) -> dict[str, Any]:
        """The session's settings, for a service with an authority of its own."""
        import aiohttp
        from fsspec.asyn import get_loop, sync

        context = trusting(self.profile)

        async def connector() -> aiohttp.TCPConnector:
            # It belongs to the loop in which it is made, and that is fsspec's.
            return aiohttp.TCPConnector(ssl=context)

        return {"connector": sync(get_loop(), connector)}

    def _path(self, url: StorageURL) -> str:
        return f"{url.authority}/{url.path}".rstrip("/")

    def _version(self, info: Mapping[str, Any]) -> tuple[str, str]:
        try:
            md5 = b64decode(str(info.get("md5Hash") or "")).hex()
        except (binascii.Error, ValueError):
            md5 = ""
        return str(info.get("generation") or info.get("etag") or ""), md5

    def _hadoop(self, url: StorageURL) -> HadoopSettings:
        if self.profile.ca:
            # Its HttpTransportFactory takes the keystore of its own jar, whatever Java trusts.
            raise InputError(
                f"Storage profile {self.profile.name!r}: ca: Google's connector for Hadoop trusts "
                "only the authorities that it carries, so runs can't reach this endpoint.",
                hint="From this machine it can be reached: `cms sparknomad storage get` brings "
                "what a run then takes from here.",
            )
        conf = {**_ALWAYS, "fs.gs.project.id": self.profile.options.get("project", "-")}
        if self.profile.endpoint:
            conf["fs.gs.storage.root.url"] = f"{self.profile.endpoint.rstrip('/')}/"
            # Version 4 of the connector asks for a move that other servers do not know.
            conf["fs.gs.operation.move.enable"] = "false"
        conf, secrets = self._authenticated(conf)
        return HadoopSettings(f"gs://{url.authority}/{url.path}", conf, secrets)

    def _authenticated(self, conf: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
        """Keys for both generations of the connector, 2.2 and 4.0."""
        if self.profile.credentials.source is CredentialSource.INSTANCE:
            return {**conf, "fs.gs.auth.type": "COMPUTE_ENGINE"}, {}
        if not self.credentials:
            off = {
                "fs.gs.auth.type": "UNAUTHENTICATED",
                "fs.gs.auth.service.account.enable": "false",
                "fs.gs.auth.null.enable": "true",
            }
            return {**conf, **off}, {}
        document = self._document()
        if document["type"] == "authorized_user":
            return {**conf, "fs.gs.auth.type": "USER_CREDENTIALS"}, {
                "fs.gs.auth.client.id": str(document["client_id"]),
                "fs.gs.auth.client.secret": str(document["client_secret"]),
                "fs.gs.auth.refresh.token": str(document["refresh_token"]),
            }
        own = {
            "fs.gs.auth.type": "ACCESS_TOKEN_PROVIDER",
            "fs.gs.auth.access.token.provider": _PROVIDER,
            "fs.gs.auth.access.token.provider.impl": _PROVIDER,
        }
        return {**conf, **own}, {_KEY: json.dumps(self._service_account(document))}

    def _service_account(self, document: Mapping[str, Any]) -> dict[str, str]:
        """What it takes to act as a service account, of all that its key's file says."""
        kept = {"token_uri": _TOKEN_URI, **document}
        missing = [name for name in _KEY_FIELDS if not kept.get(name)]
        if document["type"] != "service_account" or missing:
            lacks = f"; it lacks {', '.join(missing)}" if missing else ""
            raise CredentialError(
                f"Storage profile {self.profile.name!r}: json: credentials of Google of the type "
                f"{document['type']!r} can't be used{lacks}.",
                hint="Give the content of a service account's key (type service_account), or of "
                "the application default credentials (type authorized_user).",
            )
        return {name: str(kept[name]) for name in (*_KEY_FIELDS, "private_key_id") if name in kept}
