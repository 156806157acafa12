"""What each command does: read its options, call the manager, write the answer."""

from __future__ import annotations

from collections.abc import Callable

from cloudmesh.sparknomad.commands import (
    cluster_commands,
    compute_commands,
    image_commands,
    job_commands,
    machine_commands,
    operating_commands,
    pipeline_commands,
    service_commands,
    sharing_commands,
    storage_commands,
)
from cloudmesh.sparknomad.commands.shared import Arguments

__all__ = ["COMMANDS"]

_GROUPS: dict[str, dict[str, Callable[[Arguments], int]]] = {
    "": machine_commands.VERBS,
    "cluster": {
        **cluster_commands.VERBS,
        **operating_commands.VERBS,
        **sharing_commands.VERBS,
    },
    "image": image_commands.VERBS,
    "job": job_commands.VERBS,
    "pipeline": pipeline_commands.VERBS,
    "service": service_commands.VERBS,
    "storage": storage_commands.VERBS,
    "compute": compute_commands.VERBS,
}

COMMANDS: dict[tuple[str, str], Callable[[Arguments], int]] = {
    (group, verb): function for group, verbs in _GROUPS.items() for verb, function in verbs.items()
}
