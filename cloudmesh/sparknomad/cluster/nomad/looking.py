"""What a deploy would change of a cluster on hosts; nothing is touched."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from cloudmesh.sparknomad.cluster.nomad.client import Nomad, NotThereError
from cloudmesh.sparknomad.cluster.nomad.hosts.installation import Hosts
from cloudmesh.sparknomad.cluster.nomad.plans import cluster_jobs
from cloudmesh.sparknomad.cluster.nomad.record import HostRecord, NomadCluster
from cloudmesh.sparknomad.cluster.nomad.registering import parse_job
from cloudmesh.sparknomad.model import Change
from cloudmesh.sparknomad.specs import ClusterSpec

__all__ = ["differences"]

_SHOWN = 60


def differences(
    installation: Hosts,
    spec: ClusterSpec,
    known: NomadCluster,
    wanted: NomadCluster,
    nomad: Nomad | None,
) -> list[Change]:
    """All that differs.

    Args:
        installation: reaches the hosts.
        spec: that would be deployed.
        known: what is remembered.
        wanted: what would be.
        nomad: the cluster's client, or ``None`` if it does not serve.
    """
    found = [*_hosts(known, wanted)]
    if known.image_id != wanted.image_id:
        found.append(Change("image", known.image_id[:12], wanted.image_id[:12]))
    found += _agents(installation, spec, known, wanted)
    found += (
        [Change("nomad", "does not serve", "serves")] if nomad is None else _jobs(nomad, wanted)
    )
    return found


def _roles(host: HostRecord) -> str:
    return " and ".join(role for role in ("server", "worker") if getattr(host, role))


def _hosts(known: NomadCluster, wanted: NomadCluster) -> Iterator[Change]:
    before = {host.name: host for host in known.hosts}
    after = {host.name: host for host in wanted.hosts}
    for name in {**before, **after}:
        old, new = before.get(name), after.get(name)
        if old and not new:
            yield Change(f"host {name}", _roles(old), "not in the spec: see remove-hosts")
        elif new and not old:
            yield Change(f"host {name}", "", _roles(new))
        elif old and new and _roles(old) != _roles(new):
            yield Change(f"host {name}", _roles(old), _roles(new))


def _agents(
    installation: Hosts, spec: ClusterSpec, known: NomadCluster, wanted: NomadCluster
) -> Iterator[Change]:
    """What is on hosts, against what would be: an agent that is off, other files, another Nomad."""
    there = {host.name for host in wanted.hosts}
    hosts = [host for host in known.hosts if host.name in there]
    looked = installation.look(known, hosts)
    binary = Path(wanted.binary)
    content = _sha256(binary) if binary.is_file() else ""
    marks = installation.marks(spec, wanted, content) if content else {}
    for host in hosts:
        seen = looked.get(host.name)
        subject = f"host {host.name}: "
        if seen is None:
            yield Change(f"{subject}agent", "not reached", "runs")
            continue
        digest, mark = seen
        if content and digest != content:
            yield Change(f"{subject}Nomad", digest[:12] or "not there", content[:12])
        if not mark:
            yield Change(f"{subject}agent", "does not run", "runs")
        elif marks.get(host.name) != mark:
            yield Change(f"{subject}agent", "runs", "is started anew with other files")


def _jobs(nomad: Nomad, wanted: NomadCluster) -> Iterator[Change]:
    for job in cluster_jobs(wanted, wanted.spark):
        try:
            fields = nomad.would_change(parse_job(nomad, job))
        except NotThereError:
            fields = [("", "not there", "runs")]
        for field, before, after in fields:
            yield Change(f"job {job.id}: {field}".rstrip(": "), before[:_SHOWN], after[:_SHOWN])


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
