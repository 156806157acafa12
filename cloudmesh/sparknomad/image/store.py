"""The images that are built: listed, unpacked, loaded into Docker, saved and removed."""

from __future__ import annotations

import json
import platform
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, Any

from cloudmesh.sparknomad.errors import DependencyError, ImageError, InputError, NotFoundError
from cloudmesh.sparknomad.image import docker
from cloudmesh.sparknomad.image.layers import Layer, LayerStore, unpack
from cloudmesh.sparknomad.image.sandbox import can_enter
from cloudmesh.sparknomad.model import ImageRecord
from cloudmesh.sparknomad.packing import Packed, pack
from cloudmesh.sparknomad.processes import exclusive, published, unpublish, write_private
from cloudmesh.sparknomad.specs import NAME_PATTERN

__all__ = ["PENDING", "SUPERSEDED", "WHOLE", "ImageStore"]

WHOLE = "image.json"
"""Tells what an image is made of, once it has passed its check."""

PENDING = "pending.json"
"""The same of an image that has not passed it yet."""

SUPERSEDED = "superseded.json"
"""Images that had this name before, and may still be run by a cluster."""

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


class ImageStore:
    """The images of this machine.

    Args:
        cache: where layers and images are kept.
        say: shows one line of progress.
    """

    def __init__(self, cache: Path, say: Callable[[str], None]) -> None:
        self.cache = cache
        self.say = say
        self.store = LayerStore(cache / "layers")
        self.machine = platform.machine()

    # what is there

    def records(self) -> list[ImageRecord]:
        """All images, by name."""
        directory = self.cache / "images"
        names = sorted(path.parent.name for path in directory.glob(f"*/{WHOLE}"))
        found = [self._find(name) for name in names]
        return [self._now(record) for record in found if record]

    def inspect(self, name: str) -> ImageRecord:
        """One image.

        Raises:
            NotFoundError: if there is none of this name.
        """
        record = self._find(name)
        if record is None:
            raise NotFoundError(
                f"There is no image {name!r}.",
                hint=f"`cms sparknomad image build {name}` builds it.",
            )
        return self._now(record)

    def _now(self, record: ImageRecord) -> ImageRecord:
        loaded = not docker.daemon_problem() and docker.has_image(record.tag)
        return replace(record, docker=loaded, unpacked=self._rootfs_path(record).is_dir())

    def _changing(self, name: str) -> AbstractContextManager[None]:
        return exclusive(self._lock_file(name), f"image {name!r}")

    def _lock_file(self, name: str) -> Path:
        return self.cache / "images" / f".{name}.lock"

    def _directory(self, name: str) -> Path:
        return self.cache / "images" / name

    def _find(self, name: str, file: str = WHOLE) -> ImageRecord | None:
        if not re.fullmatch(NAME_PATTERN, name):
            return None
        try:
            return ImageRecord(**self._details(name, file)["record"])
        except FileNotFoundError:
            return None

    def _details(self, name: str, file: str = WHOLE) -> dict[str, Any]:
        details: dict[str, Any] = json.loads((self._directory(name) / file).read_text("utf-8"))
        return details

    def _image_layers(self, details: Mapping[str, Any]) -> list[Layer]:
        layers = [self.store.find(key) for key in details["layers"]]
        if any(layer is None for layer in layers):
            name = details["record"]["name"]
            raise ImageError(
                f"Image {name!r} has lost layers from the cache.",
                hint=f"Build it again: cms sparknomad image build {name}",
            )
        return [layer for layer in layers if layer]

    def _whole(self, record: ImageRecord) -> bool:
        return all(self.store.find(key) for key in self._details(record.name)["layers"])

    # where it runs

    @property
    def _architecture(self) -> str:
        return _MACHINES.get(self.machine, self.machine)

    def _loaded(self, record: ImageRecord, details: Mapping[str, Any] | None = None) -> ImageRecord:
        if docker.daemon_problem():
            return replace(record, docker=False)
        self._load(record, details or self._details(record.name))
        return replace(record, docker=True)

    def _load(self, record: ImageRecord, details: Mapping[str, Any]) -> None:
        if docker.has_image(record.tag):
            return
        self.say(f"loading {record.tag} into Docker")
        docker.load_archive(lambda sink: self._write(sink, record, details))

    def _write(self, sink: IO[bytes], record: ImageRecord, details: Mapping[str, Any]) -> None:
        layers = self._image_layers(details)
        docker.write_archive(sink, record.tag, layers, details["config"], self._architecture)

    def _rootfs_path(self, record: ImageRecord) -> Path:
        return self.cache / "rootfs" / record.image_id[:32]

    def _rootfs(self, record: ImageRecord, details: Mapping[str, Any]) -> Path:
        if not can_enter():
            raise DependencyError(
                "Without Docker, an image is run as root only.",
                hint="Start Docker, run this as root, or use --provider=local.",
            )
        target = self._rootfs_path(record)
        with published(target) as partial:
            if partial is not None:
                self.say("unpacking the image")
                self._unpack(self._image_layers(details), partial)
        return target

    @staticmethod
    def _unpack(layers: Sequence[Layer], target: Path) -> None:
        unpack(layers, target)
        (target / "dev").mkdir(exist_ok=True)
        target.chmod(0o755)

    def _packed(self, details: Mapping[str, Any]) -> tuple[Packed, ...]:
        """The layers, compressed to be sent to hosts."""
        from concurrent.futures import ThreadPoolExecutor

        layers = self._image_layers(details)
        kept = {layer.key for layer in layers}
        directory = self.cache / "packed"

        def one(layer: Layer) -> Packed:
            return pack(f"layer {layer.name}", layer.path, layer.key, directory)

        if any(not (directory / key).is_dir() for key in kept):
            self.say("compressing the image")
        with ThreadPoolExecutor() as pool:
            return tuple(pool.map(one, layers))

    # save and remove

    def save(self, name: str, path: Path) -> Path:
        """Write an image as an archive that ``docker load`` reads.

        Returns:
            The archive's path.

        Raises:
            NotFoundError: if there is none of this name.
            InputError: if the path is that of a directory.
            ImageError: if it can't be written.
        """
        record = self.inspect(name)
        if not path.name or path.is_dir():
            raise InputError(f"{str(path)!r} is a directory.", hint="Give the path of a file.")
        partial = path.with_name(f".{path.name}.part")
        try:
            with partial.open("wb") as sink:
                self._write(sink, record, self._details(name))
            partial.replace(path)
        except OSError as error:
            raise ImageError(f"{str(path)!r} can't be written: {error.strerror}.") from error
        finally:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
        return path

    def remove(self, name: str) -> None:
        """Remove an image from Docker and from the cache; shared layers stay.

        One whose build was not finished is removed as well.

        Raises:
            NotFoundError: if there is none of this name.
            ConflictError: if another command builds it now.
            ImageError: if a container still uses it.
        """
        pending = self._find(name, PENDING)
        if pending is None:
            self.inspect(name)
        with self._changing(name):
            self._prune(name, all_of_them=True)
            for record in (self._find(name), self._find(name, PENDING)):
                if record:
                    self._remove_copies(record)
            with suppress(FileNotFoundError):
                shutil.rmtree(self._directory(name))
            self._lock_file(name).unlink(missing_ok=True)
        kept = self._kept()
        if kept:
            self.store.remove_except(kept)
        for path in (self.cache / "packed").glob("[0-9a-f]*"):
            if path.name not in kept:
                unpublish(path)

    # what a newer image of the same name has taken the place of

    def _users_file(self, image_id: str) -> Path:
        return self.cache / "images" / f".users-{image_id[:32]}"

    def _add_user(self, record: ImageRecord, user: Path) -> None:
        """Note that a cluster runs an image."""
        file = self._users_file(record.image_id)
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as stream:
            stream.write(f"{json.dumps(str(user))}\n")

    def _is_used(self, record: ImageRecord) -> bool:
        file = self._users_file(record.image_id)
        if not file.exists():
            return False
        return any(Path(json.loads(line)).is_dir() for line in file.read_text("utf-8").splitlines())

    def _supersede(self, record: ImageRecord) -> None:
        """Remember what else there is of an image's name, so that it is removed once unused."""
        file = self._directory(record.name) / SUPERSEDED
        known = json.loads(file.read_text("utf-8")) if file.exists() else []
        write_private(file, json.dumps([*known, asdict(record)]))

    def _prune(self, name: str, *, all_of_them: bool = False) -> None:
        """Remove the superseded images of a name that no cluster runs."""
        file = self._directory(name) / SUPERSEDED
        if not file.exists():
            return
        current = self._find(name)
        kept = []
        for entry in json.loads(file.read_text("utf-8")):
            record = ImageRecord(**entry)
            if current and record.image_id == current.image_id:
                continue  # built as it was before
            if self._is_used(record) and not all_of_them:
                kept.append(entry)
                continue
            try:
                self._remove_copies(record)
            except ImageError:  # a container of a cluster in another home
                kept.append(entry)
        write_private(file, json.dumps(kept))

    def _remove_copies(self, record: ImageRecord) -> None:
        if not docker.daemon_problem():
            docker.remove_image(record.tag)
        unpublish(self._rootfs_path(record))
        self._users_file(record.image_id).unlink(missing_ok=True)

    def _kept(self) -> set[str]:
        """The keys of all layers that images need, finished or not."""
        found: set[str] = set()
        for name in (WHOLE, PENDING):
            for path in (self.cache / "images").glob(f"*/{name}"):
                with suppress(FileNotFoundError):
                    found.update(json.loads(path.read_text("utf-8"))["layers"])
        return found
