"""From specs to what Nomad is sent: HCL2 files and their variables. Pure."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from cloudmesh.sparknomad.cluster.definition import Definition
from cloudmesh.sparknomad.cluster.nomad.configuration import IMAGE_PARTS, SPARK_PORT
from cloudmesh.sparknomad.cluster.nomad.record import NomadCluster, SiteRecord
from cloudmesh.sparknomad.cluster.pipelines import PipelineSchedule
from cloudmesh.sparknomad.incluster import sparkconf
from cloudmesh.sparknomad.model import Submission
from cloudmesh.sparknomad.specs import ExecutorRange

__all__ = [
    "SCALER",
    "SERVICE",
    "SWEEP",
    "DRIVER_FACTOR",
    "DRIVER_OVERHEAD_MB",
    "SERVICE_JOBS",
    "SHARED_SIZES",
    "NomadJob",
    "cluster_jobs",
    "hcl_variables",
    "job_id",
    "pipeline_job",
    "run_job",
    "run_meta",
    "run_variables",
    "scheduled_job",
    "service_job",
    "service_jobs",
    "shared_job_id",
    "shared_jobs",
    "sweep_job",
]

SERVICE_JOBS = ("hdfs", "spark-master", "spark-worker", "spark-history")
"""The cluster's own jobs, in the order in which they are started."""

SWEEP = "pipeline-sweep"
"""The job that removes what pipelines have left when its time is over."""

SERVICE = "service"
"""The job that serves the REST API."""

SCALER = "scaler"
"""The job that decides how many workers there are, and when a cluster is idle."""

SHARED_SIZES = (1, 2, 4, 8, 16, 32)
"""GiB of the drivers' heaps for which there are jobs that bring their own definition."""

DRIVER_FACTOR, DRIVER_OVERHEAD_MB = 1.1, 640
"""What a driver's task asks of Nomad for its Java heap: ``run.nomad.hcl`` says the same."""

# Docker gives an image's environment to its containers by itself; the other drivers do not.
_ENVIRONMENT = {**sparkconf.IMAGE_ENVIRONMENT, "LC_ALL": "C.UTF-8", "USER": "spark"}


@dataclass(frozen=True)
class NomadJob:
    """A job before Nomad has parsed it.

    Attributes:
        name: of its file.
        hcl: its text.
        variables: values of the variables that it declares.
    """

    name: str
    hcl: str
    variables: Mapping[str, Any]

    @property
    def id(self) -> str:
        """By which Nomad knows one of the cluster's own jobs."""
        site = self.variables.get("site")
        return f"{self.name}-{site}" if site else self.name

    def as_text(self) -> str:
        """The variables and the job, as a person would give them to Nomad."""
        assigned = "\n".join(f"# {line}" for line in hcl_variables(self.variables).splitlines())
        return f"# variables:\n{assigned}\n\n{self.hcl}"


# A worker whose host is drained gives its executors the time to hand over their blocks.
_DAEMONS = {"spark.decommission.enabled": "true"}


def _load(name: str, variables: Mapping[str, Any]) -> NomadJob:
    path = files("cloudmesh.sparknomad.cluster.nomad") / "jobs" / f"{name}.nomad.hcl"
    return NomadJob(name, path.read_text("utf-8"), variables)


_RUNTIME = ("driver", "image", "rootfs", "parts", "environment")
"""Of what all jobs share, what those need that are no servers of Spark or HDFS."""


def _shared(cluster: NomadCluster, spark: str, site: str) -> dict[str, Any]:
    scala = "2.13" if spark.startswith("4") else "2.12"
    return {
        "driver": cluster.driver,
        "image": cluster.tag,
        "rootfs": cluster.rootfs,
        "parts": list(IMAGE_PARTS) if cluster.mounts else [],
        "site": site,
        "environment": {**_ENVIRONMENT, "SPARK_SCALA_VERSION": scala},
        "conf": json.dumps({**_DAEMONS, **cluster.conf}, sort_keys=True),
    }


