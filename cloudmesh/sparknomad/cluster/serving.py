"""A cluster's own REST service, as a provider runs it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cloudmesh.sparknomad.access_tokens import AccessToken
from cloudmesh.sparknomad.waiting import Deadline

__all__ = ["ClusterService", "ServesApi", "ServiceHost", "ServiceStatus"]


@dataclass(frozen=True)
class ClusterService:
    """What the service in a cluster is started with.

    Attributes:
        packages: an archive of all that it imports.
        sha256: of this archive.
        port: where it listens.
        setup: what it knows of its cluster and of storages; some of it is secret.
        accessor: of the token of the cluster that is in there.
        tokens: of those who may call it.
        certificate: as PEM; empty for one of the cluster's own authority, where it has one.
        key: of that certificate.
    """

    packages: Path
    sha256: str
    port: int
    setup: Mapping[str, Any] = field(repr=False)
    accessor: str
    tokens: tuple[AccessToken, ...]
    certificate: str = ""
    key: str = field(default="", repr=False)


@dataclass(frozen=True)
class ServiceStatus:
    """Where the service in a cluster stands.

    Attributes:
        cluster: that runs it.
        state: ``running``, ``starting`` or ``failed``.
        url: where it answers; empty as long as it does not.
        ca: a file with the certificates that its own is checked against, or empty.
        reason: why it does not answer, for a person.
    """

    cluster: str
    state: str
    url: str = ""
    ca: str = ""
    reason: str = ""


class ServiceHost(ABC):
    """The service of one cluster."""

    @abstractmethod
    def start(self, service: ClusterService, deadline: Deadline) -> ServiceStatus:
        """Let it run as it should, and wait until it answers; one that runs is replaced.

        Raises:
            ClusterError: if it fails, with its last words.
            WaitTimeoutError: if it does not answer in time.
        """

    @abstractmethod
    def status(self) -> ServiceStatus | None:
        """Where it stands; ``None`` if there is none."""

    @abstractmethod
    def stop(self, deadline: Deadline) -> bool:
        """End it with all that is kept for it; whether there was one."""

    @abstractmethod
    def accessor(self) -> str:
        """Of the cluster's token that it has; empty if there is none."""

    @abstractmethod
    def tokens(self) -> Sequence[AccessToken] | None:
        """Of those who may call it; ``None`` if there is no service."""

    @abstractmethod
    def change_tokens(
        self,
        change: Callable[[Sequence[AccessToken]], Sequence[AccessToken]],
        deadline: Deadline,
    ) -> None:
        """Put other tokens in the place of those that there are, and wait until that is known.

        Raises:
            NotFoundError: if there is no service.
            ConflictError: if somebody else changes them now.
        """


class ServesApi:
    """The part of a provider's contract that is about the service."""

    def service(self, cluster: str) -> ServiceHost | None:
        """The service of a cluster, or ``None`` where the provider runs none."""
        del cluster
        return None
