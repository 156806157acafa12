"""Pipelines by a schedule: periodic jobs of Nomad, each launch of which runs a pipeline."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from cloudmesh.sparknomad.cluster.nomad import vault
from cloudmesh.sparknomad.cluster.nomad.access import Access
from cloudmesh.sparknomad.cluster.nomad.client import Nomad, NotThereError
from cloudmesh.sparknomad.cluster.nomad.pipelining import (
    PLANS,
    SCHEDULE,
    Pipelining,
    key_path,
)
from cloudmesh.sparknomad.cluster.nomad.plans import scheduled_job
from cloudmesh.sparknomad.cluster.nomad.registering import register_job
from cloudmesh.sparknomad.cluster.nomad.roles import PIPELINE_POLICY, pipeline_rules
from cloudmesh.sparknomad.cluster.pipelines import PipelineSchedule
from cloudmesh.sparknomad.errors import ConflictError, UnreachableError
from cloudmesh.sparknomad.incluster.pipeline import Plan
from cloudmesh.sparknomad.incluster.webhdfs import WebHdfsError
from cloudmesh.sparknomad.specs import ClusterSpec

__all__ = ["Scheduling"]


class Scheduling(Pipelining):
    """The part of the provider that runs pipelines by a schedule."""

    schedules: ClassVar[bool] = True

    def _pipeline_schedule(self, spec: ClusterSpec, schedule: PipelineSchedule) -> None:
        cluster = self._read(spec.cluster)
        nomad = self._runs_nomad(spec.cluster)
        asked = self._bring_plan(nomad, spec.cluster, schedule.pipeline, lasting=True)
        runs = {
            vault.digest(each.run) for step in schedule.pipeline.steps for each in step.submissions
        }
        # Kept with the job: the plan, which tells them too, may be lost with the HDFS.
        written = nomad.variables(vault.LASTING)
        own_paths = [each for each in written if each.rpartition("/")[2] in runs]
        job = scheduled_job(cluster, cluster.spark, schedule, asked["plan"], own_paths)
        own = SCHEDULE + schedule.pipeline.run
        nomad.put_policy(PIPELINE_POLICY + own, pipeline_rules(nomad.namespace), own)
        register_job(nomad, job)
        self._let_sweep(nomad, cluster, schedule.pipeline)

    def _pipeline_launches(self, cluster: str, schedule: str) -> list[int]:
        own = f"{SCHEDULE}{schedule}/periodic-"
        found = (job["ID"] for job in self._runs_nomad(cluster).jobs(own))
        launches = (job.removeprefix(own) for job in found)
        return sorted(int(launch) for launch in launches if launch.isdigit())

    def _pipeline_unschedule(self, cluster: str, schedule: str) -> None:
        """Stop the periodic job first: from then on nothing needs the rest."""
        self.check_allowed(cluster, "end schedules")
        nomad = self._runs_nomad(cluster)
        own = SCHEDULE + schedule
        try:
            job = nomad.job(own)
        except NotThereError:
            return
        if not job.get("Stop"):
            nomad.stop(own)
        going = [each["ID"] for each in nomad.jobs(f"{own}/periodic-") if each["Status"] != "dead"]
        if going:
            raise ConflictError(
                f"Schedule {schedule!r} launches nothing more, but {len(going)} of its launches "
                "still go on and need what it keeps in the cluster.",
                hint="Call the same again when they have ended; `pipeline runs` lists them, and "
                "`pipeline cancel` ends one.",
            )
        self._forget_schedule(nomad, schedule, job)
        nomad.delete_policy(PIPELINE_POLICY + own)

    def _forget_schedule(self, nomad: Nomad, schedule: str, job: dict[str, Any]) -> None:
        """Remove the credentials and the plan of a schedule."""
        meta = job.get("Meta") or {}
        name, paths = meta.get("plan", ""), set(meta.get("scheduled_credentials", "").split())
        zones = job.get("Datacenters") or ["*"]
        hdfs = Access(nomad, "" if zones == ["*"] else zones[0]).hdfs()
        try:
            content = hdfs.read(f"{PLANS}/{name}")
            if content is not None:
                paths |= _credentials(Plan.read(json.loads(content)))
            for each in paths:
                nomad.delete_variable(each)
            nomad.delete_variable(key_path(schedule))
            hdfs.delete(f"{PLANS}/{schedule}")
        except WebHdfsError as error:
            raise UnreachableError(
                f"The schedule has ended, but its credentials are still there: {error}",
                hint="Call the same again when the cluster's HDFS answers.",
            ) from error


def _credentials(plan: Plan) -> set[str]:
    """The Variables with the credentials of a plan's runs."""
    found = {
        attempt.send["meta"].get("credentials", "")
        for step in plan.steps
        for attempt in step.attempts
    }
    return found - {""}
