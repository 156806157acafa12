"""What all commands share: reading options, showing plans, telling what is gone."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cloudmesh.sparknomad.errors import InputError
from cloudmesh.sparknomad.manager import Sparknomad
from cloudmesh.sparknomad.model import Plan
from cloudmesh.sparknomad.output import Output
from cloudmesh.sparknomad.progress import Progress
from cloudmesh.sparknomad.units import format_bytes, parse_duration

if TYPE_CHECKING:
    from cloudmesh.sparknomad.storage.checking import CheckStep

__all__ = [
    "Arguments",
    "make_manager",
    "make_output",
    "limit_of",
    "number_of",
    "show_checks",
    "show_plan",
    "tell",
    "timeout_of",
]

Arguments = Mapping[str, Any]


def make_manager(arguments: Arguments) -> Sparknomad:
    """The manager, with progress on standard error."""
    progress = Progress(quiet=arguments["--quiet"])
    accept = _ask_about_host_key
    if arguments["--accept-host-keys"]:
        accept = _accept_any
    return Sparknomad(say=progress.say, accept_host_key=accept, show=progress.show)


def _accept_any(name: str, fingerprint: str) -> bool:
    del name, fingerprint
    return True


def _ask_about_host_key(name: str, fingerprint: str) -> bool:
    """Ask as SSH does; nobody is there to answer where it is no terminal."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    print(f"The host key of {name} is not known: {fingerprint}", file=sys.stderr)
    print("Trust it (yes/no)? ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() == "yes"


def make_output(arguments: Arguments) -> Output:
    """Where answers go, in the format that was asked for."""
    return Output(arguments["--output"])


def timeout_of(
    arguments: Arguments, default: float | None, option: str = "--timeout"
) -> float | None:
    """An option's duration in seconds."""
    text = arguments[option]
    if text is None:
        return default
    try:
        return parse_duration(text)
    except ValueError as error:
        raise InputError(f"{option}={text}: {error}.") from None


def number_of(arguments: Arguments, name: str) -> int | None:
    """An option's whole number."""
    text = arguments[name]
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        raise InputError(f"{name}: {text!r} is not a whole number.") from None


def limit_of(arguments: Arguments, default: int) -> int | None:
    """How many ``--limit`` asks for; ``None`` for all."""
    if arguments["--limit"] == "all":
        return None
    limit = number_of(arguments, "--limit")
    if limit is not None and limit < 1:
        raise InputError(f"--limit={limit}: must be at least 1, or all.")
    return default if limit is None else limit


def show_plan(output: Output, plan: Plan) -> int:
    """Write a plan; the exit code is returned."""
    if not output.is_table:
        output.data(plan)
        return 0
    print(f"Would {plan.title}:")
    for number, step in enumerate(plan.steps, start=1):
        print(f"{number:3}. {step.title}")
        for line in step.body.splitlines():
            print(f"       {line}")
    return 0


def show_checks(arguments: Arguments, steps: Sequence[CheckStep]) -> int:
    """Write what was tried; the exit code is returned: 1 if anything failed."""
    columns: dict[str, Callable[[CheckStep], str]] = {
        "STORAGE": lambda step: step.subject or "-",
        "STEP": lambda step: step.step,
        "RESULT": lambda step: "ok" if step.ok else "FAILED",
        "SECONDS": lambda step: f"{step.seconds:.3f}",
        "RATE": lambda step: f"{format_bytes(step.rate)}/s" if step.rate else "-",
        "DETAIL": lambda step: " ".join(each for each in (step.detail, step.hint) if each) or "-",
    }
    if any(step.node for step in steps):
        columns = {"WORKER": lambda step: step.node or "this machine", **columns}
    hint = "no storage profiles; `cms sparknomad storage profile add NAME --url=URL` adds one"
    make_output(arguments).rows(steps, columns, empty=hint)
    return 0 if all(step.ok for step in steps) else 1


def tell(arguments: Arguments, manager: Sparknomad, message: str, key: str, argument: str) -> None:
    """Say that something is removed: in words, or as an object for programs."""
    output = make_output(arguments)
    if output.is_table:
        manager.say(message)
    else:
        output.data({key: arguments[argument], "state": "removed"})
