"""From what the user calls a job to a `JobSpec` and one run of it."""

from __future__ import annotations

import dataclasses
import re
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cloudmesh.sparknomad.cluster.definition import hash_file
from cloudmesh.sparknomad.errors import InputError
from cloudmesh.sparknomad.job.parameters import bind, check_job, render
from cloudmesh.sparknomad.model import LocalInput, Submission
from cloudmesh.sparknomad.specfile import build_spec, read_spec
from cloudmesh.sparknomad.specs import PARAMETER_PATTERN, Dependencies, JobSpec, ParameterType

__all__ = [
    "is_path",
    "local_inputs",
    "make_submission",
    "new_run_id",
    "program_job",
    "read_job",
    "resolve_job",
]

_JOB_FILES = (".yaml", ".yml")
_PROGRAMS = (".py", ".jar")
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"


def is_path(job: str) -> bool:
    """Whether `job` is meant as a file, not as the name of a defined job."""
    return "/" in job or Path(job).suffix in (*_JOB_FILES, *_PROGRAMS)


def read_job(path: Path) -> JobSpec:
    """Read a job file; the paths in it become absolute.

    Raises:
        NotFoundError: if there is no such file.
        SpecError: if something in it is wrong.
    """
    spec = read_spec(JobSpec, path)
    base = path.absolute().parent
    needs = spec.dependencies
    spec = dataclasses.replace(
        spec,
        program=str(base / spec.program),
        dependencies=Dependencies(
            python=tuple(str(base / name) for name in needs.python),
            jars=tuple(str(base / name) for name in needs.jars),
            files=tuple(str(base / name) for name in needs.files),
        ),
    )
    check_job(spec)
    return spec


def program_job(path: Path, values: Mapping[str, Any]) -> JobSpec:
    """A job of just a program: each value becomes the arguments ``--name value``.

    A value that is the path of a file of this machine is taken as a uri, so that the program
    finds the file wherever it runs.
    """
    name = re.sub(r"[^a-z0-9._-]+", "-", path.stem.lower()).strip("-._")[:40].rstrip("-._")
    arguments: list[str] = []
    parameters = {}
    for key, value in values.items():
        if re.fullmatch(PARAMETER_PATTERN, key) and _is_local_file(str(value)):
            parameters[key] = {"type": "uri"}
            arguments += [f"--{key}", f"{{{key}}}"]
        else:
            arguments += [_literal(f"--{key}"), _literal(str(value))]
    data = {
        "job": name or "job",
        "program": str(path.absolute()),
        "parameters": parameters,
        "arguments": arguments,
    }
    return build_spec(JobSpec, data)


def _is_local_file(value: str) -> bool:
    if "://" in value or not ("/" in value or "." in value):
        return False
    try:
        return Path(value).is_file()
    except (OSError, ValueError):  # too long for a path, or not one at all
        return False


def _literal(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def resolve_job(
    job: str, values: Mapping[str, Any], find: Callable[[str], JobSpec]
) -> tuple[JobSpec, dict[str, Any]]:
    """Find a job by name, job file or program, and bind its parameters.

    Args:
        job: what the user wrote.
        values: the run's parameters by name.
        find: gives a defined job by its name, or raises `NotFoundError`.

    Returns:
        The job, and the value of each parameter that has one.
    """
    if not is_path(job):
        spec = find(job)
    elif Path(job).suffix in _PROGRAMS:
        return program_job(Path(job), values), dict(values)
    elif Path(job).suffix in _JOB_FILES:
        spec = read_job(Path(job))
    else:
        raise InputError(
            f"{job!r} is no job: a job is the name of a defined one, a job file (.yaml), or a "
            "program (.py, .jar)."
        )
    return spec, bind(spec, values)


def new_run_id(job: str) -> str:
    """An id that no other run has: job, UTC time, 30 random bits."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    tail = "".join(secrets.choice(_ALPHABET) for _ in range(6))
    return f"{job}-{stamp}-{tail}"


def local_inputs(spec: JobSpec, bound: Mapping[str, Any], *, upload: bool) -> dict[str, LocalInput]:
    """The uri parameters that name a file of this machine by its plain path.

    Args:
        spec: the job.
        bound: its parameters' values.
        upload: whether they will be brought into the cluster, under their digest.

    Returns:
        The files by parameter; a directory, a URL or a path that is not here is none.
    """
    found = {}
    for name, value in bound.items():
        declared = spec.parameters.get(name)
        if declared is None or declared.type is not ParameterType.URI:
            continue
        if _is_local_file(value):
            path = Path(value).absolute()
            found[name] = LocalInput(path, hash_file(path) if upload else "")
    return found


def make_submission(
    spec: JobSpec,
    bound: Mapping[str, Any],
    run: str,
    timeout: float | None,
    *,
    queue_timeout: float | None = None,
    upload: bool = False,
) -> Submission:
    """One run, ready for a provider.

    Args:
        spec: the job.
        bound: the value of each parameter that has one.
        run: the run's id.
        timeout: seconds, instead of the job's own.
        queue_timeout: seconds, instead of the job's own.
        upload: whether files of this machine must be brought into the cluster.
    """
    limit = spec.timeout if timeout is None else timeout
    inputs = local_inputs(spec, bound, upload=upload)
    # A program does not run in the user's directory: a relative path would mean nothing there.
    places = {name: file.url if upload else str(file.path) for name, file in inputs.items()}
    arguments = render(spec, {**bound, **places})
    return Submission(
        run,
        spec,
        arguments,
        limit,
        tuple(inputs.values()) if upload else (),
        spec.queue_timeout if queue_timeout is None else queue_timeout,
    )
