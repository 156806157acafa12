"""What a pipeline costs beside its jobs: the time between the end of a step and the next."""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Growth
from presets import PRESET
from stores import Server
from tool import Tool


@pytest.mark.nomad
def test_chains_of_steps(
    lab: tuple[Tool, Server],
    tmp_path: Path,
    results: list[dict[str, Any]],
    growth: Growth,
) -> None:
    """Each step runs a program that does nothing, after the one before."""
    tool, _ = lab
    (tmp_path / "nothing.py").write_text("")
    with growth("pipelines in a chain", "steps") as points:
        for count in PRESET.steps:
            made = _chain(tool, tmp_path, count)
            results.append(made)
            points.append((count, made["seconds"]))


def _chain(tool: Tool, tmp_path: Path, count: int) -> dict[str, Any]:
    steps = {
        f"s{number}": {"job": "nothing.py", "after": [f"s{number - 1}"] if number else []}
        for number in range(count)
    }
    path = tmp_path / "chain.yaml"
    path.write_text(yaml.safe_dump({"pipeline": "chain", "steps": steps}, sort_keys=False))
    begun = time.perf_counter()
    told = tool("sparknomad", "pipeline", "run", str(path), "--output=json", "--quiet")
    seconds = time.perf_counter() - begun
    record = json.loads(told)
    assert record["state"] == "succeeded"
    ended = {each["name"]: each for each in record["steps"]}
    # From the end of a step's program until the next one's was started: the engine's look, Nomad's
    # dispatch and placement, and the driver of the run.
    pairs = [(ended[f"s{n - 1}"], ended[f"s{n}"]) for n in range(1, count)]
    gaps = [after["started"] - before["finished"] for before, after in pairs]
    # Of it what the engine needs to see that a step may begin.
    seen = [after["ready"] - before["finished"] for before, after in pairs]
    return {
        "name": f"pipeline of {count} steps in a chain",
        "goal": "median of idle time per step at most 1 s",
        "seconds": round(seconds, 3),
        "idle": _summary(gaps),
        "seen": _summary(seen),
    }


def _summary(values: list[float]) -> dict[str, float]:
    if not values:
        return {}
    ordered = sorted(values)
    return {
        "median": round(statistics.median(values), 3),
        "least": round(ordered[0], 3),
        "most": round(ordered[-1], 3),
    }
