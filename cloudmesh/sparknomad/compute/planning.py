"""Which machines a group is to have, from what is remembered and what the cloud lists. Pure."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from cloudmesh.sparknomad.compute.groups import Group, GroupState, Member, plain_spec
from cloudmesh.sparknomad.compute.machines import Machine, Offer
from cloudmesh.sparknomad.compute.spec import ComputeSpec
from cloudmesh.sparknomad.errors import (
    ComputeError,
    ConflictError,
    InputError,
    SparknomadError,
    SpecError,
)

__all__ = [
    "asked",
    "cheapest",
    "completed",
    "refuse_ended",
    "refuse_other_account",
    "told",
    "wanted",
    "without",
]

_MOST = 1000


def wanted(
    spec: ComputeSpec, found: Group | None, group: str, count: int | None, size: str, image: str
) -> Group:
    """The group that a `create` means: what is there, changed by what is given.

    Raises:
        ConflictError: if it is another compute's, or being destroyed.
        SpecError: if size or image are not known.
    """
    if found and found.compute != spec.name:
        raise ConflictError(
            f"Group {group!r} is of compute {found.compute!r}, not {spec.name!r}.",
            hint="Take another name for the group, or destroy it first.",
        )
    if found and found.state is GroupState.DESTROYING:
        raise ConflictError(
            f"Group {group!r} was not destroyed to its end.",
            hint=f"Go on: cms sparknomad compute destroy {group}",
        )
    count = count or (found.count if found else 1)
    if not 1 <= count <= _MOST:
        raise InputError(f"count: {count}: must be 1 to {_MOST}")
    size = size or (found.size if found else spec.size)
    image = image or (found.image if found else spec.image)
    for name, value in (("size", size), ("image", image)):
        if not value:
            raise SpecError(
                f"compute {spec.name!r}: {name}: missing; a machine needs one",
                hint=f"Give --{name}, or write it into the compute."
                + (f" cms sparknomad compute offers {spec.name}" * (name == "size")),
            )
    if found:
        return found.changed(count=count, size=size, image=image)
    return Group(group, spec.name, plain_spec(spec), size, image, count)


def completed(spec: ComputeSpec, record: Group, listed: Mapping[str, Machine]) -> Group:
    """The group with as many members as it should have, none of which is known to be gone."""
    now = time.time()
    known = {member.id: member for member in record.members}
    for member, machine in listed.items():
        found = known.get(member, Member(member, machine.created or now))
        known[member] = replace(found, machine=machine.id)
    kept = [
        member
        for member in known.values()
        if member.id in listed or not member.machine or now - member.asked < spec.settle
    ]
    if len(kept) > record.count:
        raise ConflictError(
            f"Group {record.name!r} has {len(kept)} machines already, more than "
            f"{record.count}; `create` ends none.",
            hint=f"Give --count={len(kept)}, or destroy it: "
            f"cms sparknomad compute destroy {record.name}",
        )
    new = [Member(secrets.token_hex(6), 0.0) for _ in range(record.count - len(kept))]
    return record.changed(members=(*kept, *new))


def refuse_ended(spec: ComputeSpec, record: Group, listed: Mapping[str, Machine]) -> None:
    """Refuse a group of which a machine is gone.

    Raises:
        ComputeError: that names it.
    """
    now = time.time()
    gone = [
        member.machine
        for member in record.members
        if member.machine and member.id not in listed and now - member.asked > spec.settle
    ]
    if gone:
        raise ComputeError(
            f"Group {record.name!r}: {', '.join(gone)} ended, or was ended by somebody else.",
            hint=f"cms sparknomad compute create {record.name} --compute={spec.name} "
            "creates others.",
        )


def refuse_other_account(group: Group, identity: Mapping[str, str]) -> None:
    """Refuse to believe that a group's machines are gone, where others' credentials see none.

    Raises:
        ConflictError: that tells both.
    """
    differs = {name: was for name, was in group.identity.items() if identity.get(name, "") != was}
    if not differs:
        return
    then = ", ".join(f"{name} {was!r}" for name, was in differs.items())
    now = ", ".join(f"{name} {identity.get(name, '')!r}" for name in differs)
    raise ConflictError(
        f"Group {group.name!r}: compute {group.compute!r} lists none of its machines, but they "
        f"were created with {then}, and it was asked with {now}: maybe another account.",
        hint="Give the credentials of then. If the machines are gone for sure: "
        f"cms sparknomad compute destroy {group.name} --force",
    )


def asked(group: Group, member: str) -> Group:
    """A copy that knows that a machine is asked for now."""
    now = time.time()
    changed = (replace(m, asked=now) if m.id == member else m for m in group.members)
    return group.changed(members=tuple(changed))


def without(group: Group, member: str) -> Group:
    """A copy that lacks a machine."""
    return group.changed(members=tuple(m for m in group.members if m.id != member))


def told(errors: Sequence[Exception]) -> str:
    """What went wrong, each once."""
    words = [
        error.message if isinstance(error, SparknomadError) else str(error) for error in errors
    ]
    return "; ".join(dict.fromkeys(words))


def cheapest(offers: Iterable[Offer]) -> list[Offer]:
    """Offers in the order of their price; those without a price last."""
    return sorted(offers, key=_cheapness)


def _cheapness(offer: Offer) -> tuple[bool, float, int, int, str]:
    priced = offer.price is not None
    return (not priced, offer.price or 0.0, offer.cores or 0, offer.memory or 0, offer.size)
