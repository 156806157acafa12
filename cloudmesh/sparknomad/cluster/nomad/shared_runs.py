"""Runs of who may dispatch, but not register jobs: by jobs that bring their own definition."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cloudmesh.sparknomad.cluster.nomad import agent, vault
from cloudmesh.sparknomad.cluster.nomad.client import Nomad
from cloudmesh.sparknomad.cluster.nomad.plans import pipeline_job, shared_jobs, sweep_job
from cloudmesh.sparknomad.cluster.nomad.record import NomadCluster
from cloudmesh.sparknomad.cluster.nomad.registering import register_job
from cloudmesh.sparknomad.cluster.nomad.roles import (
    CLUSTER_NAMESPACE,
    RUN_POLICY,
    pipeline_rules,
    run_rules,
)
from cloudmesh.sparknomad.errors import (
    ClusterError,
    ForbiddenError,
    InputError,
    NotFoundError,
)
from cloudmesh.sparknomad.incluster.run_private import ENDED, ended_path
from cloudmesh.sparknomad.model import Submission
from cloudmesh.sparknomad.waiting import Deadline

__all__ = [
    "NOTE",
    "CANCEL",
    "end",
    "find_job",
    "forget_ended",
    "namespaces",
    "prepare_namespace",
    "require_pipelines",
]

NOTE = "runs of a sparknomad cluster"
"""By which our namespaces are known."""

CANCEL = "SIGUSR1"
"""Tells what runs a pipeline to cancel it; other signals only end the task, and another goes on."""

_ID = re.compile(r"run-any-(\d+)g-[0-9a-f]+m?(?:-(.+))?")


def namespaces(nomad: Nomad) -> list[str]:
    """The namespaces that were made for runs."""
    return [each["Name"] for each in nomad.namespaces() if each.get("Description") == NOTE]


def prepare_namespace(
    nomad: Nomad, cluster: NomadCluster, namespace: str, deadline: Deadline
) -> None:
    """Let runs be dispatched in a namespace; again after the image has changed."""
    if namespace == CLUSTER_NAMESPACE:
        return
    nomad.put_namespace(namespace, NOTE)
    inside = nomad.within(namespace)
    forget_ended(inside)
    agent.put_secret(inside, cluster, deadline)
    wanted = shared_jobs(cluster, cluster.spark, namespace)
    for job in wanted:
        name = str(job.variables["job"])
        rules = run_rules(namespace, vault.directory(name))
        inside.put_policy(f"{RUN_POLICY}{namespace}-{name}", rules, name)
        register_job(inside, job)
    for part in cluster.parts:
        job = pipeline_job(cluster, cluster.spark, part.name, namespace)
        # Not by the pipelines' own beginning: a role's policy could have the same name.
        inside.put_policy(f"{RUN_POLICY}{namespace}-{job.id}", pipeline_rules(namespace), job.id)
        register_job(inside, job)
        # Who may dispatch only can't let it be there when it is needed.
        register_job(nomad.within(CLUSTER_NAMESPACE), sweep_job(cluster, cluster.spark, part.name))
    kept = {str(job.variables["job"]) for job in wanted}
    for old in inside.jobs("run-any-"):
        if old.get("ParameterizedJob") and old["ID"] not in kept and not old.get("Stop"):
            inside.stop(old["ID"])


def find_job(nomad: Nomad, submission: Submission) -> str:
    """The smallest job at the run's site that has room for its driver.

    Raises:
        NotFoundError: if there is none in the namespace.
        InputError: if none is large enough.
    """
    wanted = submission.job.resources.driver.memory
    sizes: dict[int, Mapping[str, Any]] = {}
    for job in nomad.jobs("run-any-"):
        found = _ID.fullmatch(job["ID"])
        if not found or (found[2] or "") != submission.site:
            continue
        if job.get("ParameterizedJob") and not job.get("Stop"):
            sizes[int(found[1])] = job
    if not sizes:
        raise NotFoundError(
            f"Namespace {nomad.namespace!r} has no job for runs any more.",
            hint="Ask who deployed the cluster to deploy it again.",
        )
    fitting = [size for size in sizes if size * 1024**3 >= wanted]
    if not fitting:
        raise InputError(
            f"resources.driver.memory: {wanted // 1024**2}m: a token's runs have room for at "
            f"most {max(sizes)}g."
        )
    return str(sizes[min(fitting)]["ID"])


def require_pipelines(nomad: Nomad, job: str) -> None:
    """Refuse a namespace that was prepared before pipelines could be sent in it.

    Raises:
        NotFoundError: if so.
    """
    if not any(each["ID"] == job and not each.get("Stop") for each in nomad.jobs(job)):
        raise NotFoundError(
            f"Namespace {nomad.namespace!r} has no job {job!r} that runs pipelines.",
            hint="Ask who deployed the cluster to deploy it again.",
        )


def forget_ended(nomad: Nomad) -> None:
    """Remove what has told runs to end that are not there any more."""
    told = set(nomad.variables(ENDED))
    if told:
        jobs = [job for prefix in ("run-", "pipeline") for job in nomad.jobs(prefix)]
        waiting = {ended_path(job["ID"]) for job in jobs if job["Status"] != "dead"}
        for path in told - waiting:
            nomad.delete_variable(path)


def end(nomad: Nomad, child: str, run: str, signal: str = "SIGTERM") -> bool:
    """End a run as what supervises it ends it when it is told to: a token may not stop jobs.

    Args:
        nomad: a client for its namespace.
        child: the dispatched job.
        run: its id.
        signal: by which it is told.

    Returns:
        Whether it has begun; else it will end as soon as it begins.

    Raises:
        ForbiddenError: if it has not begun, and the token is of a time when it could not be told.
    """
    if _signal(nomad, child, signal):
        return True
    try:
        nomad.put_variable(ended_path(child), {"by": "its user"})
    except ClusterError as error:
        if "403" not in error.message:
            raise
        raise ForbiddenError(
            f"Run {run!r} waits for room; this token can only end runs that have begun.",
            hint="Try again when it has begun, or ask an operator. Its queue timeout ends it too.",
        ) from error
    # It may have begun meanwhile, and not have looked there any more.
    return _signal(nomad, child, signal)


def _signal(nomad: Nomad, child: str, signal: str) -> bool:
    allocations = nomad.allocations(child)
    begun = [one for one in allocations if one["ClientStatus"] == "running"]
    for allocation in begun:
        nomad.signal(allocation["ID"], signal)
    return bool(begun)
