"""Where a cluster's Nomad agents run: on this machine, or on hosts."""

from __future__ import annotations

import json
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

from cloudmesh.sparknomad.cluster.nomad import agent, services
from cloudmesh.sparknomad.cluster.nomad.client import Nomad
from cloudmesh.sparknomad.cluster.nomad.configuration import local_configuration
from cloudmesh.sparknomad.cluster.nomad.record import NomadCluster
from cloudmesh.sparknomad.cluster.nomad.sweep import Sweep, allocation_ids
from cloudmesh.sparknomad.cluster.provider import ProviderContext
from cloudmesh.sparknomad.errors import (
    ClusterError,
    ConflictError,
    TrustError,
    UnreachableError,
)
from cloudmesh.sparknomad.model import Component, ImageRuntime, PlanStep
from cloudmesh.sparknomad.processes import write_private
from cloudmesh.sparknomad.specs import ClusterSpec
from cloudmesh.sparknomad.waiting import Deadline

__all__ = ["Installation", "ThisMachine", "token_problem"]


class Installation(ABC):
    """The agents of one cluster.

    Args:
        name: of the cluster.
        directory: that holds what is remembered of it.
        context: where progress goes.
    """

    def __init__(self, name: str, directory: Path, context: ProviderContext) -> None:
        self.name = name
        self.directory = directory
        self.context = context

    @abstractmethod
    def plan(self, spec: ClusterSpec, cluster: NomadCluster) -> list[PlanStep]:
        """What `ensure` would do; touches nothing."""

    @abstractmethod
    def ensure(
        self,
        spec: ClusterSpec,
        cluster: NomadCluster,
        image: ImageRuntime,
        deadline: Deadline,
        *,
        rolling: bool = False,
    ) -> NomadCluster:
        """Let the agents run as they should, and wait until they take work.

        Args:
            spec: what is wanted.
            cluster: what is remembered.
            image: that it runs.
            deadline: when to give up.
            rolling: whether hosts are changed a few at a time.

        Returns:
            What is known of the cluster then, also written down.
        """

    #: Whether `remove` ends also the tasks that Nomad still runs.
    ends_tasks = False

    @abstractmethod
    def prepare(self, cluster: NomadCluster, nomad: Nomad) -> None:
        """Give Nomad what only this kind of installation's jobs need."""

    def watch(self, cluster: NomadCluster, nomad: Nomad) -> None:
        """Let machines of a cloud end themselves when the cluster is idle; others stay on."""
        del cluster, nomad

    @abstractmethod
    def client(self, cluster: NomadCluster) -> Nomad:
        """A client of the cluster's Nomad."""

    @abstractmethod
    def problem(self, cluster: NomadCluster, client: Nomad) -> str:
        """Why Nomad does not serve; empty if it does."""

    @abstractmethod
    def parts(self, cluster: NomadCluster, problem: str) -> list[Component]:
        """The agents, for a person."""

    @abstractmethod
    def logs(self, cluster: NomadCluster) -> Iterator[tuple[str, bytes]]:
        """The last output of every agent that has its log here."""

    @abstractmethod
    def token_files(self, lifetime: timedelta) -> dict[str, str]:
        """What the user of a token needs to reach the cluster, by the names of files."""

    @abstractmethod
    def service_certificate(self, cluster: NomadCluster) -> tuple[str, str]:
        """A certificate for the REST service and its key, as PEM; both empty on loopback."""

    @property
    @abstractmethod
    def authority(self) -> Path | None:
        """The file with the certificates that the cluster's own are checked against."""

    @abstractmethod
    def rotation(self, cluster: NomadCluster, certificates: bool, gossip: bool) -> list[PlanStep]:
        """What `rotate` would do."""

    @abstractmethod
    def rotate(
        self, cluster: NomadCluster, certificates: bool, gossip: bool, deadline: Deadline
    ) -> None:
        """Replace certificates and the key of gossip."""

    @abstractmethod
    def remove(self, cluster: NomadCluster | None, deadline: Deadline) -> None:
        """Stop the agents, and remove all that they have left; what remains is told after."""

    @abstractmethod
    def leftovers(self, cluster: NomadCluster | None) -> Sequence[str]:
        """What is still there, each for a person."""

    @abstractmethod
    def memory_mb(self, spec: ClusterSpec) -> int | None:
        """The memory that the largest host offers to tasks, in MiB, if it is known."""


def token_problem(client: Nomad) -> str:
    """Why Nomad does not take our token; empty if it does.

    Raises:
        TrustError: if it is for the certificates.
    """
    try:
        client.who()
    except TrustError:
        raise
    except UnreachableError:
        return "none of its servers answers"
    except ClusterError as error:
        if "token" in error.message.lower():
            return "the token that is here was revoked or has ended"
        return error.message
    return ""


