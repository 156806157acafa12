"""Pipelines beside an embedded cluster: a process of this machine starts the drivers."""

from __future__ import annotations

import json
import os
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cloudmesh.sparknomad.cluster.local.daemons import LocalCluster
from cloudmesh.sparknomad.cluster.local.watching import driver_of
from cloudmesh.sparknomad.cluster.pipelines import PipelineSubmission, plan_of
from cloudmesh.sparknomad.cluster.provider import ClusterProvider
from cloudmesh.sparknomad.incluster import driver as driver_module
from cloudmesh.sparknomad.incluster import pipeline_run
from cloudmesh.sparknomad.incluster.pipeline import PipelineState
from cloudmesh.sparknomad.model import Submission
from cloudmesh.sparknomad.processes import exclusive, spawn_detached, stop, write_private
from cloudmesh.sparknomad.specs import ClusterSpec

__all__ = ["Pipelining", "driver_command", "driver_environment"]

_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "USER", "LOGNAME", "TMPDIR")
_GRACE_SECONDS = 70
_LOG_BLOCK = 65_536


def driver_command(cluster: LocalCluster, run: Path) -> list[str]:
    """The command of a run's driver."""
    return [cluster.runtime["python"], "-I", str(Path(driver_module.__file__)), str(run)]


def driver_environment() -> dict[str, str]:
    """What a driver sees of this process's environment."""
    return {key: os.environ[key] for key in _KEPT if key in os.environ}


class Pipelining(ClusterProvider):
    """The part of the provider that runs pipelines."""

    @abstractmethod
    def _prepare_run(self, name: str, submission: Submission) -> Path:
        """Write all that a run's driver needs; its directory."""

    @abstractmethod
    def _read(self, name: str) -> LocalCluster:
        """What is remembered of a cluster."""

    def _pipeline_directory(self, cluster: str, run: str) -> Path:
        directory = self._directory(cluster) / "pipelines" / run
        if not (directory / "plan.json").exists():
            raise self._unknown_pipeline(run)
        return directory

    def _pipeline_submit(self, spec: ClusterSpec, pipeline: PipelineSubmission) -> None:
        cluster = self._read(spec.cluster)
        directory = self._directory(spec.cluster) / "pipelines" / pipeline.run
        directory.mkdir(parents=True, exist_ok=True)

        def prepare(submission: Submission) -> Mapping[str, Any]:
            run = self._prepare_run(spec.cluster, submission)
            return {
                "directory": str(run),
                "command": driver_command(cluster, run),
                "environment": driver_environment(),
            }

        with exclusive(directory / ".lock", f"pipeline {pipeline.run!r}"):
            mark = directory / "mark"
            if not mark.exists() or mark.read_text("utf-8") != pipeline.mark:
                plan = plan_of(pipeline, prepare, pipeline.key)
                (directory / "state.json").unlink(missing_ok=True)
                (directory / "cancelled").unlink(missing_ok=True)
                write_private(directory / "plan.json", json.dumps(asdict(plan)))
                write_private(mark, pipeline.mark)
            self._start_engine(directory, cluster)

    @staticmethod
    def _start_engine(directory: Path, cluster: LocalCluster) -> None:
        process = driver_of(directory)
        if process and process.alive:
            return
        engine = Path(pipeline_run.__file__)
        started = spawn_detached(
            [cluster.runtime["python"], "-I", str(engine), str(directory)],
            log=directory / "engine.log",
            environment=driver_environment(),
            directory=directory,
        )
        document = {"pid": started.pid, "created": started.created}
        write_private(directory / "process.json", json.dumps(document))

    def _pipeline_state(self, cluster: str, run: str) -> PipelineState | None:
        directory = self._pipeline_directory(cluster, run)
        process = driver_of(directory)
        alive = process is not None and process.alive
        try:
            state = PipelineState.read(json.loads((directory / "state.json").read_text("utf-8")))
        except FileNotFoundError:
            return None
        if state.state == "running" and not alive:
            # It was killed, or the machine was restarted: what it has sent is found again.
            self._start_engine(directory, self._read(cluster))
        return state

    def _pipeline_logs(self, cluster: str, run: str) -> bytes:
        try:
            content = (self._pipeline_directory(cluster, run) / "engine.log").read_bytes()
        except FileNotFoundError:
            return b""
        return content[-_LOG_BLOCK:]

    def _pipeline_cancel(self, cluster: str, run: str) -> None:
        """The engine ends its runs when it is told to."""
        directory = self._pipeline_directory(cluster, run)
        process = driver_of(directory)
        if process and process.alive:
            stop(process, grace=_GRACE_SECONDS)

    def _end_pipelines(self, name: str) -> None:
        """End what would send more runs, not the runs."""
        directory = self._directory(name) / "pipelines"
        for each in sorted(directory.iterdir()) if directory.is_dir() else ():
            process = driver_of(each)
            if process and process.alive:
                stop(process, grace=0)
