"""Kinds of storage by name, imported only when they are asked for."""

from __future__ import annotations

from cloudmesh.sparknomad.plugins import Plugins
from cloudmesh.sparknomad.storage.storage import Storage

__all__ = ["ENTRY_POINTS", "kind_names", "load_kind"]

ENTRY_POINTS = "sparknomad.storages"

_PACKAGE = "cloudmesh.sparknomad.storage.kinds"
_KINDS = Plugins(
    "kind",
    ENTRY_POINTS,
    Storage,  # type: ignore[type-abstract]
    {
        "s3": f"{_PACKAGE}.s3:S3Storage",
        "gcs": f"{_PACKAGE}.gcs:GoogleStorage",
        "azure": f"{_PACKAGE}.azure:AzureStorage",
        "swift": f"{_PACKAGE}.swift:SwiftStorage",
        "hdfs": f"{_PACKAGE}.hdfs:HdfsStorage",
        "file": f"{_PACKAGE}.file:FileStorage",
        "http": f"{_PACKAGE}.http:HttpStorage",
    },
)


def kind_names() -> list[str]:
    """The names that a profile's ``kind`` may have."""
    return _KINDS.names()


def load_kind(name: str) -> type[Storage]:
    """The class of a kind.

    Raises:
        SpecError: if there is no such kind.
        DependencyError: if its package can't be imported.
    """
    return _KINDS.load(name)