class ThisMachine(Installation):
    """One agent, server and client, on this machine's loopback."""

    ends_tasks = True

    def plan(self, spec: ClusterSpec, cluster: NomadCluster) -> list[PlanStep]:
        """What `ensure` would do; touches nothing."""
        configuration = local_configuration(
            spec.cluster,
            cluster,
            memory_mb=agent.offered_memory_mb(services.memory_mb(spec)),
            docker_endpoint=agent.docker_endpoint(),
        )
        title = "start a Nomad agent on loopback with ACLs on"
        return [PlanStep(title, json.dumps(configuration, indent=2), "json")]

    def ensure(
        self,
        spec: ClusterSpec,
        cluster: NomadCluster,
        image: ImageRuntime,
        deadline: Deadline,
        *,
        rolling: bool = False,
    ) -> NomadCluster:
        """Let the agent run as it should, and wait until it takes work."""
        return agent.ensure_agent(
            self.name,
            self.directory,
            cluster,
            deadline,
            self.context.say,
            services.memory_mb(spec),
        )

    def prepare(self, cluster: NomadCluster, nomad: Nomad) -> None:
        """Nothing more."""

    def client(self, cluster: NomadCluster) -> Nomad:
        """A client of the cluster's Nomad."""
        return Nomad(cluster.address, cluster.token)

    def problem(self, cluster: NomadCluster, client: Nomad) -> str:
        """Why Nomad does not serve; empty if it does."""
        return token_problem(client) if cluster.role else agent.answers(cluster, client)

    def token_files(self, lifetime: timedelta) -> dict[str, str]:
        """Nothing: loopback is reached without certificates."""
        return {}

    def service_certificate(self, cluster: NomadCluster) -> tuple[str, str]:
        """None: only this machine reaches the service."""
        return "", ""

    @property
    def authority(self) -> Path | None:
        """There is none."""
        return None

    def rotation(self, cluster: NomadCluster, certificates: bool, gossip: bool) -> list[PlanStep]:
        """There is nothing to rotate."""
        raise ConflictError(
            f"Cluster {self.name!r} runs on this machine's loopback: it has neither certificates "
            "nor a key of gossip.",
            hint="`cluster token revoke` ends tokens; `cluster deploy` on hosts has certificates.",
        )

    def rotate(
        self, cluster: NomadCluster, certificates: bool, gossip: bool, deadline: Deadline
    ) -> None:
        """There is nothing to rotate."""
        self.rotation(cluster, certificates, gossip)

    def parts(self, cluster: NomadCluster, problem: str) -> list[Component]:
        """The agent, for a person."""
        detail = problem or (f"process {cluster.pid}" if cluster.pid else "")
        return [Component("nomad", "nomad", not problem, cluster.address, detail)]

    def logs(self, cluster: NomadCluster) -> Iterator[tuple[str, bytes]]:
        """The last output of the agent."""
        log = self.directory / "agent.log"
        if log.exists():
            yield "nomad", log.read_bytes()[-65536:]

    def _sweep(self, cluster: NomadCluster | None) -> Sweep:
        data = Path(cluster.data) if cluster else self.directory / "nomad"
        kept = self.directory / "allocations.json"
        known = json.loads(kept.read_text("utf-8")) if kept.exists() else []
        return Sweep(
            data,
            sorted({*known, *allocation_ids(data)}),
            docker=bool(cluster and cluster.driver == "docker"),
            sockets=Path(cluster.sockets) if cluster and cluster.sockets else None,
        )

    def remove(self, cluster: NomadCluster | None, deadline: Deadline) -> None:
        """Stop the agent, and remove all that it has left."""
        # The ids outlive the data directory, so that an interrupted destroy can go on.
        ids = sorted(self._sweep(cluster).allocations)
        write_private(self.directory / "allocations.json", json.dumps(ids))
        if cluster:
            self.context.say("stopping the Nomad agent")
            agent.stop_agent(cluster)
        self.context.say("removing what is left of it")
        if self._sweep(cluster).run():
            shutil.rmtree(self.directory, ignore_errors=True)

    def leftovers(self, cluster: NomadCluster | None) -> Sequence[str]:
        """What is still there, each for a person."""
        left = self._sweep(cluster).leftovers()
        if not left and self.directory.exists():
            left = [f"directory {self.directory}"]
        return left

    def memory_mb(self, spec: ClusterSpec) -> int | None:
        """This machine's memory, and at least what the cluster needs."""
        return agent.offered_memory_mb(services.memory_mb(spec))
