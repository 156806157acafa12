"""What a user writes of a place where machines come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass

from cloudmesh.sparknomad.spec_credentials import CredentialsSpec
from cloudmesh.sparknomad.spec_hosts import HostSpec, host_entry
from cloudmesh.sparknomad.spec_types import CONFIGURATION, Duration, Name
from cloudmesh.sparknomad.units import parse_duration

__all__ = ["ComputeSpec"]


@dataclass(frozen=True, config=CONFIGURATION)
class ComputeSpec:
    """A named place where machines come from.

    Attributes:
        name: as in ``--compute=NAME``.
        kind: ``libcloud`` for every cloud, ``ssh`` for machines that you have, or one that a
            package adds.
        driver: for ``libcloud``: ``ec2``, ``gce``, ``azure_arm``, ``openstack`` or any other of
            Libcloud's names.
        region: of the cloud; for ``gce`` the zone.
        endpoint: URL of the cloud's API, where it is not the cloud's own.
        image: that machines boot from, as the cloud names it.
        size: of a machine, as the cloud names it.
        user: that is made on each machine, may use sudo, and is logged in as.
        key: a file with the private key to log in by; the public one is beside it in ``.pub``.
        jump: a host to log in by, as ``user@host:port``.
        private: whether machines are reached at their private addresses even where they have
            public ones.
        script: a file of this machine that each new machine runs as root when it boots.
        power_off: what a machine that was created runs as root to end itself, when its cluster has
            an ``idle`` and that has passed; with an empty one it stays on. At EC2 a machine that
            is off has ended; others may cost on until they are destroyed.
        hosts: for ``ssh``: the machines, as in a cluster's spec.
        options: what else the driver's constructor takes, such as ``project`` of ``gce``.
        create: what else the driver takes when it creates a machine, such as
            ``ex_security_groups`` of ``ec2``.
        settle: how long a machine may not be listed yet after it was asked for.
        credentials: where they come from.
    """

    name: Name
    kind: Name = "libcloud"
    driver: str = ""
    region: str = ""
    endpoint: Annotated[str, Field(pattern=r"^(https?://[^\s/]+.*)?$")] = ""
    image: str = ""
    size: str = ""
    user: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_-]{0,31}$")] = "sparknomad"
    key: str = ""
    jump: str = ""
    private: bool = False
    script: str = ""
    power_off: str = "poweroff"
    hosts: tuple[Annotated[HostSpec, BeforeValidator(host_entry)], ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    create: Mapping[str, Any] = field(default_factory=dict)
    settle: Duration = parse_duration("20s")
    credentials: CredentialsSpec = field(default_factory=CredentialsSpec)
