"""The cluster's own services as they are now: asked of Nomad, of Spark and of HDFS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cloudmesh.sparknomad.cluster.nomad.access import Access
from cloudmesh.sparknomad.cluster.nomad.client import Nomad, NotThereError, tasks_of
from cloudmesh.sparknomad.cluster.nomad.plans import SERVICE_JOBS, service_jobs
from cloudmesh.sparknomad.cluster.nomad.record import NomadCluster
from cloudmesh.sparknomad.errors import ClusterError, UnreachableError
from cloudmesh.sparknomad.model import ClusterState, ClusterStatus, Component
from cloudmesh.sparknomad.specs import ClusterSpec

__all__ = ["cluster_status", "live_datanodes", "logs", "memory_mb", "wanted_workers"]

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
    worker = int(spec.memory // 1024**2 * 1.25) + 768 + 640
    return 3 * 768 + spec.workers * worker + 2 * 1768


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


def wanted_workers(nomad: Nomad, otherwise: int) -> int:
    """How many workers there should be, as Nomad knows it."""
    try:
        groups = nomad.job("spark-worker")["TaskGroups"]
    except ClusterError:
        return otherwise
    return int(groups[0]["Count"]) if groups else otherwise


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
            cluster.workers,
            tuple(agents),
            {},
            f"the Nomad agent does not serve: {problem}; deploy it again",
        )
    try:
        return _serving_status(name, provider, cluster, nomad, agents)
    except UnreachableError as error:
        return ClusterStatus(
            name, provider, ClusterState.DEGRADED, 0, cluster.workers, reason=error.message
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
    access = Access(nomad)
    for job in service_jobs(cluster):
        found, problem = _job_parts(nomad, job)
        parts += found
        if problem:
            problems.append(problem)
    workers, datanodes = _live_workers(access), live_datanodes(access)
    if workers != cluster.workers:
        problems.append(f"{workers} of {cluster.workers} workers are there")
    if datanodes < min(cluster.workers, 1):
        problems.append("HDFS has no DataNode")
    if not _history_answers(access):
        problems.append("the History Server does not answer")
    endpoints = _endpoints(nomad)
    state = ClusterState.DEGRADED if problems else ClusterState.RUNNING
    return ClusterStatus(
        name,
        provider,
        state,
        workers,
        cluster.workers,
        tuple(parts),
        endpoints,
        "; ".join(problems),
    )


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


def _endpoints(nomad: Nomad) -> dict[str, str]:
    endpoints = {"Nomad": nomad.address}
    for service, (title, form) in _ENDPOINTS.items():
        addresses = sorted(nomad.service(service))
        for number, address in enumerate(addresses, start=1):
            suffix = f" {number}" if len(addresses) > 1 else ""
            endpoints[title + suffix] = form.format(address)
    return endpoints


def logs(nomad: Nomad, host: str = "") -> Iterator[tuple[str, bytes]]:
    """The last output of every server of the cluster, or of those on one host."""
    for job in ("gateway", *SERVICE_JOBS):
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
