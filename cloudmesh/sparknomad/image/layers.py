"""Layers: content-addressed tar files, made reproducibly and kept in the cache."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cloudmesh.sparknomad.processes import locked, published, unpublish

__all__ = ["MTIME", "Layer", "LayerStore", "key_of", "pack_tree", "unpack"]

MTIME = 1_700_000_000
"""Every file's time: Java's shared archive compares the jars' times with those it was made of."""

Fill = Callable[[Path], None]


@dataclass(frozen=True)
class Layer:
    """One layer of an image.

    Attributes:
        name: what is in it.
        key: the digest of what it is made from.
        diff_id: the SHA-256 of the tar, as Docker names layers.
        size: of the tar, in bytes.
        path: the tar.
    """

    name: str
    key: str
    diff_id: str
    size: int
    path: Path


def key_of(*parts: object) -> str:
    """A digest of what a layer is made from."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


class LayerStore:
    """The layers in the cache.

    Args:
        directory: holds one directory for each layer.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def layer(self, name: str, key: str, fill: Fill, *, is_tar: bool = False) -> Layer:
        """A layer, made if the cache has it not.

        Args:
            name: what is in it.
            key: from `key_of`.
            fill: puts the layer's files into a directory, or writes the tar itself.
            is_tar: whether `fill` is given the tar's path, not a directory.
        """
        target = self.directory / key
        with published(target) as partial:
            if partial is not None:
                tar = partial / "layer.tar"
                if is_tar:
                    fill(tar)
                else:
                    tree = partial / "tree"
                    tree.mkdir()
                    fill(tree)
                    pack_tree(tree, tar)
                    shutil.rmtree(tree)
                made = {"name": name, "key": key, "diff_id": _sha256(tar)}
                (partial / "layer.json").write_text(json.dumps(made), "utf-8")
        return self._read(target)

    def find(self, key: str) -> Layer | None:
        """A layer by its key, or ``None`` if the cache has it not."""
        target = self.directory / key
        return self._read(target) if target.is_dir() else None

    @staticmethod
    def _read(target: Path) -> Layer:
        tar = target / "layer.tar"
        return Layer(
            **json.loads((target / "layer.json").read_text("utf-8")),
            size=tar.stat().st_size,
            path=tar,
        )

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """While this is held, nobody removes a layer, also none that no image names yet."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with locked(self._lock, shared=True):
            yield

    @property
    def _lock(self) -> Path:
        return self.directory / ".lock"

    def remove_except(self, kept: Iterable[str]) -> int:
        """Remove the layers that no image needs, and what killed builds left of others.

        While an image is being built, nothing is removed: nobody knows yet what it needs.

        Args:
            kept: the keys of layers that images need.

        Returns:
            The bytes that were freed.
        """
        if not self.directory.is_dir():
            return 0
        with locked(self._lock, wait=False) as alone:
            if alone is None:
                return 0
            return sum(self._remove(key) for key in self._keys() - set(kept))

    def _keys(self) -> set[str]:
        names = {path.name for path in self.directory.iterdir() if path.is_dir()}
        return {name.removeprefix(".").removesuffix(".partial") for name in names}

    def _remove(self, key: str) -> int:
        found = [self.directory / key, self.directory / f".{key}.partial"]
        files = [path for directory in found for path in directory.rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files)
        return size if unpublish(found[0]) else 0


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()


def _walk(tree: Path) -> Iterator[Path]:
    for directory, folders, names in os.walk(tree):
        folders.sort()
        for name in sorted([*folders, *names]):
            yield Path(directory) / name


def pack_tree(tree: Path, tar: Path, mode: Literal["w", "w:gz"] = "w") -> None:
    """Write a tree as a tar whose entries depend on nothing but its content.

    Args:
        tree: the directory.
        tar: is written.
        mode: with compression or without.
    """

    def normal(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        member.mtime = MTIME
        return member

    with tarfile.open(tar, mode, format=tarfile.PAX_FORMAT) as stream:
        for path in _walk(tree):
            stream.add(path, str(path.relative_to(tree)), recursive=False, filter=normal)


def unpack(layers: Iterable[Layer], target: Path) -> None:
    """Unpack layers over one another, with owners where this process may set them."""
    for layer in layers:
        with tarfile.open(layer.path) as stream:
            # Layers are our own, or a base that the user chose to run as a whole.
            # As an attribute: Debian's Python 3.11.2 knows no argument `filter` yet.
            stream.extraction_filter = lambda member, path: member
            stream.extractall(target, numeric_owner=True)  # noqa: S202  # nosec B202
    if not os.path.lexists(target / "lib64"):
        (target / "lib64").mkdir()  # only some architectures have it, and tasks mount it
