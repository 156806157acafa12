"""Reading what the driver in the cluster wrote about its run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cloudmesh.sparknomad.model import RunState, RunStatus

__all__ = ["status_from_outcome"]


def status_from_outcome(run: str, outcome: Mapping[str, Any]) -> RunStatus:
    """Turn ``outcome.json`` into a `RunStatus`."""
    state = RunState(outcome["state"])
    launched = sum(1 for attempt in outcome["attempts"] if attempt.get("launched", True))
    running = state is RunState.RUNNING and outcome.get("phase", "running") == "running"
    return RunStatus(
        run=run,
        state=state,
        reason=outcome.get("reason", ""),
        exit_code=outcome.get("exit_code"),
        started=outcome.get("started"),
        finished=outcome.get("finished"),
        attempts=launched + running,
        report=outcome.get("report", {}),
    )
