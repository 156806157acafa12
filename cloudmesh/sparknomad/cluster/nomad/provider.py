"""`NomadProvider`: Spark and HDFS as jobs of a Nomad cluster."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from cloudmesh.sparknomad.cluster.definition import build_definition, run_document
from cloudmesh.sparknomad.cluster.foreign import is_foreign
from cloudmesh.sparknomad.cluster.nomad import (
    agent,
    binary,
    services,
    shared_runs,
)
from cloudmesh.sparknomad.cluster.nomad.access import Access
from cloudmesh.sparknomad.cluster.nomad.client import ENDED, Nomad, NotThereError
from cloudmesh.sparknomad.cluster.nomad.operating import NomadHosts
from cloudmesh.sparknomad.cluster.nomad.plans import (
    DRIVER_FACTOR,
    DRIVER_OVERHEAD_MB,
    SCALER,
    cluster_jobs,
    run_job,
    service_jobs,
)
from cloudmesh.sparknomad.cluster.nomad.record import MARK, NomadCluster
from cloudmesh.sparknomad.cluster.nomad.registering import register_job
from cloudmesh.sparknomad.cluster.nomad.roles import SCALER_POLICY, SCALER_RULES, forbidden
from cloudmesh.sparknomad.cluster.nomad.runs import new_output, run_status
from cloudmesh.sparknomad.cluster.nomad.sharing import Sharing
from cloudmesh.sparknomad.cluster.nomad.wanted import refuse, site_records, wanted_cluster
from cloudmesh.sparknomad.cluster.operations import HostOperations
from cloudmesh.sparknomad.cluster.sites import SiteStatus
from cloudmesh.sparknomad.errors import NotFoundError, UnreachableError
from cloudmesh.sparknomad.incluster.sparkconf import HDFS_DIRECTORIES
from cloudmesh.sparknomad.incluster.staged import Catalog
from cloudmesh.sparknomad.incluster.webhdfs import WebHdfsError
from cloudmesh.sparknomad.model import (
    ClusterStatus,
    ImageRuntime,
    LogChunk,
    LogStream,
    PlanStep,
    RunState,
    RunStatus,
    Runtime,
    Submission,
)
from cloudmesh.sparknomad.model_storage import ClusterStorage
from cloudmesh.sparknomad.processes import write_private
from cloudmesh.sparknomad.specs import ClusterSpec
from cloudmesh.sparknomad.waiting import Deadline, wait_until

__all__ = ["NomadProvider"]


class NomadProvider(Sharing):
    """A Nomad agent of our own on this machine; Spark and HDFS as its jobs."""

    name: ClassVar[str] = "nomad"
    runtime: ClassVar[type | None] = ImageRuntime
    shares_files: ClassVar[bool] = False
    scales: ClassVar[bool] = True

    # plan

    def _plan(self, spec: ClusterSpec, runtime: Runtime | None) -> Sequence[PlanStep]:
        image = runtime if isinstance(runtime, ImageRuntime) else None
        made = "(made at the first deploy)"
        planned = self._wanted(spec, image).changed(
            token=made, spark_secret=made, gossip_key=made, identity=made
        )
        jobs = cluster_jobs(planned, image.spark if image else "4")
        return [
            PlanStep(f"find or install Nomad {binary.VERSION}"),
            PlanStep(f"find or build image {spec.image!r}"),
            *self._installation(spec.cluster, planned).plan(spec, planned),
            PlanStep("write the cluster's secret to the Nomad Variable nomad/jobs"),
            *(PlanStep(f"register Nomad job {job.name}", job.as_text(), "hcl") for job in jobs),
        ]

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

    def _driver_limit(self, spec: ClusterSpec) -> int | None:
        offered = self._installation(spec.cluster, self._find(spec.cluster)).memory_mb(spec)
        if offered is None:
            return None
        return int((offered - DRIVER_OVERHEAD_MB) / DRIVER_FACTOR) * 1024**2

    def _wanted(
        self,
        spec: ClusterSpec,
        image: ImageRuntime | None,
        binary: str = "nomad",
        known: NomadCluster | None = None,
    ) -> NomadCluster:
        data = self._directory(spec.cluster) / "nomad"
        return wanted_cluster(spec, image, data=data, binary=binary, known=known)

    # clusters

    def _deploy(
        self,
        spec: ClusterSpec,
        runtime: Runtime | None,
        deadline: Deadline,
        *,
        rolling: bool = False,
    ) -> None:
        assert isinstance(runtime, ImageRuntime)
        directory = self._directory(spec.cluster)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        known = self._find(spec.cluster)
        if known:
            refuse(spec.cluster, known, self._wanted(spec, runtime, known=known))
        nomad_binary = binary.find_nomad(
            self.context.configuration, self.context.cache, self.context.say
        )
        cluster = self._wanted(spec, runtime, str(nomad_binary), known).write(directory)
        installation = self._installation(spec.cluster, cluster)
        cluster = installation.ensure(spec, cluster, runtime, deadline, rolling=rolling)
        nomad = installation.client(cluster)
        agent.put_secret(nomad, cluster, deadline)
        installation.prepare(cluster, nomad)
        self._register_all(nomad, cluster, deadline, rolling=rolling)
        self._renew_sweeps(nomad, cluster)
        for namespace in shared_runs.namespaces(nomad):
            shared_runs.prepare_namespace(nomad, cluster, namespace, deadline)

    def _register_all(
        self, nomad: Nomad, cluster: NomadCluster, deadline: Deadline, *, rolling: bool = False
    ) -> None:
        counts = services.live_counts(nomad, cluster)
        self._allow_scaler(nomad, cluster)
        shared_runs.forget_ended(nomad)
        for job in cluster_jobs(cluster, cluster.spark, rolling=rolling, counts=counts):
            site = str(job.variables.get("site", ""))
            if job.name == "spark-history" and cluster.is_up(site):
                self._prepare_hdfs(nomad, site, deadline)
            self.context.say(f"registering Nomad job {job.id}")
            register_job(nomad, job)

    @staticmethod
    def _allow_scaler(nomad: Nomad, cluster: NomadCluster) -> None:
        """Give the scaler what it may do, or end one that is not wanted any more."""
        if cluster.scales:
            nomad.put_policy(SCALER_POLICY, SCALER_RULES, SCALER)
            return
        try:
            nomad.stop(SCALER)
        except NotThereError:
            return

    def _prepare_hdfs(self, nomad: Nomad, site: str, deadline: Deadline) -> None:
        where = f" at {site}" if site else ""
        self.context.say(f"waiting for the cluster's HDFS{where}")
        access = Access(nomad, site)

        def ready() -> bool:
            return services.live_datanodes(access) > 0

        wait_until(ready, f"HDFS{where} and its first DataNode", deadline, interval=0.2)
        hdfs = access.hdfs()
        for path in HDFS_DIRECTORIES:
            hdfs.make_directory(path)

    def _scale(self, spec: ClusterSpec, deadline: Deadline) -> None:
        directory = self._directory(spec.cluster)
        if self.role(spec.cluster) != "operator":
            self.check_allowed(spec.cluster, "scale it")
        wanted = site_records(spec)
        part = next(iter(spec.parts.values()))
        changes = {"workers": part.workers, "most": part.most, "sites": wanted}
        cluster = self._read(spec.cluster).changed(**changes)
        cluster.write(directory)
        nomad = self._nomad(spec.cluster)
        for job in cluster_jobs(cluster, cluster.spark):
            if job.name == "spark-worker":
                register_job(nomad, job)

    def _status(self, name: str) -> ClusterStatus:
        cluster = self._read(name)
        installation = self._installation(name, cluster)
        client = installation.client(cluster)
        problem = installation.problem(cluster, client)
        parts = installation.parts(cluster, problem)
        if (cluster.role or cluster.scales) and not problem:  # others scale it
            cluster = services.as_scaled(client, cluster)
        return services.cluster_status(name, self.name, cluster, client, parts, problem)

    def hosts(self, cluster: str) -> HostOperations | None:
        """What can be done with the cluster's hosts, or ``None`` if it has none of its own."""
        self._exists(cluster)
        return NomadHosts(self, cluster) if self._read(cluster).hosts else None

    def _cluster_logs(self, cluster: str) -> Iterator[tuple[str, bytes]]:
        record = self._read(cluster)
        if record.role in ("submitter", "reader"):
            raise forbidden(cluster, record.role, "read the output of its servers")
        if not record.role:  # the others can't log in to its hosts
            yield from self._installation(cluster, record).logs(record)
        yield from services.logs(self._nomad(cluster), record)

    # destroy

    def _destroy(self, name: str, deadline: Deadline) -> None:
        directory = self._directory(name)
        if not directory.exists():
            return
        cluster = self._find(name)
        if cluster:
            self._stop_jobs(name, cluster, deadline)
        self._installation(name, cluster).remove(cluster, deadline)

    def _stop_jobs(self, name: str, cluster: NomadCluster, deadline: Deadline) -> None:
        """Stop all jobs in an orderly way; a dead agent's tasks are swept instead.

        So are the cluster's own services where the sweep ends them: what an orderly end would
        write is removed at once.
        """
        installation = self._installation(name, cluster)
        nomad = installation.client(cluster).within("*")
        try:
            if installation.problem(cluster, nomad):
                return
            self.context.say("stopping runs and jobs")
            swept = _own_jobs(cluster) if installation.ends_tasks else frozenset()
            for job in nomad.jobs():
                if not job.get("ParameterizedJob") and job["ID"] not in swept:
                    nomad.within(job.get("Namespace") or "default").stop(job["ID"])

            def ended() -> bool:
                return all(
                    each["ClientStatus"] in ENDED
                    for each in nomad.all_allocations()
                    if each["JobID"] not in swept
                )

            orderly = Deadline(min(45.0, max(5.0, deadline.left - 15)))
            wait_until(ended, "all tasks to end", orderly)
        except Exception as error:
            self.context.say(f"not all ended in an orderly way: {error}")

    def _leftovers(self, name: str) -> Sequence[str]:
        if is_foreign(self._directory(name), MARK):
            return []
        cluster = self._find(name)
        return self._installation(name, cluster).leftovers(cluster)

    def _access(self, cluster: str, site: str) -> Access:
        """The servers of one site; the first one's if none is named."""
        part = self._read(cluster).part(site)
        if site and part.name != site:
            raise NotFoundError(f"Cluster {cluster!r} has no site {site!r}.")
        return Access(self._nomad(cluster), part.name)

    def _storage(self, cluster: str, site: str) -> ClusterStorage:
        return self._access(cluster, site).storage(cluster)

    def _staged(self, cluster: str, site: str) -> Catalog:
        return Catalog(self._access(cluster, site).hdfs(patience=10), "/sparknomad/staged")

    def _sites(self, cluster: str) -> Sequence[SiteStatus]:
        record = self._read(cluster)
        return services.site_statuses(self._nomad(cluster), record) if record.sites else ()

    # runs

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


def _own_jobs(cluster: NomadCluster) -> frozenset[str]:
    """The ids of the jobs that make the cluster one of Spark."""
    return frozenset(
        {SCALER, *(job for part in cluster.parts for job in service_jobs(cluster, part))}
    )
