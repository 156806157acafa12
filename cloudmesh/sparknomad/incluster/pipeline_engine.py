"""Runs the steps of a pipeline in their order: the engine, which knows no cluster.

What has been sent is the truth: each attempt of a step has an id that was chosen before, and
whatever sends it twice with this id sends it once. So the engine may be killed anywhere and
begun anew: it asks what there is, and goes on.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

sys.path[:0] = [str(Path(__file__).resolve().parent)]

if TYPE_CHECKING or __package__:
    from cloudmesh.sparknomad.incluster.pipeline import (
        Attempt,
        Backend,
        PipelineState,
        Plan,
        PlannedStep,
        RefusedError,
        Seen,
        StepState,
    )
else:
    from pipeline import (
        Attempt,
        Backend,
        PipelineState,
        Plan,
        PlannedStep,
        RefusedError,
        Seen,
        StepState,
    )

__all__ = ["Engine"]

_SOON_SECONDS, _POLL_SECONDS = 0.1, 0.3
_LOOKING = 4
_LOST_SECONDS = 60.0
_AWAY_SECONDS = 2.0
_ENDED = ("succeeded", "failed", "cancelled", "skipped")


@dataclass
class Engine:
    """Runs one plan.

    Attributes:
        plan: what is to be done.
        backend: sends runs, and tells of them.
        save: keeps the state, whenever it has changed.
        clock: seconds since the epoch.
        stopping: whether everything is to end.
        say: shows one line of progress.
    """

    plan: Plan
    backend: Backend
    save: Callable[[PipelineState], None] = lambda state: None
    clock: Callable[[], float] = time.time
    stopping: Callable[[], bool] = lambda: False
    say: Callable[[str], None] = lambda line: None
    _steps: dict[str, StepState] = field(default_factory=dict)
    _sent: dict[str, float] = field(default_factory=dict)
    _unsent: dict[str, Attempt] = field(default_factory=dict)
    _saved: str = ""

    def run(self, pause: Callable[[float], None] = time.sleep) -> PipelineState:
        """Run to the end.

        Returns:
            How it ended.
        """
        recalled = False
        while True:
            began = time.monotonic()
            try:
                if not recalled:
                    self._recall()
                    recalled = True
                ended = self._step_on(pause)
            except OSError as error:  # the cluster's servers are away for a while
                self.say(f"tried again: {error}")
                pause(_AWAY_SECONDS)
                continue
            if ended:
                return ended
            # Where looking is cheap, the next step begins sooner; it takes a fifth of the time.
            took = time.monotonic() - began
            pause(min(_POLL_SECONDS, max(_SOON_SECONDS, _LOOKING * took)))

    def _step_on(self, pause: Callable[[float], None]) -> PipelineState | None:
        """Do what is due now; the state if that was all."""
        self._watch()
        reason = self._why_end()
        if reason:
            return self._end(reason, pause)
        self._begin_ready()
        if all(step.state in _ENDED for step in self._steps.values()):
            return self._keep(self._outcome(), finished=self.clock())
        self._keep("running")
        self._send()
        return None

    # what there is

    def _recall(self) -> None:
        """Find what was sent before, by this engine or one that was killed."""
        runs = [attempt.run for step in self.plan.steps for attempt in step.attempts]
        known = self.backend.look(runs)
        for step in self.plan.steps:
            if step.done:
                self._steps[step.name] = StepState(
                    step.name, "succeeded", (step.done,), "done before"
                )
                continue
            sent = tuple(a.run for a in step.attempts if known.get(a.run) is not None)
            state = "running" if sent else "waiting"
            self._steps[step.name] = StepState(step.name, state, sent)

    def _planned(self, name: str) -> PlannedStep:
        return next(step for step in self.plan.steps if step.name == name)

    def _watch(self) -> None:
        """See what has become of the runs that were sent."""
        running = [step for step in self._steps.values() if step.state == "running"]
        known = self.backend.look([step.runs[-1] for step in running]) if running else {}
        for step in running:
            run = step.runs[-1]
            seen = known.get(run)
            if seen is not None:
                self._unsent.pop(run, None)  # it was taken, though no answer came
                step = replace(step, started=step.started or seen.started, reason=seen.reason)
                self._steps[step.name] = step if not seen.ended else self._ended(step, seen)
            elif run not in self._unsent:
                self._missing(step)

    def _missing(self, step: StepState) -> None:
        """A run that was sent, and is not known: it may only not be listed yet."""
        since = self._sent.setdefault(step.runs[-1], self.clock())
        if self.clock() - since > _LOST_SECONDS:
            seen = Seen("lost", "the cluster does not know its run", None, self.clock())
            self._steps[step.name] = self._ended(step, seen)

    def _ended(self, step: StepState, seen: Seen) -> StepState:
        if seen.state == "succeeded":
            return replace(step, state="succeeded", finished=seen.finished or self.clock())
        left = self._planned(step.name).attempts[len(step.runs) :]
        if left and seen.state != "cancelled" and not self.stopping():
            return self._to_send(step, left[0])
        state = "cancelled" if seen.state == "cancelled" else "failed"
        return replace(step, state=state, finished=seen.finished or self.clock())

    # what is due

    def _to_send(self, step: StepState, attempt: Attempt) -> StepState:
        """The step with a run that is sent when it has been noted.

        Whoever ends the pipeline from outside then knows all runs that there may be.
        """
        self._unsent[attempt.run] = attempt
        return replace(step, state="running", runs=(*step.runs, attempt.run))

    def _send(self) -> None:
        """Send what was noted.

        Raises:
            OSError: if something could not be sent now; all else was, and it is sent again.
        """
        away: OSError | None = None
        for step in list(self._steps.values()):
            attempt = self._unsent.get(step.runs[-1]) if step.runs else None
            if step.state != "running" or attempt is None or self._why_end():
                continue
            try:
                self.backend.send(attempt)
            except OSError as error:  # it may have been taken all the same
                away = error
                self._steps[step.name] = replace(step, reason=f"not sent yet: {error}")
                continue
            except RefusedError as error:
                now = self.clock()
                ended = replace(step, state="failed", reason=str(error), finished=now)
                self._steps[step.name] = ended
            self._sent[attempt.run] = self.clock()
            del self._unsent[attempt.run]
        if away:
            raise away

    def _begin_ready(self) -> None:
        """Note what begins now: what nothing keeps waiting."""
        running = sum(step.state == "running" for step in self._steps.values())
        for planned in self.plan.steps:
            step = self._steps[planned.name]
            if step.state != "waiting":
                continue
            before = [self._steps[name] for name in planned.needs]
            if any(each.state not in _ENDED for each in before):
                continue
            reason = _why_skip(planned, before)
            if reason:
                self._steps[step.name] = replace(
                    step, state="skipped", reason=reason, finished=self.clock()
                )
                continue
            step = replace(step, ready=step.ready or self.clock())
            self._steps[step.name] = step
            if running < self.plan.concurrency:
                running += 1
                self._steps[step.name] = self._to_send(step, planned.attempts[0])

    # the end

    def _why_end(self) -> str:
        if self.stopping():
            return "cancelled"
        limit = self.plan.timeout
        if limit is not None and self.clock() - self.plan.begun > limit:
            return f"did not end within {limit:g} s"
        return ""

    def _end(self, reason: str, pause: Callable[[float], None]) -> PipelineState:
        """End what runs, and nothing more begins."""
        for step in list(self._steps.values()):
            if step.state == "running":
                self.backend.cancel(step.runs[-1])
            elif step.state == "waiting":
                self._steps[step.name] = replace(
                    step, state="skipped", reason=reason, finished=self.clock()
                )
        give_up = self.clock() + _LOST_SECONDS
        while any(step.state == "running" for step in self._steps.values()):
            if self.clock() > give_up:
                break
            pause(_POLL_SECONDS)
            self._settle(reason)
        state = "cancelled" if reason == "cancelled" else "failed"
        return self._keep(state, reason=reason, finished=self.clock())

    def _settle(self, reason: str) -> None:
        running = [step for step in self._steps.values() if step.state == "running"]
        known = self.backend.look([step.runs[-1] for step in running])
        for step in running:
            seen = known.get(step.runs[-1])
            if seen is None or seen.ended:
                won = seen is not None and seen.state == "succeeded"
                state = "succeeded" if won else "cancelled"
                self._steps[step.name] = replace(
                    step, state=state, reason="" if won else reason, finished=self.clock()
                )

    def _outcome(self) -> str:
        bad = any(step.state in ("failed", "cancelled") for step in self._steps.values())
        return "failed" if bad else "succeeded"

    def _keep(
        self, state: str, *, reason: str = "", finished: float | None = None
    ) -> PipelineState:
        if state == "failed" and not reason:
            bad = [step for step in self._steps.values() if step.state == "failed"]
            reason = "; ".join(f"step {step.name}: {step.reason}" for step in bad[:3])
        steps = tuple(self._steps[planned.name] for planned in self.plan.steps)
        made = PipelineState(self.plan.run, state, steps, reason, self.plan.begun, finished)
        text = made.as_json()
        if text != self._saved:
            self.save(made)
            self._saved = text
        return made


def _why_skip(planned: PlannedStep, before: Sequence[StepState]) -> str:
    """Why a step is not run, now that those before it have ended; empty if it is."""
    bad = [step for step in before if step.state != "succeeded"]
    if planned.when == "succeeded" and bad:
        return f"step {bad[0].name} {bad[0].state}"
    failed = [step for step in before if step.state in ("failed", "cancelled")]
    if planned.when == "failed" and not failed:
        return "no step before it failed"
    return ""
