"""What is remembered of a Nomad cluster on the machine that deployed it."""

from __future__ import annotations

import base64
import ipaddress
import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from cloudmesh.sparknomad.cluster.foreign import refuse_foreign
from cloudmesh.sparknomad.processes import ProcessRef, write_private

__all__ = [
    "HOST",
    "MARK",
    "HostRecord",
    "NomadCluster",
    "SiteRecord",
    "new_gossip_key",
    "remembered",
]

HOST = "127.0.0.1"
MARK = "binary"
"""A field that tells a record of this provider from others'."""


def new_gossip_key() -> str:
    """A key for Nomad's servers among each other."""
    return base64.b64encode(secrets.token_bytes(32)).decode()


@dataclass(frozen=True)
class HostRecord:
    """A host of a cluster, as it was found when the cluster was deployed.

    Attributes:
        name: as SSH knows it.
        address: by which the others reach it.
        interface: the network interface that has this address, or empty.
        server: whether it keeps Nomad's state.
        worker: whether it runs tasks.
        user: to log in as, or empty.
        port: of its SSH server, or 0.
        key: a file with a private key, or empty.
        jump: a host to log in by, or empty.
        host_key: its public key, or empty.
        labels: for Nomad.
        site: that it is part of, or empty.
        joined: whether it came up; else its reason stands in `problem`.
        problem: why it is not part of the cluster now, or empty.
        inside: whether who has this record is itself on a host of the cluster.
    """

    name: str
    address: str = ""
    interface: str = ""
    server: bool = False
    worker: bool = True
    user: str = ""
    port: int = 0
    key: str = ""
    jump: str = ""
    host_key: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    site: str = ""
    joined: bool = False
    problem: str = ""
    inside: bool = False

    @property
    def outside(self) -> str:
        """The address at which this machine reaches it.

        It is the one that SSH is given, where that is an address: machines of a cloud may be
        reached from outside at another one than by each other.
        """
        try:
            ipaddress.ip_address(self.name)
        except ValueError:
            return self.address
        return self.address if self.jump or self.inside else self.name


def remembered(wanted: Iterable[HostRecord], known: Iterable[HostRecord]) -> tuple[HostRecord, ...]:
    """Hosts of a spec with what was found of them before: they may not be reached this time."""
    by_name = {host.name: host for host in known}
    found = []
    for host in wanted:
        before = by_name.get(host.name)
        if before:
            address = host.address or before.address
            interface = before.interface if address == before.address else ""
            host = replace(
                host, address=address, interface=interface,
                joined=before.joined, problem=before.problem,
            )  # fmt: skip
        found.append(host)
    return tuple(found)


@dataclass(frozen=True)
class SiteRecord:
    """What a cluster has at one of its sites.

    Attributes:
        name: of the site, a Nomad datacenter; empty for a cluster without sites.
        workers: how many Spark workers there should be.
        cores: of each.
        memory: of each, in bytes.
        most: how many workers there may be.
    """

    name: str
    workers: int
    cores: int
    memory: int
    most: int = 0

    @property
    def suffix(self) -> str:
        """By which its jobs and services are told from those of other sites."""
        return f"-{self.name}" if self.name else ""


