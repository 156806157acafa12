"""Records of the rows of the store."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cloudmesh.sparknomad.model import ClusterRecord, ClusterState, RunRecord, RunState
from cloudmesh.sparknomad.specs import ClusterSpec

__all__ = ["cluster_of", "run_of"]


def cluster_of(row: Mapping[str, Any]) -> ClusterRecord:
    """A cluster, of a row of the store."""
    from cloudmesh.sparknomad.specfile import spec_from_json

    return ClusterRecord(
        name=row["name"],
        provider=row["provider"],
        spec=spec_from_json(ClusterSpec, row["spec"]),
        state=ClusterState(row["state"]),
        created=row["created"],
        updated=row["updated"],
    )


def run_of(row: Mapping[str, Any]) -> RunRecord:
    """A run, of a row of the store."""
    return RunRecord(
        run=row["run"],
        job=row["job"],
        cluster=row["cluster"],
        state=RunState(row["state"]),
        submitted=row["submitted"],
        parameters=json.loads(row["parameters"]),
        reason=row["reason"],
        exit_code=row["exit_code"],
        started=row["started"],
        finished=row["finished"],
        attempts=row["attempts"],
        outputs=json.loads(row["outputs"]),
        site=row["site"],
        report=json.loads(row["report"]),
    )
