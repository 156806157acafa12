"""The cluster's own services as they are now: asked of Nomad, of Spark and of HDFS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from cloudmesh.sparknomad.cluster.nomad.access import Access
from cloudmesh.sparknomad.cluster.nomad.client import Nomad, NotThereError, tasks_of
from cloudmesh.sparknomad.cluster.nomad.plans import SCALER, service_jobs
from cloudmesh.sparknomad.cluster.nomad.record import NomadCluster, SiteRecord
from cloudmesh.sparknomad.cluster.sites import SiteStatus
from cloudmesh.sparknomad.errors import ClusterError, UnreachableError
from cloudmesh.sparknomad.model import ClusterState, ClusterStatus, Component
from cloudmesh.sparknomad.specs import ClusterSpec
from cloudmesh.sparknomad.units import format_duration

__all__ = [
    "as_scaled",
    "cluster_status",
    "live_datanodes",
    "logs",
    "memory_mb",
    "site_statuses",
]

_ENDPOINTS = {
    "spark-master": ("Spark master", "spark://{}"),
    "spark-master-ui": ("Spark master UI", "http://{}"),
    "spark-worker-ui": ("Spark worker UI", "http://{}"),
    "spark-history": ("Spark History Server", "http://{}"),
    "hdfs": ("HDFS", "hdfs://{}"),
    "hdfs-http": ("HDFS NameNode UI", "http://{}"),
}


def memory_mb(spec: ClusterSpec) -> int:
    """What a cluster's own tasks and two drivers ask of Nomad, in MiB."""
    most = sum(part.most for part in spec.parts.values())
    worker = int(spec.memory // 1024**2 * 1.25) + 768 + 640
    return 3 * 768 + most * worker + 2 * 1768


def live_datanodes(access: Access) -> int:
    """How many DataNodes the NameNode can write to."""
    query = "/jmx?qry=Hadoop:service=NameNode,name="
    try:
        beans = access.json("hdfs-http", f"{query}FSNamesystem")["beans"]
        status = access.json("hdfs-http", f"{query}NameNodeInfo")["beans"]
        safe_mode = status[0].get("Safemode") if status else "?"
        return int(beans[0]["NumLiveDataNodes"]) if beans and not safe_mode else 0
    except (OSError, ValueError, KeyError, IndexError):
        return 0


def _live_workers(access: Access) -> int:
    try:
        return int(access.json("spark-master-ui", "/json/")["aliveworkers"])
    except (OSError, ValueError, KeyError):
        return 0


def _history_answers(access: Access) -> bool:
    """Whether the History Server serves: Nomad lists a service before its port is open."""
    try:
        return bool(access.json("spark-history", "/api/v1/version"))
    except (OSError, ValueError):
        return False


def as_scaled(nomad: Nomad, cluster: NomadCluster) -> NomadCluster:
    """A cluster with as many workers as Nomad knows that there should be."""
    parts = tuple(
        replace(part, workers=_wanted_workers(nomad, part.suffix, part.workers))
        for part in cluster.parts
    )
    if cluster.sites:
        return cluster.changed(sites=parts)
    return cluster.changed(workers=parts[0].workers)


def live_counts(nomad: Nomad, cluster: NomadCluster) -> dict[str, int]:
    """By site how many workers there should be now, where they come and go by themselves."""
    return {
        part.name: min(
            max(_wanted_workers(nomad, part.suffix, part.workers), part.workers), part.most
        )
        for part in cluster.parts
        if part.most > part.workers
    }


def _is_idle(nomad: Nomad, cluster: NomadCluster) -> bool:
    """Whether the scaler has stopped everything."""
    try:
        jobs = [nomad.job(f"spark-master{part.suffix}") for part in cluster.parts]
    except ClusterError:
        return False
    return all(int(job["TaskGroups"][0]["Count"]) == 0 for job in jobs)


def _wanted_workers(nomad: Nomad, suffix: str, otherwise: int) -> int:
    try:
        groups = nomad.job(f"spark-worker{suffix}")["TaskGroups"]
    except ClusterError:
        return otherwise
    return int(groups[0]["Count"]) if groups else otherwise


def site_statuses(nomad: Nomad, cluster: NomadCluster) -> list[SiteStatus]:
    """The sites of a cluster as they are now."""
    with ThreadPoolExecutor(max_workers=len(cluster.parts)) as pool:
        return list(pool.map(lambda part: _site_status(nomad, part), cluster.parts))


def _site_status(nomad: Nomad, part: SiteRecord) -> SiteStatus:
    """A site where its Spark master has workers, and its HDFS can be written to, is up."""
    access = Access(nomad, part.name)
    try:
        told = access.json("spark-master-ui", "/json/")
        alive = [each for each in told["workers"] if each["state"] == "ALIVE"]
        free = tuple((int(w["coresfree"]), int(w["memoryfree"]) * 1024**2) for w in alive)
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = f"its Spark master does not answer ({error})"
        return SiteStatus(part.name, 0, part.workers, (), problem)
    problem = "" if alive else "it has no workers"
    if not problem and not live_datanodes(access):
        problem = "its HDFS has no DataNode"
    return SiteStatus(part.name, len(alive), part.workers, free, problem)


def cluster_status(
    name: str,
    provider: str,
    cluster: NomadCluster,
    nomad: Nomad,
    agents: Sequence[Component],
    problem: str,
) -> ClusterStatus:
    """What there is of a cluster.

    Args:
        name: of the cluster.
        provider: that runs it.
        cluster: what is remembered of it.
        nomad: its client.
        agents: the agents.
        problem: why Nomad does not serve, or empty.
    """
    if problem:
        return ClusterStatus(
            name,
            provider,
            ClusterState.STOPPED,
            0,
            cluster.all_workers,
            tuple(agents),
            {},
            f"the Nomad agent does not serve: {problem}; deploy it again",
        )
    try:
        return _serving_status(name, provider, cluster, nomad, agents)
    except UnreachableError as error:
        return ClusterStatus(
            name, provider, ClusterState.DEGRADED, 0, cluster.all_workers, reason=error.message
        )


def _serving_status(
    name: str,
    provider: str,
    cluster: NomadCluster,
    nomad: Nomad,
    agents: Sequence[Component],
) -> ClusterStatus:
    parts, problems = (
        list(agents),
        [f"{each.name}: {each.detail}" for each in agents if not each.healthy],
    )
    if cluster.idle and _is_idle(nomad, cluster):
        return ClusterStatus(
            name,
            provider,
            ClusterState.STOPPED,
            0,
            0,
            tuple(agents),
            {"Nomad": nomad.address},
            f"nothing was run for {format_duration(cluster.idle)}; the next run starts it again",
        )
    workers = 0
    for part in cluster.parts:
        found, alive, wrong = _part_status(nomad, cluster, part)
        parts += found
        workers += alive
        problems += [f"{part.name}: {each}" if part.name else each for each in wrong]
    if cluster.scales:
        found, problem = _job_parts(nomad, SCALER)
        parts += found
        problems += [problem] if problem else []
    endpoints = _endpoints(nomad, cluster)
    state = ClusterState.DEGRADED if problems else ClusterState.RUNNING
    return ClusterStatus(
        name,
        provider,
        state,
        workers,
        cluster.all_workers,
        tuple(parts),
        endpoints,
        "; ".join(problems),
    )


def _part_status(
    nomad: Nomad, cluster: NomadCluster, part: SiteRecord
) -> tuple[list[Component], int, list[str]]:
    """The components of a site, how many workers are there, and what is wrong."""
    access = Access(nomad, part.name)
    parts, problems = [], []
    for job in service_jobs(cluster, part):
        found, problem = _job_parts(nomad, job)
        parts += found
        if problem:
            problems.append(problem)
    workers, datanodes = _live_workers(access), live_datanodes(access)
    if workers != part.workers:
        problems.append(f"{workers} of {part.workers} workers are there")
    if datanodes < min(part.workers, 1):
        problems.append("HDFS has no DataNode")
    if not _history_answers(access):
        problems.append("the History Server does not answer")
    return parts, workers, problems


def _job_parts(nomad: Nomad, job: str) -> tuple[list[Component], str]:
    try:
        allocations = [a for a in nomad.allocations(job) if a["DesiredStatus"] == "run"]
    except NotThereError:
        return [], f"Nomad job {job} is not registered"
    parts, waiting = [], []
    for allocation in allocations:
        if allocation["ClientStatus"] == "pending":
            waiting.append(f"{job} is being started")
        for task, state in sorted((allocation.get("TaskStates") or {}).items()):
            running = state["State"] == "running" and not _restarting(state)
            detail = f"allocation {allocation['ID'][:8]}"
            if not running:
                detail += f", {_last_event(state)}"
                waiting.append(f"{task}: {_last_event(state)}")
            parts.append(Component(task, f"{task}-{allocation['ID'][:8]}", running, "", detail))
    if not allocations:
        return parts, f"Nomad has not placed {job}"
    return parts, "; ".join(waiting[:3])


def _restarting(state: Mapping[str, Any]) -> bool:
    events = state.get("Events") or []
    return bool(events) and events[-1]["Type"] == "Restarting"


def _last_event(state: Mapping[str, Any]) -> str:
    events = state.get("Events") or []
    return str(events[-1].get("DisplayMessage") or events[-1]["Type"]) if events else "waiting"


def _endpoints(nomad: Nomad, cluster: NomadCluster) -> dict[str, str]:
    endpoints = {"Nomad": nomad.address}
    for part in cluster.parts:
        where = f" at {part.name}" if part.name else ""
        for service, (title, form) in _ENDPOINTS.items():
            addresses = sorted(nomad.service(f"{service}{part.suffix}"))
            for number, address in enumerate(addresses, start=1):
                suffix = f" {number}" if len(addresses) > 1 else ""
                endpoints[f"{title}{where}{suffix}"] = form.format(address)
    return endpoints


def logs(nomad: Nomad, cluster: NomadCluster, host: str = "") -> Iterator[tuple[str, bytes]]:
    """The last output of every server of the cluster, or of those on one host."""
    for job in (job for part in cluster.parts for job in service_jobs(cluster, part)):
        try:
            allocations = nomad.allocations(job)
        except ClusterError:
            continue
        for allocation in allocations:
            if allocation["DesiredStatus"] != "run" or host not in ("", allocation["NodeName"]):
                continue
            for task in tasks_of(allocation):
                name = f"{task}-{allocation['ID'][:8]}"
                for stream in ("stdout", "stderr"):
                    data = nomad.task_log(allocation["ID"], task, stream)
                    if data:
                        yield name, data
