"""How fast the command itself is, against the bare start of cms."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Comparison
from presets import PRESET
from stores import Server
from tool import Tool

from cloudmesh.sparknomad.model import RunRecord, RunState
from cloudmesh.sparknomad.state import Store


def test_listing_ten_thousand_runs(tool: Tool, compare: Callable[..., None]) -> None:
    tool("sparknomad", "job", "runs", "--quiet")
    store = Store(tool.home / ".cloudmesh/sparknomad/state.db")
    _fill(store, 10_000)
    compare(
        "job runs, 10,000 in the store",
        "cms + 0.3 s",
        PRESET.rounds * 3,
        ours=lambda: tool("sparknomad", "job", "runs", "--quiet"),
        cms=lambda: tool("help"),
        all_as_json=lambda: tool("sparknomad", "job", "runs", "--limit=all", "--output=json"),
    )


def _fill(store: Store, count: int) -> None:
    now = time.time()
    with store.transaction() as connection:
        for number in range(count):
            record = RunRecord(f"run-{number}", "job", "gone", RunState.SUCCEEDED, now - number, {})
            connection.execute(
                "INSERT INTO runs (run, job, cluster, state, submitted, parameters, report)"
                " VALUES (?, ?, ?, ?, ?, '{}', ?)",
                (
                    record.run,
                    record.job,
                    record.cluster,
                    record.state.value,
                    record.submitted,
                    '{"compute_seconds": 1.5, "tasks": 200}',
                ),
            )


@pytest.mark.nomad
def test_submitting_a_detached_run(
    lab: tuple[Tool, Server], tmp_path: Path, results: list[dict[str, Any]]
) -> None:
    tool, _ = lab
    program = tmp_path / "nothing.py"
    program.write_text("")
    started: list[str] = []

    def submit() -> None:
        words = ("job", "run", str(program), "--detach", "--quiet")
        started.append(tool("sparknomad", *words).strip())

    comparison = Comparison("job run --detach", "cms + 0.5 s")
    for _ in range(PRESET.rounds * 3):
        comparison.measure("ours", submit)
        # Nothing else runs while something is measured: what was just sent has to end first.
        tool("sparknomad", "job", "wait", started[-1], "--quiet")
        comparison.measure("cms", lambda: tool("help"))
    results.append(comparison.summary())
