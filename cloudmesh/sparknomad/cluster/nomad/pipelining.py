"""Pipelines in a Nomad cluster: a dispatched job that dispatches the runs of the steps."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from cloudmesh.sparknomad.cluster.definition import Definition, build_definition
from cloudmesh.sparknomad.cluster.nomad import shared_runs, uploads, vault
from cloudmesh.sparknomad.cluster.nomad.access import Access
from cloudmesh.sparknomad.cluster.nomad.client import Nomad, NotThereError
from cloudmesh.sparknomad.cluster.nomad.plans import (
    SWEEP,
    pipeline_job,
    run_job,
    run_meta,
    sweep_job,
)
from cloudmesh.sparknomad.cluster.nomad.record import NomadCluster
from cloudmesh.sparknomad.cluster.nomad.recorded import Recorded
from cloudmesh.sparknomad.cluster.nomad.registering import register_job
from cloudmesh.sparknomad.cluster.nomad.roles import (
    ENDED_POLICY,
    KEYS,
    PIPELINE_POLICY,
    ended_rules,
    forbidden,
    pipeline_rules,
)
from cloudmesh.sparknomad.cluster.pipelines import PipelineSubmission, plan_of
from cloudmesh.sparknomad.errors import InputError, UnreachableError
from cloudmesh.sparknomad.incluster.allocations import ENDED
from cloudmesh.sparknomad.incluster.pipeline import PipelineState, break_off
from cloudmesh.sparknomad.incluster.pipeline_launch import launch_id
from cloudmesh.sparknomad.incluster.webhdfs import WebHdfsError
from cloudmesh.sparknomad.model import Submission
from cloudmesh.sparknomad.specs import ClusterSpec
from cloudmesh.sparknomad.waiting import Deadline, wait_until

__all__ = ["PLANS", "SCHEDULE", "Pipelining", "key_path", "run_of_launch"]

_ROOT = "/sparknomad"
PLANS = f"{_ROOT}/pipelines"
"""Where plans lie in the cluster's HDFS."""

SCHEDULE = "schedule-"
"""The beginning of the ids of periodic jobs."""

_STATE = "alloc/data/pipeline"
_CANCEL_SECONDS = 90.0