def _replication(part: SiteRecord) -> str:
    return str(min(max(part.workers, part.most), 2))


def service_jobs(cluster: NomadCluster, part: SiteRecord) -> tuple[str, ...]:
    """The ids of the cluster's own jobs at a site, in the order in which they are started."""
    names = ("gateway", *SERVICE_JOBS) if cluster.hosts else SERVICE_JOBS
    return tuple(f"{name}{part.suffix}" for name in names)


def cluster_jobs(
    cluster: NomadCluster,
    spark: str,
    *,
    rolling: bool = False,
    counts: Mapping[str, int] | None = None,
) -> list[NomadJob]:
    """The cluster's own jobs, in the order in which they are started.

    Args:
        cluster: what runs them.
        spark: the version of Spark in the image.
        rolling: whether a change takes a quarter of the workers at a time, not all at once.
        counts: by site how many workers there are now, where they come and go by themselves.
    """
    there = counts or {}
    jobs = [
        job
        for part in cluster.parts
        for job in _site_jobs(cluster, part, spark, rolling, there.get(part.name, part.workers))
    ]
    return [*jobs, _scaler(cluster, spark)] if cluster.scales else jobs


def _scaler(cluster: NomadCluster, spark: str) -> NomadJob:
    sites = [
        {
            "suffix": part.suffix,
            "least": part.workers,
            "most": max(part.most, part.workers),
            "cores": part.cores,
            "memory_mb": part.memory // 1024**2,
        }
        for part in cluster.parts
    ]
    shared = _shared(cluster, spark, "")
    plain = {key: shared[key] for key in _RUNTIME}
    return _load(SCALER, {**plain, "sites": json.dumps(sites), "idle": cluster.idle})


