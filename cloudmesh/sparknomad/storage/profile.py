"""What a user says of a place in a cloud: its kind, its URL, where its credentials come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from cloudmesh.sparknomad.spec_credentials import CredentialSource, CredentialsSpec
from cloudmesh.sparknomad.spec_hosts import SITE_PATTERN
from cloudmesh.sparknomad.specs import CONFIGURATION, Name, Text

__all__ = ["CredentialSource", "CredentialsSpec", "StorageProfile"]


@dataclass(frozen=True, config=CONFIGURATION)
class StorageProfile:
    """A named place in a cloud.

    Attributes:
        name: as in ``NAME:path``.
        url: what the name stands for; ``NAME:path`` is ``path`` below it.
        kind: of storage: ``s3``, ``gcs``, ``azure``, ``swift``, ``hdfs``, ``file``, ``http`` or
            one that a package adds; found from the URL's scheme if not given.
        endpoint: URL of the service, where it is not the cloud's own.
        region: of the service.
        ca: path of a file with certificates that the service's is checked against.
        options: what else the kind knows, such as ``project`` of ``gcs``.
        credentials: where they come from.
        site: of a cluster that it is near: runs go to the site of their largest input.
    """

    name: Name
    url: Annotated[str, Field(min_length=1)]
    kind: str = ""
    endpoint: Annotated[str, Field(pattern=r"^(https?://[^\s/]+.*)?$")] = ""
    region: str = ""
    ca: str = ""
    options: Mapping[str, Text] = field(default_factory=dict)
    credentials: CredentialsSpec = field(default_factory=CredentialsSpec)
    site: Annotated[str, Field(pattern=rf"^$|{SITE_PATTERN}")] = ""
