"""Taking what runs on a host from it, with as little lost as can be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cloudmesh.sparknomad.cluster.nomad.access import Access
from cloudmesh.sparknomad.cluster.nomad.client import Nomad
from cloudmesh.sparknomad.cluster.nomad.hosts.installation import Hosts
from cloudmesh.sparknomad.cluster.nomad.hosts.scripts import script
from cloudmesh.sparknomad.cluster.nomad.record import HostRecord, NomadCluster
from cloudmesh.sparknomad.errors import ClusterError, WaitTimeoutError
from cloudmesh.sparknomad.incluster.allocations import ENDED
from cloudmesh.sparknomad.incluster.hdfs_health import Health, Settled, health
from cloudmesh.sparknomad.waiting import Deadline, wait_until

__all__ = ["Draining", "hdfs_health_of"]

_DECOMMISSION_SECONDS = 60
_HDFS_SECONDS = 180.0


def hdfs_health_of(access: Access) -> Health | None:
    """What HDFS has and lacks; ``None`` while that is not certain."""
    query = "/jmx?qry=Hadoop:service=NameNode,name="
    try:
        (system,) = access.json("hdfs-http", f"{query}FSNamesystem")["beans"]
        (info,) = access.json("hdfs-http", f"{query}NameNodeInfo")["beans"]
        return health(system, info)
    except (OSError, ValueError, KeyError):
        return None


@dataclass(frozen=True)
class Draining:
    """Hosts of a cluster that are to be left by what runs on them.

    Attributes:
        installation: reaches the hosts.
        cluster: it.
        nomad: its client.
        say: shows one line of progress.
    """

    installation: Hosts
    cluster: NomadCluster
    nomad: Nomad
    say: Callable[[str], None]

    def node(self, host: HostRecord) -> dict[str, Any] | None:
        """A host as Nomad knows it, or ``None``; of several of a name the one that is there."""
        found = [node for node in self.nomad.nodes() if node["Name"] == host.name]
        found.sort(key=lambda node: node["Status"] != "ready")
        return found[0] if found else None

    def undo(self, host: HostRecord) -> None:
        """Let a host take work again.

        Raises:
            ClusterError: if Nomad does not know it.
        """
        node = self.node(host)
        if node is None:
            raise ClusterError(f"Nomad knows no host {host.name!r}; deploy the cluster again.")
        self.nomad.drain(node["ID"], None)

    def run(self, hosts: Sequence[HostRecord], deadline: Deadline) -> None:
        """Drain hosts that are up; nothing is placed there from the beginning.

        Raises:
            WaitTimeoutError: if something still runs there.
        """
        nodes = {host.name: self.node(host) for host in hosts}
        ids = {name: str(node["ID"]) for name, node in nodes.items() if node}
        for node in ids.values():
            self.nomad.set_eligible(node, False)
        self._decommission(hosts, deadline)
        for name, node in ids.items():
            self.say(f"draining {name}")
            # What may take its time, a run's driver, has until shortly before we give up.
            self.nomad.drain(node, max(5.0, deadline.left - 60))
        for name, node in ids.items():
            wait_until(
                lambda node=node: self._is_empty(node),  # type: ignore[misc]
                f"everything to leave {name}",
                Deadline(max(60.0, deadline.left)),
                interval=0.5,
            )

    def _is_empty(self, node: str) -> bool:
        found = self.nomad.node_allocations(node)
        return all(each["ClientStatus"] in ENDED for each in found)

    def _decommission(self, hosts: Sequence[HostRecord], deadline: Deadline) -> None:
        workers = {
            allocation["NodeName"]
            for part in self.cluster.parts
            for allocation in self.nomad.allocations(f"spark-worker{part.suffix}")
            if allocation["ClientStatus"] == "running"
        }
        asked = [host for host in hosts if host.name in workers]
        if not asked:
            return
        seconds = int(min(_DECOMMISSION_SECONDS, max(5.0, deadline.left / 4)))
        self.say("letting executors hand over their blocks")
        words = script(
            "decommission",
            **self.cluster.place,
            seconds=str(seconds),
        )
        told, failed = self.installation.on_hosts(
            asked, words, "decommissioning its workers", seconds + 60
        )
        for name, left in told.items():
            if left.strip():
                self.say(
                    f"{name}: {left.strip()} executors have not ended; Spark makes up for them"
                )
        for name, problem in failed.items():
            self.say(f"{name}: {problem}")

    def copies(self, deadline: Deadline) -> str:
        """Wait until HDFS has enough copies of everything without the drained hosts.

        Returns:
            What it lacks, for a person; empty if nothing.
        """
        parts = [part for part in self.cluster.parts if self.cluster.is_up(part.name)]
        lacks = (self._site_copies(part.name, deadline) for part in parts)
        return "; ".join(filter(None, lacks))

    def _site_copies(self, site: str, deadline: Deadline) -> str:
        access = Access(self.nomad, site)
        patience = Deadline(min(_HDFS_SECONDS, max(20.0, deadline.left)))
        self.say("waiting for HDFS to have copies of everything elsewhere")

        settled = Settled()

        def enough() -> bool:
            told = hdfs_health_of(access)
            return settled.has(told is not None and told.is_whole)

        try:
            wait_until(enough, "copies", patience, interval=1)
        except WaitTimeoutError:
            told = hdfs_health_of(access)
            if told is None:
                return "HDFS has not come to rest"
            if told.missing:
                return f"{told.missing} blocks of HDFS have no copy elsewhere"
        return ""
