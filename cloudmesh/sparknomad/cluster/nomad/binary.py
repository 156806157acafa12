"""Obtaining Nomad: what is there, else the official release, else a build of its source.

Nomad from 1.7 on is under the Business Source License 1.1: it is installed, never
redistributed.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from cloudmesh.sparknomad.cluster.nomad import gobuild, release
from cloudmesh.sparknomad.configuration import Configuration
from cloudmesh.sparknomad.errors import DependencyError, SparknomadError, SpecError
from cloudmesh.sparknomad.processes import exclusive, published

__all__ = ["VERSION", "find_nomad", "nomad_version", "present_nomad"]

VERSION = "1.10.0"
"""The pinned version: what is installed where there is none."""

_OLDEST = (1, 8)
_OLDEST_TEXT = ".".join(map(str, _OLDEST))
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
Say = Callable[[str], None]


def nomad_version(path: Path) -> tuple[int, ...] | None:
    """The version of a Nomad binary, or ``None`` if it is none that runs."""
    try:
        done = subprocess.run(
            [path.absolute(), "version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    match = re.search(r"Nomad v(\d+)\.(\d+)\.(\d+)", done.stdout)
    return tuple(int(part) for part in match.groups()) if match else None


def present_nomad(configuration: Configuration, cache: Path, say: Say) -> Path | None:
    """A Nomad that is on this machine already.

    Raises:
        DependencyError: if the configured one can't be used.
    """
    for origin, path in _candidates(configuration, cache):
        fault = _fault(path)
        if not fault:
            return path
        if origin == "configuration":
            raise DependencyError(
                f"cloudmesh.sparknomad.nomad: {configuration.nomad!r}: it {fault}; needed is "
                f"Nomad {_OLDEST_TEXT} or newer.",
                hint="Name another binary, or drop the setting and let one be installed.",
            )
        say(f"Nomad of {origin} ({path}) {fault}; needed is {_OLDEST_TEXT} or newer")
    return None


def _candidates(configuration: Configuration, cache: Path) -> Iterator[tuple[str, Path]]:
    if configuration.nomad:
        yield "configuration", _configured(configuration.nomad)
    on_path = shutil.which("nomad")
    if on_path:
        yield "PATH", Path(on_path).absolute()
    if _cached(cache).parent.exists():
        yield "cache", _cached(cache)


def _configured(text: str) -> Path:
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError:  # ~somebody, whom this machine does not know
        return Path(text).absolute()


def _cached(cache: Path) -> Path:
    return cache / f"nomad-{VERSION}" / "nomad"


def _fault(path: Path) -> str:
    """Why a binary can't be used, as the rest of a sentence; empty if it can."""
    version = nomad_version(path)
    if version is not None:
        return "" if version[:2] >= _OLDEST else f"is {'.'.join(map(str, version))}"
    if not path.exists():
        return "is not there"
    if path.is_dir():
        return "is a directory"
    return "is no Nomad that runs here" if os.access(path, os.X_OK) else "is not executable"


def find_nomad(configuration: Configuration, cache: Path, say: Say) -> Path:
    """Find Nomad, or install it into the cache.

    Tried in this order: the configured path, ``PATH``, the cache, the official release, the
    build from the Go module proxy; each says why the last did not serve.

    Returns:
        The binary.

    Raises:
        DependencyError: if none of them serves.
        SpecError: if the configured mirror is no address.
    """
    present = present_nomad(configuration, cache, say)
    if present:
        return present
    _check_mirror(configuration.nomad_mirror)
    say(f"no Nomad to use on PATH or in the cache; installing Nomad {VERSION} into {cache}")
    try:
        _drop_broken(cache)
        with published(_cached(cache).parent) as partial:
            if partial is not None:
                _install(configuration, cache, partial, say)
    except OSError as error:
        raise DependencyError(
            f"Nomad {VERSION} can't be installed into {cache}: {error}",
            hint="Check its owner and the free space, or name another as SPARKNOMAD_CACHE.",
        ) from error
    return _cached(cache)


def _check_mirror(mirror: str) -> None:
    try:
        parts = urlsplit(mirror)
        good = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        good = False
    if mirror and not good:
        raise SpecError(
            f"cloudmesh.sparknomad.nomad_mirror: {mirror!r}: must be an http or https address.",
            hint=f"It is laid out as {release.OFFICIAL}: <mirror>/<version>/nomad_….zip",
        )


def _drop_broken(cache: Path) -> None:
    """Remove a cached Nomad that does not serve, so that another can take its place."""
    directory = _cached(cache).parent
    if not directory.exists():
        return
    with exclusive(cache / f".{directory.name}.repair", "the cached Nomad"):
        if directory.exists() and _fault(_cached(cache)):
            shutil.rmtree(directory)


def _install(configuration: Configuration, cache: Path, target: Path, say: Say) -> None:
    reasons = []
    for name, install in _installers(configuration, cache, target, say):
        try:
            install()
            fault = _fault(target / "nomad")
        except SparknomadError as error:
            fault = error.message
        if not fault:
            return
        reasons.append(f"{name}: {fault}")
        say(f"{name} did not serve: {fault}")
        (target / "nomad").unlink(missing_ok=True)
    raise DependencyError(
        f"Nomad {VERSION} could not be installed:\n  " + "\n  ".join(reasons),
        hint="Install Nomad by hand and put it on PATH, or name it in cloudmesh.yaml as "
        "cloudmesh.sparknomad.nomad.",
    )


def _installers(
    configuration: Configuration, cache: Path, target: Path, say: Say
) -> list[tuple[str, Callable[[], None]]]:
    mirror = configuration.nomad_mirror
    machine = _MACHINES.get(platform.machine(), platform.machine())
    where = "the release of cloudmesh.sparknomad.nomad_mirror" if mirror else "the official release"
    return [
        (where, lambda: release.install(VERSION, machine, target, cache, say, mirror)),
        ("the build from source", lambda: gobuild.install(VERSION, target, cache, say)),
    ]