class Pipelining(Recorded):
    """The part of the provider that runs pipelines."""

    def check_pipelines(self, cluster: str, *, schedule: bool = False) -> None:
        """See `RunsPipelines.check_pipelines`."""
        role = self.role(cluster)
        if role and schedule:
            raise forbidden(cluster, role, "run pipelines by a schedule")
        if schedule and self._read(cluster).idle:
            raise InputError(
                f"cluster {cluster!r} stops when nothing runs (idle), and what a schedule needs "
                "goes with it.",
                hint="Deploy the cluster without idle: workers: {min, max} lets workers go.",
            )
        if role == "reader":
            raise forbidden(cluster, role, "run pipelines")

    def _pipeline_submit(self, spec: ClusterSpec, pipeline: PipelineSubmission) -> None:
        cluster = self._read(spec.cluster)
        nomad = self._runs_nomad(spec.cluster)
        job = pipeline_job(cluster, cluster.spark, pipeline.site, nomad.namespace)
        if cluster.role:
            shared_runs.require_pipelines(nomad, job.id)
        else:
            rules = pipeline_rules(nomad.namespace)
            nomad.put_policy(PIPELINE_POLICY + job.id, rules, job.id)
            register_job(nomad, job)
            self._let_sweep(nomad, cluster, pipeline)
        asked = self._bring_plan(nomad, spec.cluster, pipeline)
        payload = json.dumps(asked).encode()
        mark = f"{pipeline.run}{pipeline.mark}"
        nomad.dispatch(job.id, payload, {"pipeline": pipeline.run}, mark)

    @staticmethod
    def _let_sweep(nomad: Nomad, cluster: NomadCluster, pipeline: PipelineSubmission) -> None:
        """Let what a pipeline keeps for a while go when that is over."""
        if pipeline.keep is not None:
            register_job(nomad, sweep_job(cluster, cluster.spark, pipeline.site))

    def _renew_sweeps(self, nomad: Nomad, cluster: NomadCluster) -> None:
        """Let them run the image that the cluster has now, where there are some."""
        there = {job["ID"] for job in nomad.jobs(SWEEP) if not job.get("Stop")}
        for part in cluster.parts:
            job = sweep_job(cluster, cluster.spark, part.name)
            if job.id in there:
                register_job(nomad, job)

    def _bring_plan(
        self, nomad: Nomad, cluster: str, pipeline: PipelineSubmission, *, lasting: bool = False
    ) -> dict[str, str]:
        """Bring what a pipeline's runs need, and their plan into the cluster's HDFS.

        Args:
            nomad: a client.
            cluster: its name.
            pipeline: what is planned.
            lasting: whether it is the pattern of more than one run.

        Returns:
            Where the plan is: the name of a ``plan``, or of an ``artifact``, which tokens may
            write.
        """
        key = self._keep_key(nomad, pipeline)
        role = self.role(cluster)

        def prepared(submission: Submission) -> Mapping[str, Any]:
            """Bring what a run needs, and tell how it is dispatched."""
            shared = shared_runs.find_job(nomad, submission) if role else ""
            job, payload, meta = self._dispatchable(
                nomad, cluster, submission, shared, lasting=lasting
            )
            return {"job": job, "payload": base64.b64encode(payload).decode(), "meta": meta}

        try:
            plan = plan_of(pipeline, prepared, key, _ROOT)
            text = json.dumps(asdict(plan)).encode()
            hdfs = Access(nomad, pipeline.site).hdfs()
            if role:
                place = self._directory(cluster)
                return {"artifact": uploads.bring_text(hdfs, place, pipeline.run, text)}
            name = f"{pipeline.run}/{hashlib.sha256(pipeline.mark.encode()).hexdigest()[:16]}.json"
            hdfs.write(f"{PLANS}/{name}", text)
        except WebHdfsError as error:
            raise UnreachableError(
                f"The pipeline could not be brought into the cluster: {error}",
                hint="See `cms sparknomad cluster status`; deploy the cluster again.",
            ) from error
        return {"plan": name}

    @staticmethod
    def _keep_key(nomad: Nomad, pipeline: PipelineSubmission) -> str:
        """Write the key that signs what is told of the end; the Variable's path."""
        if not pipeline.key:
            return ""
        path = key_path(pipeline.run)
        nomad.put_variable(path, {"key": pipeline.key})
        return path

    def _dispatchable(
        self,
        nomad: Nomad,
        name: str,
        submission: Submission,
        shared: str = "",
        *,
        lasting: bool = False,
    ) -> tuple[str, bytes, dict[str, str]]:
        """Bring what a run needs into the cluster.

        Args:
            nomad: a client.
            name: of the cluster.
            submission: the run.
            shared: the job that brings its own definition, for who may not register others.
            lasting: whether the run is the pattern of others, which need its credentials as well.

        Returns:
            The job of which the run is a dispatch, its payload and its metadata.
        """
        cluster = self._read(name)
        definition = build_definition(submission.job)
        hdfs = Access(nomad, submission.site).hdfs()
        uploads.bring(hdfs, definition, submission)
        own = definition if shared else None
        payload = uploads.payload(hdfs, self._directory(name), submission, own, whole=lasting)
        parent = shared or self._ensure_job(nomad, cluster, definition, submission.site)
        meta = run_meta(submission)
        if submission.storage.secrets:
            meta["credentials"] = vault.put(
                nomad, parent, submission, shared=bool(shared), lasting=lasting
            )
        return parent, payload, meta

    @staticmethod
    def _ensure_job(nomad: Nomad, cluster: NomadCluster, definition: Definition, site: str) -> str:
        """Register the job of a definition, unless it is there; its id."""
        job = run_job(cluster, cluster.spark, definition, site)
        parent = str(job.variables["job"])
        try:
            registered = not nomad.job(parent).get("Stop")
        except NotThereError:
            registered = False
        if not registered:
            rules = ended_rules(nomad.namespace)
            nomad.put_policy(ENDED_POLICY + vault.digest(parent), rules, parent)
            register_job(nomad, job)
        return parent

    def _dispatches(self, nomad: Nomad, run: str) -> list[dict[str, Any]]:
        """The dispatched jobs of a pipeline's run, the last one first."""
        found = [
            job
            for job in nomad.jobs("pipeline")
            if job.get("ParentID") and (job.get("Meta") or {}).get("pipeline") == run
        ]
        # One that was resumed is dispatched, and its launch has ended.
        found = found or [
            job
            for job in nomad.jobs(SCHEDULE)
            if job.get("ParentID") and run_of_launch(job["ID"]) == run
        ]
        if not found:
            raise self._unknown_pipeline(run)
        return sorted(found, key=lambda job: -int(job["SubmitTime"]))

    def _pipeline_state(self, cluster: str, run: str) -> PipelineState | None:
        nomad = self._runs_nomad(cluster)
        latest = self._dispatches(nomad, run)[0]
        for allocation in nomad.allocations(latest["ID"]):
            document = nomad.read_json(allocation["ID"], _STATE, "state.json")
            if document:
                return _judged(PipelineState.read(document), latest)
        return None

    def _pipeline_logs(self, cluster: str, run: str) -> bytes:
        nomad = self._runs_nomad(cluster)
        latest = self._dispatches(nomad, run)[0]
        told = b""
        for allocation in reversed(nomad.allocations(latest["ID"])):
            told += nomad.task_log(allocation["ID"], "pipeline", "stdout")
        return told

    def _pipeline_cancel(self, cluster: str, run: str) -> None:
        """Stop what sends runs, then the runs: their credentials go with them."""
        nomad, role = self._runs_nomad(cluster), self.role(cluster)
        if role == "reader":
            raise forbidden(cluster, role, "end pipelines")
        if role == "submitter":
            self._tell_to_cancel(nomad, cluster, run)
            return
        for job in self._dispatches(nomad, run):
            if job["Status"] != "dead":
                nomad.stop(job["ID"])
        state = self._pipeline_state(cluster, run)

        def stopped() -> bool:
            """Stop what was sent; the engine may send more until it has ended."""
            nonlocal state
            ended = all(self._has_ended(nomad, job) for job in self._dispatches(nomad, run))
            state = self._pipeline_state(cluster, run) or state
            sent = {each for step in (state.steps if state else ()) for each in step.runs}
            for job in nomad.jobs("run-"):
                mine = job.get("ParentID") and (job.get("Meta") or {}).get("run") in sent
                if mine and job["Status"] != "dead" and not job.get("Stop"):
                    nomad.stop(job["ID"])
            return ended

        wait_until(stopped, f"pipeline run {run} to end", Deadline(_CANCEL_SECONDS), interval=0.5)

    @staticmethod
    def _has_ended(nomad: Nomad, job: Mapping[str, Any]) -> bool:
        return all(each["ClientStatus"] in ENDED for each in nomad.allocations(job["ID"]))

    def _tell_to_cancel(self, nomad: Nomad, cluster: str, run: str) -> None:
        """Let what runs a pipeline cancel it: a submitter's token may not stop jobs."""
        child = self._dispatches(nomad, run)[0]["ID"]

        def ended() -> bool:
            state = self._pipeline_state(cluster, run)
            if state is not None and state.state != "running":
                return True
            # Told again: one that just starts does not hear it.
            return not shared_runs.end(nomad, child, run, shared_runs.CANCEL)

        deadline = Deadline(_CANCEL_SECONDS)
        wait_until(ended, f"pipeline run {run} to end", deadline, interval=2.0)


def key_path(run: str) -> str:
    """The path of the Variable with the key that signs what is told of a run's end."""
    return f"{KEYS}/{hashlib.sha256(run.encode()).hexdigest()[:32]}"


def run_of_launch(job: str) -> str:
    """The pipeline's run that a launch of a periodic job is, by its id.

    https://developer.hashicorp.com/nomad/docs/job-specification/periodic
    """
    schedule, _, launch = job.removeprefix(SCHEDULE).rpartition("/periodic-")
    return launch_id(schedule, int(launch)) if launch.isdigit() else ""


def _judged(state: PipelineState, job: Mapping[str, Any]) -> PipelineState:
    """A state that nobody changes any more, because what runs the pipeline has been ended."""
    if state.state != "running" or job["Status"] != "dead":
        return state
    now = time.time()
    steps = break_off(state.steps, now)
    if job.get("Stop"):
        return replace(state, state="cancelled", reason="cancelled", steps=steps, finished=now)
    reason = "what runs the pipeline was started anew too often; see `pipeline logs`"
    return replace(state, state="failed", reason=reason, steps=steps, finished=now)
