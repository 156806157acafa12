"""What is remembered of machines before they are asked for, until they are proven gone."""

from __future__ import annotations

import getpass
import json
import os
import re
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any

from cloudmesh.sparknomad.compute.machines import Machine, Tags, check_group_name
from cloudmesh.sparknomad.compute.spec import ComputeSpec
from cloudmesh.sparknomad.processes import exclusive, locked, write_private
from cloudmesh.sparknomad.specfile import build_spec, spec_to_dict

__all__ = ["Group", "GroupState", "Groups", "Member", "plain_spec"]


class GroupState(Enum):
    """Where a group stands."""

    CREATING = "creating"
    READY = "ready"
    DESTROYING = "destroying"


@dataclass(frozen=True)
class Member:
    """One machine of a group.

    Attributes:
        id: our own, which its tag carries.
        asked: when it was last asked for, seconds since the epoch.
        machine: the cloud's id of it; empty until the cloud has answered.
        owned: whether the group was whole once with it; until then it may be an orphan.
    """

    id: str
    asked: float
    machine: str = ""
    owned: bool = False


@dataclass(frozen=True)
class Group:
    """The content of a group's file.

    Attributes:
        name: its name.
        compute: the compute that it comes from.
        spec: that compute as it was then, without secrets.
        size: of its machines.
        image: of its machines.
        count: how many machines were asked for.
        state: where it stands.
        members: its machines.
        created: seconds since the epoch.
        owner: the id of the configuration directory that its machines' tags tell; this one's if
            empty.
        identity: what tells the account that they are in, as far as credentials do; no secrets.
    """

    name: str
    compute: str
    spec: Mapping[str, Any]
    size: str
    image: str
    count: int
    state: GroupState = GroupState.CREATING
    members: tuple[Member, ...] = ()
    created: float = field(default_factory=time.time)
    owner: str = ""
    identity: Mapping[str, str] = field(default_factory=dict)

    @property
    def document(self) -> dict[str, Any]:
        """It as plain data."""
        return asdict(self) | {"state": self.state.value}

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Group:
        """It from plain data."""
        members = tuple(Member(**each) for each in document["members"])
        return cls(**{**document, "state": GroupState(document["state"]), "members": members})

    def changed(self, **changes: Any) -> Group:
        """A copy with other values."""
        return replace(self, **changes)

    def with_machine(self, member: str, machine: str) -> Group:
        """A copy that knows the cloud's id of a machine."""
        return self.changed(
            members=tuple(
                replace(each, machine=machine) if each.id == member else each
                for each in self.members
            )
        )

    def joined(self, known: Group) -> Group:
        """A copy that has also the machines of the same group as it is known here."""
        members = {each.id: each for each in self.members}
        for each in known.members:
            if each.id not in members or (each.machine and not members[each.id].machine):
                members[each.id] = each
        count = max(self.count, known.count)
        return self.changed(members=tuple(members.values()), count=count)

    def made_whole(self) -> Group:
        """A copy that owns all its machines."""
        owned = tuple(replace(each, owned=True) for each in self.members)
        return self.changed(state=GroupState.READY, members=owned)

    @property
    def compute_spec(self) -> ComputeSpec:
        """The compute as it was when the group was made."""
        return build_spec(ComputeSpec, self.spec)


class Groups:
    """The groups of one configuration directory: a file for each, for its owner's eyes alone.

    Args:
        directory: that holds them; made if it is not there.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    @property
    def owner(self) -> str:
        """The id of this configuration directory, made when it is first needed."""
        file = self.directory / "owner"
        with locked(self.directory / ".owner.lock"):
            if not file.exists():
                write_private(file, secrets.token_hex(4))
            return file.read_text("utf-8")

    def managed(self) -> Callable[[Machine], bool]:
        """Tells the machines that are managed here: our own, and those of groups taken over."""
        own = self.owner
        taken = {(group.name, group.owner) for group in self.all() if group.owner}
        return lambda machine: machine.owner == own or (machine.group, machine.owner) in taken

    def owner_of(self, group: Group) -> str:
        """What the tags of a group's machines tell."""
        return group.owner or self.owner

    @property
    def creator(self) -> str:
        """Who creates machines now, in letters that every cloud takes."""
        try:
            user = getpass.getuser()
        except (OSError, KeyError):  # no name belongs to our number
            user = str(os.getuid())
        return re.sub(r"[^a-z0-9_-]", "-", f"{user}-at-{socket.gethostname()}".lower())[:63]

    def tags(self, group: Group, member: str) -> Tags:
        """The tags of a machine."""
        return Tags(self.owner_of(group), group.name, member, self.creator)

    @contextmanager
    def held(self, name: str) -> Iterator[None]:
        """Hold a group, that no other command changes it.

        Raises:
            InputError: if no group can have this name.
            ConflictError: if another command holds it.
        """
        check_group_name(name)
        with exclusive(self._lock(name), f"group {name!r}"):
            yield

    def is_held(self, name: str) -> bool:
        """Whether a command is changing a group now."""
        if not self._lock(name).exists():
            return False
        with locked(self._lock(name), wait=False) as stream:
            return stream is None

    def _lock(self, name: str) -> Path:
        return self.directory / f".{name}.lock"

    def _file(self, name: str) -> Path:
        return self.directory / f"{name}.json"

    def find(self, name: str) -> Group | None:
        """A group by its name, or ``None``."""
        check_group_name(name)
        try:
            document = json.loads(self._file(name).read_text("utf-8"))
        except FileNotFoundError:
            return None
        return Group.read(document)

    def all(self) -> list[Group]:
        """Every group, by name."""
        names = sorted(path.stem for path in self.directory.glob("*.json"))
        return [group for name in names if (group := self.find(name))]

    def write(self, group: Group) -> Group:
        """Remember a group, before anything is done about it."""
        write_private(self._file(group.name), json.dumps(group.document, indent=1))
        return group

    def forget(self, group: Group) -> None:
        """Forget a group that is held and proven gone; that its machines ended is remembered."""
        ended = self.directory / "ended"
        with locked(self.directory / ".ended.lock"), ended.open("a", encoding="utf-8") as stream:
            ended.chmod(0o600)
            stream.writelines(f"{member.id}\n" for member in group.members)
        self._file(group.name).unlink(missing_ok=True)
        # Only while it is held: who waits for it would hold a file that nobody sees.
        self._lock(group.name).unlink(missing_ok=True)

    def has_ended(self, member: str) -> bool:
        """Whether a machine of a group that was forgotten is proven gone."""
        ended = self.directory / "ended"
        return ended.exists() and member in ended.read_text("utf-8").split()


def plain_spec(spec: ComputeSpec) -> dict[str, Any]:
    """A compute's spec without what is secret in it."""
    data = spec_to_dict(spec)
    data["credentials"]["values"] = {}
    return data
