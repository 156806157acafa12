"""`LocalProvider`: a master, workers and drivers as plain processes, without root."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from cloudmesh.sparknomad.cluster.definition import build_definition, run_document
from cloudmesh.sparknomad.cluster.foreign import is_foreign
from cloudmesh.sparknomad.cluster.local import daemons
from cloudmesh.sparknomad.cluster.local.daemons import MARK, LocalCluster
from cloudmesh.sparknomad.cluster.local.pipelining import (
    Pipelining,
    driver_command,
    driver_environment,
)
from cloudmesh.sparknomad.cluster.local.run_files import written
from cloudmesh.sparknomad.cluster.local.watching import (
    LOG_BLOCK,
    driver_of,
    judge,
    last_line,
    read_from,
    registered_workers,
)
from cloudmesh.sparknomad.cluster.outcomes import status_from_outcome
from cloudmesh.sparknomad.errors import ClusterError
from cloudmesh.sparknomad.incluster import pipeline_run
from cloudmesh.sparknomad.incluster.localfiles import LocalFiles
from cloudmesh.sparknomad.incluster.own_process import NOTE, note_process, start_time
from cloudmesh.sparknomad.incluster.pipeline_run import HELD
from cloudmesh.sparknomad.incluster.staged import Catalog
from cloudmesh.sparknomad.model import (
    ClusterStatus,
    Component,
    HostRuntime,
    LogChunk,
    LogStream,
    PlanStep,
    RunState,
    RunStatus,
    Runtime,
    Submission,
)
from cloudmesh.sparknomad.ports import is_listening
from cloudmesh.sparknomad.processes import ProcessRef, spawn_detached, stop
from cloudmesh.sparknomad.specs import ClusterSpec
from cloudmesh.sparknomad.units import format_size
from cloudmesh.sparknomad.waiting import Deadline, wait_until

__all__ = ["LocalProvider"]

_GRACE_SECONDS = 15


class LocalProvider(Pipelining):
    """Spark standalone on this machine, embedded: no Docker, no Nomad, no root."""

    name: ClassVar[str] = "local"
    runtime: ClassVar[type | None] = HostRuntime

    # plan

    def _plan(self, spec: ClusterSpec, runtime: Runtime | None) -> Sequence[PlanStep]:
        directory = self._directory(spec.cluster)
        worker = f"{spec.cores} cores, {format_size(spec.memory)}"
        steps = [
            PlanStep(f"make {directory} with a secret of its own (mode 0700)"),
            PlanStep("start a Spark master on a free loopback port"),
        ]
        workers = [
            PlanStep(f"start Spark worker {n} with {worker}")
            for n in range(1, spec.all_workers + 1)
        ]
        return [*steps, *workers]

    def _plan_run(self, spec: ClusterSpec, submission: Submission) -> Sequence[PlanStep]:
        definition = build_definition(submission.job)
        document = run_document(submission, 0)
        return [
            PlanStep(
                "write the definition", json.dumps(definition.document, indent=2), language="json"
            ),
            PlanStep("write the run", json.dumps(document, indent=2), language="json"),
            PlanStep(f"start its driver beside cluster {spec.cluster!r}"),
        ]

    # clusters

    def _known(self, name: str) -> bool:
        return (self._directory(name) / "cluster.json").exists()

    def _read(self, name: str) -> LocalCluster:
        cluster = LocalCluster.read(self._directory(name))
        if cluster is None:
            raise ClusterError(f"Cluster {name!r} has no record any more.")
        return cluster

    def _deploy(self, spec: ClusterSpec, runtime: Runtime | None, deadline: Deadline) -> None:
        assert isinstance(runtime, HostRuntime)
        directory = self._directory(spec.cluster)
        daemons.prepare(directory)
        cluster = LocalCluster.read(directory)
        wanted = LocalCluster.new(spec, runtime)
        same = cluster and all(
            getattr(cluster, key) == getattr(wanted, key)
            for key in ("runtime", "cores", "memory", "conf")
        )
        if cluster is not None and not same:
            self.context.say("the spec has changed: its processes are started anew")
            self._stop_daemons(cluster)
            cluster = None
        cluster = (cluster or wanted).changed(workers_wanted=spec.all_workers).write(directory)
        self._start_missing(directory, cluster, deadline)

    def _start_missing(self, directory: Path, cluster: LocalCluster, deadline: Deadline) -> None:
        if not (cluster.master and cluster.master.process.alive):
            self.context.say("starting the Spark master")
            cluster = self._start_master(directory, cluster, deadline)
        for number in range(1, cluster.workers_wanted + 1):
            name = f"worker-{number}"
            if not any(w.name == name and w.process.alive for w in cluster.workers):
                self.context.say(f"starting Spark {name}")
                cluster = daemons.start_worker(directory, cluster, number)
        wanted = {f"worker-{number}" for number in range(1, cluster.workers_wanted + 1)}
        for worker in cluster.workers:
            if worker.name not in wanted:
                self.context.say(f"stopping Spark {worker.name}")
                stop(worker.process, grace=_GRACE_SECONDS)
        kept = tuple(w for w in cluster.workers if w.name in wanted)
        cluster.changed(workers=kept).write(directory)

    def _start_master(
        self, directory: Path, cluster: LocalCluster, deadline: Deadline
    ) -> LocalCluster:
        if cluster.master_port and is_listening(cluster.master_port):
            self.context.say(f"port {cluster.master_port} is taken by another program now")
            for worker in cluster.workers:
                stop(worker.process, grace=_GRACE_SECONDS)
            cluster = cluster.changed(master_port=0, workers=())
        cluster = daemons.start_master(directory, cluster)
        master = cluster.master
        assert master is not None

        def answers() -> bool:
            if not master.process.alive:
                log = directory / "logs" / "master.log"
                raise ClusterError(
                    f"The Spark master ended at once: {last_line(log)}", hint=f"See {log}."
                )
            return is_listening(cluster.master_port) and is_listening(master.ui_port)

        wait_until(answers, "the Spark master to answer", deadline)
        return cluster

    def _scale(self, spec: ClusterSpec, deadline: Deadline) -> None:
        directory = self._directory(spec.cluster)
        cluster = self._read(spec.cluster).changed(workers_wanted=spec.all_workers).write(directory)
        self._start_missing(directory, cluster, deadline)

    def _status(self, name: str) -> ClusterStatus:
        cluster = self._read(name)
        registered = registered_workers(cluster)
        components = []
        for daemon in reversed(cluster.daemons):
            alive = daemon.process.alive
            detail = f"process {daemon.pid}" if alive else "not running"
            kind = daemon.name.partition("-")[0]
            components.append(Component(kind, daemon.name, alive, daemon.ui, detail))
        workers = min(registered, sum(w.process.alive for w in cluster.workers))
        master_alive = bool(cluster.master and cluster.master.process.alive)
        state, reason = judge(master_alive, workers, cluster.workers_wanted)
        endpoints = {}
        if cluster.master:
            endpoints = {"Spark master": cluster.url, "Spark master UI": cluster.master.ui}
        return ClusterStatus(
            name,
            self.name,
            state,
            workers,
            cluster.workers_wanted,
            tuple(components),
            endpoints,
            reason,
        )

    def _destroy(self, name: str, deadline: Deadline) -> None:
        directory = self._directory(name)
        cluster = LocalCluster.read(directory)
        self._end_pipelines(name)
        for run in self._run_directories(name):
            process = driver_of(run)
            if process and process.alive:
                self.context.say(f"ending run {run.name}")
                stop(process, grace=_GRACE_SECONDS)
        if cluster is not None:
            self.context.say("stopping Spark workers and master")
            self._stop_daemons(cluster)
        for process in self._strays(name):
            stop(process, grace=1)
        shutil.rmtree(directory, ignore_errors=True)

    @staticmethod
    def _stop_daemons(cluster: LocalCluster) -> None:
        for daemon in cluster.daemons:
            stop(daemon.process, grace=_GRACE_SECONDS)

    def _strays(self, name: str) -> list[ProcessRef]:
        """Java and our own Python that name the cluster's directory in their command line."""
        import psutil

        mark, ours = f"{self._directory(name)}/", str(Path(pipeline_run.__file__).parent)
        above = {each.pid for each in psutil.Process().parents()} | {os.getpid()}
        found = []
        for process in psutil.process_iter(["pid", "cmdline"]):
            words = (process.info["cmdline"] or [])[:60]
            program = Path(words[0]).name if words else ""
            known = program == "java" or any(word.startswith(ours) for word in words[1:])
            if known and process.pid not in above and any(mark in word for word in words):
                found.append(ProcessRef(process.pid, start_time(process.pid)))
        return [process for process in found if process.alive]

    def _leftovers(self, name: str) -> Sequence[str]:
        directory = self._directory(name)
        if is_foreign(directory, MARK):
            return []
        left = [f"process {process.pid}" for process in self._strays(name)]
        return [*left, *([f"directory {directory}"] if directory.exists() else [])]

    def _staged(self, cluster: str, site: str) -> Catalog:
        directory = self._directory(cluster)
        return Catalog(LocalFiles(directory), str(directory / "staged"))

    # runs

    def _run_directories(self, name: str) -> list[Path]:
        runs = self._directory(name) / "runs"
        return sorted(runs.iterdir()) if runs.is_dir() else []

    def _run_directory(self, cluster: str, run: str) -> Path:
        directory = self._directory(cluster) / "runs" / run
        if not (directory / "run.json").exists():
            raise self._unknown_run(cluster, run)
        return directory

    def _submit(self, spec: ClusterSpec, submission: Submission) -> RunStatus:
        cluster = self._read(spec.cluster)
        with written(self._directory(spec.cluster), cluster, submission, held=False) as run:
            (run / HELD).unlink(missing_ok=True)
            if (run / NOTE).exists():
                return self._run_status(spec.cluster, submission.run)
            # Two drivers of one run exclude one another by a lock of their own.
            self._start_driver(run, cluster)
        return RunStatus(submission.run, RunState.PENDING)

    def _prepare_run(self, name: str, submission: Submission) -> Path:
        """Write all that a run's driver needs; it is sent by a pipeline."""
        with written(self._directory(name), self._read(name), submission, held=True) as run:
            return run

    @staticmethod
    def _start_driver(run: Path, cluster: LocalCluster) -> None:
        process = spawn_detached(
            driver_command(cluster, run),
            log=Path(os.devnull),
            environment=driver_environment(),
            directory=run,
        )
        note_process(run, process.pid, replace=False)

    def _run_status(self, cluster: str, run: str) -> RunStatus:
        directory = self._run_directory(cluster, run)
        process = driver_of(directory)
        # The order matters: a driver that ends between the two questions has written its outcome.
        alive = process is not None and process.alive
        try:
            outcome = json.loads((directory / "outcome.json").read_text("utf-8"))
            status = status_from_outcome(run, outcome)
        except FileNotFoundError:
            status = RunStatus(run, RunState.PENDING)
        if status.state.is_terminal or alive:
            return status
        recently = time.time() - (directory / "run.json").stat().st_mtime < 5
        if process is None and (recently or (directory / HELD).exists()):
            return status
        if (directory / "cancelled").exists():
            return RunStatus(run, RunState.CANCELLED, "cancelled", finished=time.time())
        return RunStatus(
            run,
            RunState.LOST,
            "the driver's process was killed, or this machine was restarted",
            started=status.started,
            finished=time.time(),
            attempts=status.attempts,
        )

    def _logs(
        self, cluster: str, run: str, streams: Sequence[LogStream], follow: bool
    ) -> Iterator[LogChunk]:
        directory = self._run_directory(cluster, run)
        offsets = dict.fromkeys(streams, 0)
        while True:
            last = not follow or self._run_status(cluster, run).state.is_terminal
            progress = False
            for stream in streams:
                data = read_from(directory / stream.value, offsets[stream])
                while data:
                    progress = True
                    offsets[stream] += len(data)
                    yield LogChunk(stream, data)
                    data = read_from(directory / stream.value, offsets[stream])
            if last:
                return
            if not progress:
                time.sleep(0.1)

    def _cancel(self, cluster: str, run: str) -> None:
        directory = self._run_directory(cluster, run)
        (directory / "cancelled").touch()
        process = driver_of(directory)
        if process:
            stop(process, grace=_GRACE_SECONDS * 2)

    def _reconcile(self, cluster: str) -> Sequence[RunStatus]:
        return [
            self._run_status(cluster, run.name)
            for run in self._run_directories(cluster)
            if (run / "run.json").exists()
        ]

    def _cluster_logs(self, cluster: str) -> Iterator[tuple[str, bytes]]:
        for log in sorted((self._directory(cluster) / "logs").glob("*.log")):
            start = max(0, log.stat().st_size - LOG_BLOCK)
            yield log.stem, read_from(log, start)
