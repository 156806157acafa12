"""What can be seen of an embedded cluster: its processes, its master's answers, its files."""

from __future__ import annotations

import json
from pathlib import Path

from cloudmesh.sparknomad.cluster.local.daemons import LocalCluster
from cloudmesh.sparknomad.incluster.direct import get_json
from cloudmesh.sparknomad.incluster.own_process import NOTE
from cloudmesh.sparknomad.model import ClusterState
from cloudmesh.sparknomad.processes import ProcessRef

__all__ = ["LOG_BLOCK", "driver_of", "judge", "last_line", "read_from", "registered_workers"]

LOG_BLOCK = 64 * 1024
"""Bytes of a log that are read at once."""


def judge(master: bool, workers: int, wanted: int) -> tuple[ClusterState, str]:
    """The state of a cluster, and why it is not running."""
    if not master and not workers:
        return ClusterState.STOPPED, "nothing runs; deploy it again"
    if not master:
        return ClusterState.DEGRADED, "the master is not running; deploy it again"
    if workers != wanted:
        return ClusterState.DEGRADED, f"{workers} of {wanted} workers are there"
    return ClusterState.RUNNING, ""


def registered_workers(cluster: LocalCluster) -> int:
    """How many live workers the master knows."""
    if cluster.master is None or not cluster.master.process.alive:
        return 0
    try:
        return int(get_json(f"{cluster.master.ui}/json/", timeout=5)["aliveworkers"])
    except (OSError, ValueError, KeyError):
        return 0


def driver_of(run: Path) -> ProcessRef | None:
    """The supervisor of a run, as its note says; ``None`` before it was started."""
    try:
        return ProcessRef(**json.loads((run / NOTE).read_text("utf-8")))
    except FileNotFoundError:
        return None


def read_from(path: Path, offset: int) -> bytes:
    """Up to `LOG_BLOCK` bytes of a file from an offset; none if it is not there."""
    try:
        with path.open("rb") as stream:
            stream.seek(offset)
            return stream.read(LOG_BLOCK)
    except FileNotFoundError:
        return b""


def last_line(log: Path) -> str:
    """The last line of a log that says anything."""
    lines = read_from(log, max(0, log.stat().st_size - 4096)).decode("utf-8", "replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "no output")
