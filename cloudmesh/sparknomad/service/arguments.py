"""What a request brings, and what it may not name."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cloudmesh.sparknomad.errors import InputError
from cloudmesh.sparknomad.specfile import spec_to_dict
from cloudmesh.sparknomad.specs import JobSpec, ParameterSpec, ParameterType

__all__ = ["decoded", "named", "refuse_paths", "without_places"]

_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")


def named(body: Mapping[str, Any], field: str, name: str) -> dict[str, Any]:
    """A document whose name stands in the request's path.

    Raises:
        InputError: if it says another.
    """
    if body.get(field, name) != name:
        raise InputError(f"{field}: {body[field]!r}: the request's path says {name!r}.")
    return {**body, field: name}


def refuse_paths(parameters: Mapping[str, ParameterSpec], values: Mapping[str, Any]) -> None:
    """Take only places below a profile of the service, or in the cluster.

    Args:
        parameters: that are declared.
        values: of the request.

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


def decoded(files: Mapping[str, str]) -> dict[str, bytes]:
    """The files of a request, which come as base64, by their names.

    Raises:
        InputError: if a name or a content is none.
    """
    found = {}
    for name, text in files.items():
        if not _FILE_NAME.fullmatch(name):
            raise InputError(
                f"files: {name!r}: must be 1 to 100 letters, digits, '.', '_' or '-', not "
                "beginning with '.' or '-'."
            )
        try:
            found[name] = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise InputError(f"files.{name}: is no base64.") from None
    return found


def without_places(spec: JobSpec) -> dict[str, Any]:
    """A job without where its files lie on the service's machine."""
    data = spec_to_dict(spec)
    data["program"] = Path(data["program"]).name
    for kind, paths in data["dependencies"].items():
        data["dependencies"][kind] = [Path(path).name for path in paths]
    return data
