"""The verbs about images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cloudmesh.sparknomad.errors import ConflictError
from cloudmesh.sparknomad.model import ImageRecord, Plan
from cloudmesh.sparknomad.specs import ImageSpec
from cloudmesh.sparknomad.verbs.core import LOCAL, Core

__all__ = ["ImageVerbs"]


class ImageVerbs(Core):
    """Building, checking and removing images."""

    def image_plan(self, spec: ImageSpec) -> Plan:
        """What `image_build` would do; nothing is touched."""
        return self._images().plan(spec)

    def image_build(self, spec: ImageSpec) -> ImageRecord:
        """Build an image, check it, and load it into Docker where that runs."""
        return self._images().build(spec)

    def image_list(self) -> list[ImageRecord]:
        """All images of this machine."""
        return self._images().records()

    def image_inspect(self, name: str) -> ImageRecord:
        """One image with its versions."""
        return self._images().inspect(name)

    def image_check(self, name: str) -> Mapping[str, str]:
        """Run a small job in an image; the versions that it told."""
        return self._images().check(name)

    def image_save(self, name: str, path: Path) -> Path:
        """Write an image as an archive that ``docker load`` reads."""
        return self._images().save(name, path)

    def image_remove(self, name: str) -> None:
        """Remove an image.

        Raises:
            ConflictError: if a cluster was deployed with it.
        """
        records = self.store.clusters()
        users = [r.name for r in records if r.spec.image == name and r.provider != LOCAL]
        if users:
            raise ConflictError(
                f"Image {name!r} is used by cluster {users[0]!r}.",
                hint=f"Destroy it first: cms sparknomad cluster destroy {users[0]}",
            )
        self._images().remove(name)
