"""Amazon S3 and what is compatible with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from cloudmesh.sparknomad.credentials import CredentialField, aws_files
from cloudmesh.sparknomad.storage.authorities import authorities_file
from cloudmesh.sparknomad.storage.profile import CredentialSource
from cloudmesh.sparknomad.storage.storage import HadoopSettings, Storage
from cloudmesh.sparknomad.storage.url import StorageURL

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

__all__ = ["S3Storage"]

_PROVIDERS = "org.apache.hadoop.fs.s3a"

# https://spark.apache.org/docs/latest/cloud-integration.html#hadoop-s3a-committers
_COMMIT_PROTOCOL = {
    "spark.sql.sources.commitProtocolClass": (
        "org.apache.spark.internal.io.cloud.PathOutputCommitProtocol"
    ),
    "spark.sql.parquet.output.committer.class": (
        "org.apache.spark.internal.io.cloud.BindingParquetOutputCommitter"
    ),
}
_COMMITTER_FACTORY = {
    "mapreduce.outputcommitter.factory.scheme.s3a": (
        "org.apache.hadoop.fs.s3a.commit.S3ACommitterFactory"
    ),
}


class S3Storage(Storage):
    """S3 through ``s3fs`` and Hadoop's ``s3a``."""

    kind = "s3"
    extra = "s3"
    guesses_checksums = True  # an ETag is no MD5 where the store encrypts (SSE-KMS, SSE-C)
    takes_proxy = True
    fields: ClassVar[tuple[CredentialField, ...]] = (
        CredentialField("access_key", "AWS_ACCESS_KEY_ID", secret=False),
        CredentialField("secret_key", "AWS_SECRET_ACCESS_KEY"),
        CredentialField("session_token", "AWS_SESSION_TOKEN", optional=True),
    )
    options = frozenset({"path_style", "committer"})
    committer: ClassVar[str] = "magic"
    """Hadoop's committer: the magic one needs consistent listings, which S3 has."""

    @classmethod
    def files(cls, profile: str) -> Mapping[str, str]:
        """Read ``~/.aws/credentials``, or what ``AWS_SHARED_CREDENTIALS_FILE`` names."""
        return aws_files(profile)

    @property
    def _instance(self) -> bool:
        return self.profile.credentials.source is CredentialSource.INSTANCE

    def _filesystem(self) -> AbstractFileSystem:
        import s3fs

        client: dict[str, Any] = {}
        if self.profile.region:
            client["region_name"] = self.profile.region
        if self.profile.ca:
            client["verify"] = str(authorities_file(self.profile))
        config: dict[str, Any] = {"retries": {"max_attempts": 5, "mode": "standard"}}
        if self._path_style:
            config["s3"] = {"addressing_style": "path"}
        return s3fs.S3FileSystem(
            key=self.credentials.get("access_key"),
            secret=self.credentials.get("secret_key"),
            token=self.credentials.get("session_token"),
            anon=not self.credentials and not self._instance,
            endpoint_url=self.profile.endpoint or None,
            client_kwargs=client,
            config_kwargs=config,
            use_listings_cache=False,
            skip_instance_cache=True,
        )

    @property
    def _path_style(self) -> bool:
        told = self.profile.options.get("path_style")
        return told == "true" if told else bool(self.profile.endpoint)

    def _path(self, url: StorageURL) -> str:
        return f"{url.authority}/{url.path}".rstrip("/")

    def _version(self, info: Mapping[str, Any]) -> tuple[str, str]:
        tag = str(info.get("ETag") or "").strip('"')
        # The ETag of what was uploaded in one part is its MD5; of several it has a dash.
        return tag, tag if len(tag) == 32 and "-" not in tag else ""

    def _hadoop(self, url: StorageURL) -> HadoopSettings:
        prefix = f"fs.s3a.bucket.{url.authority}."
        own = {
            **self._endpoint(),
            "aws.credentials.provider": self._provider(),
            "committer.name": self.profile.options.get("committer", self.committer),
            "committer.staging.conflict-mode": "append",
        }
        # Hadoop writes a dot where we write a line: access.key, secret.key, session.token.
        secrets = {name.replace("_", "."): value for name, value in self.credentials.items()}
        return HadoopSettings(
            f"s3a://{url.authority}/{url.path}",
            {**{prefix + key: value for key, value in own.items()}, **_COMMITTER_FACTORY},
            {prefix + key: value for key, value in secrets.items()},
            _COMMIT_PROTOCOL,
        )

    def _endpoint(self) -> dict[str, str]:
        own: dict[str, str] = {}
        if self.profile.endpoint:
            own["endpoint"] = self.profile.endpoint
            own["connection.ssl.enabled"] = str(self.profile.endpoint.startswith("https:")).lower()
        if self.profile.region or self.profile.endpoint:
            own["endpoint.region"] = self.profile.region or "us-east-1"
        own["path.style.access"] = str(self._path_style).lower()
        return own

    def _provider(self) -> str:
        if self._instance:
            return f"{_PROVIDERS}.auth.IAMInstanceCredentialsProvider"
        if "session_token" in self.credentials:
            return f"{_PROVIDERS}.TemporaryAWSCredentialsProvider"
        if self.credentials:
            return f"{_PROVIDERS}.SimpleAWSCredentialsProvider"
        return f"{_PROVIDERS}.AnonymousAWSCredentialsProvider"
