"""How a machine of a cloud is reached. Pure."""

from __future__ import annotations

from cloudmesh.sparknomad.compute.inventory import Host
from cloudmesh.sparknomad.compute.machines import Machine
from cloudmesh.sparknomad.compute.spec import ComputeSpec

__all__ = ["host_of", "reach"]


def reach(spec: ComputeSpec, machine: Machine) -> str:
    """The address at which we reach a machine; empty if it has none yet."""
    if spec.private or spec.jump:
        return machine.private or machine.public
    return machine.public or machine.private


def host_of(spec: ComputeSpec, machine: Machine) -> Host:
    """A machine as a host that can be logged in to."""
    name = reach(spec, machine)
    return Host(
        name=name,
        address=machine.private if machine.private != name else "",
        user=spec.user,
        key=spec.key,
        jump=spec.jump,
        host_key=machine.host_key,
        labels={"sparknomad_group": machine.group, "sparknomad_machine": machine.member},
    )
