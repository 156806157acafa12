"""What is the name of something defined, and what that of a file."""

from __future__ import annotations

from pathlib import Path

__all__ = ["JOB_FILES", "PROGRAMS", "is_path"]

JOB_FILES = (".yaml", ".yml")
PROGRAMS = (".py", ".jar")


def is_path(name: str) -> bool:
    """Whether `name` is meant as a file, not as the name of a defined job or pipeline."""
    return "/" in name or Path(name).suffix in (*JOB_FILES, *PROGRAMS)
