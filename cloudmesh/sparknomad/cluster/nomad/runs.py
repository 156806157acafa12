"""Where a run stands, read from Nomad's allocations and the driver's own outcome."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from cloudmesh.sparknomad.cluster.nomad.client import Nomad
from cloudmesh.sparknomad.cluster.outcomes import status_from_outcome
from cloudmesh.sparknomad.errors import ClusterError
from cloudmesh.sparknomad.incluster.allocations import AWAY, ENDED, ended_well, may_come_back
from cloudmesh.sparknomad.incluster.run_private import ended_path
from cloudmesh.sparknomad.incluster.run_waiting import NoResourcesError
from cloudmesh.sparknomad.model import LogChunk, LogStream, RunState, RunStatus

__all__ = [
    "RUN_DIRECTORY",
    "failure_reason",
    "new_output",
    "placement_reason",
    "run_status",
]

RUN_DIRECTORY = "alloc/data/run"
_NANOSECONDS = 1e9


def run_status(nomad: Nomad, run: str, child: str) -> RunStatus:
    """The status of a run.

    Args:
        nomad: the cluster's Nomad.
        run: the run's id.
        child: the id of the dispatched job.
    """
    job = nomad.job(child)
    allocations = nomad.allocations(child)
    if not allocations:
        return _unplaced(nomad, run, job)
    latest = allocations[0]
    if may_come_back(latest, time.time()):
        return RunStatus(run, RunState.RUNNING, "nothing is heard of the host that runs the driver")
    ended = latest["ClientStatus"] in ENDED
    outcome = nomad.read_json(latest["ID"], RUN_DIRECTORY, "outcome.json")
    status = status_from_outcome(run, outcome) if outcome else None
    if status and status.state.is_terminal:
        return status
    if ended:
        found = _ended(run, job, latest, status)
        if found.state is RunState.LOST and not job.get("Stop"):
            _give_up(nomad, child)
        return found
    if status:
        return status
    state = RunState.STAGING if latest["ClientStatus"] == "running" else RunState.PENDING
    return RunStatus(run, state, _waiting_reason(latest))


def _unplaced(nomad: Nomad, run: str, job: Mapping[str, Any]) -> RunStatus:
    """A run for which Nomad has not found a host; stopped when it has waited for too long.

    Nomad itself would wait for ever: a batch job has no deadline for its placement.
    """
    evaluations = nomad.evaluations(job["ID"])
    reason = placement_reason(evaluations)
    limit = float((job.get("Meta") or {}).get("queue_timeout") or "inf")
    ends = [e["CreateTime"] for e in evaluations if e["TriggeredBy"] == "job-deregister"]
    until = min(ends) / _NANOSECONDS if job.get("Stop") and ends else time.time()
    late = until - job["SubmitTime"] / _NANOSECONDS > limit
    if late and not job.get("Stop"):
        try:
            nomad.stop(job["ID"])
        except ClusterError:  # a token that may not: it may still begin
            return RunStatus(run, RunState.PENDING, reason)
    if late:
        given_up = NoResourcesError(limit, reason or "waits for room")
        return RunStatus(run, RunState.FAILED, str(given_up), finished=until)
    if job.get("Stop") or _told_to_end(nomad, job["ID"]):
        return RunStatus(run, RunState.CANCELLED, "cancelled before it was started")
    return RunStatus(run, RunState.PENDING, reason)


def _told_to_end(nomad: Nomad, child: str) -> bool:
    """Whether a run that waits will end as soon as it begins: its user may not stop jobs."""
    path = ended_path(child)
    try:
        if nomad.variable(path) is None:
            return False
    except ClusterError:  # a token of former times, which may not look there
        return False
    with contextlib.suppress(ClusterError):
        nomad.stop(child)
        nomad.delete_variable(path)
    return True


def _ended(
    run: str, job: Mapping[str, Any], allocation: Mapping[str, Any], status: RunStatus | None
) -> RunStatus:
    """A run whose driver ended without saying how."""
    finished = allocation.get("ModifyTime", 0) / _NANOSECONDS or None
    known = replace(status, finished=finished) if status else RunStatus(run, RunState.LOST)
    known = replace(known, finished=finished)
    if ended_well(allocation, "driver"):
        reason = "its report can't be read: the host that ran the driver is away"
        return replace(known, state=RunState.SUCCEEDED, reason=reason, exit_code=0)
    if allocation["ClientStatus"] in AWAY:
        reason = "the host that ran the driver was lost"
        return replace(known, state=RunState.LOST, reason=reason)
    if job.get("Stop") or allocation.get("DesiredStatus") == "stop":
        return replace(known, state=RunState.CANCELLED, reason="cancelled")
    return replace(known, state=RunState.FAILED, reason=failure_reason(allocation))


def _give_up(nomad: Nomad, child: str) -> None:
    """Keep a run that is told to be lost from beginning anew when its host is back."""
    try:
        nomad.stop(child)
    except ClusterError:  # a token that may not; of a reader's, neither of both
        with contextlib.suppress(ClusterError):
            nomad.put_variable(ended_path(child), {"by": "its loss"})


def _events(allocation: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    states = allocation.get("TaskStates") or {}
    return [event for task in states.values() for event in task.get("Events") or ()]


def failure_reason(allocation: Mapping[str, Any]) -> str:
    """Why an allocation failed, in words for a person."""
    reason = str(allocation.get("ClientDescription") or "the driver ended without a reason")
    for event in _events(allocation):
        details = event.get("Details") or {}
        if event["Type"] in ("Driver Failure", "Setup Failure", "Failed Validation"):
            reason = _explain_driver(str(event.get("DisplayMessage") or event["Type"]))
        elif event["Type"] == "Terminated" and details.get("exit_code") not in ("0", None):
            if details.get("oom_killed") == "true":
                reason = "out of memory: the driver's container was full; give it more memory"
            else:
                reason = f"the driver was killed (exit code {details['exit_code']})"
    return reason


def _explain_driver(message: str) -> str:
    if re.search(r"pull|No such image|not found.*image", message):
        return f"image missing: {message}"
    return f"the driver could not be started: {message}"


def _waiting_reason(allocation: Mapping[str, Any]) -> str:
    """What an allocation that has not begun waits for."""
    for event in reversed(_events(allocation)):
        if event["Type"] in ("Driver Failure", "Setup Failure", "Restarting"):
            return str(event.get("DisplayMessage") or event["Type"])
    return ""


def placement_reason(evaluations: Sequence[Mapping[str, Any]]) -> str:
    """Why Nomad has not found a host; empty if it has not tried yet."""
    for evaluation in evaluations:
        for failed in (evaluation.get("FailedTGAllocs") or {}).values():
            causes = [
                f"{name} exhausted on {count} host{'s' if count > 1 else ''}"
                for name, count in (failed.get("DimensionExhausted") or {}).items()
            ]
            causes += [
                f"{name} on {count} host{'s' if count > 1 else ''}"
                for name, count in (failed.get("ConstraintFiltered") or {}).items()
            ]
            return "waits for room: " + (", ".join(causes) or "no host is ready")
    return ""


def new_output(
    nomad: Nomad,
    allocation: str,
    streams: Sequence[LogStream],
    offsets: dict[tuple[str, LogStream], int],
    attempt: int,
) -> Iterator[LogChunk]:
    """What was written since the offsets, which are moved on."""
    sizes = nomad.sizes(allocation, RUN_DIRECTORY)
    for stream in streams:
        size, key = sizes.get(stream.value, 0), (allocation, stream)
        while offsets.get(key, 0) < size:
            offset = offsets.get(key, 0)
            path = f"{RUN_DIRECTORY}/{stream.value}"
            data = nomad.read(allocation, path, offset, size - offset)
            if not data:
                return
            offsets[key] = offset + len(data)
            yield LogChunk(stream, data, attempt)
