"""Bringing up the agents of a cluster on its hosts."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import platform
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from cloudmesh.sparknomad.cluster.nomad.client import Nomad
from cloudmesh.sparknomad.cluster.nomad.configuration import (
    AGENT_PORTS,
    HOST_PORTS,
    host_configuration,
)
from cloudmesh.sparknomad.cluster.nomad.hosts.facts import Facts, problems, read_facts
from cloudmesh.sparknomad.cluster.nomad.hosts.pki import Authority
from cloudmesh.sparknomad.cluster.nomad.hosts.reached import Reached
from cloudmesh.sparknomad.cluster.nomad.hosts.scripts import placing, script, text
from cloudmesh.sparknomad.cluster.nomad.hosts.spreading import Goods, spread, wanted
from cloudmesh.sparknomad.cluster.nomad.record import HostRecord, NomadCluster
from cloudmesh.sparknomad.compute.ssh import Shell
from cloudmesh.sparknomad.errors import ClusterError, SparknomadError
from cloudmesh.sparknomad.specs import ClusterSpec
from cloudmesh.sparknomad.waiting import Deadline, wait_until

__all__ = ["Deployment", "firewall_chain", "firewall_script", "host_files", "mark_of"]

_JOIN_SECONDS = 60.0


_FIREWALL = "firewall.sh"


def firewall_chain(cluster: NomadCluster) -> str:
    """The name of iptables' chain that belongs to a cluster."""
    return f"SPARKNOMAD-{cluster.identity[:8]}"


def host_files(cluster: NomadCluster, host: HostRecord, authority: Authority) -> dict[str, bytes]:
    """The files of a host's agent, by their paths there.

    Args:
        cluster: driver, keys, all hosts.
        host: it.
        authority: signs its certificate.
    """
    place = PurePosixPath(cluster.directory)
    role = "server" if host.server else "client"
    signed = authority.issue(f"host-{host.name}", role, [host.address, host.name])
    configuration = host_configuration(cluster, host, cluster.servers, place)
    return {
        f"{place}/agent.json": json.dumps(configuration, indent=1, sort_keys=True).encode(),
        f"{place}/agent.sh": text("agent").encode(),
        f"{place}/keeper.sh": text("keeper").encode(),
        f"{place}/tls/ca.pem": signed.authority.read_bytes(),
        f"{place}/tls/cert.pem": signed.certificate.read_bytes(),
        f"{place}/tls/key.pem": signed.key.read_bytes(),
    }


def mark_of(files: Mapping[str, bytes], nomad: str) -> str:
    """What tells whether an agent was started with these files, and with this Nomad.

    Args:
        files: of the agent, by their paths.
        nomad: the digest of the binary.
    """
    parts = [files[path] for path in sorted(files)]
    return hashlib.sha256(b"".join([*parts, nomad.encode()])).hexdigest()


def firewall_script(cluster: NomadCluster, hosts: Sequence[HostRecord]) -> str:
    """What lets only these hosts reach what tasks serve on one of them, also when it has booted."""
    rules = script(
        "firewall",
        chain=firewall_chain(cluster),
        hosts=" ".join(host.address for host in hosts),
        ports=":".join(map(str, HOST_PORTS)),
    )
    # Rules go with the kernel: the agent sets them before it begins.
    return f"{placing({f'{cluster.directory}/{_FIREWALL}': rules.encode()})}{rules}"


