"""What the REST service imports, as one archive for the Python of an image."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.resources import files
from pathlib import Path

from cloudmesh.sparknomad.errors import DependencyError, InputError
from cloudmesh.sparknomad.image.base import DEBIAN_PYTHON
from cloudmesh.sparknomad.image.layers import key_of, pack_tree
from cloudmesh.sparknomad.image.packages import pip_install
from cloudmesh.sparknomad.model import ImageRecord
from cloudmesh.sparknomad.processes import published

__all__ = ["ServicePackages", "python_of", "requirements_of", "service_packages"]

_DISTRIBUTION = "cloudmesh-sparknomad"
_EXTRA = re.compile(r"""extra\s*==\s*["']([A-Za-z0-9_-]+)["']""")
_NAME = re.compile(r"[A-Za-z0-9._-]+")
# Of the command line only; some have no wheel, so they could not be installed for another Python.
_LEFT_OUT = ("cloudmesh-common", "cloudmesh-cmd5", "docopt")

_OLDEST_PYTHON = (3, 11)


@dataclass(frozen=True)
class ServicePackages:
    """An archive.

    Attributes:
        path: a compressed tar.
        sha256: of it.
    """

    path: Path
    sha256: str


def requirements_of(declared: Iterable[str], extras: Iterable[str]) -> list[str]:
    """The requirements that hold for some extras, without those of the command line alone.

    Args:
        declared: as a distribution's metadata has them.
        extras: that are wanted.
    """
    wanted = {"", *extras}
    found = set()
    for line in declared:
        requirement, _, marker = line.partition(";")
        extra = _EXTRA.search(marker)
        name = _NAME.match(requirement.strip())
        if (extra[1] if extra else "") in wanted and name and name[0] not in _LEFT_OUT:
            found.add(requirement.strip())
    return sorted(found)


def python_of(record: ImageRecord | None) -> str:
    """The Python of an image as major and minor version, such as ``3.11``.

    Args:
        record: of the image; ``None`` if it was built on another machine, when the one of the
            images that are built of Debian's packages is taken.

    Raises:
        InputError: if it is too old for the service.
    """
    if record is None or "python" not in record.versions:
        return DEBIAN_PYTHON
    told = record.versions["python"]
    version = tuple(int(part) for part in told.split(".")[:2])
    if version < _OLDEST_PYTHON:
        raise InputError(
            f"The service can't run in image {record.name!r}: its Python is {told}, and the "
            "service needs 3.11 or newer.",
            hint="Build the image from another base, and deploy the cluster again.",
        )
    return f"{version[0]}.{version[1]}"


def _pinned(requirement: str) -> str:
    """A requirement with the version that is installed here, which is known to work."""
    name = re.match(r"([A-Za-z0-9._-]+)(\[[^\]]*\])?", requirement)
    assert name
    try:
        return f"{name[0]}=={version(name[1])}"
    except PackageNotFoundError:
        return requirement


def service_packages(
    cache: Path, python: str, extras: Iterable[str], say: Callable[[str], None]
) -> ServicePackages:
    """The archive, made if the cache has it not.

    Args:
        cache: where it is kept.
        python: of the image, such as ``3.11``.
        extras: of our own distribution, for the kinds of storage that it reaches.
        say: shows one line of progress.

    Raises:
        DependencyError: if it is not known what is needed.
        DownloadError: if it can't be installed for that Python.
    """
    try:
        declared = requires(_DISTRIBUTION) or []
    except PackageNotFoundError as error:
        raise DependencyError(
            f"{_DISTRIBUTION} is not installed as a package, so what it needs is not known.",
            hint=f"pip install '{_DISTRIBUTION}[service]'",
        ) from error
    wanted = [_pinned(each) for each in requirements_of(declared, extras)]
    own = _own_files()
    digest = hashlib.sha256()
    for place, path in own:
        digest.update(place.encode() + b"\0" + path.read_bytes())
    key = key_of("service", wanted, python, digest.hexdigest())
    target = cache / "service" / key
    with published(target) as partial:
        if partial is not None:
            say(f"packing what the service needs for Python {python}, from PyPI")
            tree = partial / "tree"
            pip_install(
                wanted, tree, "--only-binary=:all:", f"--python-version={python}", "--no-compile"
            )
            for place, path in own:
                copy = tree / place
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copy)
            pack_tree(tree, partial / "packages.tar.gz", "w:gz")
            shutil.rmtree(tree)
    archive = target / "packages.tar.gz"
    with archive.open("rb") as stream:
        return ServicePackages(archive, hashlib.file_digest(stream, "sha256").hexdigest())


def _own_files() -> list[tuple[str, Path]]:
    """Our own package's files and where they go."""
    root = Path(str(files("cloudmesh.sparknomad")))
    return [
        (f"cloudmesh/sparknomad/{path.relative_to(root).as_posix()}", path)
        for path in sorted(root.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    ]
