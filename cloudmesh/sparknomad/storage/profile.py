"""What a user says of a place in a cloud: its kind, its URL, where its credentials come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import Enum
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from cloudmesh.sparknomad.specs import CONFIGURATION, Name, Text

__all__ = ["CredentialSource", "CredentialsSpec", "StorageProfile"]


class CredentialSource(Enum):
    """Where credentials come from, each time that they are needed.

    ``auto`` takes what is there: the environment, else the cloud's own files, else none.
    ``environment`` reads variables; ``files`` the files of the cloud's own tools (``~/.aws``,
    application default credentials, ``~/.azure``); ``instance`` leaves it to the identity of the
    hosts that run the job; ``file`` reads a file of your own; ``keyring`` the system's keyring;
    ``prompt`` asks; ``plain`` takes them from the configuration itself; ``none`` goes without.
    """

    AUTO = "auto"
    ENVIRONMENT = "environment"
    FILES = "files"
    INSTANCE = "instance"
    FILE = "file"
    KEYRING = "keyring"
    PROMPT = "prompt"
    PLAIN = "plain"
    NONE = "none"


@dataclass(frozen=True, config=CONFIGURATION)
class CredentialsSpec:
    """Where a profile's credentials come from.

    Attributes:
        source: see `CredentialSource`.
        variables: for ``environment``: the variable of each field, where it is not the cloud's
            usual one.
        profile: for ``files``: the name of a profile in the cloud's own files.
        path: for ``file``: a YAML or JSON file with the fields, readable by its owner alone.
        values: for ``plain``: the fields themselves, readable by whoever reads this file.
    """

    source: CredentialSource = CredentialSource.AUTO
    variables: Mapping[str, str] = field(default_factory=dict)
    profile: str = ""
    path: str = ""
    values: Mapping[str, Text] = field(default_factory=dict, repr=False)


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
    """

    name: Name
    url: Annotated[str, Field(min_length=1)]
    kind: str = ""
    endpoint: Annotated[str, Field(pattern=r"^(https?://[^\s/]+.*)?$")] = ""
    region: str = ""
    ca: str = ""
    options: Mapping[str, Text] = field(default_factory=dict)
    credentials: CredentialsSpec = field(default_factory=CredentialsSpec)
