"""The agents of a cluster on hosts that are reached by SSH."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path, PurePosixPath

from cloudmesh.sparknomad.cluster.nomad.client import Nomad
from cloudmesh.sparknomad.cluster.nomad.configuration import AGENT_PORTS, host_configuration
from cloudmesh.sparknomad.cluster.nomad.hosts.deployment import Deployment, firewall_chain
from cloudmesh.sparknomad.cluster.nomad.hosts.pki import Authority, Certificate
from cloudmesh.sparknomad.cluster.nomad.hosts.reached import Reached, enter
from cloudmesh.sparknomad.cluster.nomad.hosts.rotation import Rotation, rotation_steps
from cloudmesh.sparknomad.cluster.nomad.hosts.scripts import script, text
from cloudmesh.sparknomad.cluster.nomad.hosts.spreading import Goods
from cloudmesh.sparknomad.cluster.nomad.installation import Installation, token_problem
from cloudmesh.sparknomad.cluster.nomad.record import HostRecord, NomadCluster
from cloudmesh.sparknomad.compute.ssh import HostKeys
from cloudmesh.sparknomad.model import Component, ImageRuntime, PlanStep
from cloudmesh.sparknomad.packing import pack
from cloudmesh.sparknomad.processes import write_private
from cloudmesh.sparknomad.specs import ClusterSpec
from cloudmesh.sparknomad.waiting import Deadline

__all__ = ["Hosts"]

_REMOVE_SECONDS = 300


def _roles(host: HostRecord) -> str:
    return " and ".join(role for role in ("server", "worker") if getattr(host, role))


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
        return steps

    # deploy

    def ensure(
        self, spec: ClusterSpec, cluster: NomadCluster, image: ImageRuntime, deadline: Deadline
    ) -> NomadCluster:
        """Let all agents run as they should, and wait until they take work."""
        self._authority.ensure()
        deployment = Deployment(
            spec=spec,
            cluster=cluster,
            goods=self._goods(spec, cluster, image),
            authority=self._authority,
            client=self.client,
            note=lambda changed: changed.write(self.directory),
            say=self.context.say,
        )

        async def run() -> NomadCluster:
            self.context.say(f"logging in to {len(cluster.hosts)} hosts")
            async with enter(cluster.hosts, self._keys) as reached:
                return await deployment.run(reached, deadline)

        return asyncio.run(run())

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

    def _give_gateway(self, cluster: NomadCluster, nomad: Nomad) -> None:
        places = [place for host in cluster.hosts for place in (host.address, host.name)]
        signed = self._authority.issue("gateway", "gateway", places)
        items = {
            "cert": signed.certificate.read_text("utf-8"),
            "key": signed.key.read_text("utf-8"),
            "ca": signed.authority.read_text("utf-8"),
        }
        nomad.put_variable("nomad/jobs/gateway", items)

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
        problem = token_problem(client)
        return problem or ("" if client.leader() else "it has no leader")

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
            roles = _roles(host)
            why = problem or host.problem or (state if not healthy else "")
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
            "cluster": PurePosixPath(cluster.directory).name,
            "identity": cluster.identity,
        }
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
