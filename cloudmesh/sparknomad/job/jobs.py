"""From what the user calls a job to a `JobSpec` and one run of it."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cloudmesh.sparknomad.cluster.definition import hash_file
from cloudmesh.sparknomad.errors import InputError
from cloudmesh.sparknomad.job.naming import JOB_FILES, PROGRAMS, is_path
from cloudmesh.sparknomad.job.parameters import bind, check_job, render
from cloudmesh.sparknomad.model import Submission
from cloudmesh.sparknomad.model_storage import (
    OUTPUTS,
    LocalInput,
    RunStaging,
    RunStorage,
)
from cloudmesh.sparknomad.specfile import build_spec, read_spec
from cloudmesh.sparknomad.specs import PARAMETER_PATTERN, Dependencies, JobSpec, ParameterType

__all__ = [
    "derived_run_id",
    "local_inputs",
    "local_outputs",
    "make_submission",
    "new_run_id",
    "program_job",
    "read_job",
    "resolve_job",
]

_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"


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


def program_job(
    path: Path,
    values: Mapping[str, Any],
    is_storage: Callable[[str], bool] = lambda text: False,
) -> JobSpec:
    """A job of just a program: each value becomes the arguments ``--name value``.

    A value that is the path of a file of this machine, begins with ``./`` or ``../``, or lies in
    a storage, is taken as a uri, so that the program finds it wherever it runs.
    """
    name = re.sub(r"[^a-z0-9._-]+", "-", path.stem.lower()).strip("-._")[:40].rstrip("-._")
    arguments: list[str] = []
    parameters = {}
    for key, value in values.items():
        text = str(value)
        found = _is_local_file(text) or is_storage(text) or text.startswith(("./", "../"))
        if re.fullmatch(PARAMETER_PATTERN, key) and found:
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
    job: str,
    values: Mapping[str, Any],
    find: Callable[[str], JobSpec],
    is_storage: Callable[[str], bool] = lambda text: False,
) -> tuple[JobSpec, dict[str, Any]]:
    """Find a job by name, job file or program, and bind its parameters.

    Args:
        job: what the user wrote.
        values: the run's parameters by name.
        find: gives a defined job by its name, or raises `NotFoundError`.
        is_storage: whether a value is a URL of some storage.

    Returns:
        The job, and the value of each parameter that has one.
    """
    if not is_path(job):
        spec = find(job)
    elif Path(job).suffix in PROGRAMS:
        return program_job(Path(job), values, is_storage), dict(values)
    elif Path(job).suffix in JOB_FILES:
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


def derived_run_id(job: str, origin: str, *parts: str) -> str:
    """An id that is the same whenever it is made of the same.

    Args:
        job: that is run.
        origin: the id of a pipeline's run; the time in it, if there is one, is told again.
        parts: what tells this run from the others of the same origin.
    """
    digest = hashlib.sha256("\n".join((origin, *parts)).encode()).digest()
    stamp = re.search(r"-(\d{8}-\d{6})-", origin)
    if not stamp:
        return f"{job}-{digest.hex()[:20]}"
    tail = "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest[:6])
    return f"{job}-{stamp[1]}-{tail}"


def local_inputs(spec: JobSpec, bound: Mapping[str, Any], *, upload: bool) -> dict[str, LocalInput]:
    """The uri parameters that name a file of this machine, or a directory.

    Args:
        spec: the job.
        bound: its parameters' values.
        upload: whether they will be brought into the cluster, under their digest.

    Returns:
        The files by parameter; a URL of another storage or a path that is not here is none. A
        directory is one only if it is brought: what does not move needs no mention.
    """
    found = {}
    for name, path in _local_paths(spec, bound).items():
        if path.is_file() or (upload and path.is_dir()):
            found[name] = LocalInput(path, _digest(path) if upload else "")
    return found


def local_outputs(spec: JobSpec, bound: Mapping[str, Any]) -> dict[str, Path]:
    """The uri parameters that name a path of this machine where nothing is yet."""
    paths = _local_paths(spec, bound)
    return {name: path for name, path in paths.items() if not os.path.lexists(path)}


def _local_paths(spec: JobSpec, bound: Mapping[str, Any]) -> dict[str, Path]:
    found = {}
    for name, value in bound.items():
        declared = spec.parameters.get(name)
        if declared is not None and declared.type is ParameterType.URI:
            path = _local_path(str(value))
            if path is not None:
                found[name] = path
    return found


def _local_path(value: str) -> Path | None:
    """The path that a value means, unless it means something in another storage."""
    if value.startswith("file://"):
        return Path("/" + value.removeprefix("file://").removeprefix("localhost").lstrip("/"))
    if re.match(r"[A-Za-z0-9][A-Za-z0-9+._-]*:", value) or any(c in value for c in "*?[{\0"):
        return Path(value).absolute() if _is_local_file(value) else None
    try:
        os.lstat(value)
    except FileNotFoundError:
        pass
    except (OSError, ValueError):  # too long for a path, or not one at all
        return None
    return Path(value).absolute()


def _digest(path: Path) -> str:
    """The digest of a file, or of a directory's files with their names."""
    if not path.is_dir():
        return hash_file(path)
    whole = hashlib.sha256()
    for each in sorted(path.rglob("*")):
        if each.is_file():
            name = os.fsencode(each.relative_to(path))
            whole.update(b"%d %s %s\n" % (len(name), name, hash_file(each).encode()))
    return whole.hexdigest()


def make_submission(
    spec: JobSpec,
    bound: Mapping[str, Any],
    run: str,
    timeout: float | None,
    *,
    queue_timeout: float | None = None,
    upload: bool = False,
    storage: RunStorage | None = None,
    staging: RunStaging | None = None,
) -> Submission:
    """One run, ready for a provider.

    Args:
        spec: the job.
        bound: the value of each parameter that has one.
        run: the run's id.
        timeout: seconds, instead of the job's own.
        queue_timeout: seconds, instead of the job's own.
        upload: whether files of this machine must be brought into the cluster.
        storage: settings of the storages that the values name.
        staging: what goes through the cluster's own storage.
    """
    limit = spec.timeout if timeout is None else timeout
    inputs = local_inputs(spec, bound, upload=upload)
    # A program does not run in the user's directory: a relative path would mean nothing there.
    places = {name: file.url if upload else str(file.path) for name, file in inputs.items()}
    for name, path in local_outputs(spec, bound).items():
        places[name] = f"{OUTPUTS}/{run}/{name}" if upload else str(path)
    arguments = render(spec, {**bound, **places})
    return Submission(
        run,
        spec,
        arguments,
        limit,
        tuple(inputs.values()) if upload else (),
        spec.queue_timeout if queue_timeout is None else queue_timeout,
        storage or RunStorage(),
        staging or RunStaging(),
    )
