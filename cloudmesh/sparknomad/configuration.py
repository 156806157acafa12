"""Our section of cloudmesh's configuration: ``cloudmesh.sparknomad`` in ``cloudmesh.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from cloudmesh.sparknomad.errors import SpecError

__all__ = ["Configuration", "compute_section", "read_configuration", "storage_section"]


@dataclass(frozen=True)
class Configuration:
    """What the user may set once for all commands.

    Attributes:
        nomad: path of a Nomad binary.
        java: a Java home.
        nomad_mirror: address that serves Nomad's releases, laid out as the official one.
    """

    nomad: str = ""
    java: str = ""
    nomad_mirror: str = ""


def read_configuration(path: Path) -> Configuration:
    """Read our section; everything has a default.

    Args:
        path: ``cloudmesh.yaml``; it need not exist.

    Raises:
        SpecError: if the section is not what it should be.
    """
    section = _section(path)
    known = {field.name for field in fields(Configuration)}
    values = {}
    for key, value in section.items():
        if key not in known:
            continue
        if not isinstance(value, str):
            raise SpecError(f"{path}: cloudmesh.sparknomad.{key}: {value!r}: must be a text")
        values[key] = value
    return Configuration(**values)


def storage_section(path: Path) -> Mapping[str, Any]:
    """The storage profiles in our section, by name, as they are written.

    Args:
        path: ``cloudmesh.yaml``; it need not exist.

    Raises:
        SpecError: if the section is not what it should be.
    """
    return _named(path, "storage", "profiles")


def compute_section(path: Path) -> Mapping[str, Any]:
    """The computes in our section, by name, as they are written.

    Args:
        path: ``cloudmesh.yaml``; it need not exist.

    Raises:
        SpecError: if the section is not what it should be.
    """
    return _named(path, "compute", "computes")


def _named(path: Path, key: str, what: str) -> Mapping[str, Any]:
    found = _section(path).get(key)
    if found is None:
        return {}
    if not isinstance(found, Mapping) or not all(isinstance(name, str) for name in found):
        raise SpecError(f"{path}: cloudmesh.sparknomad.{key}: must be a mapping of names to {what}")
    return found


def _section(path: Path) -> Mapping[str, Any]:
    try:
        text = path.read_text("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}: can't be read: {error}") from error
    section = _load(path, text)
    for key in ("cloudmesh", "sparknomad"):
        section = section.get(key) if isinstance(section, Mapping) else None
    if section is None:
        return {}
    if not isinstance(section, Mapping):
        raise SpecError(
            f"{path}: cloudmesh.sparknomad: {section!r}: must be a mapping of names to values"
        )
    return section


def _load(path: Path, text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except RecursionError:
        raise SpecError(f"{path}: can't be read: it is nested too deeply") from None
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError) as error:
        # PyYAML lets what is wrong with dates and tags through as Python's own errors. Its own
        # whole message quotes the line, which may hold a secret.
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or type(error).__name__
        raise SpecError(f"{path}{line}: can't be read: not YAML: {problem}") from None
