"""What callers may use of the machine on which the verbs are done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cloudmesh.sparknomad.errors import InputError
from cloudmesh.sparknomad.specs import ParameterSpec, ParameterType

__all__ = ["Access", "refuse_paths"]


@dataclass(frozen=True)
class Access:
    """What the callers of the verbs may use of this machine.

    Attributes:
        places: whether a value may mean a path of this machine, or a place below no profile.
        embedded: whether runs may go to clusters that share this machine's files.
    """

    places: bool = True
    embedded: bool = True


def refuse_paths(parameters: Mapping[str, ParameterSpec], values: Mapping[str, Any]) -> None:
    """Take only places below a storage profile, or in the cluster.

    Args:
        parameters: that are declared.
        values: as they will be used: those that were given, and defaults.

    Raises:
        InputError: if another place is named.
    """
    from cloudmesh.sparknomad.storage.url import is_storage_url, parse_url

    for name, value in values.items():
        if name not in parameters or parameters[name].type is not ParameterType.URI:
            continue
        text = str(value)
        if not is_storage_url(text) or not parse_url(text).profile:
            raise InputError(
                f"parameter {name}: {text!r}: must lie below a storage profile of the "
                "service (PROFILE:path), or in the cluster (cluster:path).",
                hint="GET /v1/storage/profiles lists the profiles.",
            )
