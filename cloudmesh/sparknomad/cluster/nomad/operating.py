"""Operating the hosts of a Nomad cluster while it runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cloudmesh.sparknomad.cluster.nomad import binary, looking, services
from cloudmesh.sparknomad.cluster.nomad.draining import Draining
from cloudmesh.sparknomad.cluster.nomad.hosts.installation import Hosts
from cloudmesh.sparknomad.cluster.nomad.record import HostRecord, NomadCluster
from cloudmesh.sparknomad.cluster.operations import HostOperations
from cloudmesh.sparknomad.errors import (
    ClusterError,
    ConflictError,
    LeftoverError,
    NotFoundError,
)
from cloudmesh.sparknomad.model import Change, ClusterStatus, ImageRuntime, Runtime
from cloudmesh.sparknomad.specs import ClusterSpec
from cloudmesh.sparknomad.waiting import Deadline, wait_until

if TYPE_CHECKING:
    from cloudmesh.sparknomad.cluster.nomad.provider import NomadProvider

__all__ = ["NomadHosts"]


class NomadHosts(HostOperations):
    """The hosts of one cluster.

    Args:
        provider: that runs it.
        name: of the cluster.
    """

    def __init__(self, provider: NomadProvider, name: str) -> None:
        self._provider = provider
        self.name = name
        self._say = provider.context.say

    @property
    def _cluster(self) -> NomadCluster:
        return self._provider._read(self.name)

    @property
    def _installation(self) -> Hosts:
        found = self._provider._installation(self.name, self._cluster)
        assert isinstance(found, Hosts)
        return found

    def _host(self, name: str) -> HostRecord:
        hosts = self._cluster.hosts
        for host in hosts:
            if host.name == name:
                return host
        raise NotFoundError(
            f"Cluster {self.name!r} has no host {name!r}; it has: "
            f"{', '.join(host.name for host in hosts)}."
        )

    def _draining(self) -> Draining:
        return Draining(
            self._installation, self._cluster, self._provider._nomad(self.name), self._say
        )

    # looking

    def differences(self, spec: ClusterSpec, runtime: Runtime | None) -> Sequence[Change]:
        """What a deploy would change beyond what the spec says; touches nothing."""
        image = runtime if isinstance(runtime, ImageRuntime) else None
        known = self._cluster
        context = self._provider.context
        nomad = binary.present_nomad(context.configuration, context.cache, self._say)
        wanted = self._provider._wanted(
            spec, image, str(nomad or f"Nomad {binary.VERSION}, to be installed"), known
        )
        client = self._installation.client(known)
        problem = self._installation.problem(known, client)
        return looking.differences(
            self._installation, spec, known, wanted, None if problem else client
        )

    def logs(self, host: str) -> Iterator[tuple[str, bytes]]:
        """The last output of a host's agent, and of all that runs there."""
        record = self._host(host)
        yield from self._installation.logs(self._cluster.changed(hosts=(record,)))
        yield from services.logs(self._provider._nomad(self.name), self._cluster, host)

    def ssh_command(self, host: str, command: Sequence[str]) -> Sequence[str]:
        """The words of the system's ``ssh`` that log in to a host, or run a command there."""
        record = self._host(host)
        files = self._installation.known_hosts_files(record)
        quoted = " ".join(f'"{path}"' for path in files)
        words = ["ssh", "-o", f"UserKnownHostsFile={quoted}"]
        if record.key:
            key = str(Path(record.key).expanduser())
            words += ["-i", key, "-o", "IdentitiesOnly=yes"]
        if record.user:
            words += ["-l", record.user]
        if record.port:
            words += ["-p", str(record.port)]
        if record.jump:
            words += ["-J", record.jump]
        return [*words, record.name, *command]

    # changing

    def drain(self, host: str, *, undo: bool, timeout: float) -> ClusterStatus:
        """Let nothing run on a host, and nothing new be placed there; or let it again."""
        record = self._host(host)
        with self._provider._locked(self.name):
            draining, deadline = self._draining(), Deadline(timeout)
            if undo:
                draining.undo(record)
            else:
                self._refuse_down(draining, [record])
                draining.run([record], deadline)
                lacks = draining.copies(deadline)
                if lacks:
                    self._say(f"{lacks}: it is still on {host}, which is not removed")
        return self._provider.status(self.name)

    @staticmethod
    def _refuse_down(draining: Draining, hosts: Sequence[HostRecord]) -> None:
        nodes = {host.name: draining.node(host) for host in hosts if host.worker}
        down = [name for name, node in nodes.items() if not node or node["Status"] != "ready"]
        if down:
            raise ClusterError(
                f"{', '.join(down)}: not up, so nothing can be moved from there.",
                hint="Switch it on and deploy again, or give it up: "
                "`cms sparknomad cluster remove-hosts NAME HOST --force`.",
            )

    def remove_hosts(
        self,
        spec: ClusterSpec,
        hosts: Sequence[str],
        runtime: Runtime | None,
        *,
        force: bool,
        timeout: float,
    ) -> Sequence[str]:
        """Drain hosts, and remove all that is on them."""
        # Those that an interrupted call has removed are known to the spec only.
        leaving = [host for host in self._cluster.hosts if host.name in hosts]
        if not leaving:
            return []
        deadline = Deadline(timeout)
        with self._provider._locked(self.name):
            self._hand_over(spec, leaving, runtime, deadline)
            draining = self._draining()
            nodes = {host.name: draining.node(host) for host in leaving}
            up = [host for host in leaving if (nodes[host.name] or {}).get("Status") == "ready"]
            if not force:
                self._refuse_down(draining, leaving)
            draining.run(up, deadline)
            lacks = draining.copies(deadline)
            if lacks and not force:
                raise ClusterError(
                    f"{lacks}: removing {', '.join(hosts)} now would lose them.",
                    hint="Try again when HDFS has made copies, take the host back with "
                    "`cluster drain NAME HOST --undo`, or give them up with --force: staged data "
                    "is fetched again when it is needed.",
                )
            told = [f"{lacks}; they are lost"] if lacks else []
            left = self._uninstall(leaving, force)
            self._forget(draining, leaving)
            return [*told, *left]

    def _hand_over(
        self,
        spec: ClusterSpec,
        leaving: Sequence[HostRecord],
        runtime: Runtime | None,
        deadline: Deadline,
    ) -> None:
        """Let other hosts be servers in place of those that leave.

        Raises:
            ConflictError: if there are none, or too few servers are left to agree.
        """
        known = self._cluster
        servers = {host.name for host in leaving if host.server}
        if not servers:
            return
        if len(servers) * 2 >= len(known.servers):
            raise ConflictError(
                f"{', '.join(sorted(servers))}: of {len(known.servers)} servers more than half "
                "have to stay, for they keep the cluster's state.",
                hint="Remove them one at a time; with one server, `servers: 3` and a deploy make "
                "more first.",
            )
        assert isinstance(runtime, ImageRuntime)
        wanted = self._provider._wanted(spec, runtime, known.binary, known)
        self._say(f"letting others be servers in place of {', '.join(sorted(servers))}")
        # They stay as workers until they are drained; one that is off does not hold this.
        former = tuple(dataclasses.replace(host, server=False, worker=True) for host in leaving)
        wanted = wanted.changed(hosts=(*wanted.hosts, *former))
        least = dataclasses.replace(spec, min_workers=1)
        after = self._installation.ensure(least, wanted, runtime, deadline)
        nomad = self._installation.client(after)
        for name in servers:
            nomad.forget_server(name)

    def _uninstall(self, leaving: Sequence[HostRecord], force: bool) -> list[str]:
        self._say(f"removing what is on {', '.join(host.name for host in leaving)}")
        left = self._installation.uninstall(self._cluster.changed(hosts=tuple(leaving)))
        if left and not force:
            raise LeftoverError(
                f"{len(left)} left: " + "; ".join(left[:20]),
                hint="Remove the hosts again, or end these by hand and use --force.",
            )
        return left

    def _forget(self, draining: Draining, leaving: Sequence[HostRecord]) -> None:
        names = {host.name for host in leaving}
        known = self._cluster
        rest = tuple(host for host in known.hosts if host.name not in names)
        known = known.changed(hosts=rest).write(self._installation.directory)
        for node in draining.nomad.nodes():
            if node["Name"] in names:
                draining.nomad.purge_node(node["ID"])
        self._installation.protect(known)

    def upgrade(self, spec: ClusterSpec, runtime: Runtime | None, *, timeout: float) -> None:
        """Bring image, Nomad and configuration of all hosts to what a deploy would, in turns."""
        deadline = Deadline(timeout)
        with self._provider._locked(self.name):
            before = self._worker_versions()
            self._provider._deploy(spec, runtime, deadline, rolling=True)
            for job, version in self._worker_versions().items():
                if before.get(job) != version:
                    self._replaced(job, version, deadline)
            # As a deploy has it: the next one finds nothing to change.
            nomad = self._provider._nomad(self.name)
            self._provider._register_all(nomad, self._cluster, deadline)
            self._provider._settled(spec, deadline)

    def _worker_versions(self) -> dict[str, int]:
        nomad = self._provider._nomad(self.name)
        jobs = (f"spark-worker{part.suffix}" for part in self._cluster.parts)
        return {job: int(nomad.job(job)["Version"]) for job in jobs}

    def _replaced(self, job: str, version: int, deadline: Deadline) -> None:
        nomad = self._provider._nomad(self.name)
        self._say("replacing workers, some at a time")

        def ended() -> str:
            status = nomad.rollout(job, version)
            return "" if status in ("running", "pending") else status

        status = wait_until(ended, "all workers to be replaced", deadline, interval=1)
        if status != "successful":
            raise ClusterError(
                f"Replacing the workers of cluster {self.name!r} stopped: it is {status}.",
                hint=f"See `cms sparknomad cluster status {self.name}`; upgrade it again.",
            )
