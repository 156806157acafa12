"""Machines and offers, as every compute answers them; the tags that ours carry."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from cloudmesh.sparknomad.errors import InputError

__all__ = [
    "GROUP_PATTERN",
    "Machine",
    "MachineRequest",
    "MachineState",
    "Offer",
    "Orphan",
    "Tags",
    "check_group_name",
]

GROUP_PATTERN = r"[a-z]([a-z0-9-]{0,30}[a-z0-9])?"
"""A group's name is part of its machines' names, for which clouds have narrow rules."""

_NAME = re.compile(r"^sn-([0-9a-f]{8})-([a-z][a-z0-9-]*)-([0-9a-f]{12})$")


def check_group_name(name: str) -> None:
    """Refuse a name that no group can have.

    Raises:
        InputError: with what is allowed.
    """
    if not re.fullmatch(GROUP_PATTERN, name):
        raise InputError(
            f"group: {name!r}: a group's name has 1 to 32 lower-case letters, digits or '-', "
            "begins with a letter and ends with a letter or digit"
        )


class MachineState(Enum):
    """Where a machine stands."""

    PENDING = "pending"
    RUNNING = "running"
    STOPPED = "stopped"
    ENDING = "ending"
    ENDED = "ended"
    UNKNOWN = "unknown"

    @property
    def is_terminal(self) -> bool:
        """Whether it is gone for good."""
        return self is MachineState.ENDED


@dataclass(frozen=True)
class Tags:
    """What every machine carries from the call on that creates it.

    Attributes:
        owner: the configuration directory that it was created from, 8 hexadecimal digits.
        group: its group.
        member: its own id, 12 hexadecimal digits.
        creator: who created it, as ``user-at-machine``.
    """

    owner: str
    group: str
    member: str
    creator: str = ""

    @property
    def name(self) -> str:
        """The machine's name, which tells the same where a cloud has no tags."""
        return f"sn-{self.owner}-{self.group}-{self.member}"

    def as_mapping(self) -> dict[str, str]:
        """The tags, in words that every cloud takes."""
        return {
            "sparknomad": self.owner,
            "sparknomad-group": self.group,
            "sparknomad-id": self.member,
            "sparknomad-creator": self.creator,
        }

    @classmethod
    def read(cls, tags: Mapping[str, str], name: str = "") -> Tags | None:
        """Read them back from a machine's tags, else from its name; ``None`` if not ours."""
        owner, group, member = (
            tags.get(key, "") for key in ("sparknomad", "sparknomad-group", "sparknomad-id")
        )
        if owner and group and member:
            return cls(owner, group, member, tags.get("sparknomad-creator", ""))
        found = _NAME.match(name or "")
        return cls(found[1], found[2], found[3]) if found else None


@dataclass(frozen=True)
class Machine:
    """One machine.

    Attributes:
        id: as its cloud knows it.
        name: its name there.
        compute: where it comes from.
        state: where it stands.
        group: that it was created for; empty if it was not created by us.
        member: its own id in its group.
        owner: the configuration directory that it was created from.
        creator: who created it.
        public: its public address, or empty.
        private: its private address, or empty.
        size: its size, as its cloud names it; empty if it is not told.
        host_key: its public host key, where its cloud tells it.
        created: seconds since the epoch, or null.
    """

    id: str
    name: str
    compute: str
    state: MachineState
    group: str = ""
    member: str = ""
    owner: str = ""
    creator: str = ""
    public: str = ""
    private: str = ""
    size: str = ""
    host_key: str = ""
    created: float | None = None


@dataclass(frozen=True)
class MachineRequest:
    """What a compute is asked to create.

    Attributes:
        tags: that the machine has to carry.
        size: as the cloud names it.
        image: as the cloud names it.
        user: to log in as.
        public_key: to log in by, a line as in ``authorized_keys``.
        user_data: a script of ``sh`` that the machine runs as root when it boots.
    """

    tags: Tags
    size: str
    image: str
    user: str
    public_key: str
    user_data: str = field(repr=False)


@dataclass(frozen=True)
class Offer:
    """A size of machine that a compute has.

    Attributes:
        compute: which one.
        size: as it names it.
        cores: how many; null if it is not told.
        memory: bytes; null if it is not told.
        disk: bytes of its own disk; null or 0 if that is chosen apart.
        price: US dollars an hour without tax, as far as it is known; else null.
    """

    compute: str
    size: str
    cores: int | None
    memory: int | None
    disk: int | None
    price: float | None


@dataclass(frozen=True)
class Orphan:
    """A machine with our tag that no group owns.

    Attributes:
        machine: it.
        ours: whether it was created from this configuration directory.
        reason: why nobody owns it.
    """

    machine: Machine
    ours: bool
    reason: str
