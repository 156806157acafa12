"""What a run did, read from Spark's event log.

Format: one JSON object a line, see ``org.apache.spark.util.JsonProtocol``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

__all__ = ["summarize_events"]

_SUMS = {
    "input_bytes": ("Input Metrics", "Bytes Read"),
    "input_records": ("Input Metrics", "Records Read"),
    "output_bytes": ("Output Metrics", "Bytes Written"),
    "output_records": ("Output Metrics", "Records Written"),
    "shuffle_write_bytes": ("Shuffle Write Metrics", "Shuffle Bytes Written"),
}


def _lines(directory: Path) -> Iterable[dict[str, Any]]:
    for path in sorted(directory.rglob("*")):
        if path.is_file() and not path.name.startswith((".", "appstatus_")):
            with path.open("rb") as stream:
                for line in stream:
                    try:
                        event = json.loads(line)
                    except ValueError:  # the last line of a killed driver
                        continue
                    if isinstance(event, dict):
                        yield event


def summarize_events(directory: Path) -> dict[str, Any]:
    """Add up the task metrics of all event logs in a directory.

    Returns:
        Bytes (of inputs also by locality), records, tasks, failed tasks, executors, seconds;
        empty without a log.
    """
    report: dict[str, Any] = {}
    counts = dict.fromkeys(("tasks", "failed_tasks", "executors", "jobs", *_SUMS), 0)
    milliseconds = dict.fromkeys(("executor_run", "executor_cpu", "gc"), 0.0)
    locality: dict[str, int] = {}
    for event in _lines(directory):
        kind = event.get("Event")
        if kind == "SparkListenerApplicationStart":
            report["application_id"] = event.get("App ID")
        elif kind == "SparkListenerExecutorAdded":
            counts["executors"] += 1
        elif kind == "SparkListenerJobStart":
            counts["jobs"] += 1
        elif kind == "SparkListenerTaskEnd":
            counts["tasks"] += 1
            if event.get("Task End Reason", {}).get("Reason") != "Success":
                counts["failed_tasks"] += 1
            metrics = event.get("Task Metrics") or {}
            _add(metrics, counts, milliseconds)
            size = int((metrics.get("Input Metrics") or {}).get("Bytes Read", 0))
            if size:
                level = str((event.get("Task Info") or {}).get("Locality", "ANY"))
                locality[level] = locality.get(level, 0) + size
    if not report:
        return {}
    seconds = {f"{name}_seconds": round(ms / 1000, 3) for name, ms in milliseconds.items()}
    return {**report, **counts, "locality_bytes": locality, **seconds}


def _add(metrics: dict[str, Any], counts: dict[str, int], milliseconds: dict[str, float]) -> None:
    for name, (group, key) in _SUMS.items():
        counts[name] += int((metrics.get(group) or {}).get(key, 0))
    milliseconds["executor_run"] += metrics.get("Executor Run Time", 0)
    milliseconds["executor_cpu"] += metrics.get("Executor CPU Time", 0) / 1e6
    milliseconds["gc"] += metrics.get("JVM GC Time", 0)
