"""The agents of a cluster on hosts that are reached by SSH."""

from __future__ import annotations

import asyncio
import hashlib
import json
import platform
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path, PurePosixPath

from cloudmesh.sparknomad.cluster.nomad.client import Nomad
from cloudmesh.sparknomad.cluster.nomad.configuration import (
    AGENT_PORTS,
    HOST_PORTS,
    host_configuration,
)
from cloudmesh.sparknomad.cluster.nomad.hosts.facts import Facts, problems, read_facts
from cloudmesh.sparknomad.cluster.nomad.hosts.pki import Authority, Certificate
from cloudmesh.sparknomad.cluster.nomad.hosts.scripts import script, text
from cloudmesh.sparknomad.cluster.nomad.hosts.spreading import Goods, spread, wanted
from cloudmesh.sparknomad.cluster.nomad.installation import Installation
from cloudmesh.sparknomad.cluster.nomad.record import HostRecord, NomadCluster
from cloudmesh.sparknomad.compute.inventory import Host
from cloudmesh.sparknomad.compute.ssh import HostKeys, Shell, each_host, open_shell
from cloudmesh.sparknomad.errors import ClusterError, SparknomadError, UnreachableError
from cloudmesh.sparknomad.model import Component, ImageRuntime, PlanStep
from cloudmesh.sparknomad.packing import pack
from cloudmesh.sparknomad.processes import write_private
from cloudmesh.sparknomad.specs import ClusterSpec
from cloudmesh.sparknomad.waiting import Deadline, wait_until

__all__ = ["Hosts", "host_records"]

_SSH_FIELDS = ("name", "address", "user", "port", "key", "jump", "host_key")


def host_records(hosts: Sequence[Host]) -> tuple[HostRecord, ...]:
    """What is remembered of hosts that were not asked yet."""
    return tuple(
        HostRecord(
            **{field: getattr(host, field) for field in _SSH_FIELDS},
            server=host.server,
            worker=host.worker,
            labels=dict(host.labels),
        )
        for host in hosts
    )


def _host(record: HostRecord) -> Host:
    fields = {field: getattr(record, field) for field in _SSH_FIELDS}
    return Host(**fields, server=record.server, worker=record.worker, labels=record.labels)


def _failed(name: str, answer: object) -> str:
    """What went wrong on a host, without its name."""
    told = answer.message if isinstance(answer, SparknomadError) else str(answer)
    return told.removeprefix(f"{name}: ") or type(answer).__name__


