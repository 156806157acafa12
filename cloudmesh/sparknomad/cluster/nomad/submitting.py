"""Runs as dispatched jobs of a Nomad cluster."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from cloudmesh.sparknomad.cluster.definition import build_definition, run_document
from cloudmesh.sparknomad.cluster.nomad import shared_runs
from cloudmesh.sparknomad.cluster.nomad.client import Nomad, NotThereError
from cloudmesh.sparknomad.cluster.nomad.plans import run_job
from cloudmesh.sparknomad.cluster.nomad.roles import forbidden
from cloudmesh.sparknomad.cluster.nomad.runs import new_output, run_status
from cloudmesh.sparknomad.cluster.nomad.sharing import Sharing
from cloudmesh.sparknomad.errors import UnreachableError
from cloudmesh.sparknomad.incluster.webhdfs import WebHdfsError
from cloudmesh.sparknomad.model import (
    LogChunk,
    LogStream,
    PlanStep,
    RunState,
    RunStatus,
    Submission,
)
from cloudmesh.sparknomad.processes import write_private
from cloudmesh.sparknomad.specs import ClusterSpec

__all__ = ["Submitting"]


class Submitting(Sharing):
    """The part of the provider that sends runs, and tells what became of them."""

    def _plan_run(self, spec: ClusterSpec, submission: Submission) -> Sequence[PlanStep]:
        cluster = self._find(spec.cluster) or self._wanted(spec, None)
        definition = build_definition(submission.job)
        job = run_job(cluster, "4", definition, submission.site)
        document = run_document(submission, 0)
        uploads = [
            PlanStep(f"upload {artifact.name} to the cluster's HDFS as {artifact.sha256[:12]}")
            for artifact in definition.artifacts
        ]
        uploads += [
            PlanStep(f"upload {file.path} to the cluster's HDFS as inputs/{file.place}")
            for file in submission.inputs
        ]
        register = PlanStep(f"register Nomad job {job.variables['job']}", job.as_text(), "hcl")
        dispatch = PlanStep("dispatch it", json.dumps(document, indent=2), "json")
        return [*uploads, dispatch] if cluster.role else [*uploads, register, dispatch]

    def _run_file(self, cluster: str, run: str) -> Path:
        return self._directory(cluster) / "runs" / f"{run}.json"

    def _submit(self, spec: ClusterSpec, submission: Submission) -> RunStatus:
        cluster = self._read(spec.cluster)
        if cluster.role == "reader":
            raise forbidden(spec.cluster, cluster.role, "run jobs")
        nomad = self._runs_nomad(spec.cluster)
        shared = shared_runs.find_job(nomad, submission) if cluster.role else ""
        try:
            parent, payload, meta = self._dispatchable(nomad, spec.cluster, submission, shared)
        except WebHdfsError as error:
            raise UnreachableError(
                f"The program could not be brought into the cluster: {error}",
                hint="See `cms sparknomad cluster status`; deploy the cluster again.",
            ) from error
        child = nomad.dispatch(parent, payload, meta, submission.run)
        note = self._run_file(spec.cluster, submission.run)
        note.parent.mkdir(exist_ok=True)
        document = {"child": child, "credentials": meta.get("credentials", "")}
        write_private(note, json.dumps(document))
        return RunStatus(submission.run, RunState.PENDING)

    def _child(self, cluster: str, run: str, nomad: Nomad) -> str:
        """The dispatched job of a run, by our note or by asking Nomad for its mark."""
        file = self._run_file(cluster, run)
        if file.exists():
            return str(json.loads(file.read_text("utf-8"))["child"])
        for job in nomad.jobs("run-"):
            if (job.get("Meta") or {}).get("run") == run and job.get("ParentID"):
                return str(job["ID"])
        raise self._unknown_run(cluster, run)

    def _run_status(self, cluster: str, run: str) -> RunStatus:
        nomad = self._runs_nomad(cluster)
        try:
            status = run_status(nomad, run, self._child(cluster, run, nomad))
        except NotThereError:
            raise self._unknown_run(cluster, run) from None
        if status.state.is_terminal:
            self._forget_credentials(nomad, cluster, run)
        return status

    def _forget_credentials(self, nomad: Nomad, cluster: str, run: str) -> None:
        """Remove a run's credentials, should its driver not have come to it."""
        file = self._run_file(cluster, run)
        note = json.loads(file.read_text("utf-8")) if file.exists() else {}
        if note.get("credentials") and self.role(cluster) != "reader":
            nomad.delete_variable(note["credentials"])
            write_private(file, json.dumps({"child": note["child"]}))

    def _logs(
        self, cluster: str, run: str, streams: Sequence[LogStream], follow: bool
    ) -> Iterator[LogChunk]:
        nomad = self._runs_nomad(cluster)
        child = self._child(cluster, run, nomad)
        offsets: dict[tuple[str, LogStream], int] = {}
        while True:
            last = not follow or run_status(nomad, run, child).state.is_terminal
            progress = False
            for attempt, allocation in enumerate(reversed(nomad.allocations(child))):
                for chunk in new_output(nomad, allocation["ID"], streams, offsets, attempt):
                    progress = True
                    yield chunk
            if last:
                return
            if not progress:
                time.sleep(0.2)

    def _cancel(self, cluster: str, run: str) -> None:
        nomad = self._runs_nomad(cluster)
        child, role = self._child(cluster, run, nomad), self.role(cluster)
        if role == "reader":
            raise forbidden(cluster, role, "end runs")
        if role == "submitter":
            shared_runs.end(nomad, child, run)
        else:
            nomad.stop(child)

    def _reconcile(self, cluster: str) -> Sequence[RunStatus]:
        nomad = self._runs_nomad(cluster)
        found = []
        for job in nomad.jobs("run-"):
            run = (job.get("Meta") or {}).get("run")
            if run and job.get("ParentID"):
                found.append(run_status(nomad, run, job["ID"]))
        return found