@dataclass(frozen=True)
class NomadCluster:
    """The content of ``cluster.json``, readable by its owner alone: it holds the tokens.

    Attributes:
        data: the agent's data directory.
        binary: the Nomad that runs it.
        token: the ACL token of management, made before the agent knows it.
        spark_secret: shared by the cluster's Spark processes.
        ports: of the agent: ``http``, ``rpc``, ``serf``.
        driver: the task driver that runs everything.
        image_id: of the image.
        tag: the image's name in Docker.
        rootfs: where the image is unpacked, for the other drivers.
        spark: the version of Spark in it.
        workers: how many there should be, at each site.
        most: how many there may be; the same, or 0, where they do not come by themselves.
        idle: seconds without a run after which everything but Nomad is stopped; 0 for never.
        cores: of each worker.
        memory: of each worker, in bytes.
        conf: Spark configuration of the daemons.
        pid: of the agent.
        created: when the agent was started.
        task_ports: the first of the ports that its tasks may be given; Nomad does not look
            whether one is free.
        hosts: that are reached by SSH; without any, this machine.
        sites: what differs where, if the cluster has sites.
        identity: tells this cluster from others of its name.
        gossip_key: of Nomad's servers among each other.
        directory: of the cluster on its hosts.
        mounts: whether its hosts offer the image's directories to tasks as volumes.
        firewall: whether its hosts let only each other reach Spark and HDFS.
        role: of the token, if it is none of management: ``operator``, ``submitter`` or ``reader``.
        namespace: of Nomad, in which runs are sent from here.
        sockets: the directory of the sockets by which this machine's agent reaches its helpers.
    """

    data: str
    binary: str
    token: str
    spark_secret: str
    ports: Mapping[str, int]
    driver: str
    image_id: str
    tag: str
    rootfs: str
    spark: str
    workers: int
    cores: int
    memory: int
    conf: Mapping[str, str] = field(default_factory=dict)
    pid: int = 0
    created: float = 0.0
    task_ports: int = 0
    hosts: tuple[HostRecord, ...] = ()
    sites: tuple[SiteRecord, ...] = ()
    identity: str = ""
    gossip_key: str = ""
    directory: str = ""
    firewall: bool = True
    mounts: bool = False
    role: str = ""
    namespace: str = "default"
    most: int = 0
    idle: float = 0.0
    sockets: str = ""

    @property
    def runtime(self) -> str:
        """What is in the ids of jobs for runs: one of another image, or way to it, is another."""
        return f"{self.image_id[:8]}{'m' if self.mounts else ''}"

    @property
    def place(self) -> dict[str, str]:
        """Where it lies on its hosts, as their scripts read it; here it may have another name."""
        place = PurePosixPath(self.directory)
        return {"directory": str(place.parent), "cluster": place.name}

    @classmethod
    def read(cls, directory: Path) -> NomadCluster | None:
        """Read it, or ``None`` if it is not there.

        Raises:
            ConflictError: if it is another provider's.
        """
        try:
            document = json.loads((directory / "cluster.json").read_text("utf-8"))
        except FileNotFoundError:
            return None
        refuse_foreign(directory, document, MARK)
        hosts = tuple(HostRecord(**each) for each in document.pop("hosts", ()))
        sites = tuple(SiteRecord(**each) for each in document.pop("sites", ()))
        return cls(**document, hosts=hosts, sites=sites)

    def write(self, directory: Path) -> NomadCluster:
        """Write it, atomically."""
        write_private(directory / "cluster.json", json.dumps(asdict(self), indent=1))
        return self

    def changed(self, **changes: Any) -> NomadCluster:
        """A copy with other values."""
        return replace(self, **changes)

    @property
    def agent(self) -> ProcessRef:
        """The agent's process."""
        return ProcessRef(self.pid, self.created)

    @property
    def address(self) -> str:
        """The URL of Nomad's API."""
        if self.hosts:
            return f"https://{self.servers[0].outside}:4646"
        return f"http://{HOST}:{self.ports['http']}"

    @property
    def parts(self) -> tuple[SiteRecord, ...]:
        """Its sites, or one without a name."""
        return self.sites or (SiteRecord("", self.workers, self.cores, self.memory, self.most),)

    @property
    def scales(self) -> bool:
        """Whether the cluster's own scaler decides what runs."""
        return bool(self.idle) or any(part.most > part.workers for part in self.parts)

    def part(self, site: str) -> SiteRecord:
        """One of its sites; the first if none is named."""
        return next((part for part in self.parts if part.name == site), self.parts[0])

    def is_up(self, site: str) -> bool:
        """Whether any of a site's hosts can run tasks; without hosts this machine does."""
        here = [host for host in self.hosts if host.site == site and host.worker]
        return not self.hosts or any(not host.problem for host in here)

    @property
    def all_workers(self) -> int:
        """How many workers there should be at all sites."""
        return sum(part.workers for part in self.parts)

    @property
    def servers(self) -> list[HostRecord]:
        """The hosts that keep Nomad's state."""
        return [host for host in self.hosts if host.server]
