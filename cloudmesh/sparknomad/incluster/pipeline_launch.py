"""A pipeline that is run by a schedule: its plan is a pattern, from which each launch has its own.

An id of the pattern and the second of a launch make an id of that launch. So whoever knows the
pattern knows the runs of every launch, and a launch that is begun anew finds what it has sent.
"""

from __future__ import annotations

import base64
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path[:0] = [str(Path(__file__).resolve().parent)]

if TYPE_CHECKING or __package__:
    from cloudmesh.sparknomad.incluster.pipeline import Attempt, Plan
else:
    from pipeline import Attempt, Plan

__all__ = ["launch_id", "launched", "renewing"]


def launch_id(pattern: str, launch: int) -> str:
    """What an id of the pattern is in a launch.

    Args:
        pattern: the id of a pipeline's run, or of a step's.
        launch: seconds since the epoch at which the schedule has begun it.
    """
    return f"{pattern}-{launch}"


def renewing(patterns: Iterable[str], launch: int) -> Callable[[Any], Any]:
    """A function that puts the ids of a launch for those of the pattern, in all texts of a value.

    Args:
        patterns: the ids of the pattern.
        launch: seconds since the epoch.
    """
    longest = sorted(patterns, key=len, reverse=True)  # one may be the beginning of another
    wanted = re.compile("|".join(map(re.escape, longest)))

    def renew(value: Any) -> Any:
        if isinstance(value, str):
            return wanted.sub(lambda found: launch_id(found[0], launch), value)
        if isinstance(value, Mapping):
            return {key: renew(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [renew(each) for each in value]
        return value

    return renew


def launched(pattern: Plan, launch: int) -> Plan:
    """The plan of a launch.

    Args:
        pattern: what a schedule was made with.
        launch: seconds since the epoch.
    """
    attempts = [attempt.run for step in pattern.steps for attempt in step.attempts]
    renew = renewing([pattern.run, *attempts], launch)
    steps = tuple(
        replace(
            step,
            attempts=tuple(
                Attempt(renew(each.run), _sent(each.send, renew, launch)) for each in step.attempts
            ),
        )
        for step in pattern.steps
    )
    return replace(
        pattern,
        run=renew(pattern.run),
        steps=steps,
        begun=float(launch),
        kept=tuple(renew(list(pattern.kept))),
    )


def _sent(send: Mapping[str, Any], renew: Callable[[Any], Any], launch: int) -> Mapping[str, Any]:
    """How a run of a launch is dispatched."""
    document = renew(json.loads(base64.b64decode(send["payload"])))
    payload = json.dumps({**document, "submitted": float(launch)}).encode()
    return {
        **send,
        "payload": base64.b64encode(payload).decode(),
        "meta": renew(dict(send["meta"])),
    }
