"""Workers that are to go: HDFS has copies elsewhere before Nomad stops them."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from cloudmesh.sparknomad.cluster.nomad.access import Access
from cloudmesh.sparknomad.cluster.nomad.client import Nomad, NotThereError
from cloudmesh.sparknomad.cluster.nomad.record import SiteRecord
from cloudmesh.sparknomad.errors import ClusterError, WaitTimeoutError
from cloudmesh.sparknomad.incluster.hdfs_health import Settled
from cloudmesh.sparknomad.waiting import Deadline, wait_until

__all__ = ["Leaving", "are_spared"]

_KEY = "leaving"
_SECONDS = 300.0
_COUNTED_SECONDS = 5.0
"""The NameNode counts what a DataNode that leaves has alone every second."""


def are_spared(info: Mapping[str, Any], leaving: Collection[str], left: int) -> bool:
    """Whether every block of the DataNodes that leave has its copies elsewhere.

    With one left two copies can't be kept, and Hadoop would never call the others
    decommissioned: there it is enough that no block is on them alone.

    Args:
        info: the NameNode's bean ``NameNodeInfo``.
        leaving: the addresses of the DataNodes, as it knows them.
        left: how many stay.

    Raises:
        KeyError: if the bean tells something else.
        ValueError: if it tells it in another form.
    """
    if info["Safemode"]:
        return False
    live = {node["xferaddr"]: node for node in json.loads(info["LiveNodes"]).values()}
    going = {node["xferaddr"]: node for node in json.loads(info["DecomNodes"]).values()}
    for address in leaving:
        if address not in live or live[address]["adminState"] == "Decommissioned":
            continue
        if address not in going or left > 1 or int(going[address]["decommissionOnlyReplicas"]):
            return False
    return True


def _live(info: Mapping[str, Any]) -> set[str]:
    return {str(node["xferaddr"]) for node in json.loads(info["LiveNodes"]).values()}


@dataclass(frozen=True)
class Leaving:
    """The workers of a site that are too many, by HDFS's own way to let a DataNode go.

    Attributes:
        nomad: the cluster's client.
        part: the site.
        say: shows one line of progress.
    """

    nomad: Nomad
    part: SiteRecord
    say: Callable[[str], None]

    @property
    def _path(self) -> str:
        return f"nomad/jobs/hdfs{self.part.suffix}/namenode"

    def keep(self, workers: int, deadline: Deadline) -> None:
        """Let all but so many workers be spared; nothing is stopped here.

        Raises:
            ClusterError: if HDFS does not answer, or can't copy in time what they have alone; the
                workers are as they were.
        """
        before = self._listed()
        there = self._addresses()
        leaving = {address for index, address in there.items() if index >= workers}
        if not leaving:
            if before:
                # One that is gone stays listed until HDFS has seen it: taken for one that is
                # there, HDFS could remove the copies that were made in its place.
                self._list(self._still_live(before, deadline) - set(there.values()))
            return
        staying = set(there.values()) - leaving
        self.say(f"letting HDFS copy what only {len(leaving)} of the workers have")
        self._list(leaving | (self._still_live(before, deadline) - staying))
        try:
            self._wait(leaving, len(staying), deadline)
        except BaseException:
            self._list(before - set(there.values()))
            raise

    def _wait(self, leaving: Collection[str], left: int, deadline: Deadline) -> None:
        settled = Settled(seconds=_COUNTED_SECONDS)

        def spared() -> bool:
            info = self._info()
            if info is None:
                return False
            done = are_spared(info, leaving, left)
            # What HDFS itself calls decommissioned is; what it counts has to be counted first.
            return settled.has(done) or (done and left > 1 and _live(info) >= set(leaving))

        patience = min(_SECONDS, deadline.left)
        try:
            wait_until(spared, "copies", Deadline(patience), interval=0.2)
        except WaitTimeoutError:
            raise ClusterError(
                f"HDFS {self._problem()} within {patience:.0f} s, so it is not certain that "
                f"nothing is on {len(leaving)} of the workers alone: they stay.",
                hint="See `cms sparknomad cluster status`; give it more time with --timeout, or "
                "remove staged data first: `cms sparknomad storage staged`.",
            ) from None

    def _problem(self) -> str:
        return "did not answer" if self._info() is None else "could not copy everything"

    def _addresses(self) -> dict[int, str]:
        """Where the DataNode of each worker is, by the worker's index; Nomad stops the last."""
        try:
            placed = self.nomad.allocations(f"spark-worker{self.part.suffix}")
        except NotThereError:
            return {}
        found = {}
        for each in placed:
            if each["DesiredStatus"] == "run" and each["ClientStatus"] == "running":
                index = int(each["Name"].rpartition("[")[2].rstrip("]"))
                ports = self.nomad.allocation(each["ID"])["AllocatedResources"]["Shared"]["Ports"]
                port = next(port for port in ports if port["Label"] == "hdfs")
                found[index] = f"{port['HostIP']}:{port['Value']}"
        return found

    def _info(self) -> dict[str, Any] | None:
        """What the NameNode tells of itself, or ``None`` if it does not."""
        query = "/jmx?qry=Hadoop:service=NameNode,name=NameNodeInfo"
        try:
            (info,) = Access(self.nomad, self.part.name).json("hdfs-http", query)["beans"]
        except (OSError, ValueError):
            return None
        known: dict[str, Any] = info
        return known

    def _still_live(self, addresses: set[str], deadline: Deadline) -> set[str]:
        if not addresses:
            return set()
        info = wait_until(self._info, "the cluster's HDFS", deadline, interval=0.5)
        return addresses & _live(info)

    def _listed(self) -> set[str]:
        found = self.nomad.variable(self._path)
        return set(found.items.get(_KEY, "").split()) if found else set()

    def _list(self, addresses: Collection[str]) -> None:
        if addresses:
            self.nomad.put_variable(self._path, {_KEY: "\n".join(sorted(addresses))})
        else:
            self.nomad.delete_variable(self._path)
