"""Kinds of compute by name, imported only when they are asked for."""

from __future__ import annotations

from cloudmesh.sparknomad.compute.compute import Compute
from cloudmesh.sparknomad.plugins import Plugins

__all__ = ["ENTRY_POINTS", "kind_names", "load_kind"]

ENTRY_POINTS = "sparknomad.computes"

_PACKAGE = "cloudmesh.sparknomad.compute.kinds"
_KINDS = Plugins(
    "kind",
    ENTRY_POINTS,
    Compute,  # type: ignore[type-abstract]
    {
        "local": f"{_PACKAGE}.local:LocalCompute",
        "ssh": f"{_PACKAGE}.ssh:SshCompute",
        "libcloud": f"{_PACKAGE}.libcloud:LibcloudCompute",
    },
)


def kind_names() -> list[str]:
    """The names that a compute's ``kind`` may have."""
    return _KINDS.names()


def load_kind(name: str) -> type[Compute]:
    """The class of a kind.

    Raises:
        SpecError: if there is no such kind.
        DependencyError: if its package can't be imported.
    """
    return _KINDS.load(name)
