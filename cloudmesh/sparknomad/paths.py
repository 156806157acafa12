"""Where sparknomad keeps its files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Paths"]


@dataclass(frozen=True)
class Paths:
    """The two directories that sparknomad writes to.

    Attributes:
        home: what must not be lost: state, clusters' data, secrets (mode 0700).
        cache: what can be fetched or built again: Nomad, Spark, images.
    """

    home: Path
    cache: Path

    @classmethod
    def from_environment(cls) -> Paths:
        """Find the directories as cloudmesh does, and make them.

        ``CLOUDMESH_CONFIG_DIR``, else ``./.cloudmesh`` if it exists, else ``~/.cloudmesh``
        holds ``sparknomad/``. ``SPARKNOMAD_CACHE``, else ``$XDG_CACHE_HOME/sparknomad``,
        else ``~/.cache/sparknomad`` is the cache.
        """
        configured = os.environ.get("CLOUDMESH_CONFIG_DIR")
        beside = Path.cwd() / ".cloudmesh"
        if configured:
            base = Path(configured).expanduser().absolute()
        else:
            base = beside if beside.is_dir() else Path.home() / ".cloudmesh"
        cache_base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        cache = Path(os.environ.get("SPARKNOMAD_CACHE") or Path(cache_base) / "sparknomad")
        paths = cls(base / "sparknomad", cache.expanduser().absolute())
        paths.home.mkdir(parents=True, exist_ok=True)
        paths.home.chmod(0o700)
        paths.cache.mkdir(parents=True, exist_ok=True)
        return paths

    @property
    def configuration(self) -> Path:
        """Cloudmesh's own configuration file; our section is ``cloudmesh.sparknomad``."""
        return self.home.parent / "cloudmesh.yaml"

    @property
    def state(self) -> Path:
        """The SQLite file of the local store."""
        return self.home / "state.db"

    def cluster(self, name: str) -> Path:
        """The directory of one cluster."""
        return self.home / "clusters" / name
