"""What a user writes of where credentials come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import Enum

from pydantic.dataclasses import dataclass

from cloudmesh.sparknomad.spec_types import CONFIGURATION, Text

__all__ = ["CredentialSource", "CredentialsSpec"]


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
    """Where the credentials of a storage or a cloud come from.

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
