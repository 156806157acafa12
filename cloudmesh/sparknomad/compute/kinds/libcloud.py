"""Machines of a cloud, by Apache Libcloud."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from cloudmesh.sparknomad.compute.compute import Compute
from cloudmesh.sparknomad.compute.kinds.cloud import Cloud
from cloudmesh.sparknomad.compute.kinds.clouds import cloud_of
from cloudmesh.sparknomad.compute.machines import (
    Machine,
    MachineRequest,
    MachineState,
    Offer,
    Tags,
)
from cloudmesh.sparknomad.compute.spec import ComputeSpec
from cloudmesh.sparknomad.credentials import CredentialField
from cloudmesh.sparknomad.errors import (
    ComputeError,
    CredentialError,
    DependencyError,
    SparknomadError,
    SpecError,
)
from cloudmesh.sparknomad.spec_credentials import CredentialSource

if TYPE_CHECKING:
    from libcloud.compute.base import Node, NodeDriver

__all__ = ["LibcloudCompute"]

_REQUEST_SECONDS = 60
_MEGABYTE, _GIGABYTE = 1024**2, 1024**3
_OURS = ("name", "ex_clienttoken")
"""Arguments of ``create_node`` by which a machine is found again."""

_STATES = {
    "running": MachineState.RUNNING,
    "starting": MachineState.PENDING,
    "pending": MachineState.PENDING,
    "rebooting": MachineState.PENDING,
    "reconfiguring": MachineState.PENDING,
    "stopping": MachineState.ENDING,
    "stopped": MachineState.STOPPED,
    "suspended": MachineState.STOPPED,
    "paused": MachineState.STOPPED,
    "terminated": MachineState.ENDED,
}


class LibcloudCompute(Compute):
    """Any cloud that Libcloud has a driver for."""

    kind: ClassVar[str] = "libcloud"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._cloud: Cloud = cloud_of(self.spec.driver)
        self._local = threading.local()
        self._nodes: dict[str, Node] = {}

    @classmethod
    def check(cls, spec: ComputeSpec) -> Sequence[str]:
        """The driver has to be one that Libcloud has."""
        if spec.hosts:
            return ["hosts: only kind 'ssh' has it; machines of a cloud are created"]
        if not spec.driver:
            return ["driver: missing; such as ec2, gce, azure_arm or openstack"]
        try:
            _driver_class(spec.driver)
        except SpecError as error:
            return [error.message]
        found = list(cloud_of(spec.driver).check(spec))
        found += [
            f"create.{name}: sparknomad chooses it, to know its machines again"
            for name in _OURS
            if name in spec.create
        ]
        if spec.credentials.source is CredentialSource.INSTANCE and spec.driver != "gce":
            found.append("credentials.source: 'instance': only driver gce can use it")
        return found

    @classmethod
    def fields(cls, spec: ComputeSpec) -> Sequence[CredentialField]:
        """The credentials of the driver's cloud."""
        return cloud_of(spec.driver).fields

    @classmethod
    def files(cls, spec: ComputeSpec, profile: str) -> Mapping[str, str]:
        """Those in the files of the cloud's own tools."""
        return cloud_of(spec.driver).files(profile)

    def _driver(self) -> NodeDriver:
        """The driver of this thread: Libcloud's hold the request that they are making."""
        found = getattr(self._local, "driver", None)
        if found is None:
            kind = _driver_class(self.spec.driver)
            with self._asking("logging in"):
                arguments = self._cloud.arguments(self.spec, self.credentials)
                found = kind(**{"timeout": _REQUEST_SECONDS, **arguments, **self.spec.options})
                self._cloud.prepare(found)
            self._local.driver = found
        return found

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        """Turn whatever the libraries raise into one of our errors."""
        from libcloud.common.types import InvalidCredsError

        title = f"Compute {self.spec.name!r}: {what}"
        try:
            yield
        except SparknomadError:
            raise
        except InvalidCredsError as error:
            raise CredentialError(
                f"{title}: the cloud refuses the credentials: {error}",
                hint=f"They come from {self.spec.credentials.source.value!r}: see "
                f"cloudmesh.sparknomad.compute.{self.spec.name}.credentials",
            ) from error
        except Exception as error:  # Libcloud's drivers raise bare ones
            reason = str(error).strip() or type(error).__name__
            if isinstance(error, LookupError | TypeError | AttributeError):
                reason = f"Libcloud does not understand the answer: {error!r}"
            raise ComputeError(f"{title}: {reason}") from error

    # hooks

    def _list(self) -> Sequence[Machine]:
        with self._asking("listing machines"):
            nodes = self._cloud.list(self._driver(), self.spec)
        found = []
        for node in nodes:
            tags = Tags.read(self._cloud.tags(node), node.name)
            if tags:
                self._nodes[str(node.id)] = node
                found.append(self._machine(node, tags))
        return found

    def _machine(self, node: Node, tags: Tags) -> Machine:
        created = node.created_at
        return Machine(
            id=str(node.id),
            name=tags.name,
            compute=self.spec.name,
            state=self._cloud.state(node) or _STATES.get(str(node.state), MachineState.UNKNOWN),
            group=tags.group,
            member=tags.member,
            owner=tags.owner,
            creator=tags.creator,
            public=next(iter(node.public_ips or ()), "") or "",
            private=next(iter(node.private_ips or ()), "") or "",
            size=self._cloud.size_of(node),
            created=created.timestamp() if created else None,
        )

    def _offers(self) -> Sequence[Offer]:
        with self._asking("listing sizes"):
            sizes = self._driver().list_sizes()
        return [
            Offer(
                compute=self.spec.name,
                size=str(size.name if self._cloud.sizes_by_name else size.id),
                cores=_number(self._cloud.cores(size)),
                memory=int(size.ram * _MEGABYTE) if size.ram else None,
                disk=int(size.disk * _GIGABYTE) if size.disk else None,
                price=float(size.price) if size.price else None,
            )
            for size in sizes
        ]

    def _create(self, request: MachineRequest) -> Machine:
        driver = self._driver()
        with self._asking(f"creating {request.tags.name}"):
            arguments = self._cloud.create_arguments(driver, self.spec, request)
            node = driver.create_node(**arguments)
        if not getattr(node, "id", None):
            raise ComputeError(
                f"Compute {self.spec.name!r}: creating {request.tags.name}: the cloud's answer "
                "names no machine.",
            )
        self._nodes[str(node.id)] = node
        return self._machine(node, request.tags)

    def _destroy(self, machine: Machine) -> None:
        node = self._nodes[machine.id]
        with self._asking(f"ending {machine.name}"):
            self._cloud.destroy(self._driver(), node)


def _number(value: object) -> int | None:
    try:
        return int(float(value)) if value is not None else None  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None


def _driver_class(name: str) -> type[NodeDriver]:
    """A driver by Libcloud's name of it.

    Raises:
        SpecError: if there is none of this name.
        DependencyError: if Libcloud or what the driver needs is not installed.
    """
    import difflib

    try:
        from libcloud.compute.providers import DRIVERS, get_driver
    except ImportError as error:
        raise DependencyError(
            "Machines of a cloud need Apache Libcloud, which is not installed.",
            hint="pip install 'cloudmesh-sparknomad[libcloud]'",
        ) from error
    known = sorted(str(each) for each in DRIVERS)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        remedy = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
        raise SpecError(f"driver: {name!r}: Libcloud has no such driver; {remedy}")
    try:
        found: type[NodeDriver] = get_driver(name)
    except ImportError as error:
        raise DependencyError(
            f"Libcloud's driver {name!r} can't be imported: {error}.",
            hint=f"pip install {error.name}" if error.name else "",
        ) from error
    return found
