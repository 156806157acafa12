"""Creating machines, of which each is noted before it is asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from cloudmesh.sparknomad.compute.atonce import at_once
from cloudmesh.sparknomad.compute.groups import Group, Member
from cloudmesh.sparknomad.compute.machines import Machine
from cloudmesh.sparknomad.compute.planning import asked, told, without
from cloudmesh.sparknomad.errors import ComputeError
from cloudmesh.sparknomad.waiting import Deadline

__all__ = ["create_all"]


def create_all(
    group: Group,
    missing: Sequence[Member],
    create: Callable[[Member], Machine],
    write: Callable[[Group], Group],
    deadline: Deadline,
) -> Group:
    """Create machines, many at a time.

    Args:
        group: that they are of.
        missing: its members that have none.
        create: asks the cloud for the machine of one.
        write: remembers the group.
        deadline: when no more is asked for.

    Returns:
        The group, which knows all of them.

    Raises:
        ComputeError: if some were not created; what was created stays in the group.
    """
    state = [group]
    lock = threading.Lock()

    def note(changed: Callable[[Group], Group]) -> None:
        with lock:
            state[0] = write(changed(state[0]))

    def one(member: Member) -> None:
        if not deadline.left:
            raise ComputeError("it was too late to ask for it")
        note(lambda known: asked(known, member.id))
        made = create(member)
        if made.state.is_terminal:
            note(lambda known: without(known, member.id))
            raise ComputeError(f"{made.name} ended at once")
        note(lambda known: known.with_machine(member.id, made.id))

    failed = [error for _, error in at_once(missing, one) if error]
    if failed:
        raise ComputeError(
            f"Group {group.name!r}: {len(failed)} of {len(missing)} machines were not "
            f"created: {told(failed)}",
            hint="What was created stays. The same command again creates the rest; "
            f"cms sparknomad compute destroy {group.name} ends all.",
        )
    return state[0]
