"""What hosts are told to do: scripts of ``/bin/sh`` beside this file, with their values. Pure."""

from __future__ import annotations

import shlex
from importlib.resources import files

__all__ = ["script", "text"]


def text(name: str) -> str:
    """A script as it lies here."""
    place = files("cloudmesh.sparknomad.cluster.nomad.hosts") / "scripts" / f"{name}.sh"
    return place.read_text("utf-8")


def script(name: str, **values: str) -> str:
    """A script with the values that it reads, none of which is secret."""
    assigned = "".join(f"{key}={shlex.quote(value)}\n" for key, value in values.items())
    return assigned + text(name)
