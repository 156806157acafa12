"""Commands about machines: where they come from, and who owns them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from cloudmesh.sparknomad.commands.shared import (
    Arguments,
    make_manager,
    make_output,
    number_of,
    show_plan,
    timeout_of,
)
from cloudmesh.sparknomad.errors import InputError
from cloudmesh.sparknomad.output import Output
from cloudmesh.sparknomad.units import format_bytes, parse_size
from cloudmesh.sparknomad.verbs.computes import CREATE_SECONDS, END_SECONDS

if TYPE_CHECKING:
    from cloudmesh.sparknomad.compute.machines import Machine

__all__ = ["VERBS"]

_COLUMNS: dict[str, Callable[[Machine], str]] = {
    "MACHINE": lambda machine: machine.name,
    "GROUP": lambda machine: machine.group or "-",
    "COMPUTE": lambda machine: machine.compute,
    "STATE": lambda machine: machine.state.value,
    "ADDRESS": lambda machine: machine.public or machine.private or "-",
    "SIZE": lambda machine: machine.size or "-",
    "ID": lambda machine: machine.id,
}


def _show(output: Output, machines: Sequence[Machine]) -> int:
    empty = "no machines; `cms sparknomad compute create GROUP --compute=NAME` creates some"
    output.rows(machines, _COLUMNS, empty=empty)
    return 0


def _list(arguments: Arguments) -> int:
    manager = make_manager(arguments)
    machines = manager.compute_list(arguments["COMPUTE"], everyone=arguments["--all"])
    return _show(make_output(arguments), machines)


def _create(arguments: Arguments) -> int:
    output, manager = make_output(arguments), make_manager(arguments)
    group, compute = arguments["GROUP"], arguments["--compute"]
    count = number_of(arguments, "--count")
    if count is not None and count < 1:
        raise InputError(f"--count={count}: must be 1 to 1000.")
    size, image = arguments["--size"] or "", arguments["--image"] or ""
    if arguments["--dry-run"]:
        plan = manager.compute_plan(group, compute, count=count, size=size, image=image)
        return show_plan(output, plan)
    timeout = timeout_of(arguments, CREATE_SECONDS)
    assert timeout is not None
    machines = manager.compute_create(
        group, compute, count=count, size=size, image=image, timeout=timeout
    )
    return _show(output, machines)


def _destroy(arguments: Arguments) -> int:
    output, manager = make_output(arguments), make_manager(arguments)
    group = arguments["GROUP"]
    timeout = timeout_of(arguments, END_SECONDS)
    assert timeout is not None
    ended = manager.compute_destroy(group, force=arguments["--force"], timeout=timeout)
    if ended is None:
        manager.say(f"there is no group {group!r}")
    else:
        manager.say(f"group {group!r} is gone ({len(ended)} machines ended)")
    if not output.is_table:
        found = ended is not None
        output.data(
            {"group": group, "found": found, "ended": ended or [], "state": "destroyed"},
        )
    return 0


def _offers(arguments: Arguments) -> int:
    cores = number_of(arguments, "--cores")
    memory = arguments["--memory"]
    try:
        least = parse_size(memory) if memory else 0
    except ValueError as error:
        raise InputError(f"--memory={memory}: {error}.") from None
    offers = make_manager(arguments).compute_offers(
        arguments["COMPUTE"], cores=cores or 1, memory=least
    )
    columns = {
        "COMPUTE": lambda offer: offer.compute,
        "SIZE": lambda offer: offer.size,
        "CORES": lambda offer: "-" if offer.cores is None else str(offer.cores),
        "MEMORY": lambda offer: "-" if offer.memory is None else format_bytes(offer.memory),
        "DISK": lambda offer: format_bytes(offer.disk) if offer.disk else "-",
        "USD/HOUR": lambda offer: "-" if offer.price is None else f"{offer.price:.4f}",
    }
    make_output(arguments).rows(offers, columns, empty="no size is large enough")
    return 0


def _orphans(arguments: Arguments) -> int:
    output, manager = make_output(arguments), make_manager(arguments)
    everyone = arguments["--all"]
    if arguments["--destroy"]:
        timeout = timeout_of(arguments, END_SECONDS)
        assert timeout is not None
        found = manager.compute_end_orphans(everyone=everyone, timeout=timeout)
        manager.say(f"{len(found)} machines ended")
    else:
        found = manager.compute_orphans(everyone=everyone)
    if not output.is_table:
        output.data(found)
        return 0
    columns = {
        "MACHINE": lambda orphan: orphan.machine.name,
        "COMPUTE": lambda orphan: orphan.machine.compute,
        "STATE": lambda orphan: orphan.machine.state.value,
        "ID": lambda orphan: orphan.machine.id,
        "REASON": lambda orphan: orphan.reason,
    }
    output.rows(found, columns, empty="no orphans")
    return 0


VERBS: dict[str, Callable[[Arguments], int]] = {
    "list": _list,
    "create": _create,
    "destroy": _destroy,
    "offers": _offers,
    "orphans": _orphans,
}
