"""Begins the REST service as a Nomad task: brings what it imports, and becomes it.

The archive with the packages lies in the cluster's HDFS under its digest; it is unpacked once on
a host.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

sys.path[:0] = [str(Path(__file__).resolve().parent)]

if TYPE_CHECKING or __package__:
    from cloudmesh.sparknomad.incluster import run_private, webhdfs
else:
    import run_private
    import webhdfs

__all__ = ["MODULE", "main", "unpack"]

MODULE = "cloudmesh.sparknomad.service.task"
"""What is run of the packages."""

_ARTIFACTS = "/sparknomad/artifacts"
_PATIENCE_SECONDS = 120.0
_BLOCK = 1024 * 1024


def unpack(archive: Path, sha256: str, target: Path) -> None:
    """Unpack an archive, whole or not at all.

    Raises:
        ValueError: if it is not the one with this digest, or has what is no file below it.
    """
    digest = hashlib.sha256()
    with archive.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    if digest.hexdigest() != sha256:
        raise ValueError(f"the packages are not those of {sha256}")
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    with tarfile.open(archive) as tar:
        for member in tar:
            # Debian's Python 3.11.2 has no filters yet.
            inside = not Path(member.name).is_absolute() and ".." not in Path(member.name).parts
            if not inside or not (member.isreg() or member.isdir()):
                raise ValueError(f"the packages hold {member.name!r}")
        tar.extractall(partial)  # noqa: S202  # nosec B202: each name was looked at
    partial.rename(target)


def _hdfs() -> webhdfs.WebHdfs:
    secrets, address = Path(os.environ["NOMAD_SECRETS_DIR"]), os.environ["SPARKNOMAD_NOMAD"]
    place = run_private.server_address(address, secrets, os.environ["SPARKNOMAD_HDFS"])
    if not place:
        raise OSError("the cluster's HDFS is not there")
    return webhdfs.WebHdfs(place, patience=_PATIENCE_SECONDS)


def main() -> None:
    """Become the service."""
    local, wanted = Path(os.environ["NOMAD_TASK_DIR"]), os.environ["SPARKNOMAD_PACKAGES"]
    packages = local / f"packages-{wanted[:16]}"
    if not packages.exists():
        archive = local / "packages.tar.gz"
        _hdfs().get(f"{_ARTIFACTS}/{wanted}", archive)
        unpack(archive, wanted, packages)
        archive.unlink()
        for old in local.glob("packages-*"):
            if old != packages:
                shutil.rmtree(old)
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("PYTHON")},
        "PYTHONPATH": str(packages),
        "PYTHONPYCACHEPREFIX": str(local / "pycache"),
        "PYTHONUNBUFFERED": "1",
    }
    os.execve(sys.executable, [sys.executable, "-m", MODULE], environment)


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError, json.JSONDecodeError) as error:
        print(f"the service can't begin: {error}", file=sys.stderr, flush=True)
        sys.exit(1)
