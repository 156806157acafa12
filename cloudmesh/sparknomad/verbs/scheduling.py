"""The verbs about schedules of pipelines."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

from cloudmesh.sparknomad.cluster.pipelines import PipelineSchedule
from cloudmesh.sparknomad.errors import ConflictError, NotFoundError, UnreachableError
from cloudmesh.sparknomad.incluster.pipeline import StepState
from cloudmesh.sparknomad.incluster.pipeline_launch import launch_id, renewing
from cloudmesh.sparknomad.model import RunState
from cloudmesh.sparknomad.pipeline.schedules import OVERLAPS, check_schedule, next_launch
from cloudmesh.sparknomad.state_pipelines import PipelineRecord
from cloudmesh.sparknomad.state_schedules import ScheduleRecord, ScheduleStore
from cloudmesh.sparknomad.verbs.clusters import DESTROY_SECONDS
from cloudmesh.sparknomad.verbs.pipelines import PipelineVerbs

__all__ = ["ScheduleVerbs"]


class ScheduleVerbs(PipelineVerbs):
    """Running pipelines by a schedule, and finding what it has launched."""

    @property
    def _schedules(self) -> ScheduleStore:
        return ScheduleStore(self.store)

    def pipeline_schedule(
        self,
        pipeline: str,
        values: Mapping[str, Any],
        *,
        schedule: str,
        time_zone: str = "UTC",
        overlap: str = OVERLAPS[0],
        cluster: str | None = None,
        site: str | None = None,
        run: str | None = None,
    ) -> ScheduleRecord:
        """Let a cluster run a pipeline again and again, without this machine.

        Programs, local inputs and credentials are those of now: schedule it anew to change them.

        Args:
            pipeline: a defined pipeline's name, or its file.
            values: its parameters by name.
            schedule: when: minute, hour, day of the month, month, day of the week.
            time_zone: of these times, such as ``Europe/Berlin``.
            overlap: what happens when it is due while the last launch still runs: ``skip`` it, or
                ``allow`` both.
            cluster: where; ``default`` if it is deployed.
            site: as for `pipeline_run`.
            run: the schedule's id, when a former call with this id may have been lost on the way.

        Raises:
            InputError: if it is no schedule, or the cluster has none.
            SpecError: if something is wrong with the pipeline; nothing was sent.
            ParameterError: if values do not fit; every step is told.
        """
        check_schedule(schedule, time_zone, overlap)
        spec = self.pipeline_show(pipeline)
        target = self._target_spec(cluster or self._default_cluster())
        provider = self._provider(target.provider)
        provider.require_schedules()
        provider.check_pipelines(target.cluster, schedule=True)
        pattern = self._new_record(spec, values, target.cluster, site, run)
        laid = self._lay_out(spec, pattern, values, {})
        made = ScheduleRecord(
            pattern.run,
            pattern.pipeline,
            pattern.cluster,
            schedule,
            time_zone,
            overlap,
            pattern.submitted,
            pattern.parameters,
            laid.record.site,
            laid.record.edges,
        )
        self._schedules.add(made, spec, laid.runs)
        provider.pipeline_schedule(
            target,
            PipelineSchedule(laid.submission, schedule, time_zone, overlap == OVERLAPS[1]),
        )
        return self._told(made)

    def pipeline_schedules(self) -> list[ScheduleRecord]:
        """All schedules with their next and last launches, the newest first."""
        self._note_launches()
        return [self._told(record) for record in self._schedules.all()]

    def pipeline_unschedule(self, schedule: str) -> None:
        """End a schedule; what it has launched goes on.

        Raises:
            NotFoundError: if there is none.
            ConflictError: if a launch still goes on; nothing more is launched, and the schedule
                is remembered until it is ended again.
            UnreachableError: if the cluster does not answer; the schedule is still there.
        """
        record, _, _ = self._schedules.find(schedule)
        self._note_launches_of(record)
        cluster = self.store.find_cluster(record.cluster)
        if cluster is not None:
            self._provider(cluster.provider).pipeline_unschedule(record.cluster, schedule)
        self._schedules.remove(schedule)

    def _told(self, record: ScheduleRecord) -> ScheduleRecord:
        due = next_launch(record.crontab, record.time_zone, time.time())
        launched = self._pipelines.launched(record.schedule)
        return dataclasses.replace(record, next=due, last=launched[0] if launched else "")

    # what was launched

    def pipeline_runs(
        self,
        *,
        pipeline: str | None = None,
        limit: int | None = None,
        after: str | None = None,
    ) -> list[PipelineRecord]:
        """Runs of pipelines, the newest first; those that schedules have launched are found too."""
        self._note_launches()
        return super().pipeline_runs(pipeline=pipeline, limit=limit, after=after)

    def pipeline_status(self, run: str) -> PipelineRecord:
        """One run of a pipeline, as it stands now."""
        try:
            return super().pipeline_status(run)
        except NotFoundError:
            if not self._note_launches(run):
                raise
        return super().pipeline_status(run)

    def _note_launches(self, run: str = "") -> bool:
        """Remember what schedules have launched; whether there are any that a run may be of."""
        asked = False
        for record in self._schedules.all():
            if not run or run.startswith(f"{record.schedule}-"):
                asked = True
                self._note_launches_of(record)
        return asked

    def _note_launches_of(self, record: ScheduleRecord) -> None:
        cluster = self.store.find_cluster(record.cluster)
        if cluster is None:
            return
        try:
            provider = self._provider(cluster.provider)
            launches = provider.pipeline_launches(record.cluster, record.schedule)
        except (UnreachableError, ConflictError, NotFoundError) as error:
            self.say(f"schedule {record.schedule}: not known now: {error.message}")
            return
        known = set(self._pipelines.launched(record.schedule))
        new = [each for each in launches if launch_id(record.schedule, each) not in known]
        if new:
            _, spec, runs = self._schedules.find(record.schedule)
            for launch in new:
                renew = renewing([record.schedule, *(each.run for each in runs)], launch)
                made = PipelineRecord(
                    launch_id(record.schedule, launch),
                    record.pipeline,
                    record.cluster,
                    RunState.PENDING,
                    float(launch),
                    record.parameters,
                    steps=tuple(StepState(name) for name in record.edges),
                    edges=record.edges,
                    site=record.site,
                )
                own = [
                    dataclasses.replace(
                        each, run=renew(each.run), parameters=renew(each.parameters)
                    )
                    for each in runs
                ]
                self._pipelines.add(made, spec, own)

    def cluster_destroy(
        self, name: str, *, force: bool = False, timeout: float = DESTROY_SECONDS
    ) -> bool:
        """End a cluster with all its runs and schedules; see `ClusterVerbs.cluster_destroy`."""
        for record in self._schedules.all():
            if record.cluster == name:
                self._note_launches_of(record)
        found = super().cluster_destroy(name, force=force, timeout=timeout)
        for record in self._schedules.all():
            if record.cluster == name:
                self._schedules.remove(record.schedule)
        return found
