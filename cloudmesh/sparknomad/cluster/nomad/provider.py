"""`NomadProvider`: Spark and HDFS as jobs of a Nomad cluster."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import ClassVar

from cloudmesh.sparknomad.cluster.foreign import is_foreign
from cloudmesh.sparknomad.cluster.nomad import (
    agent,
    binary,
    services,
    shared_runs,
)
from cloudmesh.sparknomad.cluster.nomad.access import Access
from cloudmesh.sparknomad.cluster.nomad.client import Nomad, NotThereError
from cloudmesh.sparknomad.cluster.nomad.leaving import Leaving
from cloudmesh.sparknomad.cluster.nomad.operating import NomadHosts
from cloudmesh.sparknomad.cluster.nomad.plans import (
    DRIVER_FACTOR,
    DRIVER_OVERHEAD_MB,
    SCALER,
    cluster_jobs,
    service_jobs,
)
from cloudmesh.sparknomad.cluster.nomad.record import MARK, NomadCluster
from cloudmesh.sparknomad.cluster.nomad.registering import register_job
from cloudmesh.sparknomad.cluster.nomad.roles import SCALER_POLICY, SCALER_RULES, forbidden
from cloudmesh.sparknomad.cluster.nomad.submitting import Submitting
from cloudmesh.sparknomad.cluster.nomad.wanted import refuse, site_records
from cloudmesh.sparknomad.cluster.operations import HostOperations
from cloudmesh.sparknomad.cluster.sites import SiteStatus
from cloudmesh.sparknomad.errors import NotFoundError, SparknomadError
from cloudmesh.sparknomad.incluster.allocations import ENDED
from cloudmesh.sparknomad.incluster.sparkconf import HDFS_DIRECTORIES
from cloudmesh.sparknomad.incluster.staged import Catalog
from cloudmesh.sparknomad.model import (
    ClusterStatus,
    ImageRuntime,
    PlanStep,
    Runtime,
)
from cloudmesh.sparknomad.model_storage import ClusterStorage
from cloudmesh.sparknomad.specs import ClusterSpec
from cloudmesh.sparknomad.waiting import Deadline, wait_until

__all__ = ["NomadProvider"]


class NomadProvider(Submitting):
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

    def _driver_limit(self, spec: ClusterSpec) -> int | None:
        offered = self._installation(spec.cluster, self._find(spec.cluster)).memory_mb(spec)
        if offered is None:
            return None
        return int((offered - DRIVER_OVERHEAD_MB) / DRIVER_FACTOR) * 1024**2

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
        if known and known.idle:
            self._keep_on(installation.client(known))
        cluster = installation.ensure(spec, cluster, runtime, deadline, rolling=rolling)
        nomad = installation.client(cluster)
        agent.put_secret(nomad, cluster, deadline)
        installation.prepare(cluster, nomad)
        self._register_all(nomad, cluster, deadline, rolling=rolling)
        installation.watch(cluster, nomad)
        self._renew_sweeps(nomad, cluster)
        for namespace in shared_runs.namespaces(nomad):
            shared_runs.prepare_namespace(nomad, cluster, namespace, deadline)

    def _register_all(
        self, nomad: Nomad, cluster: NomadCluster, deadline: Deadline, *, rolling: bool = False
    ) -> None:
        counts = services.live_counts(nomad, cluster)
        parts = {part.name: part for part in cluster.parts}
        self._allow_scaler(nomad, cluster)
        shared_runs.forget_ended(nomad)
        for job in cluster_jobs(cluster, cluster.spark, rolling=rolling, counts=counts):
            site = str(job.variables.get("site", ""))
            if job.name == "spark-history" and cluster.is_up(site):
                self._prepare_hdfs(nomad, site, deadline)
            if job.name == "spark-worker":
                workers = int(job.variables["workers"])
                Leaving(nomad, parts[site], self.context.say).keep(workers, deadline)
            self.context.say(f"registering Nomad job {job.id}")
            register_job(nomad, job)

    @staticmethod
    def _keep_on(nomad: Nomad) -> None:
        """Let no machine end because the cluster was idle, while it is deployed again."""
        with contextlib.suppress(SparknomadError):  # it does not serve, or has no scaler yet
            nomad.scale(SCALER, SCALER, 1)

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
        nomad = self._nomad(spec.cluster)
        for site in cluster.parts:
            Leaving(nomad, site, self.context.say).keep(site.workers, deadline)
        cluster.write(directory)
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


def _own_jobs(cluster: NomadCluster) -> frozenset[str]:
    """The ids of the jobs that make the cluster one of Spark."""
    return frozenset(
        {SCALER, *(job for part in cluster.parts for job in service_jobs(cluster, part))}
    )
