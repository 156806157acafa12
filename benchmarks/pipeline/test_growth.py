"""How time grows with the number of runs, of objects, and with their bytes."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Growth
from presets import PRESET
from stores import Server
from tool import Tool

pytestmark = pytest.mark.nomad

# Sends runs as one Python program of a user does, and waits for all of them.
SENDING = """
import json, sys, time
from cloudmesh.sparknomad.manager import Sparknomad
manager, count, begun = Sparknomad(), int(sys.argv[2]), time.perf_counter()
runs = [manager.job_run(sys.argv[1], {}).run for _ in range(count)]
sent = time.perf_counter() - begun
states = [manager.job_wait(run).state.value for run in runs]
ended = time.perf_counter() - begun
print(json.dumps({"sent": sent, "ended": ended, "states": sorted(set(states))}))
"""


@pytest.fixture
def place(lab: tuple[Tool, Server]) -> Tool:
    return lab[0]


def test_runs_that_are_sent_at_once(place: Tool, growth: Growth) -> None:
    program = place.home / "nothing.py"
    program.write_text("")
    with (
        growth("send runs", "runs") as sent,
        growth("send runs, until all have ended", "runs") as ended,
    ):
        for count in PRESET.runs:
            done = subprocess.run(
                [sys.executable, "-c", SENDING, str(program), str(count)],
                env=place.environment,
                cwd=place.home,
                capture_output=True,
                text=True,
                check=True,
            )
            told = json.loads(done.stdout)
            assert told["states"] == ["succeeded"]
            sent.append((count, told["sent"]))
            ended.append((count, told["ended"]))


def _staged(place: Tool, url: str) -> float:
    """Seconds of the transfer alone."""
    place("sparknomad", "storage", "stage", url)
    (run,) = json.loads(place("sparknomad", "job", "runs", "--limit=1", "--output=json"))
    place("sparknomad", "storage", "evict")
    return float(run["report"]["inputs"]["input0"]["transfer_seconds"])


def test_many_small_objects(place: Tool, growth: Growth) -> None:
    with growth("stage objects of 1 kB", "objects") as points:
        for count in PRESET.objects:
            directory = place.home / f"many{count}"
            directory.mkdir()
            for number in range(count):
                (directory / str(number)).write_bytes(b"x" * 1000)
            place("sparknomad", "storage", "put", f"{directory}/", f"near:many{count}/")
            points.append((count, _staged(place, f"near:many{count}/")))


def test_large_objects(place: Tool, growth: Growth) -> None:
    with growth("stage one object", "MB") as points:
        for size in PRESET.sizes:
            path = place.home / "object"
            _fill(path, size)
            place("sparknomad", "storage", "put", str(path), f"near:large{size}")
            path.unlink()
            points.append((size / 1e6, _staged(place, f"near:large{size}")))


def _fill(path: Path, size: int) -> None:
    block = secrets.token_bytes(1_000_000)
    with path.open("wb") as sink:
        for _ in range(size // len(block)):
            sink.write(block)
    assert path.stat().st_size == size
