"""How fast the command itself is, against the bare start of cms."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import Comparison, Tool

from cloudmesh.sparknomad.model import RunRecord, RunState
from cloudmesh.sparknomad.state import Store

ROUNDS = int(os.environ.get("ROUNDS", "9"))


def test_listing_ten_thousand_runs(tool: Tool, results: list[dict[str, Any]]) -> None:
    tool("sparknomad", "job", "runs", "--quiet")
    store = Store(tool.home / ".cloudmesh/sparknomad/state.db")
    _fill(store, 10_000)
    comparison = Comparison("job runs, 10,000 in the store", "cms + 0.3 s")
    comparison.alternate(
        ROUNDS,
        ours=lambda: tool("sparknomad", "job", "runs", "--quiet"),
        cms=lambda: tool("help"),
        all_as_json=lambda: tool("sparknomad", "job", "runs", "--limit=all", "--output=json"),
    )
    results.append(comparison.summary())


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
    tool: Tool, tmp_path: Path, results: list[dict[str, Any]]
) -> None:
    tool("sparknomad", "cluster", "deploy", "--quiet")
    program = tmp_path / "nothing.py"
    program.write_text("")
    comparison = Comparison("job run --detach", "cms + 0.5 s")
    started: list[str] = []

    def submit() -> None:
        words = ("job", "run", str(program), "--detach", "--quiet")
        started.append(tool("sparknomad", *words).strip())

    def version() -> None:
        # Measured while nothing else runs: the run that was just sent has to end first.
        tool("help")

    for _ in range(ROUNDS):
        comparison.alternate(1, ours=submit)
        tool("sparknomad", "job", "wait", started[-1], "--quiet")
        comparison.alternate(1, cms=version)
    results.append(comparison.summary())
