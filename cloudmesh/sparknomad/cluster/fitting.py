"""Whether a run fits the workers of a cluster. Pure."""

from __future__ import annotations

from cloudmesh.sparknomad.errors import InputError
from cloudmesh.sparknomad.model import Submission
from cloudmesh.sparknomad.specs import ClusterSpec
from cloudmesh.sparknomad.units import format_size

__all__ = ["check_fit"]


def check_fit(spec: ClusterSpec, submission: Submission, limit: int | None) -> None:
    """Refuse a run that could only wait for ever.

    Args:
        spec: of the cluster.
        submission: the run.
        limit: the largest Java heap in bytes that its driver can have; ``None`` for any.

    Raises:
        InputError: with everything that is too large.
    """
    wanted = submission.job.resources.executors
    problems = []
    part = spec.parts.get(submission.site) or next(iter(spec.parts.values()))
    if wanted.cores > part.cores:
        problems.append(
            f"resources.executors.cores: {wanted.cores}: a worker of cluster "
            f"{spec.cluster!r} has {part.cores}"
        )
    if wanted.memory > part.memory:
        problems.append(
            f"resources.executors.memory: {format_size(wanted.memory)}: a worker of "
            f"cluster {spec.cluster!r} has {format_size(part.memory)}"
        )
    heap = submission.job.resources.driver.memory
    if limit is not None and heap > limit:
        problems.append(
            f"resources.driver.memory: {format_size(heap)}: cluster {spec.cluster!r} has "
            f"room for {limit // 1024**2}m"
        )
    if problems:
        raise InputError(
            f"job {submission.job.job!r}: " + "; ".join(problems),
            hint="Ask for less, or deploy workers with more --cores or --memory.",
        )
