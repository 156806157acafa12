"""What a provider can do with a cluster's hosts, if it has any."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

from cloudmesh.sparknomad.model import Change, ClusterStatus, Runtime
from cloudmesh.sparknomad.specs import ClusterSpec

__all__ = ["HostOperations"]


class HostOperations(ABC):
    """Looking at the hosts of one cluster, and changing them while it runs."""

    @abstractmethod
    def differences(self, spec: ClusterSpec, runtime: Runtime | None) -> Sequence[Change]:
        """What a deploy would change beyond what the spec says; touches nothing.

        Args:
            spec: that would be deployed.
            runtime: what it would run, or ``None`` where that is not built yet.
        """

    @abstractmethod
    def remove_hosts(
        self,
        spec: ClusterSpec,
        hosts: Sequence[str],
        runtime: Runtime | None,
        *,
        force: bool,
        timeout: float,
    ) -> Sequence[str]:
        """Drain hosts, and remove all that is on them.

        Args:
            spec: of the cluster without them.
            hosts: their names.
            runtime: what the cluster runs.
            force: also hosts that are off, and data that has no other copy.
            timeout: seconds after which what runs there is ended.

        Returns:
            What was left on hosts that are off, each for a person.

        Raises:
            ConflictError: if the cluster can't be without them.
            LeftoverError: if something is left on a host; it stays part of the cluster.
        """

    @abstractmethod
    def drain(self, host: str, *, undo: bool, timeout: float) -> ClusterStatus:
        """Let nothing run on a host, and nothing new be placed there; or let it again."""

    @abstractmethod
    def logs(self, host: str) -> Iterator[tuple[str, bytes]]:
        """The last output of a host's agent, and of all that runs there."""

    @abstractmethod
    def ssh_command(self, host: str, command: Sequence[str]) -> Sequence[str]:
        """The words of the system's ``ssh`` that log in to a host, or run a command there."""

    @abstractmethod
    def upgrade(self, spec: ClusterSpec, runtime: Runtime | None, *, timeout: float) -> None:
        """Bring image, Nomad and configuration of all hosts to what a deploy would, in turns."""
