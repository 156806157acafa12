"""What hosts are told to do: scripts of ``/bin/sh`` beside this file, with their values. Pure."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Mapping
from importlib.resources import files

__all__ = ["placing", "script", "text"]

_ASKING = frozenset({"agent", "reload", "running", "start", "stop", "watch"})
"""Scripts that ask whether a process runs."""


def text(name: str) -> str:
    """A script as it lies here, after the functions that it calls."""
    place = files("cloudmesh.sparknomad.cluster.nomad.hosts") / "scripts"
    names = ["runs", name] if name in _ASKING else [name]
    return "".join((place / f"{each}.sh").read_text("utf-8") for each in names)


def script(name: str, **values: str) -> str:
    """A script with the values that it reads, none of which is secret."""
    assigned = "".join(f"{key}={shlex.quote(value)}\n" for key, value in values.items())
    return assigned + text(name)


def placing(files: Mapping[str, bytes]) -> str:
    """A script that writes small files for root alone, each atomically.

    One script, because each command costs the host a process and a session. It is to be given by
    standard input: what it contains may be secret, and a list of processes shows arguments.

    Args:
        files: contents by their paths.
    """
    parts = [text("place")]
    for path, content in files.items():
        told = base64.encodebytes(content).decode("ascii")
        parts.append(f"place {shlex.quote(path)} <<'END'\n{told}END\n")
    return "".join(parts)
