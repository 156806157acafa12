"""What a pipeline's run is: its plan, its states, and who sends its runs. See `pipeline_engine`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

__all__ = [
    "Attempt",
    "Backend",
    "PipelineState",
    "Plan",
    "PlannedStep",
    "RefusedError",
    "Seen",
    "StepState",
    "break_off",
    "write_state",
]


@dataclass(frozen=True)
class Attempt:
    """One run that may be sent for a step.

    Attributes:
        run: its id.
        send: what the backend needs to send it.
    """

    run: str
    send: Mapping[str, Any]


@dataclass(frozen=True)
class PlannedStep:
    """A step as it is to be run.

    Attributes:
        name: of the step.
        needs: the steps that have to end first.
        when: ``succeeded``, ``failed`` or ``always``.
        attempts: the runs that may be sent, one after the other has failed.
        done: the id of a run that has succeeded before, or empty.
    """

    name: str
    needs: tuple[str, ...]
    when: str
    attempts: tuple[Attempt, ...]
    done: str = ""


@dataclass(frozen=True)
class Plan:
    """A pipeline's run.

    Attributes:
        run: its id.
        steps: each after those that it needs.
        concurrency: how many are run at a time at most.
        timeout: seconds after which what still runs is ended; ``None`` for never.
        begun: seconds since the epoch when it was sent.
        notify: URL that is told of the end, or empty.
        secret: where the key is that signs what is told: with Nomad the path of a Variable, else
            the key itself.
        keep: seconds for which what the steps wrote into the cluster stays; ``None`` for ever.
        kept: the paths in the cluster's storage that this is about.
    """

    run: str
    steps: tuple[PlannedStep, ...]
    concurrency: int
    timeout: float | None
    begun: float
    notify: str = ""
    secret: str = ""
    keep: float | None = None
    kept: tuple[str, ...] = ()

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Plan:
        """Read back what `asdict` has made."""
        steps = tuple(
            PlannedStep(
                each["name"],
                tuple(each["needs"]),
                each["when"],
                tuple(Attempt(a["run"], a["send"]) for a in each["attempts"]),
                each["done"],
            )
            for each in document["steps"]
        )
        return cls(**{**document, "steps": steps, "kept": tuple(document["kept"])})


@dataclass(frozen=True)
class Seen:
    """What is known of a run that was sent.

    Attributes:
        state: ``pending``, ``staging``, ``running``, ``succeeded``, ``failed``, ``cancelled`` or
            ``lost``.
        reason: for a person.
        started: seconds since the epoch, or ``None``.
        finished: the same.
    """

    state: str
    reason: str = ""
    started: float | None = None
    finished: float | None = None

    @property
    def ended(self) -> bool:
        """Whether it will not change any more."""
        return self.state in ("succeeded", "failed", "cancelled", "lost")


class RefusedError(Exception):
    """A run is not taken, however often it is sent."""


class Backend(Protocol):
    """Where runs are sent."""

    def send(self, attempt: Attempt) -> None:
        """Send a run; nothing happens if that was done already.

        Raises:
            RefusedError: if it will never be taken.
            OSError: if it can't be sent now.
        """

    def look(self, runs: Sequence[str]) -> Mapping[str, Seen | None]:
        """What is known of runs; ``None`` for one that was never sent."""

    def cancel(self, run: str) -> None:
        """Let a run end; need not wait."""


@dataclass(frozen=True)
class StepState:
    """Where a step stands.

    Attributes:
        name: of the step.
        state: ``waiting``, ``running``, ``succeeded``, ``failed``, ``cancelled`` or ``skipped``.
        runs: that were sent for it, the last one last.
        reason: for a person.
        ready: seconds since the epoch when nothing kept it from being run, or ``None``.
        started: when its first run began.
        finished: when it ended.
    """

    name: str
    state: str = "waiting"
    runs: tuple[str, ...] = ()
    reason: str = ""
    ready: float | None = None
    started: float | None = None
    finished: float | None = None


@dataclass(frozen=True)
class PipelineState:
    """Where a pipeline's run stands: ``running`` or how it ended, and each of its steps."""

    run: str
    state: str
    steps: tuple[StepState, ...]
    reason: str = ""
    begun: float = 0.0
    finished: float | None = None

    def as_json(self) -> str:
        """As it is kept in a file."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> PipelineState:
        """Read back what `as_json` has made."""
        steps = tuple(
            StepState(**{**each, "runs": tuple(each["runs"])}) for each in document["steps"]
        )
        return cls(**{**document, "steps": steps})


def break_off(steps: Sequence[StepState], now: float) -> tuple[StepState, ...]:
    """The steps of a run with which nobody goes on: what ran is cancelled, what waited skipped."""
    states = {"running": "cancelled", "waiting": "skipped"}
    return tuple(
        replace(step, state=states.get(step.state, step.state), finished=step.finished or now)
        for step in steps
    )


def write_state(path: Path, state: PipelineState) -> None:
    """Keep a state in a file that is always whole."""
    partial = path.with_suffix(".part")
    partial.write_text(state.as_json(), "utf-8")
    partial.replace(path)
