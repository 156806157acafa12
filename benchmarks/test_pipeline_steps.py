"""What a pipeline costs beside its jobs: the time between the end of a step and the next."""

from __future__ import annotations

import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Tool

STEPS = int(os.environ.get("STEPS", "50"))


@pytest.mark.nomad
def test_a_chain_of_steps(tool: Tool, tmp_path: Path, results: list[dict[str, Any]]) -> None:
    """Each step runs a program that does nothing, after the one before."""
    tool("sparknomad", "cluster", "deploy", "--quiet")
    (tmp_path / "nothing.py").write_text("")
    steps = {
        f"s{number}": {"job": "nothing.py", "after": [f"s{number - 1}"] if number else []}
        for number in range(STEPS)
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
    gaps = [ended[f"s{n}"]["started"] - ended[f"s{n - 1}"]["finished"] for n in range(1, STEPS)]
    # Of it what the engine needs to see that a step may begin.
    seen = [ended[f"s{n}"]["ready"] - ended[f"s{n - 1}"]["finished"] for n in range(1, STEPS)]
    results.append(
        {
            "name": f"pipeline of {STEPS} steps in a chain",
            "goal": "median of idle time per step at most 1 s",
            "seconds": round(seconds, 3),
            "idle": _summary(gaps),
            "seen": _summary(seen),
        }
    )


def _summary(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        "median": round(statistics.median(values), 3),
        "least": round(ordered[0], 3),
        "most": round(ordered[-1], 3),
    }