class Hosts(Installation):
    """Nomad agents on hosts, with certificates of the cluster's own authority."""

    @property
    def _authority(self) -> Authority:
        return Authority(self.directory / "tls", self.name)

    @property
    def _operator(self) -> Certificate:
        return self._authority.issue("operator", "cli")

    @property
    def _keys(self) -> HostKeys:
        return HostKeys(self.directory / "known_hosts", self.context.accept_host_key)

    # plan

    def plan(self, spec: ClusterSpec, cluster: NomadCluster) -> list[PlanStep]:
        """What `ensure` would do; touches nothing."""
        steps = [PlanStep(f"make the certificate authority of cluster {self.name!r}")]
        for host in cluster.hosts:
            roles = [role for role in ("server", "worker") if getattr(host, role)]
            place = PurePosixPath(cluster.directory)
            configuration = host_configuration(
                cluster,
                host if host.address else replace(host, address=host.name),
                [replace(one, address=one.address or one.name) for one in cluster.servers],
                place,
            )
            steps.append(PlanStep(f"{host.name}: check it", text("facts"), "sh"))
            steps.append(
                PlanStep(
                    f"{host.name}: bring Nomad and the image, start the agent as "
                    + " and ".join(roles),
                    json.dumps(configuration, indent=2),
                    "json",
                )
            )
        return steps

    # deploy

    def ensure(
        self, spec: ClusterSpec, cluster: NomadCluster, image: ImageRuntime, deadline: Deadline
    ) -> NomadCluster:
        """Let all agents run as they should, and wait until they take work."""
        self._authority.ensure()
        goods = self._goods(spec, cluster, image)
        return asyncio.run(self._ensure(spec, cluster, goods, deadline))

    def _goods(self, spec: ClusterSpec, cluster: NomadCluster, image: ImageRuntime) -> Goods:
        binary = Path(cluster.binary)
        status = binary.stat()
        mark = f"{binary}{status.st_size}{status.st_mtime_ns}"
        key = "nomad-" + hashlib.sha256(mark.encode()).hexdigest()[:32]
        nomad = pack("Nomad", binary, key, self.context.cache / "packed")
        return Goods(spec.directory, nomad, image.image_id[:32], image.layers)

    async def _ensure(
        self, spec: ClusterSpec, cluster: NomadCluster, goods: Goods, deadline: Deadline
    ) -> NomadCluster:
        async with AsyncExitStack() as stack:
            shells, hosts = await self._enter(stack, cluster.hosts)
            facts, hosts = await self._look(shells, hosts, cluster, goods)
            hosts = self._judge(spec, hosts)
            cluster = cluster.changed(hosts=hosts).write(self.directory)
            hosts = self._judge(spec, _noted(hosts, await self._claim(cluster, shells)))
            needs = {
                host.name: wanted(goods, facts[host.name], worker=host.worker)
                for host in hosts
                if not host.problem
            }
            addresses = {host.name: host.address for host in hosts}
            failed = await spread(goods, shells, needs, addresses, self.context.say)
            hosts = self._judge(spec, _noted(hosts, failed))
            return await self._start_all(spec, cluster.changed(hosts=hosts), shells, deadline)

    async def _enter(
        self, stack: AsyncExitStack, hosts: Sequence[HostRecord]
    ) -> tuple[dict[str, Shell], tuple[HostRecord, ...]]:
        self.context.say(f"logging in to {len(hosts)} hosts")

        async def enter(host: Host) -> Shell:
            return await stack.enter_async_context(open_shell(host, self._keys))

        answers = await each_host([_host(record) for record in hosts], enter)
        shells = {name: shell for name, shell in answers.items() if isinstance(shell, Shell)}
        bad = {name: error for name, error in answers.items() if isinstance(error, Exception)}
        return shells, _noted(tuple(replace(host, problem="") for host in hosts), bad)

    async def _look(
        self,
        shells: Mapping[str, Shell],
        hosts: Sequence[HostRecord],
        cluster: NomadCluster,
        goods: Goods,
    ) -> tuple[dict[str, Facts], tuple[HostRecord, ...]]:
        """Ask each host what it is, and whether it serves."""
        asked = script("facts", directory=goods.directory, cluster=self.name)

        async def look(host: Host) -> tuple[Facts, float]:
            before = time.time()
            facts = read_facts(await shells[host.name].run(asked, name="looking around"))
            after = time.time()
            skew = min(0, facts.time - before) + max(0, facts.time - after)
            return facts, skew

        reached = [_host(record) for record in hosts if record.name in shells]
        answers = await each_host(reached, look)
        found: dict[str, Facts] = {}
        seen = []
        for host in hosts:
            answer = answers.get(host.name)
            if isinstance(answer, tuple):
                facts, skew = answer
                facts = replace(facts, address=host.address or facts.address)
                found[host.name] = facts
                there = problems(
                    facts,
                    machine=platform.machine(),
                    cluster_id=cluster.identity,
                    ports=list(AGENT_PORTS.values()),
                    needed_disk=0 if goods.image in facts.images else goods.needed_disk,
                    skew=skew,
                )
                host = replace(
                    host,
                    address=facts.address,
                    interface=facts.interfaces.get(facts.address, ""),
                    problem="; ".join(there),
                )
            elif isinstance(answer, Exception):
                host = replace(host, problem=_failed(host.name, answer))
            seen.append(host)
        return found, tuple(seen)

    async def _claim(
        self, cluster: NomadCluster, shells: Mapping[str, Shell]
    ) -> dict[str, Exception]:
        """Mark the hosts as ours, before anything is done to them."""
        place = PurePosixPath(cluster.directory)
        words = script(
            "claim", directory=str(place.parent), cluster=self.name, identity=cluster.identity
        )

        async def claim(host: Host) -> str:
            return await shells[host.name].run(words, name="claiming it")

        free = [_host(record) for record in cluster.hosts if not record.problem]
        answers = await each_host(free, claim)
        return {name: error for name, error in answers.items() if isinstance(error, Exception)}

    def _judge(self, spec: ClusterSpec, hosts: tuple[HostRecord, ...]) -> tuple[HostRecord, ...]:
        """Go on without the hosts that failed, if the spec allows that.

        Raises:
            ClusterError: with every host that failed, and why.
        """
        bad = [host for host in hosts if host.problem]
        for host in bad:
            self.context.say(f"{host.name}: {host.problem}")
        good = sum(host.worker for host in hosts if not host.problem)
        lost_server = [host.name for host in bad if host.server]
        least = spec.min_workers
        if bad and (least is None or good < least or lost_server):
            listed = "\n".join(f"  {host.name}: {host.problem}" for host in bad)
            left = f" {good} of at least {least} workers are left." if least else ""
            raise ClusterError(
                f"{len(bad)} of {len(hosts)} hosts can't be part of cluster {self.name!r}:{left}\n"
                f"{listed}",
                hint="Mend or remove them and deploy again: what is done is kept. "
                "--min-workers=N goes on without hosts that fail.",
            )
        return hosts

    async def _start_all(
        self,
        spec: ClusterSpec,
        cluster: NomadCluster,
        shells: Mapping[str, Shell],
        deadline: Deadline,
    ) -> NomadCluster:
        """Servers first: clients that find no leader try again only much later."""
        servers = [host for host in cluster.hosts if host.server]
        rest = [host for host in cluster.hosts if not host.server and not host.problem]
        self.context.say(f"starting Nomad on {len(servers)} servers")
        hosts = _noted(cluster.hosts, await self._start(cluster, shells, servers))
        self._judge(spec, hosts)
        nomad = self.client(cluster)
        await asyncio.to_thread(
            wait_until, lambda: bool(nomad.leader()), "Nomad to elect its leader", deadline,
            interval=0.1,
        )  # fmt: skip
        await asyncio.to_thread(nomad.bootstrap)
        await self._protect(cluster, shells)
        if rest:
            self.context.say(f"starting Nomad on {len(rest)} more hosts")
            hosts = _noted(hosts, await self._start(cluster, shells, rest))
        hosts = await self._joined(spec, nomad, hosts, cluster.driver, deadline)
        hosts = self._judge(spec, hosts)
        return cluster.changed(hosts=hosts).write(self.directory)

    async def _protect(self, cluster: NomadCluster, shells: Mapping[str, Shell]) -> None:
        """Let only the cluster's hosts reach what its tasks serve."""
        if not cluster.firewall:
            return
        serving = [host for host in cluster.hosts if not host.problem]
        rules = script(
            "firewall",
            chain=_chain(cluster),
            hosts=" ".join(host.address for host in serving),
            ports=":".join(map(str, HOST_PORTS)),
        )

        async def protect(host: Host) -> str:
            return await shells[host.name].run(rules, name="setting up the firewall")

        answers = await each_host([_host(record) for record in serving], protect)
        bad = {name: error for name, error in answers.items() if isinstance(error, Exception)}
        if bad:
            listed = "; ".join(f"{name}: {_failed(name, error)}" for name, error in bad.items())
            raise ClusterError(
                f"Spark and HDFS could not be closed to others: {listed}",
                hint="Install iptables there, or say firewall: false in the spec where the "
                "network itself keeps others out.",
            )

    async def _start(
        self, cluster: NomadCluster, shells: Mapping[str, Shell], hosts: Sequence[HostRecord]
    ) -> dict[str, Exception]:
        place = PurePosixPath(cluster.directory)
        files = {host.name: self._files(cluster, host, place) for host in hosts}

        async def start(host: Host) -> None:
            shell = shells[host.name]
            for path, content in files[host.name].items():
                await shell.write(path, content)
            mark = hashlib.sha256(
                b"".join(files[host.name][path] for path in sorted(files[host.name]))
            ).hexdigest()
            started = script("start", directory=str(place.parent), cluster=self.name, mark=mark)
            await shell.run(started, name="starting Nomad")

        answers = await each_host([_host(record) for record in hosts], start)
        return {name: error for name, error in answers.items() if isinstance(error, Exception)}

    def _files(
        self, cluster: NomadCluster, host: HostRecord, place: PurePosixPath
    ) -> dict[str, bytes]:
        role = "server" if host.server else "client"
        signed = self._authority.issue(f"host-{host.name}", role, [host.address, host.name])
        configuration = host_configuration(cluster, host, cluster.servers, place)
        return {
            f"{place}/agent.json": json.dumps(configuration, indent=1, sort_keys=True).encode(),
            f"{place}/agent.sh": text("agent").encode(),
            f"{place}/keeper.sh": text("keeper").encode(),
            f"{place}/tls/ca.pem": signed.authority.read_bytes(),
            f"{place}/tls/cert.pem": signed.certificate.read_bytes(),
            f"{place}/tls/key.pem": signed.key.read_bytes(),
        }

    async def _joined(
        self,
        spec: ClusterSpec,
        nomad: Nomad,
        hosts: tuple[HostRecord, ...],
        driver: str,
        deadline: Deadline,
    ) -> tuple[HostRecord, ...]:
        """Wait until every worker's agent takes work; who does not in time is left out."""
        expected = {host.name for host in hosts if host.worker and not host.problem}
        ready: set[str] = set()

        def all_ready() -> bool:
            for node in nomad.nodes():
                state = (node.get("Drivers") or {}).get(driver) or {}
                if node["Status"] == "ready" and state.get("Healthy"):
                    ready.add(node["Name"])
            return expected <= ready

        patience = Deadline(min(60.0, deadline.left))
        try:
            await asyncio.to_thread(
                wait_until, all_ready, "all hosts to join", patience, interval=0.2
            )
        except SparknomadError:
            if spec.min_workers is None and not ready:
                raise
        return tuple(
            replace(
                host,
                joined=not host.problem and (not host.worker or host.name in ready),
                problem=host.problem
                or ("" if host.name in ready or not host.worker else "its agent did not join"),
            )
            for host in hosts
        )

    def prepare(self, cluster: NomadCluster, nomad: Nomad) -> None:
        """Give the gateway its certificate: it may run on any host."""
        places = [place for host in cluster.hosts for place in (host.address, host.name)]
        signed = self._authority.issue("gateway", "gateway", places)
        items = {
            "cert": signed.certificate.read_text("utf-8"),
            "key": signed.key.read_text("utf-8"),
            "ca": signed.authority.read_text("utf-8"),
        }
        nomad.put_variable("nomad/jobs/gateway", items)
        write_private(self.directory / "tls" / "token", cluster.token)

    # use

    def client(self, cluster: NomadCluster) -> Nomad:
        """A client of the first server that answers."""
        clients = [
            Nomad(f"https://{host.address}:{AGENT_PORTS['http']}", cluster.token, self._operator)
            for host in cluster.servers
        ]
        for client in clients if len(clients) > 1 else ():
            if client.leader():
                return client
        return clients[0]

    def problem(self, cluster: NomadCluster, client: Nomad) -> str:
        """Why Nomad does not serve; empty if it does."""
        try:
            client.self_info()
        except UnreachableError:
            return "none of its servers answers"
        except ClusterError as error:
            return error.message
        return "" if client.leader() else "it has no leader"

    def parts(self, cluster: NomadCluster, problem: str) -> list[Component]:
        """The agents, as Nomad's servers see them."""
        states: dict[str, str] = {}
        if not problem:
            for node in self.client(cluster).nodes():
                states[node["Name"]] = node["Status"]
        found = []
        for host in cluster.hosts:
            state = states.get(host.name, "" if not host.worker else "not there")
            healthy = not problem and not host.problem and state in ("ready", "")
            roles = " and ".join(role for role in ("server", "worker") if getattr(host, role))
            why = problem or host.problem or (state if not healthy else "")
            detail = f"{roles}: {why}" if why else roles
            found.append(Component("host", host.name, healthy, host.address, detail))
        return found

    def logs(self, cluster: NomadCluster) -> Iterator[tuple[str, bytes]]:
        """The last output of every agent."""
        asked = f"tail -c 65536 {cluster.directory}/agent.log"

        async def read() -> dict[str, str | Exception]:
            async def one(host: Host) -> str:
                async with open_shell(host, self._keys) as shell:
                    return await shell.run(asked, name="reading the agent's log")

            return await each_host([_host(record) for record in cluster.hosts], one)

        for name, answer in asyncio.run(read()).items():
            told = answer if isinstance(answer, str) else f"not read: {_failed(name, answer)}\n"
            yield f"nomad-{name}", told.encode()

    def memory_mb(self, spec: ClusterSpec) -> int | None:
        """Not known before the hosts are asked; Nomad tells if there is no room."""
        return None

    # destroy

    def remove(self, cluster: NomadCluster | None, deadline: Deadline) -> None:
        """Stop all agents, and remove everything from every host."""
        assert cluster
        self.context.say(f"removing it from {len(cluster.hosts)} hosts")
        left = asyncio.run(self._remove(cluster))
        if left:
            write_private(self.directory / "left.json", json.dumps(left))
        else:
            shutil.rmtree(self.directory, ignore_errors=True)

    async def _remove(self, cluster: NomadCluster) -> list[str]:
        values = {
            "directory": str(PurePosixPath(cluster.directory).parent),
            "cluster": self.name,
            "identity": cluster.identity,
        }
        # Every agent first: one that still runs would start elsewhere what is ended here.
        stop = script("stop", **values)
        remove = script("remove", **values, chain=_chain(cluster))
        async with AsyncExitStack() as stack:
            shells, hosts = await self._enter(stack, cluster.hosts)
            reached = [_host(record) for record in hosts if record.name in shells]

            async def run(host: Host, words: str) -> str:
                return await shells[host.name].run(words, timeout=300, name="removing it")

            await each_host(reached, lambda host: run(host, stop))
            answers = await each_host(reached, lambda host: run(host, remove))
        left = [f"host {host.name}: {host.problem}" for host in hosts if host.problem]
        for name, answer in answers.items():
            lines = answer.splitlines() if isinstance(answer, str) else [_failed(name, answer)]
            left += [f"host {name}: {line}" for line in lines if line.strip()]
        return left

    def leftovers(self, cluster: NomadCluster | None) -> Sequence[str]:
        """What is still there, as far as it is known."""
        file = self.directory / "left.json"
        if file.exists():
            left: list[str] = json.loads(file.read_text("utf-8"))
            return left
        if cluster:
            return [f"host {host.name}: not removed yet" for host in cluster.hosts]
        return [f"directory {self.directory}"] if self.directory.exists() else []


def _chain(cluster: NomadCluster) -> str:
    return f"SPARKNOMAD-{cluster.identity[:8]}"


def _noted(
    hosts: tuple[HostRecord, ...], failed: Mapping[str, Exception]
) -> tuple[HostRecord, ...]:
    """The hosts, with what went wrong on some of them."""
    return tuple(
        replace(host, problem=_failed(host.name, failed[host.name]))
        if host.name in failed
        else host
        for host in hosts
    )
