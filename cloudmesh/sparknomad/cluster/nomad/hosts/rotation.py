"""New certificates, a new authority and a new key of gossip, while everything goes on.

Of the authority there are three steps, and all hosts finish each before the next begins:

1. ``trust``: a new authority is made; every agent trusts the old one and the new one.
2. ``sign``: every agent, the gateway and this machine get certificates of the new one.
3. ``finish``: nobody trusts the old one any more.

Which step it is stands in ``rotation.json``, and each can be done again: an interrupted rotation
goes on where it was. Agents read their certificates again on SIGHUP. It is SSH that leads to the
hosts, so that it also works when all certificates have ended.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloudmesh.sparknomad.cluster.nomad.client import Nomad
from cloudmesh.sparknomad.cluster.nomad.configuration import AGENT_PORTS
from cloudmesh.sparknomad.cluster.nomad.hosts.deployment import host_files, mark_of
from cloudmesh.sparknomad.cluster.nomad.hosts.pki import Authority, Certificate
from cloudmesh.sparknomad.cluster.nomad.hosts.reached import Reached
from cloudmesh.sparknomad.cluster.nomad.hosts.scripts import placing, script
from cloudmesh.sparknomad.cluster.nomad.record import HostRecord, NomadCluster, new_gossip_key
from cloudmesh.sparknomad.compute.ssh import Shell
from cloudmesh.sparknomad.errors import ClusterError
from cloudmesh.sparknomad.model import PlanStep
from cloudmesh.sparknomad.processes import write_private
from cloudmesh.sparknomad.waiting import Deadline, wait_until

__all__ = ["Rotation", "rotation_steps"]

_RELOAD_SECONDS, _RESTART_SECONDS = 10.0, 40.0
_SECONDS = 5.0

Check = Callable[[str, int], bool]
"""Whether the agent of a host, at a port of this machine, is as it should be."""


def rotation_steps(cluster: NomadCluster, certificates: bool, gossip: bool) -> list[PlanStep]:
    """What a rotation does, for a person. Pure.

    Args:
        cluster: whose.
        certificates: whether they are replaced.
        gossip: whether its key is.
    """
    steps = []
    hosts = ", ".join(host.name for host in cluster.hosts)
    servers = ", ".join(host.name for host in cluster.servers)
    if certificates:
        steps += [
            PlanStep("make a new certificate authority beside the old one"),
            PlanStep(f"let all agents trust both: {hosts}"),
            PlanStep(f"give certificates of the new one to all agents: {hosts}"),
            PlanStep("give the gateway and this machine certificates of the new one"),
            PlanStep(f"let no agent trust the old one any more: {hosts}"),
        ]
    if gossip:
        steps += [
            PlanStep(f"install a new key of gossip on the servers: {servers}"),
            PlanStep("use it"),
            PlanStep("remove the old key"),
        ]
    return steps


@dataclass(frozen=True)
class Rotation:
    """One rotation.

    Attributes:
        directory: that holds what is remembered of the cluster.
        authority: the cluster's.
        client: gives a client of a cluster's Nomad.
        give_gateway: gives the gateway its certificate.
        say: shows one line of progress.
    """

    directory: Path
    authority: Authority
    client: Callable[[NomadCluster], Nomad]
    give_gateway: Callable[[NomadCluster, Nomad], None]
    say: Callable[[str], None]

    async def run(
        self,
        reached: Reached,
        cluster: NomadCluster,
        certificates: bool,
        gossip: bool,
        deadline: Deadline,
    ) -> None:
        """Rotate what is asked for, or what a former call has begun.

        Raises:
            ClusterError: with the hosts that could not be brought to a step; nothing is lost.
        """
        self._judge(reached)
        if certificates:
            await self._certificates(reached, cluster, deadline)
        if gossip:
            await self._gossip(reached, cluster, deadline)

    # where it is

    @property
    def _file(self) -> Path:
        return self.directory / "rotation.json"

    def _state(self) -> dict[str, str]:
        try:
            state: dict[str, str] = json.loads(self._file.read_text("utf-8"))
        except FileNotFoundError:
            return {}
        return state

    def _note(self, **changes: str | None) -> None:
        state = {**self._state(), **changes}
        kept = {key: value for key, value in state.items() if value is not None}
        if kept:
            write_private(self._file, json.dumps(kept))
        else:
            self._file.unlink(missing_ok=True)

    @staticmethod
    def _judge(reached: Reached) -> None:
        bad = [host for host in reached.records if host.problem]
        if bad:
            listed = "\n".join(f"  {host.name}: {host.problem}" for host in bad)
            raise ClusterError(
                f"{len(bad)} of {len(reached.records)} hosts can't be given new certificates:\n"
                f"{listed}",
                hint="The cluster goes on. Mend these or deploy without them, then rotate again: "
                "it goes on where it was.",
            )

    # certificates

    @property
    def _next(self) -> Authority:
        return Authority(self.authority.directory / "next", self.authority.name)

    async def _certificates(
        self, reached: Reached, cluster: NomadCluster, deadline: Deadline
    ) -> None:
        stages = {"trust": self._trust, "sign": self._sign, "finish": self._finish}
        begin = self._state().get("authority") or self._begin()
        names = list(stages)
        for name in names[names.index(begin) :]:
            self._note(authority=name)
            await stages[name](reached, cluster, deadline)
        self._note(authority=None)  # first: without the files, no step could be gone on with
        shutil.rmtree(self._next.directory, ignore_errors=True)

    def _begin(self) -> str:
        """Make what all steps need; nothing is changed yet."""
        shutil.rmtree(self._next.directory, ignore_errors=True)
        self._next.ensure()
        own = self.authority.certificate.read_text("utf-8")
        write_private(self._next.directory / "old-ca.pem", own)
        for path, text in zip(self._old_files, self.authority.sign("cli"), strict=True):
            write_private(path, text)
        return "trust"

    @property
    def _old_files(self) -> tuple[Path, Path]:
        """A certificate of the old authority, to see that it is not taken any more."""
        place = self._next.directory
        return place / "old.pem", place / "old-key.pem"

    def _trusted(self, *names: str) -> None:
        texts = [(self._next.directory / name).read_text("utf-8") for name in names]
        write_private(self.authority.certificate, "".join(texts))

    async def _trust(self, reached: Reached, cluster: NomadCluster, deadline: Deadline) -> None:
        self.say(f"letting {len(reached.records)} agents trust the new authority, too")
        self._trusted("old-ca.pem", "ca.pem")
        probe = self._next.issue("probe", "cli")
        await self._push(reached, cluster, deadline, lambda name, port: _served(port, probe)[0])

    async def _sign(self, reached: Reached, cluster: NomadCluster, deadline: Deadline) -> None:
        self.say(f"giving new certificates to {len(reached.records)} agents")
        # The first of these two files decides who signs; between them nothing is signed.
        key = (self._next.directory / "ca-key.pem").read_text("utf-8")
        write_private(self.authority.directory / "ca-key.pem", key)
        self._trusted("ca.pem", "old-ca.pem")
        probe = self._next.issue("probe", "cli")

        def has_its_own(name: str, port: int) -> bool:
            own = (self.authority.directory / f"host-{name}.pem").read_text("ascii")
            return bool(_served(port, probe)[1] == ssl.PEM_cert_to_DER_cert(own))

        await self._push(reached, cluster, deadline, has_its_own)
        await self._gateway(cluster, deadline)

    async def _finish(self, reached: Reached, cluster: NomadCluster, deadline: Deadline) -> None:
        self.say("letting nobody trust the old authority any more")
        self._trusted("ca.pem")
        probe = self._next.issue("probe", "cli")
        certificate, key = self._old_files
        old = Certificate(certificate, key, self.authority.certificate)

        def refuses(name: str, port: int) -> bool:
            return _served(port, probe)[0] and not _served(port, old)[0]

        await self._push(reached, cluster, deadline, refuses)
        await self._gateway(cluster, deadline)

    async def _gateway(self, cluster: NomadCluster, deadline: Deadline) -> None:
        nomad = self.client(cluster)
        await asyncio.to_thread(
            wait_until, lambda: bool(nomad.leader()), "Nomad's leader", deadline, interval=0.2
        )
        await asyncio.to_thread(self.give_gateway, cluster, nomad)

    # hosts

    async def _push(
        self,
        reached: Reached,
        cluster: NomadCluster,
        deadline: Deadline,
        check: Check | None,
        only: Sequence[HostRecord] | None = None,
    ) -> None:
        """Write the files of agents, let them be read, and see that they are in use."""
        hosts = {host.name: host for host in only or cluster.hosts}
        files = {name: host_files(cluster, host, self.authority) for name, host in hosts.items()}

        async def bring(shell: Shell) -> None:
            name = shell.host.name
            await self._bring(shell, cluster, files[name], check, deadline)

        await reached.each(bring, only=hosts)
        self._judge(reached)

    async def _bring(
        self,
        shell: Shell,
        cluster: NomadCluster,
        files: Mapping[str, bytes],
        check: Check | None,
        deadline: Deadline,
    ) -> None:
        await shell.run(placing(files), name="writing its agent's files")
        values = cluster.place
        told = await shell.run(script("running", **values), name="looking at its Nomad")
        seen = dict(line.split("=", 1) for line in told.splitlines())
        values["mark"] = mark_of(files, seen.get("nomad", ""))
        await shell.run(script("reload", **values), name="reading its certificates again")
        if check is None or await self._is(shell, check, min(_RELOAD_SECONDS, deadline.left)):
            return
        # With another mark it is started anew; its tasks go on.
        await shell.run(f"rm -f {cluster.directory}/started", name="preparing a new start")
        await shell.run(script("start", **values), name="starting Nomad anew")
        if not await self._is(shell, check, min(_RESTART_SECONDS, deadline.left)):
            raise ClusterError(f"{shell.host.name}: its agent does not use its new certificates")

    @staticmethod
    async def _is(shell: Shell, check: Check, seconds: float) -> bool:
        patience = Deadline(seconds)
        async with shell.forwarded(AGENT_PORTS["http"]) as port:
            while True:
                if await asyncio.to_thread(check, shell.host.name, port):
                    return True
                if not patience.left:
                    return False
                await asyncio.sleep(0.2)

    # gossip

    async def _gossip(self, reached: Reached, cluster: NomadCluster, deadline: Deadline) -> None:
        self.say("changing the key of gossip")
        state = self._state()
        key = state.get("gossip") or new_gossip_key()
        self._note(gossip=key)
        nomad = self.client(cluster)
        await asyncio.to_thread(self._change_key, nomad, key, len(cluster.servers))
        changed = cluster.changed(gossip_key=key).write(self.directory)
        # A server keeps its keys beside its state; the configuration is for one that begins anew.
        await self._push(reached, changed, deadline, None, only=changed.servers)
        await asyncio.to_thread(self._drop_keys, nomad, key)
        self._note(gossip=None)

    @staticmethod
    def _change_key(nomad: Nomad, key: str, servers: int) -> None:
        nomad.change_keyring("install", key)
        having = nomad.keyring().get(key, 0)
        if having < servers:
            raise ClusterError(
                f"Only {having} of {servers} servers have the new key of gossip.",
                hint="The old one goes on. See `cluster status`, and rotate again.",
            )
        nomad.change_keyring("use", key)

    @staticmethod
    def _drop_keys(nomad: Nomad, kept: str) -> None:
        for key in nomad.keyring():
            if key != kept:
                nomad.change_keyring("remove", key)


def _served(port: int, shown: Certificate) -> tuple[bool, Any]:
    """Whether an agent hears us with a certificate, and the one that it shows itself.

    SSH has proven that it is the host; its certificate may have ended.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.load_cert_chain(shown.certificate, shown.key)
    theirs = None
    try:
        with (
            socket.create_connection(("127.0.0.1", port), _SECONDS) as raw,
            context.wrap_socket(raw) as connection,
        ):
            theirs = connection.getpeercert(binary_form=True)
            connection.sendall(b"GET /v1/status/leader HTTP/1.0\r\nHost: localhost\r\n\r\n")
            return connection.recv(5) == b"HTTP/", theirs
    except OSError:
        return False, theirs
