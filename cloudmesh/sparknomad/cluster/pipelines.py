"""A pipeline's run as a provider gets it."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from cloudmesh.sparknomad.errors import InputError, NotFoundError
from cloudmesh.sparknomad.incluster.pipeline import Attempt, PipelineState, Plan, PlannedStep
from cloudmesh.sparknomad.model import Submission
from cloudmesh.sparknomad.specs import ClusterSpec

__all__ = ["PipelineSchedule", "PipelineStep", "PipelineSubmission", "RunsPipelines", "plan_of"]


@dataclass(frozen=True)
class PipelineStep:
    """A step that is ready to be sent.

    Attributes:
        name: of the step.
        needs: the steps that have to end first.
        when: on which of their outcomes: ``succeeded``, ``failed`` or ``always``.
        submissions: its run, and those that replace it when it fails.
        done: the run that has succeeded before, or empty.
    """

    name: str
    needs: tuple[str, ...]
    when: str
    submissions: tuple[Submission, ...] = ()
    done: str = ""


@dataclass(frozen=True)
class PipelineSubmission:
    """One run of a pipeline, ready to be sent.

    Attributes:
        run: its id.
        mark: tells this time of sending it from others: a resumed one is sent again.
        steps: each after those that it needs.
        concurrency: how many run at a time at most.
        timeout: seconds after which what still runs is ended; ``None`` for never.
        site: where the pipeline itself is run, or empty.
        notify: URL that is told of the end, or empty.
        key: signs what is told, or empty.
        keep: seconds for which what steps wrote into the cluster stays; ``None`` for ever.
        kept: the paths below the cluster's own storage that this is about.
    """

    run: str
    mark: str
    steps: tuple[PipelineStep, ...]
    concurrency: int
    timeout: float | None = None
    site: str = ""
    notify: str = ""
    key: str = field(default="", repr=False)
    keep: float | None = None
    kept: tuple[str, ...] = ()


@dataclass(frozen=True)
class PipelineSchedule:
    """When a pipeline is run, and of what each launch is made.

    Attributes:
        pipeline: the pattern of its runs; its id is the schedule's.
        crontab: five fields: minute, hour, day of the month, month, day of the week.
        time_zone: of these, such as ``Europe/Berlin``.
        overlap: whether one is launched while the last one still runs.
    """

    pipeline: PipelineSubmission
    crontab: str
    time_zone: str
    overlap: bool


def plan_of(
    submission: PipelineSubmission,
    prepare: Callable[[Submission], Mapping[str, Any]],
    secret: str = "",
    root: str = "",
) -> Plan:
    """What the engine reads.

    Args:
        submission: the pipeline's run.
        prepare: brings what a run needs, and tells how it is sent.
        secret: where the engine finds the key that signs what it tells of the end.
        root: of the cluster's own storage.
    """
    steps = tuple(
        PlannedStep(
            step.name,
            step.needs,
            step.when,
            tuple(Attempt(each.run, prepare(each)) for each in step.submissions),
            step.done,
        )
        for step in submission.steps
    )
    return Plan(
        submission.run,
        steps,
        submission.concurrency,
        submission.timeout,
        time.time(),
        submission.notify,
        secret,
        submission.keep,
        tuple(f"{root}/{path.strip('/')}" for path in submission.kept),
    )


class RunsPipelines(ABC):
    """The part of a provider's contract that is about pipelines."""

    name: ClassVar[str]
    schedules: ClassVar[bool] = False
    """Whether its clusters run pipelines by a schedule."""

    @abstractmethod
    def _exists(self, name: str) -> None:
        """Refuse a cluster that is not there."""

    @abstractmethod
    def _check_fit(self, spec: ClusterSpec, submission: Submission) -> None:
        """Refuse a run that could only wait for ever."""

    def pipeline_submit(self, spec: ClusterSpec, pipeline: PipelineSubmission) -> None:
        """Send a pipeline; it is run in the cluster. Sent again, nothing happens.

        Raises:
            InputError: if one of its runs could never start.
            UnreachableError: if the cluster does not answer.
        """
        self._exists(spec.cluster)
        self.check_pipelines(spec.cluster)
        self._check_steps(spec, pipeline)
        self._pipeline_submit(spec, pipeline)

    def check_pipelines(self, cluster: str, *, schedule: bool = False) -> None:
        """Refuse pipelines where they may not be sent from here; nothing is remembered of them.

        Args:
            cluster: its name.
            schedule: whether it is about running them by a schedule.

        Raises:
            ForbiddenError: with what is needed.
        """
        del cluster, schedule

    def pipeline_state(self, cluster: str, run: str) -> PipelineState | None:
        """Where a pipeline's run stands; ``None`` before it has begun.

        Raises:
            NotFoundError: if the cluster does not know it.
        """
        self._exists(cluster)
        return self._pipeline_state(cluster, run)

    def pipeline_logs(self, cluster: str, run: str) -> bytes:
        """The last lines of what runs a pipeline, not of its steps' programs."""
        self._exists(cluster)
        return self._pipeline_logs(cluster, run)

    def pipeline_cancel(self, cluster: str, run: str) -> None:
        """Let nothing more of a pipeline begin, and end what runs."""
        self._exists(cluster)
        self._pipeline_cancel(cluster, run)

    def require_schedules(self) -> None:
        """Refuse to go on where there are no schedules.

        Raises:
            InputError: if so.
        """
        if not self.schedules:
            raise InputError(
                f"Provider {self.name!r} has no schedules: nothing of it goes on by itself.",
                hint="Deploy a cluster with another provider, and give its name with --cluster.",
            )

    def pipeline_schedule(self, spec: ClusterSpec, schedule: PipelineSchedule) -> None:
        """Let a pipeline be run by a schedule, in the cluster. Sent again, it replaces itself.

        Raises:
            InputError: if one of its runs could never start, or the provider has no schedules.
            UnreachableError: if the cluster does not answer.
        """
        self.require_schedules()
        self._exists(spec.cluster)
        self.check_pipelines(spec.cluster, schedule=True)
        self._check_steps(spec, schedule.pipeline)
        self._pipeline_schedule(spec, schedule)

    def pipeline_launches(self, cluster: str, schedule: str) -> list[int]:
        """When a schedule has launched its pipeline: seconds since the epoch, in order."""
        self._exists(cluster)
        return self._pipeline_launches(cluster, schedule)

    def pipeline_unschedule(self, cluster: str, schedule: str) -> None:
        """End a schedule with what it keeps in the cluster; what it has launched goes on."""
        self._exists(cluster)
        self._pipeline_unschedule(cluster, schedule)

    def _check_steps(self, spec: ClusterSpec, pipeline: PipelineSubmission) -> None:
        for step in pipeline.steps:
            for submission in step.submissions:
                self._check_fit(spec, submission)

    # hooks

    def _pipeline_submit(self, spec: ClusterSpec, pipeline: PipelineSubmission) -> None:
        raise self._no_pipelines()

    def _pipeline_state(self, cluster: str, run: str) -> PipelineState | None:
        raise self._no_pipelines()

    def _pipeline_logs(self, cluster: str, run: str) -> bytes:
        raise self._no_pipelines()

    def _pipeline_cancel(self, cluster: str, run: str) -> None:
        raise self._no_pipelines()

    def _pipeline_schedule(self, spec: ClusterSpec, schedule: PipelineSchedule) -> None:
        return None

    def _pipeline_launches(self, cluster: str, schedule: str) -> list[int]:
        return []

    def _pipeline_unschedule(self, cluster: str, schedule: str) -> None:
        return None

    def _no_pipelines(self) -> InputError:
        return InputError(f"Provider {self.name!r} does not run pipelines.")

    @staticmethod
    def _unknown_pipeline(run: str) -> NotFoundError:
        return NotFoundError(f"The cluster does not know a run {run!r} of a pipeline.")
