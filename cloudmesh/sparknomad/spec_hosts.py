"""What a user writes of the machines that a cluster runs on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from enum import Enum
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator
from pydantic.dataclasses import dataclass

from cloudmesh.sparknomad.spec_types import CONFIGURATION, Count, Size, Text, Workers

__all__ = ["SITE_PATTERN", "HostSpec", "Role", "SiteSpec", "WorkerRange", "host_entry", "placed"]

_WORD = r"^[^\s'\"`$;|&<>()\\]+$"
_GROUP_PATTERN = r"^[a-z]([a-z0-9._-]{0,38}[a-z0-9])?$"

SITE_PATTERN = r"^[a-z]([a-z0-9-]{0,28}[a-z0-9])?$"
"""Of the names of sites: they are part of the names of Nomad services."""


_OF_HOSTS = ("address", "user", "port", "key", "jump", "host_key")
_OF_GROUPS = ("count", "cloud")


class Role(Enum):
    """What runs on a host.

    ``server`` keeps Nomad's state and runs nothing else, ``worker`` runs tasks; ``any`` may be
    both.
    """

    ANY = "any"
    SERVER = "server"
    WORKER = "worker"


@dataclass(frozen=True, config=CONFIGURATION)
class HostSpec:
    """One machine, or several of the same kind.

    Attributes:
        host: its name as SSH knows it, also from ``~/.ssh/config``; ``rack[01-16]`` stands for
            sixteen.
        address: by which the other hosts reach it; that of the SSH connection if not given.
        user: to log in as.
        port: of its SSH server.
        key: a file with a private key.
        jump: a host to log in by, as ``user@host:port``.
        host_key: its public key, as in ``known_hosts``: ``ssh-ed25519 AAAA…``.
        role: what runs on it.
        labels: for Nomad, as ``meta``.
        compute: instead of `host`: a group of machines of a cloud, or an inventory of the
            configuration, whose machines this stands for.
        count: create the group first, with so many machines, or complete it.
        cloud: the compute that the group is created in; the one of the group's name if not given.
        site: that it is part of, where the cluster has sites.
    """

    host: Annotated[str, Field(pattern=_WORD)] | None = None
    address: Annotated[str, Field(pattern=_WORD)] | None = None
    user: Annotated[str, Field(pattern=_WORD)] | None = None
    port: Annotated[int, Field(strict=True, ge=1, le=65535)] | None = None
    key: str | None = None
    jump: Annotated[str, Field(pattern=_WORD)] | None = None
    host_key: Annotated[str, Field(pattern=r"^[a-z0-9@.-]+ [A-Za-z0-9+/=]+( .*)?$")] | None = None
    role: Role = Role.ANY
    labels: Mapping[Annotated[str, Field(pattern=r"^[A-Za-z_][\w.-]*$")], Text] = field(
        default_factory=dict
    )
    compute: Annotated[str, Field(pattern=_GROUP_PATTERN)] | None = None
    count: Annotated[int, Field(strict=True, ge=1, le=1000)] | None = None
    cloud: Annotated[str, Field(pattern=_GROUP_PATTERN)] | None = None
    site: Annotated[str, Field(pattern=SITE_PATTERN)] | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> HostSpec:
        if bool(self.host) == bool(self.compute):
            raise ValueError("give either host or compute")
        wrong = _OF_HOSTS if self.compute else _OF_GROUPS
        for name in wrong:
            if getattr(self, name):
                other = "compute" if self.compute else "host"
                raise ValueError(f"{name} does not go with {other}")
        return self


def host_entry(value: Any) -> Any:
    """A host of which only the name is given."""
    return {"host": value} if isinstance(value, str) else value


@dataclass(frozen=True, config=CONFIGURATION)
class WorkerRange:
    """Workers that come and go with the runs that can use them.

    Attributes:
        max: how many there are at most.
        min: how many there are at least.
    """

    max: Workers
    min: Workers = 1

    @model_validator(mode="after")
    def _ordered(self) -> WorkerRange:
        if self.min > self.max:
            raise ValueError(f"min must be at most max, which is {self.max}")
        return self


@dataclass(frozen=True, config=CONFIGURATION)
class SiteSpec:
    """Hosts that are near each other: a cloud's region, a rack.

    Each site has its own Spark master, workers and HDFS, so that no shuffle leaves it.

    Attributes:
        hosts: its machines, as in the cluster's own `hosts`.
        workers: number of Spark workers there, or ``{min: 1, max: 8}``; the cluster's if not
            given.
        cores: that each of them offers; the cluster's if not given.
        memory: that each of them offers to executors; the cluster's if not given.
    """

    hosts: tuple[Annotated[HostSpec, BeforeValidator(host_entry)], ...] = ()
    workers: Workers | WorkerRange | None = None
    cores: Count | None = None
    memory: Size | None = None


def placed(
    hosts: Sequence[HostSpec], sites: Mapping[str, SiteSpec]
) -> tuple[tuple[HostSpec, ...], dict[str, SiteSpec]]:
    """Hosts in one list that say their site, and sites without hosts.

    Raises:
        ValueError: if a host is of no site, or a site has no host.
    """
    found = list(hosts)
    for name, site in sites.items():
        found += [replace(host, site=host.site or name) for host in site.hosts]
    wrong = [host for host in found if (host.site or "") not in (sites or ("",))]
    if wrong:
        named = wrong[0].host or wrong[0].compute
        known = ", ".join(sites) or "none are given under sites"
        raise ValueError(f"site of {named}: {wrong[0].site!r}: must be one of the sites: {known}")
    empty = [name for name in sites if all(host.site != name for host in found)]
    if empty:
        raise ValueError(f"sites.{empty[0]}: has no hosts")
    return tuple(found), {name: replace(site, hosts=()) for name, site in sites.items()}
