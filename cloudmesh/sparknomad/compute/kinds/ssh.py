"""Machines that the user has: an inventory. They are never created, and never ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from cloudmesh.sparknomad.compute.compute import Compute
from cloudmesh.sparknomad.compute.inventory import named_hosts
from cloudmesh.sparknomad.compute.machines import Machine, MachineRequest, MachineState, Offer
from cloudmesh.sparknomad.compute.spec import ComputeSpec
from cloudmesh.sparknomad.errors import InputError, SpecError

__all__ = ["SshCompute"]


class SshCompute(Compute):
    """An inventory of machines that are reached by SSH."""

    kind: ClassVar[str] = "ssh"
    creates: ClassVar[bool] = False

    @classmethod
    def check(cls, spec: ComputeSpec) -> Sequence[str]:
        """Its hosts have to be there, and nothing that only a cloud has."""
        found = [
            f"{name}: only clouds have it; leave it out for kind 'ssh'"
            for name in ("driver", "region", "endpoint", "image", "size", "options", "create")
            if getattr(spec, name)
        ]
        if not spec.hosts:
            found.append("hosts: missing; write hosts: [rack[01-16]]")
        if any(host.compute for host in spec.hosts):
            found.append("hosts: compute: an inventory names its machines by host:")
        try:
            named_hosts([host for host in spec.hosts if host.host])
        except SpecError as error:
            found.append(error.message)
        return found

    def _list(self) -> Sequence[Machine]:
        return [
            Machine(
                id=host.name,
                name=host.name,
                compute=self.spec.name,
                state=MachineState.UNKNOWN,
                private=host.address,
            )
            for host in named_hosts(self.spec.hosts)
        ]

    def _offers(self) -> Sequence[Offer]:
        return []

    def _create(self, request: MachineRequest) -> Machine:
        raise InputError("compute: machines of an inventory are not created")

    def _destroy(self, machine: Machine) -> None:
        raise InputError("compute: machines of an inventory are never ended")
