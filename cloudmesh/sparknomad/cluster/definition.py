"""A job as it goes to a cluster: files become digests, so that equal jobs are one."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloudmesh.sparknomad.errors import InputError, NotFoundError
from cloudmesh.sparknomad.model import Submission
from cloudmesh.sparknomad.specs import ExecutorRange, JobSpec

__all__ = ["TRANSFER", "Artifact", "Definition", "build_definition", "hash_file", "run_document"]

TRANSFER = "sparknomad:transfer"
"""The program of a run that has none: it only moves data."""

_PROGRAMS = (".py", ".jar")
_PYTHON = (".py", ".zip", ".whl", ".egg")


@dataclass(frozen=True)
class Artifact:
    """A file that a run needs in the cluster.

    Attributes:
        name: its name there; unique within a job.
        sha256: the digest of its content, under which the cluster stores it.
        path: where it is on this machine.
    """

    name: str
    sha256: str
    path: Path


@dataclass(frozen=True)
class Definition:
    """A job, content-addressed.

    Attributes:
        digest: of the whole definition with the content of its files.
        document: what the driver in the cluster reads as ``definition.json``.
        artifacts: the files to bring there.
    """

    digest: str
    document: Mapping[str, Any]
    artifacts: tuple[Artifact, ...]


def hash_file(path: Path) -> str:
    """The SHA-256 of a file's content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def build_definition(job: JobSpec) -> Definition:
    """Read a job's files and make its definition.

    Raises:
        NotFoundError: if a file is missing.
        InputError: if a file is of a kind that can't serve, or two have one name.
    """
    program = None if job.program == TRANSFER else _artifact("program", job.program, _PROGRAMS)
    groups = {
        "python": [_artifact("dependencies.python", p, _PYTHON) for p in job.dependencies.python],
        "jars": [_artifact("dependencies.jars", p, (".jar",)) for p in job.dependencies.jars],
        "files": [_artifact("dependencies.files", p, ()) for p in job.dependencies.files],
    }
    others = (item for group in groups.values() for item in group)
    artifacts = (*filter(None, (program,)), *others)
    _check_names(artifacts)
    count = job.resources.executors.count
    document: dict[str, Any] = {
        "job": job.job,
        "program": _listed(program) if program else None,
        "class": job.main_class,
        **{name: [_listed(item) for item in group] for name, group in groups.items()},
        "resources": {
            "driver": {
                "cores": job.resources.driver.cores,
                "memory": job.resources.driver.memory,
            },
            "executors": {
                "count": dataclasses.asdict(count) if isinstance(count, ExecutorRange) else count,
                "cores": job.resources.executors.cores,
                "memory": job.resources.executors.memory,
            },
        },
        "conf": dict(job.conf),
        "retries": {
            "infrastructure": job.retries.infrastructure,
            "program": job.retries.program,
        },
        "startup": job.startup.value,
    }
    text = json.dumps(document, sort_keys=True)
    return Definition(hashlib.sha256(text.encode()).hexdigest(), document, artifacts)


def _artifact(field: str, name: str, suffixes: tuple[str, ...]) -> Artifact:
    path = Path(name)
    if not path.is_file():
        kind = "a directory" if path.is_dir() else "no file"
        raise NotFoundError(
            f"{field}: {name!r}: there is {kind} of this name.",
            hint="Paths in a job file are relative to the job file. Pack a directory as a .zip.",
        )
    if suffixes and path.suffix not in suffixes:
        raise InputError(f"{field}: {name!r}: must end in {', '.join(suffixes)}.")
    if any(character in path.name for character in ',\n"\\'):
        raise InputError(f"{field}: {name!r}: a file name with a comma, quote or line break.")
    return Artifact(path.name, hash_file(path), path)


def _check_names(artifacts: tuple[Artifact, ...]) -> None:
    seen: dict[str, Artifact] = {}
    for artifact in artifacts:
        other = seen.setdefault(artifact.name, artifact)
        if other.sha256 != artifact.sha256:
            raise InputError(
                f"{str(other.path)!r} and {str(artifact.path)!r} would both be "
                f"{artifact.name!r} in the run's working directory; rename one."
            )


def _listed(artifact: Artifact) -> dict[str, str]:
    return {"name": artifact.name, "sha256": artifact.sha256}


def run_document(submission: Submission, submitted: float) -> dict[str, Any]:
    """What the driver in the cluster reads as ``run.json``.

    Args:
        submission: the run.
        submitted: seconds since the epoch.
    """
    staging = submission.staging
    return {
        "run": submission.run,
        "arguments": list(submission.arguments),
        "timeout": submission.timeout,
        "queue_timeout": submission.queue_timeout,
        "submitted": submitted,
        "storage": {
            "profiles": list(submission.storage.profiles),
            "conf": dict(submission.storage.conf),
        },
        "inputs": [dataclasses.asdict(each) for each in staging.inputs],
        "outputs": [dataclasses.asdict(each) for each in staging.outputs],
        "copies": [dataclasses.asdict(each) for each in staging.copies],
        "checks": None
        if staging.checks is None
        else [dataclasses.asdict(each) for each in staging.checks],
        "workers": staging.workers,
        "quota": staging.quota,
        "site": submission.site,
        "site_reason": submission.site_reason,
        "sites": dict(submission.storage.sites),
    }
