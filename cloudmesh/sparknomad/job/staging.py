"""Which of a run's storages go through its cluster: what the job declares, and the run asks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cloudmesh.sparknomad.errors import ParameterError
from cloudmesh.sparknomad.model_storage import (
    RunStaging,
    RunStorage,
    StagedInput,
    StagedOutput,
)
from cloudmesh.sparknomad.specs import JobSpec, ParameterSpec, Stage, Write

__all__ = ["parse_stage", "plan_staging"]

_MODES = tuple(mode.value for mode in Stage)
_CLUSTER = "cluster:"
_WEB = ("http://", "https://")


def parse_stage(options: Iterable[str]) -> dict[str, Stage]:
    """Read ``--stage`` options: ``MODE`` for every input, or ``NAME=MODE`` for one.

    Returns:
        The mode by parameter; under an empty name the one for every input.

    Raises:
        ParameterError: if one is neither, or given twice.
    """
    modes: dict[str, Stage] = {}
    for option in options:
        name, _, mode = option.rpartition("=")
        if mode not in _MODES:
            raise ParameterError(
                f"--stage={option}: {mode!r}: must be {', '.join(_MODES)}, or NAME=MODE."
            )
        if name in modes:
            raise ParameterError(f"--stage={option}: given twice for {name or 'every input'!r}.")
        modes[name] = Stage(mode)
    return modes


def plan_staging(
    job: JobSpec,
    bound: Mapping[str, Any],
    places: Mapping[str, str],
    storage: RunStorage,
    modes: Mapping[str, Stage],
) -> tuple[dict[str, str], RunStaging]:
    """Find what goes through the cluster.

    Args:
        job: declares it.
        bound: the values of its parameters.
        places: of them the storages, as Hadoop names them.
        storage: where they come from.
        modes: of `parse_stage`.

    Returns:
        The tokens that stand for these places in the arguments, and what they stand for.

    Raises:
        ParameterError: if a mode is asked for a parameter that can't have one.
    """
    _check_names(job, places, modes)
    inputs, outputs, tokens = [], [], {}
    for name, place in places.items():
        declared = job.parameters[name]
        shown, token = str(bound[name]), f"sparknomad-staged:/{name};"
        mode = _mode(name, declared, modes)
        if place.startswith(_WEB):
            mode = _web_mode(name, shown, declared, modes)
        if place.startswith(_CLUSTER):
            continue
        if declared.write is Write.STAGED:
            outputs.append(StagedOutput(name, place, shown, declared.exists.value, token))
        elif mode is not Stage.NEVER:
            origin = storage.origins.get(name, place)
            known = declared.stage is not None or name in modes
            inputs.append(StagedInput(name, place, shown, origin, mode.value, token, known))
        else:
            continue
        tokens[name] = token
    return tokens, RunStaging(tuple(inputs), tuple(outputs))


def _mode(name: str, declared: ParameterSpec, modes: Mapping[str, Stage]) -> Stage:
    if name in modes:
        return modes[name]
    if declared.write is not None:
        return Stage.NEVER
    return modes.get("", declared.stage or Stage.NEVER)


def _web_mode(name: str, shown: str, declared: ParameterSpec, modes: Mapping[str, Stage]) -> Stage:
    """Spark reads no web servers: what lies there is always brought into the cluster."""
    asked = modes.get(name, modes.get(""))
    if asked is Stage.NEVER or declared.write is not None:
        what = "written to" if declared.write is not None else "read where it is"
        raise ParameterError(
            f"parameter {name}: {shown!r}: a web server can't be {what} by Spark.",
            hint="Give another storage, or let it be staged: --stage=always.",
        )
    return Stage.ALWAYS


def _check_names(job: JobSpec, places: Mapping[str, str], modes: Mapping[str, Stage]) -> None:
    for name in filter(None, modes):
        if name not in places:
            known = ", ".join(places) or "none"
            raise ParameterError(
                f"--stage={name}={modes[name].value}: this run has no parameter {name!r} with a "
                f"URL of a storage; those with one: {known}."
            )
        if job.parameters[name].write is not None:
            raise ParameterError(
                f"--stage={name}={modes[name].value}: the job declares {name!r} as an output."
            )
