"""Telling a cluster of one provider from those of others: their records lie in one place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cloudmesh.sparknomad.errors import ConflictError

__all__ = ["is_foreign", "refuse_foreign"]


def is_foreign(directory: Path, mark: str) -> bool:
    """Whether a cluster's directory holds the record of another provider.

    Args:
        directory: of the cluster.
        mark: a field that every record of the asking provider has.
    """
    try:
        return mark not in json.loads((directory / "cluster.json").read_text("utf-8"))
    except FileNotFoundError:
        return False


def refuse_foreign(directory: Path, record: Mapping[str, Any], mark: str) -> None:
    """Refuse a record of another provider.

    Raises:
        ConflictError: if it is one.
    """
    if mark not in record:
        raise ConflictError(
            f"Cluster {directory.name!r} is there already, and of another provider.",
            hint=f"Name that one (--provider), take another name, or destroy it first: "
            f"cms sparknomad cluster destroy {directory.name}",
        )
