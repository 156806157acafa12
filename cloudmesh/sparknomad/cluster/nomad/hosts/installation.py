"""The agents of a cluster on hosts that are reached by SSH."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Any

from cloudmesh.sparknomad.cluster.nomad.client import Nomad, probed, serving
from cloudmesh.sparknomad.cluster.nomad.configuration import AGENT_PORTS, host_configuration
from cloudmesh.sparknomad.cluster.nomad.hosts.deployment import (
    Deployment,
    firewall_chain,
    firewall_script,
)
from cloudmesh.sparknomad.cluster.nomad.hosts.idling import idle_token, watching
from cloudmesh.sparknomad.cluster.nomad.hosts.pki import Authority, Certificate
from cloudmesh.sparknomad.cluster.nomad.hosts.reached import Reached, enter
from cloudmesh.sparknomad.cluster.nomad.hosts.rotation import Rotation, rotation_steps
from cloudmesh.sparknomad.cluster.nomad.hosts.scripts import script, text
from cloudmesh.sparknomad.cluster.nomad.hosts.spreading import Goods
from cloudmesh.sparknomad.cluster.nomad.installation import Installation, token_problem
from cloudmesh.sparknomad.cluster.nomad.record import HostRecord, NomadCluster
from cloudmesh.sparknomad.compute.ssh import HostKeys, Shell
from cloudmesh.sparknomad.model import Component, ImageRuntime, PlanStep
from cloudmesh.sparknomad.packing import Packed, pack
from cloudmesh.sparknomad.processes import write_private
from cloudmesh.sparknomad.specs import ClusterSpec
from cloudmesh.sparknomad.waiting import Deadline

__all__ = ["Hosts"]

_REMOVE_SECONDS = 300


def _roles(host: HostRecord) -> str:
    return " and ".join(role for role in ("server", "worker") if getattr(host, role))


_DRAINED = ("draining", "drained")


def _url(host: HostRecord) -> str:
    return f"https://{host.outside}:{AGENT_PORTS['http']}"


def _node_state(node: Mapping[str, Any], as_server: str) -> str:
    """What is to be told of a host."""
    if node["Status"] != "ready":
        return str(node["Status"])
    if node.get("Drain"):
        return "draining"
    return "drained" if node["SchedulingEligibility"] == "ineligible" else as_server


class Hosts(Installation):
    """Nomad agents on hosts, with certificates of the cluster's own authority."""

    @property
    def _authority(self) -> Authority:
        return Authority(self.directory / "tls", self.name)

    @property
    def _operator(self) -> Certificate:
        if self._authority.has_key:
            return self._authority.issue("operator", "cli")
        # A token's user has what was given, and nothing to make another with.
        place = self.directory / "tls"
        return Certificate(place / "operator.pem", place / "operator-key.pem", place / "ca.pem")

    @property
    def _keys(self) -> HostKeys:
        return HostKeys(self.directory / "known_hosts", self.context.accept_host_key)

    # plan

    def plan(self, spec: ClusterSpec, cluster: NomadCluster) -> list[PlanStep]:
        """What `ensure` would do; touches nothing."""
        steps = [PlanStep(f"make the certificate authority of cluster {self.name!r}")]
        for host in cluster.hosts:
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
                    f"{host.name}: bring Nomad and the image, start the agent as " + _roles(host),
                    json.dumps(configuration, indent=2),
                    "json",
                )
            )
        commands = {host.name: self.context.power_off(host.labels) for host in cluster.hosts}
        if cluster.idle and all(commands.values()):
            steps += [
                PlanStep(f"{name}: let it end when the cluster is idle", command, "sh")
                for name, command in commands.items()
            ]
        return steps

    # deploy

    def ensure(
        self,
        spec: ClusterSpec,
        cluster: NomadCluster,
        image: ImageRuntime,
        deadline: Deadline,
        *,
        rolling: bool = False,
    ) -> NomadCluster:
        """Let all agents run as they should, and wait until they take work."""
        self._authority.ensure()
        goods = self._goods(spec, cluster, image)
        deployment = self._deployment(spec, cluster, goods, rolling=rolling)

        async def run() -> NomadCluster:
            self.context.say(f"logging in to {len(cluster.hosts)} hosts")
            show = self.context.show
            async with enter(cluster.hosts, self._keys, deployment.spared, show) as reached:
                return await deployment.run(reached, deadline)

        try:
            return asyncio.run(run())
        finally:
            self.context.show("", "")

    def _deployment(
        self, spec: ClusterSpec, cluster: NomadCluster, goods: Goods, *, rolling: bool = False
    ) -> Deployment:
        return Deployment(
            spec=spec,
            cluster=cluster,
            goods=goods,
            authority=self._authority,
            client=self.client,
            note=lambda changed: changed.write(self.directory),
            say=self.context.say,
            rolling=rolling,
        )

    def _goods(self, spec: ClusterSpec, cluster: NomadCluster, image: ImageRuntime) -> Goods:
        binary = Path(cluster.binary)
        status = binary.stat()
        mark = f"{binary}{status.st_size}{status.st_mtime_ns}"
        key = "nomad-" + hashlib.sha256(mark.encode()).hexdigest()[:32]
        nomad = pack("Nomad", binary, key, self.context.cache / "packed")
        return Goods(spec.directory, nomad, image.image_id[:32], image.layers)

    def prepare(self, cluster: NomadCluster, nomad: Nomad) -> None:
        """Give the gateway its certificate: it may run on any host."""
        self._give_gateway(cluster, nomad)
        write_private(self.directory / "tls" / "token", cluster.token)

    def watch(self, cluster: NomadCluster, nomad: Nomad) -> None:
        """Start on each machine what looks whether the cluster is idle, if all may end themselves.

        Where one stays on, Nomad does, too, and would miss the others.
        """
        commands = {host.name: self.context.power_off(host.labels) for host in cluster.hosts}
        if not cluster.idle or not all(commands.values()):
            return
        token = idle_token(nomad)
        watched = [host for host in cluster.hosts if not host.problem]
        scripts = {
            host.name: watching(cluster, host, commands[host.name], token) for host in watched
        }

        async def run() -> list[HostRecord]:
            async with enter(watched, self._keys) as reached:

                async def start(shell: Shell) -> str:
                    return await shell.run(scripts[shell.host.name], name="watching whether idle")

                await reached.each(start, what="watching whether it is idle")
                return [host for host in reached.records if host.problem]

        for host in asyncio.run(run()):
            self.context.say(f"{host.name}: it will not end when idle: {host.problem}")

    def _give_gateway(self, cluster: NomadCluster, nomad: Nomad) -> None:
        places = [place for host in cluster.hosts for place in (host.address, host.name)]
        signed = self._authority.issue("gateway", "gateway", places)
        items = {
            "cert": signed.certificate.read_text("utf-8"),
            "key": signed.key.read_text("utf-8"),
            "ca": signed.authority.read_text("utf-8"),
        }
        for part in cluster.parts:
            nomad.put_variable(f"nomad/jobs/gateway{part.suffix}", items)

    # use

    def client(self, cluster: NomadCluster) -> Nomad:
        """A client of the first server that answers; it turns to another if that is lost."""
        found = [_url(host) for host in cluster.servers]
        first = serving(found, self._operator) if len(found) > 1 else found[0]
        first = first or found[0]
        others = [each for each in found if each != first]
        outside = {host.address: host.outside for host in cluster.hosts}
        return Nomad(first, cluster.token, self._operator, others=others, outside=outside)

    def problem(self, cluster: NomadCluster, client: Nomad) -> str:
        """Why Nomad does not serve; empty if it does."""
        problem = token_problem(client)
        return problem or ("" if client.leader() else "it has no leader")

    def parts(self, cluster: NomadCluster, problem: str) -> list[Component]:
        """The agents, as Nomad's servers see them."""
        states: dict[str, str] = {}
        if not problem:
            nomad = self.client(cluster)
            # Asked themselves: the other servers notice only after half a minute.
            answering = probed([_url(host) for host in cluster.servers], self._operator)
            for host in cluster.servers:
                states[host.name] = "ready" if answering[_url(host)] else "down"
            for node in nomad.nodes():
                states[node["Name"]] = _node_state(node, states.get(node["Name"], "ready"))
        found = []
        for host in cluster.hosts:
            state = states.get(host.name, "not there")
            # One that was drained is as it should be.
            healthy = not problem and not host.problem and state in ("ready", *_DRAINED)
            roles = _roles(host)
            why = problem or host.problem or ("" if state == "ready" else state)
            detail = f"{roles}: {why}" if why else roles
            found.append(Component("host", host.name, healthy, host.address, detail))
        return found

    def logs(self, cluster: NomadCluster) -> Iterator[tuple[str, bytes]]:
        """The last output of every agent."""
        asked = f"tail -c 65536 {cluster.directory}/agent.log"

        async def read() -> tuple[dict[str, str], Reached]:
            async with enter(cluster.hosts, self._keys) as reached:
                return await reached.run(asked, "reading the agent's log"), reached

        told, reached = asyncio.run(read())
        for host in reached.records:
            words = told.get(host.name, f"not read: {host.problem}\n")
            yield f"nomad-{host.name}", words.encode()

    def memory_mb(self, spec: ClusterSpec) -> int | None:
        """Not known before the hosts are asked; Nomad tells if there is no room."""
        return None

    # sharing

    def token_files(self, lifetime: timedelta) -> dict[str, str]:
        """A certificate for the user of a token, and the authority's."""
        certificate, key = self._authority.sign("cli", lifetime=lifetime)
        return {
            "tls/ca.pem": self._authority.certificate.read_text("utf-8"),
            "tls/operator.pem": certificate,
            "tls/operator-key.pem": key,
        }

    def service_certificate(self, cluster: NomadCluster) -> tuple[str, str]:
        """A certificate for all hosts: the service may run on any of them."""
        places = [
            place for host in cluster.hosts for place in (host.address, host.outside, host.name)
        ]
        return self._authority.sign("service", [each for each in places if each])

    @property
    def authority(self) -> Path | None:
        """The file with the authority's certificates."""
        return self._authority.certificate

    def rotation(self, cluster: NomadCluster, certificates: bool, gossip: bool) -> list[PlanStep]:
        """What `rotate` would do."""
        return rotation_steps(cluster, certificates, gossip)

    def rotate(
        self, cluster: NomadCluster, certificates: bool, gossip: bool, deadline: Deadline
    ) -> None:
        """Replace certificates and the key of gossip."""
        rotation = Rotation(
            directory=self.directory,
            authority=self._authority,
            client=self.client,
            give_gateway=self._give_gateway,
            say=self.context.say,
        )

        async def run() -> None:
            self.context.say(f"logging in to {len(cluster.hosts)} hosts")
            async with enter(cluster.hosts, self._keys) as reached:
                await rotation.run(reached, cluster, certificates, gossip, deadline)

        asyncio.run(run())

    def known_hosts_files(self, host: HostRecord) -> list[Path]:
        """Files with the host keys that are trusted, for the system's SSH."""
        if host.host_key:
            own = self.directory / "ssh" / f"{host.name}.known_hosts"
            own.parent.mkdir(mode=0o700, exist_ok=True)
            write_private(own, f"* {host.host_key}\n")
            return [own]
        return [self.directory / "known_hosts", Path.home() / ".ssh" / "known_hosts"]

    def look(
        self, cluster: NomadCluster, hosts: Sequence[HostRecord]
    ) -> dict[str, tuple[str, str]]:
        """The digest of the Nomad, and the mark of the running agent, on hosts that are reached."""
        told, _ = self.on_hosts(hosts, script("running", **cluster.place), "looking around")
        found = {}
        for name, lines in told.items():
            seen = dict(line.split("=", 1) for line in lines.splitlines())
            found[name] = (seen.get("nomad", ""), seen.get("mark", ""))
        return found

    def marks(self, spec: ClusterSpec, cluster: NomadCluster, nomad: str) -> dict[str, str]:
        """With which mark each host's agent would run, for a Nomad of this digest."""
        packed = Packed("Nomad", Path(cluster.binary), "", nomad, 0, 0)
        goods = Goods(spec.directory, packed, cluster.image_id[:32], ())
        return self._deployment(spec, cluster, goods).marks()

    def protect(self, cluster: NomadCluster) -> None:
        """Let hosts that are no part of the cluster any more not reach what it serves."""
        if not cluster.firewall:
            return
        good = [host for host in cluster.hosts if host.address]
        _, failed = self.on_hosts(good, firewall_script(cluster, good), "setting up the firewall")
        for name, problem in failed.items():
            self.context.say(f"{name}: {problem}")

    # destroy

    def remove(self, cluster: NomadCluster | None, deadline: Deadline) -> None:
        """Stop all agents, and remove everything from every host."""
        assert cluster
        self.context.say(f"removing it from {len(cluster.hosts)} hosts")
        left = self.uninstall(cluster)
        if left:
            write_private(self.directory / "left.json", json.dumps(left))
        else:
            shutil.rmtree(self.directory, ignore_errors=True)

    def uninstall(self, cluster: NomadCluster) -> list[str]:
        """Remove everything of a cluster from its hosts; what is left, each for a person."""
        return asyncio.run(self._remove(cluster))

    def on_hosts(
        self, hosts: Sequence[HostRecord], words: str, what: str, timeout: float = 120
    ) -> tuple[dict[str, str], dict[str, str]]:
        """Run the same script on some hosts at a time.

        Returns:
            What they told, and what went wrong, by their names.
        """

        async def run() -> tuple[dict[str, str], dict[str, str]]:
            async with enter(hosts, self._keys) as reached:
                told = await reached.run(words, what, timeout=timeout)
            return told, {host.name: host.problem for host in reached.records if host.problem}

        return asyncio.run(run())

    async def _remove(self, cluster: NomadCluster) -> list[str]:
        values = {**cluster.place, "identity": cluster.identity}
        # Every agent first: one that still runs would start elsewhere what is ended here.
        stop = script("stop", **values)
        remove = script("remove", **values, chain=firewall_chain(cluster))
        async with enter(cluster.hosts, self._keys) as reached:
            await reached.run(stop, "stopping its agent", timeout=_REMOVE_SECONDS)
            told = await reached.run(remove, "removing it", timeout=_REMOVE_SECONDS)
        left = [
            f"host {host.name}: {host.problem}"
            for host in reached.records
            if host.problem and not self.context.is_gone(host.labels)
        ]
        for name, words in told.items():
            left += [f"host {name}: {line}" for line in words.splitlines() if line.strip()]
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
