"""Measuring against the bare tools: alternating, in one run, reported as medians and ratios."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cloudmesh.sparknomad import __version__
from cloudmesh.sparknomad.paths import Paths

RESULTS = Path(__file__).parent / "results"


@dataclass
class Comparison:
    """Seconds of ours and of the bare tool, measured in turns.

    Attributes:
        name: of the measurement.
        goal: the largest ratio of medians (or seconds over the bare tool) that is wanted.
        seconds: by side, in the order of measuring.
    """

    name: str
    goal: str
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def alternate(self, rounds: int, **sides: Callable[[], Any]) -> None:
        """Call each side in turn, with the order reversed every other round."""
        for number in range(rounds):
            names = list(sides) if number % 2 == 0 else list(reversed(sides))
            for name in names:
                begun = time.perf_counter()
                sides[name]()
                self.seconds.setdefault(name, []).append(time.perf_counter() - begun)

    def summary(self) -> dict[str, Any]:
        """Medians, spread and the ratio of the first side to the second."""
        medians = {name: statistics.median(values) for name, values in self.seconds.items()}
        first, second = list(medians)[:2]
        return {
            "name": self.name,
            "goal": self.goal,
            "medians": {name: round(value, 4) for name, value in medians.items()},
            "spread": {
                name: [round(min(values), 4), round(max(values), 4)]
                for name, values in self.seconds.items()
            },
            "samples": {name: len(values) for name, values in self.seconds.items()},
            "ratio": round(medians[first] / medians[second], 4),
            "difference": round(medians[first] - medians[second], 4),
            "seconds": {name: [round(v, 4) for v in vs] for name, vs in self.seconds.items()},
        }


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


@pytest.fixture(scope="session")
def results() -> Iterator[list[dict[str, Any]]]:
    """Collects the summaries, and writes them with the machine and the versions."""
    collected: list[dict[str, Any]] = []
    yield collected
    if not collected:
        return
    import psutil

    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
    )
    document = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": {
            "system": platform.platform(),
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "memory_gib": round(psutil.virtual_memory().total / 1024**3, 1),
            "load_at_end": os.getloadavg(),
        },
        "versions": {
            "sparknomad": __version__,
            "commit": commit.stdout.strip(),
            "python": platform.python_version(),
        },
        "results": collected,
    }
    RESULTS.mkdir(exist_ok=True)
    name = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n", "utf-8")


@pytest.fixture
def tool(tmp_path: Path) -> Iterator[Tool]:
    tool = Tool(tmp_path, Paths.from_environment().cache)
    yield tool
    tool("sparknomad", "cluster", "destroy", "--force", "--quiet")
