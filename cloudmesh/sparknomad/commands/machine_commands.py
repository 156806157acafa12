"""Commands about this machine."""

from __future__ import annotations

import sys
from collections.abc import Callable

from cloudmesh.sparknomad.commands.shared import (
    Arguments,
    make_manager,
    make_output,
    show_checks,
)

__all__ = ["VERBS"]


def _setup(arguments: Arguments) -> int:
    steps = make_manager(arguments).setup(dry_run=arguments["--dry-run"])
    columns = {
        "PROGRAM": lambda step: step.program,
        "VERSION": lambda step: step.version,
        "STATE": lambda step: step.state,
        "WHERE": lambda step: step.where,
    }
    make_output(arguments).rows(steps, columns, empty="nothing to set up")
    return 0


def _doctor(arguments: Arguments) -> int:
    checks = make_manager(arguments).doctor()
    columns = {
        "CHECK": lambda check: check.name,
        "RESULT": lambda check: check.result,
        "FOUND": lambda check: check.found,
        "WHAT TO DO": lambda check: check.remedy,
    }
    make_output(arguments).rows(checks, columns, empty="nothing checked")
    return 1 if any(check.result == "missing" for check in checks) else 0


def _check(arguments: Arguments) -> int:
    cluster, site = arguments["--cluster"], arguments["--site"]
    steps = make_manager(arguments).cluster_check(cluster=cluster, site=site)
    return show_checks(arguments, steps)


def _completion(arguments: Arguments) -> int:
    from cloudmesh.sparknomad.completion import completion_script

    sys.stdout.write(completion_script(arguments["SHELL"]))
    return 0


VERBS: dict[str, Callable[[Arguments], int]] = {
    "setup": _setup,
    "doctor": _doctor,
    "check": _check,
    "completion": _completion,
}
