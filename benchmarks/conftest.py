"""Measuring against the bare tools: alternating, in one run, reported as medians and ratios."""

from __future__ import annotations

import contextlib
import io
import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from presets import PRESET
from statistic import exponent, ratio_interval
from stores import Server, near
from tool import Tool

from cloudmesh.sparknomad import __version__
from cloudmesh.sparknomad.paths import Paths

RESULTS = Path(__file__).parent / "results"
_SECONDS = 7200


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give a benchmark longer than a test: the largest sizes take most of an hour."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(_SECONDS))


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
                self.measure(name, sides[name])

    def measure(self, name: str, side: Callable[[], Any]) -> None:
        """Call one side once."""
        from cloudmesh.common.StopWatch import StopWatch

        timer = f"{self.name}: {name}"
        StopWatch.start(timer)
        begun = time.perf_counter()
        side()
        self.seconds.setdefault(name, []).append(time.perf_counter() - begun)
        StopWatch.stop(timer)
        StopWatch.status(timer, True)

    def summary(self) -> dict[str, Any]:
        """Medians, spread and the ratio of the first side to the second."""
        medians = {name: statistics.median(values) for name, values in self.seconds.items()}
        first, second = list(medians)[:2]
        interval = ratio_interval(self.seconds[first], self.seconds[second])
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
            "ratio_interval": [round(end, 4) for end in interval],
            "difference": round(medians[first] - medians[second], 4),
            "seconds": {name: [round(v, 4) for v in vs] for name, vs in self.seconds.items()},
        }


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
        "preset": PRESET.name,
        "versions": {
            "sparknomad": __version__,
            "commit": commit.stdout.strip(),
            "python": platform.python_version(),
        },
        "results": collected,
    }
    place = Path(os.environ.get("RESULTS") or RESULTS)
    place.mkdir(parents=True, exist_ok=True)
    name = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    (place / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    (place / f"{name}.txt").write_text(_stopwatch(), "utf-8")


def _stopwatch() -> str:
    """What cloudmesh tells of the machine and the timers, as its users know it."""
    from cloudmesh.common.StopWatch import StopWatch

    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        StopWatch.benchmark(sysinfo=True, csv=True, tag="sparknomad", node="-", user="-")
    return told.getvalue()


@pytest.fixture
def compare(benchmark: Any, results: list[dict[str, Any]]) -> Callable[..., None]:
    """Measures ours with pytest-benchmark, and the other sides in turn before each round.

    It takes the name, the goal, the number of rounds, and the sides by their names, ours first.
    """

    def measure(name: str, goal: str, rounds: int, **sides: Callable[[], Any]) -> None:
        comparison = Comparison(name, goal)
        first, *others = sides
        comparison.seconds = {side: [] for side in sides}

        def before() -> None:
            for other in others:
                comparison.measure(other, sides[other])

        benchmark.pedantic(
            lambda: comparison.measure(first, sides[first]),
            setup=before,
            rounds=rounds,
            iterations=1,
        )
        summary = comparison.summary()
        benchmark.extra_info.update(summary)
        results.append(summary)

    return measure


Points = list[tuple[float, float]]
"""Of work and seconds."""

Growth = Callable[[str, str], contextlib.AbstractContextManager[Points]]


@pytest.fixture
def growth(results: list[dict[str, Any]]) -> Growth:
    """Keeps how time grows with work, also the points of a benchmark that fails then.

    It takes the name and the unit of the work, and gives the list for the points.
    """

    @contextlib.contextmanager
    def keep(name: str, unit: str) -> Iterator[Points]:
        points: Points = []
        whole = False
        try:
            yield points
            whole = True
        finally:
            slope = exponent(points)
            told = {
                "name": name,
                "unit": unit,
                "points": [[work, round(seconds, 3)] for work, seconds in points],
                "exponent": None if slope is None else round(slope, 3),
            }
            if points:
                results.append(told if whole else {**told, "failed": True})

    return keep


@pytest.fixture
def tool(tmp_path: Path) -> Iterator[Tool]:
    tool = Tool(tmp_path, Paths.from_environment().cache)
    yield tool
    tool("sparknomad", "cluster", "destroy", "--force", "--quiet")


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Tool, Server]]:
    """A cluster of two workers with an object store beside it, for all that only needs one."""
    with near(tmp_path_factory.mktemp("lab"), tmp_path_factory.mktemp("s3")) as made:
        yield made
