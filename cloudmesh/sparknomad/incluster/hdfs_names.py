"""Which names of objects can be names of files in the cluster's own storage."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["bad_name"]

_LONGEST_PART = 255
"""Bytes that a file's or directory's name may have in HDFS, and on the usual disks."""

_LONGEST_NAME = 3000
"""Characters of a path: a disk has 4,095 bytes for it, HDFS 8,000, and ours come before it."""

_SHOWN = 80


def bad_name(names: Iterable[str]) -> str:
    """Why some object can't be a file in the cluster's storage; empty if all can."""
    for name in names:
        if ":" in name or any(part in ("", ".", "..") for part in name.split("/")):
            return f"{_short(name)!r} can't be the name of a file in HDFS"
        longest = max(name.split("/"), key=_bytes)
        if _bytes(longest) > _LONGEST_PART:
            return (
                f"{_short(name)!r} can't be the name of a file in HDFS: a part of it has "
                f"{_bytes(longest)} bytes, and {_LONGEST_PART} is the most"
            )
        if len(name) > _LONGEST_NAME:
            return (
                f"{_short(name)!r} can't be the name of a file in HDFS: it has {len(name):,} "
                f"characters, and {_LONGEST_NAME:,} is the most"
            )
    return ""


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _short(name: str) -> str:
    return name if len(name) <= _SHOWN else f"{name[:_SHOWN]}…"
