"""Docker's side of images: the archive that ``docker load`` reads, and the daemon.

The archive's form is that of ``docker save``: a ``manifest.json``, a configuration and one
tar for each layer. See https://github.com/moby/docker-image-spec
"""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from cloudmesh.sparknomad.errors import ImageError
from cloudmesh.sparknomad.image.layers import MTIME, Layer

__all__ = [
    "daemon_problem",
    "export",
    "has_image",
    "inspect",
    "load_archive",
    "pull",
    "remove_image",
    "write_archive",
]


def _docker(*arguments: str, **options: Any) -> subprocess.CompletedProcess[Any]:
    return subprocess.run(["docker", *arguments], capture_output=True, check=False, **options)


def daemon_problem() -> str:
    """Why no Docker daemon can be used from here; empty if one can."""
    try:
        done = _docker("version", "--format", "{{.Server.Version}}", text=True, timeout=20)
    except FileNotFoundError:
        return "the docker command is not installed"
    except subprocess.TimeoutExpired:
        return "the Docker daemon does not answer"
    if done.returncode:
        told = done.stderr.strip().splitlines()
        return told[-1] if told else "the Docker daemon does not answer"
    return ""


def has_image(tag: str) -> bool:
    """Whether Docker has an image of this name."""
    return _docker("image", "inspect", "--format", "{{.Id}}", tag).returncode == 0


def pull(image: str, say: Callable[[str], None]) -> None:
    """Make sure that Docker has an image, pulling it if not.

    Raises:
        ImageError: if it can't be pulled.
    """
    if has_image(image):
        return
    say(f"pulling {image}")
    done = _docker("pull", "--quiet", image, text=True)
    if done.returncode:
        raise ImageError(
            f"base: {image!r}: Docker can't pull it: {done.stderr.strip()}",
            hint="Check the name, or use --base=debian, which needs no registry of images.",
        )


def inspect(image: str) -> tuple[str, dict[str, Any]]:
    """An image's id and its configuration.

    Raises:
        ImageError: if Docker has it not.
    """
    told = _docker("image", "inspect", image, text=True)
    if told.returncode:
        raise ImageError(f"{image!r}: {told.stderr.strip()}")
    found = json.loads(told.stdout)[0]
    return found["Id"], found["Config"] or {}


def export(image: str, target: Path) -> None:
    """Write the files of an image as one tar.

    Raises:
        ImageError: if Docker can't export it.
    """
    made = _docker("create", "--label", "sparknomad.export=1", image, "/none", text=True)
    if made.returncode:
        raise ImageError(f"{image!r}: Docker can't make a container: {made.stderr.strip()}")
    container = made.stdout.strip()
    try:
        done = _docker("export", "--output", str(target), container, text=True)
        if done.returncode:
            raise ImageError(f"{image!r}: Docker can't export it: {done.stderr.strip()}")
    finally:
        _docker("rm", "--force", container)


def write_archive(
    sink: IO[bytes], tag: str, layers: Sequence[Layer], config: Mapping[str, Any], machine: str
) -> None:
    """Write an image as ``docker load`` reads it.

    Args:
        sink: gets the archive; need not be seekable.
        tag: the image's name in Docker.
        layers: the lowest first.
        config: ``Env``, ``Entrypoint``, ``User``, ``Labels``, … of the image.
        machine: ``amd64`` or ``arm64``.
    """
    document = {
        "architecture": machine,
        "os": "linux",
        "created": "2023-11-14T22:13:20Z",
        "config": dict(config),
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        "history": [
            {"created": "2023-11-14T22:13:20Z", "created_by": f"sparknomad: {layer.name}"}
            for layer in layers
        ],
    }
    body = json.dumps(document, sort_keys=True).encode()
    name = f"{hashlib.sha256(body).hexdigest()}.json"
    paths = [f"{layer.diff_id.removeprefix('sha256:')}/layer.tar" for layer in layers]
    manifest = [{"Config": name, "RepoTags": [tag], "Layers": paths}]
    with tarfile.open(fileobj=sink, mode="w|", format=tarfile.PAX_FORMAT) as stream:
        for path, layer in zip(paths, layers, strict=True):
            with layer.path.open("rb") as content:
                _add(stream, path, content, layer.size)
        _add(stream, name, io.BytesIO(body), len(body))
        listed = json.dumps(manifest).encode()
        _add(stream, "manifest.json", io.BytesIO(listed), len(listed))


def _add(stream: tarfile.TarFile, name: str, content: IO[bytes], size: int) -> None:
    member = tarfile.TarInfo(name)
    member.size = size
    member.mtime = MTIME
    stream.addfile(member, content)


def load_archive(write: Callable[[IO[bytes]], None]) -> None:
    """Load an image into Docker.

    Args:
        write: writes the archive into the stream that it is given.

    Raises:
        ImageError: if Docker does not take it.
    """
    process = subprocess.Popen(
        ["docker", "load", "--quiet"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    broken = False
    try:
        with process.stdin as sink:
            write(sink)
    except BrokenPipeError:
        broken = True
    except BaseException:
        process.kill()
        process.wait()
        raise
    assert process.stderr is not None and process.stdout is not None
    told = process.stderr.read().decode("utf-8", "replace")
    process.stdout.read()
    process.stdout.close()
    process.stderr.close()
    if process.wait() or broken:
        raise ImageError(f"Docker did not take the image: {told.strip()}")


def remove_image(tag: str) -> None:
    """Remove an image from Docker; fine if it is not there.

    Raises:
        ImageError: if a container still uses it.
    """
    if not has_image(tag):
        return
    done = _docker("image", "rm", tag, text=True)
    if done.returncode:
        raise ImageError(f"Docker can't remove {tag}: {done.stderr.strip()}")
