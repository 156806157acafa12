"""A Docker image of the user's choice as the base of ours."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cloudmesh.sparknomad.errors import DependencyError, ImageError
from cloudmesh.sparknomad.image import docker
from cloudmesh.sparknomad.image.base import SPARK_ID
from cloudmesh.sparknomad.image.layers import Layer, LayerStore, key_of

__all__ = ["base_layer", "require"]

_USERS = {
    "etc/passwd": f"spark:x:{SPARK_ID}:{SPARK_ID}::/home/spark:/bin/sh\n",
    "etc/group": f"spark:x:{SPARK_ID}:\n",
}
_OLDEST_PYTHON = (3, 10)
_DIRECTORIES = ("home/spark", "local", "secrets", "alloc")


def require(image: str, say: Callable[[str], None]) -> None:
    """Make sure that Docker has an image.

    Raises:
        DependencyError: without a Docker daemon.
        ImageError: if it can't be pulled.
    """
    problem = docker.daemon_problem()
    if problem:
        raise DependencyError(
            f"base: {image!r}: a base of Docker needs Docker: {problem}.",
            hint="Start Docker, or use --base=debian.",
        )
    docker.pull(image, say)


def base_layer(
    store: LayerStore, image: str, say: Callable[[str], None]
) -> tuple[Layer, str, dict[str, Any]]:
    """One layer with the files of a Docker image, and our user in it.

    Args:
        store: keeps the layer.
        image: the image's name; see `require`.
        say: told what is done.

    Returns:
        The layer, the version of its Python such as ``3.12``, and its configuration.

    Raises:
        ImageError: if it has no Python.
    """
    identity, config = docker.inspect(image)
    python = _python_version(image)

    def fill(tar: Path) -> None:
        say(f"layer base: {image}")
        exported = tar.with_name("exported.tar")
        try:
            docker.export(image, exported)
            _with_user(exported, tar)
        finally:
            exported.unlink(missing_ok=True)

    return store.layer(image, key_of("foreign", identity, 1), fill, is_tar=True), python, config


def _python_version(image: str) -> str:
    program = "import sys; print('%d.%d' % sys.version_info[:2])"
    command = ["docker", "run", "--rm", "--network=none", "--entrypoint=python3", image]
    done = subprocess.run([*command, "-c", program], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ImageError(
            f"base: {image!r}: it has no python3: {done.stderr.strip()[-300:]}",
            hint="Take a base with Python 3.10 or newer, such as python:3.11-slim or debian.",
        )
    version = done.stdout.strip()
    if tuple(int(part) for part in version.split(".")) < _OLDEST_PYTHON:
        raise ImageError(
            f"base: {image!r}: its Python is {version}; Spark needs 3.10 or newer.",
            hint="Take a base with a newer Python, such as python:3.11-slim or debian.",
        )
    return version


def _with_user(source: Path, target: Path) -> None:
    with (
        tarfile.open(source) as whole,
        tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as layer,
    ):
        seen = set()
        for member in whole:
            seen.add(member.name.rstrip("/"))
            content = whole.extractfile(member) if member.isreg() else None
            added = _USERS.get(member.name)
            if added and content:
                text = content.read() + added.encode()
                member.size = len(text)
                content = io.BytesIO(text)
            if not member.name.startswith("dev/"):
                layer.addfile(member, content)
        for name in _DIRECTORIES:
            if name not in seen:
                _add_directory(layer, name)


def _add_directory(layer: tarfile.TarFile, name: str) -> None:
    member = tarfile.TarInfo(name)
    member.type = tarfile.DIRTYPE
    member.mode = 0o755
    if name.startswith("home/"):
        member.uid = member.gid = SPARK_ID
    layer.addfile(member)
