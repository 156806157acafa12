"""From a cluster's spec, and what is known of it, to what is to be there. Pure but for chance."""

from __future__ import annotations

import os
import secrets
import uuid
from pathlib import Path, PurePosixPath

from cloudmesh.sparknomad.cluster.nomad.hosts.reached import host_records
from cloudmesh.sparknomad.cluster.nomad.record import (
    NomadCluster,
    SiteRecord,
    new_gossip_key,
    remembered,
)
from cloudmesh.sparknomad.compute.inventory import expand
from cloudmesh.sparknomad.errors import ConflictError, InputError
from cloudmesh.sparknomad.model import ImageRuntime
from cloudmesh.sparknomad.specs import ClusterSpec, TaskDriver

__all__ = ["refuse", "site_records", "wanted_cluster"]

_KEPT = (
    "sockets",
    *("token", "spark_secret", "ports", "pid", "created", "task_ports", "identity"),
    *("gossip_key", "data"),
)
"""What a cluster has for its life."""


def wanted_cluster(
    spec: ClusterSpec,
    image: ImageRuntime | None,
    *,
    data: Path,
    binary: str,
    known: NomadCluster | None = None,
) -> NomadCluster:
    """What is to be remembered of a cluster when it is as its spec says.

    Args:
        spec: of the cluster.
        image: that it runs, or ``None`` where that is not built yet.
        data: of the agent on this machine.
        binary: the Nomad that runs it.
        known: what is remembered of it now; its tokens and addresses stay.
    """
    servers = [host.name for host in known.servers] if known else []
    part = next(iter(spec.parts.values()))
    made = NomadCluster(
        data=str(data),
        binary=binary,
        token=str(uuid.uuid4()),
        spark_secret=secrets.token_hex(32),
        ports={"http": 0, "rpc": 0, "serf": 0},
        driver=_driver(spec, image),
        image_id=image.image_id if image else "",
        tag=image.tag if image else "",
        rootfs=_rootfs(spec, image),
        spark=image.spark if image else "",
        workers=part.workers,
        most=part.most,
        idle=spec.idle or 0.0,
        cores=spec.cores,
        memory=spec.memory,
        conf=dict(spec.conf),
        hosts=host_records(expand(spec.hosts, spec.servers, servers)) if spec.hosts else (),
        sites=site_records(spec),
        identity=str(uuid.uuid4()),
        gossip_key=new_gossip_key(),
        directory=f"{spec.directory}/{spec.cluster}",
        firewall=spec.firewall,
        mounts=_driver(spec, image) == "exec",
    )
    if known is None:
        return made
    kept = {name: getattr(known, name) for name in _KEPT}
    # Here it may have another name than where it was deployed.
    directory = f"{spec.directory}/{PurePosixPath(known.directory or made.directory).name}"
    hosts = remembered(made.hosts, known.hosts)
    return made.changed(**kept, directory=directory, hosts=hosts)


def site_records(spec: ClusterSpec) -> tuple[SiteRecord, ...]:
    """What a spec says of each site; nothing where it has none."""
    parts = spec.parts.items()
    return tuple(SiteRecord(n, p.workers, p.cores, p.memory, p.most) for n, p in parts if n)


def _driver(spec: ClusterSpec, image: ImageRuntime | None) -> str:
    if spec.hosts and spec.driver is TaskDriver.DOCKER:
        raise InputError(
            "driver: docker: hosts get the image as files, which Docker does not run.",
            hint="Leave driver out: exec runs the same image.",
        )
    if spec.driver is not TaskDriver.AUTO:
        return str(spec.driver.value)
    if not spec.hosts and (image is None or image.tag):
        return str(TaskDriver.DOCKER.value)
    root = bool(spec.hosts) or os.geteuid() == 0
    return str((TaskDriver.EXEC if root else TaskDriver.RAW_EXEC).value)


def _rootfs(spec: ClusterSpec, image: ImageRuntime | None) -> str:
    if image is None:
        return ""
    if spec.hosts:
        return f"{spec.directory}/images/{image.image_id[:32]}"
    return str(image.rootfs) if image.rootfs else ""


def _kept_apart(name: str, known: NomadCluster, wanted: NomadCluster) -> str:
    """Why a cluster can't be changed so by deploying it; empty if it can."""
    if bool(known.hosts) != bool(wanted.hosts):
        return f"hosts: cluster {name!r} runs on {'hosts' if known.hosts else 'this machine'}."
    if known.driver != wanted.driver:
        return f"driver: cluster {name!r} runs on {known.driver}, not {wanted.driver}."
    if known.directory and known.directory != wanted.directory:
        return f"directory: cluster {name!r} lies in {known.directory}, not {wanted.directory}."
    return ""


def refuse(name: str, known: NomadCluster, wanted: NomadCluster) -> None:
    """Refuse what deploying can't change.

    Raises:
        ConflictError: it says what else does.
    """
    why = _kept_apart(name, known, wanted)
    if why:
        raise ConflictError(why, hint=f"Destroy it first: cms sparknomad cluster destroy {name}")
    there = {host.name for host in wanted.hosts}
    gone = [host.name for host in known.hosts if host.name not in there]
    if gone:
        raise ConflictError(
            f"hosts: {', '.join(gone)}: part of cluster {name!r}, but not in its spec any more.",
            hint=f"`cms sparknomad cluster remove-hosts {name} {' '.join(gone)}` drains and "
            "cleans them first.",
        )
    servers = {host.name for host in wanted.servers}
    demoted = [host.name for host in known.servers if host.name not in servers and host.joined]
    if demoted:
        raise ConflictError(
            f"servers: {', '.join(demoted)}: keep the state of cluster {name!r}; a deploy can't "
            "take that from them.",
            hint=f"Leave servers and role as they are, or remove such a host: `cms sparknomad "
            f"cluster remove-hosts {name} {demoted[0]}`.",
        )