def _site_jobs(
    cluster: NomadCluster, part: SiteRecord, spark: str, rolling: bool, workers: int
) -> list[NomadJob]:
    shared = _shared(cluster, spark, part.name)
    own: dict[str, dict[str, Any]] = {
        "hdfs": {"replication": _replication(part)},
        "spark-worker": {
            "workers": workers,
            "cores": part.cores,
            "memory_mb": part.memory // 1024**2,
            "parallel": max(1, workers // 4) if rolling else 0,
        },
    }
    jobs = [_load(name, {**shared, **own.get(name, {})}) for name in SERVICE_JOBS]
    if not cluster.hosts:
        return jobs
    plain = {key: value for key, value in shared.items() if key != "conf"}
    return [_load("gateway", plain), *jobs]


def pipeline_job(
    cluster: NomadCluster, spark: str, site: str = "", namespace: str = "default"
) -> NomadJob:
    """The parameterized job whose dispatches run pipelines in a namespace."""
    shared = _shared(cluster, spark, cluster.part(site).name)
    plain = {key: value for key, value in shared.items() if key != "conf"}
    return _load("pipeline", {**plain, "namespace": namespace})


def service_job(
    cluster: NomadCluster, *, namespace: str, packages: str, port: int, tls: bool, mark: str
) -> NomadJob:
    """The job that serves the REST API.

    Args:
        cluster: what runs it.
        namespace: of Nomad.
        packages: the SHA-256 of the archive of what it imports.
        port: where it listens.
        tls: whether it has a certificate.
        mark: differs where it is started with something else.
    """
    shared = _shared(cluster, cluster.spark, "")
    plain = {key: shared[key] for key in _RUNTIME}
    own = {"namespace": namespace, "packages": packages, "port": port, "tls": tls, "mark": mark}
    hdfs = f"hdfs-http{cluster.part('').suffix}"
    return _load(SERVICE, {**plain, **own, "hdfs": hdfs})


def sweep_job(cluster: NomadCluster, spark: str, site: str = "") -> NomadJob:
    """The periodic job that removes what pipelines have left at a site when its time is over."""
    shared = _shared(cluster, spark, cluster.part(site).name)
    return _load(SWEEP, {key: value for key, value in shared.items() if key != "conf"})


def scheduled_job(
    cluster: NomadCluster,
    spark: str,
    schedule: PipelineSchedule,
    plan: str,
    credentials: Iterable[str],
) -> NomadJob:
    """The periodic job whose launches run a pipeline.

    Args:
        cluster: what runs it.
        spark: the version of Spark in the image.
        schedule: when it is launched.
        plan: the name of the plan in the cluster's HDFS.
        credentials: the paths of the Variables that its launches read.
    """
    base = pipeline_job(cluster, spark, schedule.pipeline.site)
    times = {
        "schedule": schedule.pipeline.run,
        "plan": plan,
        "credentials": " ".join(sorted(credentials)),
        "crontab": schedule.crontab,
        "time_zone": schedule.time_zone,
        "prohibit_overlap": not schedule.overlap,
    }
    return _load("pipeline", {**base.variables, **times})


def job_id(name: str, definition: Definition, cluster: NomadCluster, part: SiteRecord) -> str:
    """The id of a job in Nomad: equal definitions on equal images at one site are one job."""
    return f"run-{name}-{definition.digest[:12]}-{cluster.runtime}{part.suffix}"


def run_job(cluster: NomadCluster, spark: str, definition: Definition, site: str = "") -> NomadJob:
    """The parameterized job whose dispatches are the runs of one definition at a site."""
    part = cluster.part(site)
    text = json.dumps(definition.document, sort_keys=True).encode()
    resources = definition.document["resources"]
    return _load(
        "run",
        {
            **run_variables(cluster, spark, part),
            "job": job_id(definition.document["job"], definition, cluster, part),
            "definition": base64.b64encode(text).decode(),
            "driver_memory_mb": resources["driver"]["memory"] // 1024**2,
            "infrastructure_retries": definition.document["retries"]["infrastructure"],
        },
    )


def shared_jobs(cluster: NomadCluster, spark: str, namespace: str) -> list[NomadJob]:
    """Jobs of which each dispatch brings its own definition: for each site and size of a driver.

    Who may dispatch but not register jobs runs with these.

    Args:
        cluster: what runs them.
        spark: the version of Spark in the image.
        namespace: of Nomad.
    """
    return [
        _load(
            "run",
            {
                **run_variables(cluster, spark, part),
                "job": shared_job_id(gigabytes, cluster.runtime, part),
                "namespace": namespace,
                "driver_memory_mb": gigabytes * 1024,
            },
        )
        for part in cluster.parts
        for gigabytes in SHARED_SIZES
    ]


def shared_job_id(gigabytes: int, runtime: str, part: SiteRecord) -> str:
    """The id of a job for drivers of a size at a site."""
    return f"run-any-{gigabytes}g-{runtime}{part.suffix}"


def run_meta(submission: Submission) -> dict[str, str]:
    """What a dispatch says of a run beside its payload; the scaler reads the last two."""
    wanted = submission.job.resources.executors
    count = wanted.count.max if isinstance(wanted.count, ExecutorRange) else wanted.count
    return {
        "run": submission.run,
        "queue_timeout": f"{submission.queue_timeout:g}",
        "executors": f"{count or ''}:{wanted.cores}:{wanted.memory // 1024**2}",
        "site": submission.site,
    }


def run_variables(cluster: NomadCluster, spark: str, part: SiteRecord) -> dict[str, Any]:
    """What all jobs whose dispatches are runs at a site have."""
    return {
        **_shared(cluster, spark, part.name),
        "replication": _replication(part),
        "least_copies": _replication(part) if part.most > part.workers else "1",
        "spark_port": SPARK_PORT if cluster.hosts else 0,
    }


def hcl_variables(variables: Mapping[str, Any]) -> str:
    """Write values as HCL assignments; JSON is HCL but for its templates in strings."""
    return "".join(f"{name} = {_literal(value)}\n" for name, value in variables.items())


def _literal(value: Any) -> str:
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{json.dumps(key)} = {_literal(item)}" for key, item in value.items())
        return f"{{ {pairs} }}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(_literal(item) for item in value) + "]"
    return json.dumps(value).replace("${", "$${").replace("%{", "%%{")
