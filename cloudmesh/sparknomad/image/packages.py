"""Calling pip, the ordinary client of PyPI."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from cloudmesh.sparknomad.errors import DownloadError

__all__ = ["pip", "pip_install"]


def pip(arguments: Sequence[str]) -> None:
    """Run pip of this Python.

    Raises:
        DownloadError: with pip's last lines, if it fails.
    """
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        told = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        errors = [line for line in told if "ERROR" in line] or told[-5:]
        raise DownloadError(
            f"pip {' '.join(arguments[:1])} failed:\n  " + "\n  ".join(errors[-5:]),
            hint="Check the network and pip's configuration; what was fetched is kept.",
        )


def pip_install(requirements: Sequence[str], target: Path, *options: str) -> None:
    """Install requirements into a directory of their own."""
    pip(["install", "--quiet", "--target", str(target), *options, *requirements])
