"""The verbs about pipelines and their runs."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudmesh.sparknomad.cluster.pipelines import PipelineStep, PipelineSubmission
from cloudmesh.sparknomad.cluster.provider import ClusterProvider
from cloudmesh.sparknomad.errors import (
    ConflictError,
    InputError,
    NotFoundError,
)
from cloudmesh.sparknomad.incluster.pipeline import PipelineState, StepState, break_off
from cloudmesh.sparknomad.job.jobs import derived_run_id, new_run_id
from cloudmesh.sparknomad.model import RunState, Submission
from cloudmesh.sparknomad.pipeline import drawing
from cloudmesh.sparknomad.pipeline.graph import Step, bind_pipeline, expand, order
from cloudmesh.sparknomad.pipeline.pipelines import job_finder, read_pipeline, refuse_wrong
from cloudmesh.sparknomad.specs import ClusterSpec, Stage
from cloudmesh.sparknomad.state_pipelines import (
    PipelineRecord,
    RunOfStep,
)
from cloudmesh.sparknomad.verbs.clusters import DESTROY_SECONDS
from cloudmesh.sparknomad.verbs.pipeline_looking import PipelineLookingVerbs
from cloudmesh.sparknomad.verbs.remembering import Remembering, kept_places, key_of

if TYPE_CHECKING:
    from cloudmesh.sparknomad.spec_pipelines import PipelineSpec

__all__ = ["PipelineVerbs"]


@dataclasses.dataclass(frozen=True)
class _LaidOut:
    """A run of a pipeline that could be sent.

    Attributes:
        record: as it is remembered.
        runs: that may be sent for its steps.
        submission: as a provider gets it.
    """

    record: PipelineRecord
    runs: list[RunOfStep]
    submission: PipelineSubmission


class PipelineVerbs(PipelineLookingVerbs):
    """Defining pipelines, running them, and looking after their runs."""

    # definitions

    def pipeline_define(self, path: Path) -> PipelineSpec:
        """Remember a pipeline under its name; one of that name is replaced.

        Raises:
            SpecError: with the line of each thing that is wrong.
        """
        spec = read_pipeline(path, self.job_show)
        self.pipeline_keep(spec)
        return spec

    def pipeline_keep(self, spec: PipelineSpec) -> None:
        """Remember a pipeline with which nothing is wrong; one of that name is replaced."""
        self._pipelines.put(spec)

    def pipeline_list(self) -> list[PipelineSpec]:
        """All defined pipelines."""
        return self._pipelines.all()

    def pipeline_show(self, pipeline: str) -> PipelineSpec:
        """A pipeline by its name or file.

        Raises:
            NotFoundError: if there is none.
        """
        if "/" in pipeline or Path(pipeline).suffix in (".yaml", ".yml"):
            return read_pipeline(Path(pipeline), self.job_show)
        return self._pipelines.find(pipeline)

    def pipeline_remove(self, pipeline: str) -> None:
        """Forget a pipeline's definition; its runs stay in the history."""
        self._pipelines.remove(pipeline)

    def pipeline_graph(self, pipeline: str, *, form: str = "mermaid") -> str:
        """A picture of a pipeline, or of a run of one with the states of its steps.

        Args:
            pipeline: a name, a file, or the id of a run.
            form: ``mermaid`` or ``svg``.
        """
        draw: Callable[..., str] = {"mermaid": drawing.mermaid, "svg": drawing.svg}[form]
        try:
            record = self.pipeline_status(pipeline)
        except NotFoundError:
            return draw(order(self.pipeline_show(pipeline)))
        return draw(record.edges, {step.name: step.state for step in record.steps})

    # running

    def pipeline_run(
        self,
        pipeline: str,
        values: Mapping[str, Any],
        *,
        cluster: str | None = None,
        site: str | None = None,
        reuse: bool = False,
        run: str | None = None,
    ) -> PipelineRecord:
        """Send one run of a pipeline; the cluster runs it without this machine.

        Args:
            pipeline: a defined pipeline's name, or its file.
            values: its parameters by name.
            cluster: where; ``default`` if it is deployed, else the embedded ``local``.
            site: of the cluster, for steps that name none; that of the first step's largest
                input if not given.
            reuse: skip steps that have done the same to the same before, and whose outputs are
                still there.
            run: its id, when a former call with this id may have been lost on the way.

        Raises:
            SpecError: if something is wrong with it; nothing was sent.
            ParameterError: if values do not fit; every step is told.
        """
        spec = self.pipeline_show(pipeline)
        target = self._target_spec(cluster or self._default_cluster())
        made = self._new_record(spec, values, target.cluster, site, run)
        return self._send_pipeline(spec, made, values, {}, reuse=reuse)

    @staticmethod
    def _new_record(
        spec: PipelineSpec,
        values: Mapping[str, Any],
        cluster: str,
        site: str | None,
        run: str | None,
    ) -> PipelineRecord:
        """A run that begins now, or the pattern of those of a schedule."""
        return PipelineRecord(
            run or new_run_id(spec.pipeline),
            spec.pipeline,
            cluster,
            RunState.PENDING,
            time.time(),
            bind_pipeline(spec, values),
            site=site or "",
        )

    def pipeline_resume(self, run: str) -> PipelineRecord:
        """Run again what failed of a pipeline's run, and what depends on it.

        Raises:
            ConflictError: if it goes on, or has succeeded.
        """
        record = self.pipeline_status(run)
        if record.state is RunState.SUCCEEDED or not record.state.is_terminal:
            raise ConflictError(
                f"Run {run!r} of pipeline {record.pipeline!r} is {record.state.value}; only one "
                "that failed or was cancelled can be resumed."
            )
        spec = self._pipelines.spec_of(run)
        known = self._pipelines.runs_of(run)
        done = {
            step.name: known[step.runs[-1]] for step in record.steps if step.state == "succeeded"
        }
        again = dataclasses.replace(
            record, state=RunState.PENDING, reason="", finished=None, times=record.times + 1
        )
        return self._send_pipeline(spec, again, record.parameters, done)

    def _send_pipeline(
        self,
        spec: PipelineSpec,
        record: PipelineRecord,
        values: Mapping[str, Any],
        done: dict[str, RunOfStep],
        *,
        reuse: bool = False,
    ) -> PipelineRecord:
        laid = self._lay_out(spec, record, values, done, reuse=reuse)
        self._pipelines.add(laid.record, spec, laid.runs)
        target = self._target_spec(record.cluster)
        self._provider(target.provider).pipeline_submit(target, laid.submission)
        return laid.record

    def _lay_out(
        self,
        spec: PipelineSpec,
        record: PipelineRecord,
        values: Mapping[str, Any],
        done: dict[str, RunOfStep],
        *,
        reuse: bool = False,
    ) -> _LaidOut:
        """Prepare all that a run of a pipeline needs; nothing is sent."""
        find = job_finder(self.job_show)
        refuse_wrong(spec, find)
        target = self._target_spec(record.cluster)
        provider = self._provider(target.provider)
        provider.check_pipelines(target.cluster)
        self._ensure_started(target)
        self._wake(target)
        former = self._pipelines.reusable(spec.pipeline, record.cluster) if reuse else {}
        remembering = Remembering(self, record, done, former)
        bound = bind_pipeline(spec, values)

        def seen(step: Step) -> Step:
            if not self.access.places:  # what it names is refused before anybody looks there
                self._resolve(step.spec.job, step.values)
            return remembering.seen(step)

        steps = expand(spec, bound, record.run, find, seen)
        key = key_of(spec)
        place = record.site or self._first_site(target, steps)
        made, runs = [], list(done.values())
        for step in steps:
            submissions: tuple[Submission, ...] = ()
            if step.name not in done:
                print_of = remembering.fingerprints.get(step.name, "")
                submissions, sent = self._step_submissions(
                    provider, target, step, place, print_of, record
                )
                runs += sent
            finished = done[step.name].run if step.name in done else ""
            made.append(
                PipelineStep(step.name, step.needs, step.spec.when.value, submissions, finished)
            )
        waiting = tuple(StepState(step.name) for step in steps)
        edges = {step.name: step.needs for step in steps}
        record = dataclasses.replace(record, steps=waiting, edges=edges, site=place)
        submission = PipelineSubmission(
            record.run,
            f"#{record.times}",
            tuple(made),
            spec.concurrency,
            spec.timeout,
            place,
            spec.notify.url if spec.notify else "",
            key,
            spec.keep,
            kept_places(steps, record.run, done),
        )
        return _LaidOut(record, runs, submission)

    def _first_site(self, target: ClusterSpec, steps: Sequence[Step]) -> str:
        """Where steps run that name no site: near the first one's inputs."""
        if not target.sites:
            return ""
        first = steps[0]
        job, name = first.spec.job, target.cluster
        return self._prepare(job, first.values, name, None, None, {}, None).submission.site

    def _step_submissions(
        self,
        provider: ClusterProvider,
        target: ClusterSpec,
        step: Step,
        place: str,
        fingerprint: str,
        record: PipelineRecord,
    ) -> tuple[tuple[Submission, ...], list[RunOfStep]]:
        """A step's run, and those that replace it when it fails."""
        modes = {"": Stage(step.spec.stage)} if step.spec.stage else {}
        site = step.spec.site or place or None
        job, limit, cluster = step.spec.job, step.spec.timeout, target.cluster
        prepared = self._prepare(job, step.values, cluster, limit, None, modes, site)
        if prepared.outputs:
            name, path = next(iter(prepared.outputs.items()))
            raise InputError(
                f"step {step.name}: parameter {name}: {path!r}: a pipeline goes on without "
                "this machine, so nothing would be brought here.",
                hint=f"Give a storage's URL, or cluster:{step.name}/ for what only the next "
                "steps need.",
            )
        first = self._with_connectors(provider, prepared.submission)
        # Made again, as after a lost answer, the pipeline's run has the same runs of steps.
        origin = (step.job.job, record.run, str(record.times), step.name)
        submissions = tuple(
            dataclasses.replace(first, run=derived_run_id(*origin, str(number)))
            for number in range(step.spec.retries + 1)
        )
        runs = [
            RunOfStep(each.run, step.name, step.job.job, each.site, dict(step.values), fingerprint)
            for each in submissions
        ]
        return submissions, runs

    # ending

    def pipeline_cancel(self, run: str) -> PipelineRecord:
        """End a run of a pipeline and the runs of its steps; one that has ended stays so."""
        record = self.pipeline_status(run)
        if record.state.is_terminal:
            return record
        cluster = self._cluster(record.cluster)
        self._provider(cluster.provider).pipeline_cancel(record.cluster, run)
        record = self.pipeline_status(run)
        if record.state.is_terminal:
            return record
        return self._note_cancelled(record, "cancelled")

    def _note_cancelled(self, record: PipelineRecord, reason: str) -> PipelineRecord:
        """Remember the end of a run that nobody tells of any more."""
        now = time.time()
        ended = break_off(record.steps, now)
        state = PipelineState(record.run, "cancelled", ended, reason, finished=now)
        return self._pipelines.update(record, state)

    def cluster_destroy(
        self, name: str, *, force: bool = False, timeout: float = DESTROY_SECONDS
    ) -> bool:
        """End a cluster with all its runs; see `ClusterVerbs.cluster_destroy`."""
        found = super().cluster_destroy(name, force=force, timeout=timeout)
        for record in self._pipelines.runs():
            if record.cluster == name and not record.state.is_terminal:
                self._note_cancelled(record, f"cluster {name!r} was destroyed")
        return found
