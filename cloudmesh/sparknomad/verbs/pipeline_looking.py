"""The verbs that tell of the runs of pipelines."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any

from cloudmesh.sparknomad.errors import NotFoundError, UnreachableError
from cloudmesh.sparknomad.incluster.pipeline import PipelineState, StepState
from cloudmesh.sparknomad.model import RunRecord, RunState
from cloudmesh.sparknomad.state_pipelines import PipelineRecord, PipelineStore, StepReport
from cloudmesh.sparknomad.verbs.jobs import JobVerbs, storable
from cloudmesh.sparknomad.waiting import Deadline, wait_until

__all__ = ["PipelineLookingVerbs"]

_UNKNOWN_SECONDS = 60.0


class PipelineLookingVerbs(JobVerbs):
    """Telling where the runs of pipelines stand, and what they did."""

    @property
    def _pipelines(self) -> PipelineStore:
        return PipelineStore(self.store)

    def pipeline_runs(
        self,
        *,
        pipeline: str | None = None,
        limit: int | None = None,
        after: str | None = None,
    ) -> list[PipelineRecord]:
        """Runs of pipelines, the newest first; those that have not ended are asked about.

        Args:
            pipeline: only of this one.
            limit: at most so many.
            after: the run that was the last of those that were told before.

        Raises:
            NotFoundError: if that run is not known.
        """
        found = self._pipelines.runs(pipeline=pipeline, limit=limit, after=after)
        return [self._refresh_pipeline(record) for record in found]

    def pipeline_status(self, run: str) -> PipelineRecord:
        """One run of a pipeline, as it stands now."""
        return self._refresh_pipeline(self._pipelines.run(run))

    def _refresh_pipeline(self, record: PipelineRecord) -> PipelineRecord:
        cluster = self.store.find_cluster(record.cluster)
        if record.state.is_terminal or cluster is None:
            return record
        try:
            state = self._provider(cluster.provider).pipeline_state(record.cluster, record.run)
        except UnreachableError as error:
            return dataclasses.replace(record, reason=f"not known now: {error.message}")
        except NotFoundError:
            if time.time() - record.submitted < _UNKNOWN_SECONDS:
                return record
            reason, now = "the cluster does not know it", time.time()
            state = PipelineState(record.run, "lost", record.steps, reason, finished=now)
        if state is None:
            return record
        self._note_runs(record, state.steps)
        return self._pipelines.update(record, state)

    def _note_runs(self, record: PipelineRecord, steps: Sequence[StepState]) -> None:
        """Let the runs that were sent be found like others, with their logs and reports."""
        sent = [run for step in steps for run in step.runs]
        known = self._pipelines.runs_of(record.run) if sent else {}
        for run in sent:
            if run in known and not self._has_run(run):
                each = known[run]
                self.store.add_run(
                    RunRecord(
                        run,
                        each.job,
                        record.cluster,
                        RunState.PENDING,
                        time.time(),
                        storable(each.parameters),
                        site=each.site,
                    )
                )

    def pipeline_wait(self, run: str, *, timeout: float | None = None) -> PipelineRecord:
        """Wait until a run of a pipeline has ended.

        Raises:
            WaitTimeoutError: if it has not after `timeout` seconds; it goes on.
        """

        def ended() -> PipelineRecord | None:
            record = self.pipeline_status(run)
            return record if record.state.is_terminal else None

        return wait_until(
            ended,
            f"pipeline run {run!r} to end",
            Deadline(timeout if timeout is not None else float("inf")),
            interval=0.3,
            hint="It goes on; wait again, or cancel it with `cms sparknomad pipeline cancel`.",
        )

    def pipeline_logs(self, run: str) -> str:
        """What was done when in a run of a pipeline; `job_logs` has the output of its runs."""
        record = self._pipelines.run(run)
        cluster = self._cluster(record.cluster)
        logs = self._provider(cluster.provider).pipeline_logs(record.cluster, run)
        return logs.decode("utf-8", "replace")

    def pipeline_report(self, run: str) -> list[StepReport]:
        """What each step of a run took."""
        return [self._step_report(step) for step in self.pipeline_status(run).steps]

    def _step_report(self, step: StepState) -> StepReport:
        run = step.runs[-1] if step.runs else ""
        report: Mapping[str, Any] = {}
        started, finished = step.started, step.finished
        if run and self._has_run(run):
            known = self.job_status(run)
            report = known.report
            # What was done before this pipeline was sent is known by its run alone.
            started, finished = started or known.started, finished or known.finished
        waited = worked = None
        if step.ready is not None and started is not None:
            waited = round(max(0.0, started - step.ready), 3)
        if started is not None and finished is not None:
            worked = round(max(0.0, finished - started), 3)
        return StepReport(
            step.name,
            step.state,
            run,
            len(step.runs),
            waited,
            worked,
            int(report.get("input_bytes", 0)),
            int(report.get("output_bytes", 0)),
            step.reason,
        )
