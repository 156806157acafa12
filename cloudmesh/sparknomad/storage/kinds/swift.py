"""OpenStack Swift, through its S3 interface: Hadoop's own connector for Swift is no more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from cloudmesh.sparknomad.storage.credentials import CredentialField
from cloudmesh.sparknomad.storage.kinds.s3 import S3Storage

__all__ = ["SwiftStorage"]


class SwiftStorage(S3Storage):
    """Swift's ``s3api`` through ``s3fs`` and Hadoop's ``s3a``."""

    kind = "swift"
    fields: ClassVar[tuple[CredentialField, ...]] = (
        # As `openstack ec2 credentials create` and OpenStack's ec2rc.sh name them.
        CredentialField("access_key", "EC2_ACCESS_KEY", secret=False),
        CredentialField("secret_key", "EC2_SECRET_KEY"),
    )
    committer = "directory"

    @classmethod
    def files(cls, profile: str) -> Mapping[str, str]:
        """There are none: ``clouds.yaml`` holds no keys of the S3 interface."""
        return {}
