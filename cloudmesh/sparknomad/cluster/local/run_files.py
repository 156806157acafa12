"""What a driver of an embedded cluster finds in its run's directory."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cloudmesh.sparknomad.cluster.definition import build_definition, run_document
from cloudmesh.sparknomad.cluster.local import daemons
from cloudmesh.sparknomad.cluster.local.daemons import HOST, LocalCluster
from cloudmesh.sparknomad.incluster.pipeline_run import HELD
from cloudmesh.sparknomad.incluster.run_private import CREDENTIALS
from cloudmesh.sparknomad.model import Submission
from cloudmesh.sparknomad.processes import exclusive, write_private

__all__ = ["written"]


@contextmanager
def written(
    directory: Path, cluster: LocalCluster, submission: Submission, *, held: bool
) -> Iterator[Path]:
    """The directory of a run with all that its driver needs; no other process changes it.

    Args:
        directory: of the cluster.
        cluster: what is remembered of it.
        submission: the run; nothing is written again of one that is there.
        held: whether its driver waits until a pipeline sends it.
    """
    definition = build_definition(submission.job)
    for artifact in definition.artifacts:
        _keep_artifact(directory / "artifacts" / artifact.sha256, artifact.path)
    run = directory / "runs" / submission.run
    run.mkdir(parents=True, exist_ok=True)
    with exclusive(run / ".lock", f"run {submission.run!r}"):
        if not (run / "run.json").exists():
            if held:
                (run / HELD).touch()
            _write_secrets(run, submission)
            environment = _environment(run, directory, cluster, submission)
            document = run_document(submission, time.time())
            write_private(run / "definition.json", json.dumps(definition.document))
            write_private(run / "cluster.json", json.dumps(environment))
            write_private(run / "run.json", json.dumps(document))
        yield run


def _keep_artifact(target: Path, source: Path) -> None:
    if not target.exists():
        partial = target.with_name(f"{target.name}.{os.getpid()}.part")
        shutil.copyfile(source, partial)
        partial.replace(target)


def _write_secrets(run: Path, submission: Submission) -> None:
    private = run / "private"
    private.mkdir(mode=0o700, exist_ok=True)
    if submission.storage.secrets:
        secrets = json.dumps(dict(submission.storage.secrets))
        write_private(private / CREDENTIALS, secrets)


def _environment(
    run: Path, directory: Path, cluster: LocalCluster, submission: Submission
) -> dict[str, Any]:
    """What the driver has to know of the cluster."""
    master = cluster.master
    assert master is not None
    environment: dict[str, Any] = {
        "run": submission.run,
        "private": str(run / "private"),
        "master": cluster.url,
        "master_ui": master.ui,
        "host": HOST,
        "temporary": str(directory / daemons.TEMPORARY),
        "artifacts": str(directory / "artifacts"),
        "secret_file": str(directory / "secret"),
        "conf_dir": str(directory / "conf"),
        "spark_home": cluster.runtime["spark_home"],
        "java_home": cluster.runtime["java_home"],
        "python": cluster.runtime["python"],
        "executor_python": cluster.runtime["python"],
    }
    if submission.storage.connectors:
        environment["connectors"] = f"{submission.storage.connectors}/*"
    if submission.staging.agent:
        environment["agent"] = str(submission.staging.agent)
        environment["staging"] = {
            "root": str(directory / "staged"),
            "outgoing": str(directory / "outgoing"),
            "prefix": "file://",
            "quota": submission.staging.quota,
        }
    return environment
