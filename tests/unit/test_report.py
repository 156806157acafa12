"""What a run did, from Spark's event log, and what a provider makes of an outcome."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cloudmesh.sparknomad.cluster.outcomes import status_from_outcome
from cloudmesh.sparknomad.incluster.report import summarize_events
from cloudmesh.sparknomad.model import RunState

START = {"Event": "SparkListenerApplicationStart", "App ID": "app-1"}


def task(reason: str = "Success", **metrics: Any) -> dict[str, Any]:
    return {
        "Event": "SparkListenerTaskEnd",
        "Task End Reason": {"Reason": reason},
        "Task Metrics": metrics,
    }


METRICS = {
    "Executor Run Time": 1500,
    "Executor CPU Time": 250_000_000,
    "JVM GC Time": 10,
    "Input Metrics": {"Bytes Read": 100, "Records Read": 5},
    "Output Metrics": {"Bytes Written": 30, "Records Written": 3},
    "Shuffle Write Metrics": {"Shuffle Bytes Written": 7},
}


def write(directory: Path, *events: Any, name: str = "app-1", tail: bytes = b"") -> None:
    directory.mkdir(exist_ok=True)
    text = "".join(json.dumps(event) + "\n" for event in events)
    (directory / name).write_bytes(text.encode() + tail)


def test_metrics_of_all_tasks_are_added_up(tmp_path: Path) -> None:
    write(
        tmp_path / "events",
        START,
        {"Event": "SparkListenerExecutorAdded"},
        {"Event": "SparkListenerJobStart"},
        task(**METRICS),
        task(**METRICS),
        task("TaskKilled"),
        {"Event": "Unknown"},
    )
    assert summarize_events(tmp_path / "events") == {
        "application_id": "app-1",
        "tasks": 3,
        "failed_tasks": 1,
        "executors": 1,
        "jobs": 1,
        "input_bytes": 200,
        "locality_bytes": {"ANY": 200},
        "input_records": 10,
        "output_bytes": 60,
        "output_records": 6,
        "shuffle_write_bytes": 14,
        "executor_run_seconds": 3.0,
        "executor_cpu_seconds": 0.5,
        "gc_seconds": 0.02,
    }


def test_logs_of_several_attempts_are_one_report(tmp_path: Path) -> None:
    write(tmp_path, START, task(**METRICS), name="app-1")
    write(tmp_path, {**START, "App ID": "app-2"}, task(**METRICS), name="app-2.inprogress")
    report = summarize_events(tmp_path)
    assert (report["tasks"], report["input_bytes"]) == (2, 200)


@pytest.mark.parametrize(
    "tail", [b'{"Event": "SparkListenerTa', b"\xff\xfe", b"[1]\n", b"\n\n", b'"text"\n', b"5"]
)
def test_a_damaged_last_line_is_left_out(tmp_path: Path, tail: bytes) -> None:
    write(tmp_path, START, task(**METRICS), tail=tail)
    assert summarize_events(tmp_path)["tasks"] == 1


def test_a_task_without_metrics_counts_as_a_task(tmp_path: Path) -> None:
    lost = {
        "Event": "SparkListenerTaskEnd",
        "Task End Reason": {"Reason": "ExecutorLostFailure"},
        "Task Metrics": None,
    }
    write(tmp_path, START, lost)
    report = summarize_events(tmp_path)
    assert (report["tasks"], report["failed_tasks"], report["input_bytes"]) == (1, 1, 0)


def test_without_a_log_the_report_is_empty(tmp_path: Path) -> None:
    assert summarize_events(tmp_path / "none") == {}
    write(tmp_path, name="appstatus_app-1.inprogress")
    write(tmp_path, START, name=".hidden")
    assert summarize_events(tmp_path) == {}


def outcome(state: str, **changes: Any) -> dict[str, Any]:
    return {"run": "r", "state": state, "reason": "", "exit_code": None, "attempts": [], **changes}


def attempts(count: int) -> list[dict[str, Any]]:
    return [{"kind": "infrastructure", "finished": 1.0}] * count


def test_an_outcome_becomes_a_status() -> None:
    status = status_from_outcome(
        "r",
        outcome(
            "failed",
            reason="why",
            exit_code=3,
            started=1.0,
            finished=2.0,
            attempts=attempts(2),
            report={"tasks": 1},
        ),
    )
    assert (status.run, status.state, status.reason) == ("r", RunState.FAILED, "why")
    assert (status.exit_code, status.started, status.finished) == (3, 1.0, 2.0)
    assert (status.attempts, status.report) == (2, {"tasks": 1})


def test_a_running_attempt_is_counted() -> None:
    assert status_from_outcome("r", outcome("running", attempts=attempts(1))).attempts == 2


def test_a_program_that_is_not_started_has_no_attempt() -> None:
    assert status_from_outcome("r", outcome("staging")).attempts == 0


def test_an_attempt_whose_program_was_not_started_is_not_counted() -> None:
    never = {"kind": "infrastructure", "finished": 1.0, "launched": False}
    told = outcome("failed", attempts=[never, *attempts(1)])
    assert status_from_outcome("r", told).attempts == 1


def test_an_attempt_that_has_just_ended_is_counted_once() -> None:
    told = outcome("running", phase="ended", attempts=attempts(1))
    assert status_from_outcome("r", told).attempts == 1


def test_an_unknown_state_is_an_error() -> None:
    with pytest.raises(ValueError, match="odd"):
        status_from_outcome("r", outcome("odd"))
