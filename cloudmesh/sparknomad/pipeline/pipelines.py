"""From a file to a `PipelineSpec` with which nothing is wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

from cloudmesh.sparknomad.errors import SpecError
from cloudmesh.sparknomad.job.jobs import program_job, read_job
from cloudmesh.sparknomad.job.naming import is_path
from cloudmesh.sparknomad.pipeline.graph import check_pipeline
from cloudmesh.sparknomad.spec_pipelines import PipelineSpec
from cloudmesh.sparknomad.specfile import lines_of, read_spec
from cloudmesh.sparknomad.specs import JobSpec

__all__ = ["job_finder", "read_pipeline", "refuse_wrong"]


def job_finder(show: Callable[[str], JobSpec]) -> Callable[[str], JobSpec]:
    """Finds the job that a step names, each only once.

    Args:
        show: gives a defined job by its name, or a job file's.
    """
    found: dict[str, JobSpec] = {}

    def find(job: str) -> JobSpec:
        if job not in found:
            program = is_path(job) and not job.endswith((".yaml", ".yml"))
            found[job] = program_job(Path(job), {}) if program else show(job)
        return found[job]

    return find


def read_pipeline(path: Path, show: Callable[[str], JobSpec]) -> PipelineSpec:
    """Read a pipeline's file; the paths in it become absolute.

    Args:
        path: of the file.
        show: gives a defined job by its name.

    Raises:
        NotFoundError: if there is no such file.
        SpecError: with the line of each thing that is wrong.
    """
    spec = read_spec(PipelineSpec, path)
    base = path.absolute().parent
    steps = {
        name: dataclasses.replace(step, job=str(base / step.job)) if is_path(step.job) else step
        for name, step in spec.steps.items()
    }
    spec = dataclasses.replace(spec, steps=steps)

    def job_at(job: str) -> JobSpec:
        return read_job(Path(job)) if is_path(job) else show(job)

    problems = check_pipeline(spec, job_finder(job_at))
    if problems:
        lines = lines_of(path, [place for place, _ in problems])
        raise SpecError(
            "\n".join(
                f"{path}:{line}: {'.'.join(place)}: {told}"
                for line, (place, told) in sorted(zip(lines, problems, strict=True))
            )
        )
    return spec


def refuse_wrong(spec: PipelineSpec, find: Callable[[str], JobSpec]) -> None:
    """Refuse a pipeline whose jobs have changed since it was defined.

    Raises:
        SpecError: with each thing that is wrong.
    """
    problems = check_pipeline(spec, find)
    if problems:
        raise SpecError(
            "\n".join(
                f"pipeline {spec.pipeline!r}: {'.'.join(place)}: {told}" for place, told in problems
            )
        )
