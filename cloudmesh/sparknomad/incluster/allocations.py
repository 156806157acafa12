"""What Nomad's word of an allocation means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["AWAY", "ENDED", "ended_well", "may_come_back"]

AWAY = ("lost", "unknown")
"""States of an allocation whose host is gone, or silent."""

ENDED = ("complete", "failed", *AWAY)
"""States of an allocation whose tasks do not run any more, as far as Nomad knows."""

_PATIENCE_SECONDS = 120
"""As long as Spark bears the silence of a partner (``spark.network.timeout``)."""
_NANOSECONDS = 1e9


def ended_well(allocation: Mapping[str, Any], task: str) -> bool:
    """Whether a task has ended by itself with exit code 0.

    Nomad's servers keep this, so it is known also when the host is gone that has the task's files.

    Args:
        allocation: as Nomad tells it, also in lists.
        task: its name.
    """
    told = (allocation.get("TaskStates") or {}).get(task) or {}
    if allocation.get("ClientStatus") != "complete" or told.get("Failed"):
        return False
    ends = [each for each in told.get("Events") or () if each.get("Type") == "Terminated"]
    return bool(ends) and (ends[-1].get("Details") or {}).get("exit_code") == "0"


def may_come_back(allocation: Mapping[str, Any], now: float) -> bool:
    """Whether its host has been silent for so short a time that its tasks may still go on.

    Args:
        allocation: of a job that is not begun elsewhere; as Nomad tells it, also in lists.
        now: seconds since the epoch.
    """
    silent = now - float(allocation.get("ModifyTime") or 0) / _NANOSECONDS
    return allocation.get("ClientStatus") == "unknown" and silent < _PATIENCE_SECONDS
