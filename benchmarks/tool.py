"""The command, in a home of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Tool"]


@dataclass(frozen=True)
class Tool:
    """``cms sparknomad`` in a home of its own."""

    home: Path
    cache: Path

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "DOCKER_HOST") if name in os.environ}
        return {
            **kept,
            "HOME": str(self.home),
            "CLOUDMESH_CONFIG_DIR": str(self.home / ".cloudmesh"),
            "SPARKNOMAD_CACHE": str(self.cache),
        }

    def __call__(self, *words: str) -> str:
        done = subprocess.run(
            [str(Path(sys.executable).with_name("cms")), *words],
            capture_output=True,
            text=True,
            env=self.environment,
            cwd=self.home,
            check=False,
        )
        assert done.returncode == 0, done
        return done.stdout
