"""What a request brings, and what it may not name."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cloudmesh.sparknomad.errors import InputError, NotFoundError
from cloudmesh.sparknomad.job.naming import is_path
from cloudmesh.sparknomad.specfile import spec_to_dict
from cloudmesh.sparknomad.specs import JobSpec, ParameterSpec

__all__ = ["decoded", "default_places", "defined", "named", "without_places"]

_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")


def named(body: Mapping[str, Any], field: str, name: str) -> dict[str, Any]:
    """A document whose name stands in the request's path.

    Raises:
        InputError: if it says another.
    """
    if body.get(field, name) != name:
        raise InputError(f"{field}: {body[field]!r}: the request's path says {name!r}.")
    return {**body, field: name}


def defined(kind: str, name: str) -> str:
    """The name of something that is defined, which a file's is not.

    Args:
        kind: what has the name, such as ``job``.
        name: of the request.

    Raises:
        NotFoundError: if it would mean a file of this machine.
    """
    if is_path(name):
        raise NotFoundError(f"There is no {kind} {name!r}: a file's name is not taken.")
    return name


def default_places(parameters: Mapping[str, ParameterSpec]) -> dict[str, Any]:
    """The values that runs have which give none."""
    return {name: each.default for name, each in parameters.items() if each.default is not None}


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
