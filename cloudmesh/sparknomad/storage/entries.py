"""What storages tell of what they hold, and what is made of their answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cloudmesh.sparknomad.storage.url import StorageURL

__all__ = [
    "Entry",
    "HadoopSettings",
    "Usage",
    "cut_name",
    "is_inside",
    "modified",
    "without_markers",
]


@dataclass(frozen=True)
class Entry:
    """One object, file or directory.

    Attributes:
        url: where it is, as it was asked for: below its profile, or plain.
        size: in bytes; 0 for a directory.
        is_directory: whether it holds others.
        modified: seconds since the epoch, where the storage tells it.
        version: what changes with the content: ETag, generation or checksum; may be empty.
        md5: of the content in hexadecimal, where the storage knows it; else empty.
    """

    url: StorageURL
    size: int
    is_directory: bool = False
    modified: float | None = None
    version: str = ""
    md5: str = ""


@dataclass(frozen=True)
class Usage:
    """How much lies below a URL."""

    url: StorageURL
    objects: int
    size: int


@dataclass(frozen=True)
class HadoopSettings:
    """What Spark needs for one place.

    Attributes:
        url: the place as Hadoop names it, with the connector's scheme.
        conf: Hadoop's keys, without ``spark.hadoop.``.
        secrets: such keys with values that nobody else may see.
        spark: Spark's own keys, such as committers.
    """

    url: str
    conf: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    spark: Mapping[str, str] = field(default_factory=dict)


def cut_name(name: str) -> str:
    """The beginning of a name: in UTF-8 no longer than what leaves room for ours."""
    return name.encode("utf-8", "surrogateescape")[:180].decode("utf-8", "ignore")


def without_markers(entries: list[Entry]) -> list[Entry]:
    """Leave out the empty objects by which object stores remember a directory."""
    above = {
        "/".join(parts[:count])
        for parts in (entry.url.path.rstrip("/").split("/") for entry in entries)
        for count in range(1, len(parts))
    }
    return [
        entry
        for entry in entries
        if entry.is_directory or entry.size or entry.url.path.rstrip("/") not in above
    ]


def is_inside(pattern: StorageURL, url: StorageURL) -> bool:
    """Whether a directory above a URL fits a pattern."""
    parts = url.path.split("/")
    return any(pattern.matches("/".join(parts[:count])) for count in range(1, len(parts)))


def modified(info: Mapping[str, Any]) -> float | None:
    """When an object was written last, in seconds since the epoch, by what its library tells."""
    for name in ("LastModified", "last_modified", "updated", "mtime", "modificationTime"):
        told = info.get(name)
        if isinstance(told, datetime):
            return told.timestamp()
        if isinstance(told, int | float) and told:
            return told / 1000 if name == "modificationTime" else float(told)
        if isinstance(told, str) and told:
            try:
                return datetime.fromisoformat(told).timestamp()
            except ValueError:
                continue
    return None
