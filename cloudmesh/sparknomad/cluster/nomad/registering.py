"""Brings jobs to Nomad, which parses them itself."""

from __future__ import annotations

from typing import Any

from cloudmesh.sparknomad.cluster.nomad.client import Nomad
from cloudmesh.sparknomad.cluster.nomad.plans import NomadJob, hcl_variables

__all__ = ["parse_job", "register_job"]


def parse_job(nomad: Nomad, job: NomadJob) -> dict[str, Any]:
    """A job as Nomad would register it."""
    return nomad.parse(job.hcl, hcl_variables(job.variables))


def register_job(nomad: Nomad, job: NomadJob) -> None:
    """Register a job; the same job again changes nothing."""
    nomad.register(parse_job(nomad, job))
