"""What a user writes of the machines that a cluster runs on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import Enum
from typing import Annotated, Any

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from cloudmesh.sparknomad.spec_types import CONFIGURATION, Text

__all__ = ["HostSpec", "Role", "host_entry"]

_WORD = r"^[^\s'\"`$;|&<>()\\]+$"
_GROUP_PATTERN = r"^[a-z]([a-z0-9._-]{0,38}[a-z0-9])?$"


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