@dataclass(frozen=True)
class Deployment:
    """One deployment of a cluster.

    Attributes:
        spec: what is wanted.
        cluster: what is known of it.
        goods: what every host needs.
        authority: signs the hosts' certificates.
        client: gives a client of a cluster's Nomad.
        note: writes down what is known, before more is done.
        say: shows one line of progress.
        rolling: whether agents are changed a few at a time.
    """

    spec: ClusterSpec
    cluster: NomadCluster
    goods: Goods
    authority: Authority
    client: Callable[[NomadCluster], Nomad]
    note: Callable[[NomadCluster], NomadCluster]
    say: Callable[[str], None]
    rolling: bool = False

    @property
    def spared(self) -> int | None:
        """How many hosts it may do without; ``None`` if all are wanted."""
        if self.spec.min_workers is None:
            return None
        return max(0, sum(host.worker for host in self.cluster.hosts) - self.spec.min_workers)

    async def run(self, reached: Reached, deadline: Deadline) -> NomadCluster:
        """Let all agents run as they should, and wait until they take work.

        Raises:
            ClusterError: with every host that failed, and why, if the spec needs them.
        """
        facts = await self._look(reached)
        self._judge(reached)
        self.note(self.cluster.changed(hosts=reached.records))
        await self._claim(reached)
        self._judge(reached)
        needs = {
            host.name: wanted(self.goods, facts[host.name], worker=host.worker)
            for host in reached.good
        }
        addresses = {host.name: host.address for host in reached.good}
        for name in (name for name, packed in needs.items() if packed):
            reached.show(name, "getting Nomad and the image")
        failed = await spread(self.goods, reached.shells, needs, addresses, self.say)
        for name, error in failed.items():
            reached.fail(name, error)
        self._judge(reached)
        await self._start_all(reached, deadline)
        return self.note(self.cluster.changed(hosts=reached.records))

    # before anything is changed

    async def _look(self, reached: Reached) -> dict[str, Facts]:
        """Ask each host what it is, and whether it serves."""
        places = {**self.cluster.place, "directory": self.goods.directory}

        async def look(shell: Shell) -> tuple[Facts, float]:
            asked = script("facts", **places, address=shell.address)
            before = time.time()
            facts = read_facts(await shell.run(asked, name="looking around"))
            after = time.time()
            return facts, min(0, facts.time - before) + max(0, facts.time - after)

        found = {}
        for name, (facts, skew) in (await reached.each(look, what="looking around")).items():
            found[name] = self._seen(reached, name, facts, skew)
        return found

    def _seen(self, reached: Reached, name: str, facts: Facts, skew: float) -> Facts:
        given = next(record.address for record in reached.records if record.name == name)
        facts = replace(facts, address=given or facts.address)
        there = problems(
            facts,
            machine=platform.machine(),
            cluster_id=self.cluster.identity,
            ports=list(AGENT_PORTS.values()),
            needed_disk=0 if self.goods.image in facts.images else self.goods.needed_disk,
            skew=skew,
        )
        reached.change(
            name,
            address=facts.address,
            interface=facts.interfaces.get(facts.address, ""),
            problem="; ".join(there),
        )
        return facts

    @property
    def cluster_name(self) -> str:
        """The name of the cluster."""
        return self.spec.cluster

    async def _claim(self, reached: Reached) -> None:
        """Mark the hosts as ours, before anything is done to them."""
        words = script("claim", **self.cluster.place, identity=self.cluster.identity)
        await reached.run(words, "claiming it")

    def _judge(self, reached: Reached) -> None:
        """Go on without the hosts that failed, if the spec allows that.

        Raises:
            ClusterError: with every host that failed, and why.
        """
        hosts = reached.records
        bad = [host for host in hosts if host.problem]
        for host in bad:
            self.say(f"{host.name}: {host.problem}")
        good = sum(host.worker for host in reached.good)
        servers = [host for host in hosts if host.server]
        serving = sum(not host.problem for host in servers)
        # Without all of them a cluster never begins, without most of them it does not go on.
        before = any(host.joined for host in servers)
        lost_server = serving * 2 <= len(servers) if before else serving < len(servers)
        least = self.spec.min_workers
        if bad and (least is None or good < least or lost_server):
            listed = "\n".join(f"  {host.name}: {host.problem}" for host in bad)
            left = f" {good} of at least {least} workers are left." if least else ""
            raise ClusterError(
                f"{len(bad)} of {len(hosts)} hosts can't be part of cluster "
                f"{self.cluster_name!r}:{left}\n{listed}",
                hint="Mend or remove them and deploy again: what is done is kept. "
                "--min-workers=N goes on without hosts that fail.",
            )

    # agents

    async def _start_all(self, reached: Reached, deadline: Deadline) -> None:
        """Servers first: clients that find no leader try again only much later."""
        servers = [host for host in reached.good if host.server]
        rest = [host for host in reached.good if not host.server]
        self.say(f"starting Nomad on {len(servers)} servers")
        nomad = self.client(self.cluster.changed(hosts=reached.records))
        if len(servers) > 1 and any(host.joined for host in servers):
            await self._start_in_turn(reached, servers, nomad, deadline)
        else:
            await self._start(reached, servers)
        self._judge(reached)
        await asyncio.to_thread(
            wait_until, lambda: bool(nomad.leader()), "Nomad to elect its leader", deadline,
            interval=0.1,
        )  # fmt: skip
        await asyncio.to_thread(nomad.bootstrap)
        await self._protect(reached)
        if rest:
            self.say(f"starting Nomad on {len(rest)} more hosts")
            size = max(1, len(rest) // 4) if self.rolling else len(rest)
            for first in range(0, len(rest), size):
                await self._start(reached, rest[first : first + size])
                if self.rolling:
                    await self._joined(reached, nomad, deadline, rest[: first + size])
        await self._joined(reached, nomad, deadline)
        self._judge(reached)
        await self._save([host for host in reached.good if host.server])

    async def _save(self, servers: Sequence[HostRecord]) -> None:
        """Let every server write its state; one that does not run has none to write."""

        def save(host: HostRecord) -> None:
            with contextlib.suppress(SparknomadError):
                self.client(self.cluster.changed(hosts=(host,))).snapshot()

        await asyncio.gather(*(asyncio.to_thread(save, host) for host in servers))

    async def _start_in_turn(
        self, reached: Reached, servers: list[HostRecord], nomad: Nomad, deadline: Deadline
    ) -> None:
        """One server after another, the leader last: most of them serve all the time."""
        leader = (await asyncio.to_thread(nomad.leader)).rpartition(":")[0]
        await self._save(servers)
        for host in sorted(servers, key=lambda host: host.address == leader):
            told = await self._start(reached, [host])
            if "started" not in told.get(host.name, ""):
                continue

            def serves(name: str = host.name) -> bool:
                members = nomad.members() if nomad.leader() else {}
                return members.get(name) == "alive" and nomad.is_voter(name)

            what = f"{host.name} to be one of the servers"
            await asyncio.to_thread(wait_until, serves, what, deadline, interval=0.5)

    async def _protect(self, reached: Reached) -> None:
        """Let only the cluster's hosts reach what its tasks serve."""
        if not self.cluster.firewall:
            kept = shlex.quote(f"{self.cluster.directory}/{_FIREWALL}")
            await reached.run(f"rm -f {kept}", "leaving the firewall alone")
            return
        rules = firewall_script(self.cluster, [host for host in reached.records if host.address])
        asked = {host.name for host in reached.good}
        done = await reached.run(rules, "setting up the firewall")
        bad = [host for host in reached.records if host.name in asked - done.keys()]
        if bad and self.spared is None:
            listed = "; ".join(f"{host.name}: {host.problem}" for host in bad)
            raise ClusterError(
                f"Spark and HDFS could not be closed to others: {listed}",
                hint="Install iptables there, or say firewall: false in the spec where the "
                "network itself keeps others out.",
            )
        self._judge(reached)

    async def _start(self, reached: Reached, hosts: Sequence[HostRecord]) -> dict[str, str]:
        cluster = self.cluster.changed(hosts=reached.records)
        files = {host.name: host_files(cluster, host, self.authority) for host in hosts}

        async def start(shell: Shell) -> str:
            contents = files[shell.host.name]
            started = placing(contents) + script(
                "start",
                **self.cluster.place,
                mark=mark_of(contents, self.goods.nomad.content),
            )
            return await shell.run(started, name="starting Nomad")

        return await reached.each(start, only=files, what="starting Nomad")

    def marks(self) -> dict[str, str]:
        """With which mark each host's agent would run; nothing is sent."""
        return {
            host.name: mark_of(
                host_files(self.cluster, host, self.authority), self.goods.nomad.content
            )
            for host in self.cluster.hosts
            if host.address
        }

    async def _joined(
        self,
        reached: Reached,
        nomad: Nomad,
        deadline: Deadline,
        among: Sequence[HostRecord] | None = None,
    ) -> None:
        """Wait until every worker's agent takes work; who does not in time is left out."""
        names = {host.name for host in (reached.records if among is None else among)}
        expected = {host.name for host in reached.good if host.worker and host.name in names}
        ready: set[str] = set()

        def all_ready() -> bool:
            for node in nomad.nodes():
                state = (node.get("Drivers") or {}).get(self.cluster.driver) or {}
                if node["Status"] == "ready" and state.get("Healthy"):
                    ready.add(node["Name"])
            return expected <= ready

        patience = Deadline(min(_JOIN_SECONDS, deadline.left))
        try:
            await asyncio.to_thread(
                wait_until, all_ready, "all hosts to join", patience, interval=0.2
            )
        except SparknomadError:
            if self.spec.min_workers is None and not ready:
                raise
        for host in reached.good:
            if host.name not in names:
                continue
            joined = not host.worker or host.name in ready
            reached.change(
                host.name, joined=joined, problem="" if joined else "its agent did not join"
            )
            reached.show(host.name, "joined" if joined else "FAILED: its agent did not join")
