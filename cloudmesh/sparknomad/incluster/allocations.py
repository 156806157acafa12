"""What Nomad's word of an allocation means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["ENDED", "ended_well"]

ENDED = ("complete", "failed", "lost", "unknown")
"""States of an allocation whose tasks do not run any more, as far as Nomad knows."""


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
