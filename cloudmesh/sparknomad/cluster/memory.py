"""`MemoryProvider`: a cluster that is only remembered, for tests and for trying the API.

It runs a Python program as a plain process without Spark, and forgets everything when this
process ends. It keeps every rule of the contract, and is the smallest example of a provider.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

from cloudmesh.sparknomad.cluster.definition import build_definition, run_document
from cloudmesh.sparknomad.cluster.provider import ClusterProvider, ProviderContext
from cloudmesh.sparknomad.model import (
    ClusterState,
    ClusterStatus,
    Component,
    LogChunk,
    LogStream,
    PlanStep,
    RunState,
    RunStatus,
    Runtime,
    Submission,
)
from cloudmesh.sparknomad.specs import ClusterSpec
from cloudmesh.sparknomad.waiting import Deadline

__all__ = ["MemoryProvider"]


@dataclass
class _Run:
    """One run, changed only while its lock is held."""

    submission: Submission
    directory: Path
    status: RunStatus
    process: subprocess.Popen[bytes] | None = None
    cancelled: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)
    thread: threading.Thread | None = None


@dataclass
class _Cluster:
    spec: ClusterSpec
    directory: tempfile.TemporaryDirectory[str]
    runs: dict[str, _Run] = field(default_factory=dict)


class MemoryProvider(ClusterProvider):
    """Clusters in the memory of this process."""

    name: ClassVar[str] = "memory"

    def __init__(self, context: ProviderContext) -> None:
        super().__init__(context)
        self._clusters: dict[str, _Cluster] = {}

    def _plan(self, spec: ClusterSpec, runtime: Runtime | None) -> Sequence[PlanStep]:
        return [PlanStep(f"remember cluster {spec.cluster!r} with {spec.all_workers} workers")]

    def _plan_run(self, spec: ClusterSpec, submission: Submission) -> Sequence[PlanStep]:
        definition = build_definition(submission.job)
        document = run_document(submission, 0)
        return [
            PlanStep("take the definition", json.dumps(definition.document, indent=2), "json"),
            PlanStep("start the program", json.dumps(document, indent=2), "json"),
        ]

    def _known(self, name: str) -> bool:
        return name in self._clusters

    def _deploy(self, spec: ClusterSpec, runtime: Runtime | None, deadline: Deadline) -> None:
        found = self._clusters.get(spec.cluster)
        if found:
            found.spec = spec
        else:
            # Not among all temporary files: a killed process can't remove it.
            self.context.clusters.mkdir(parents=True, exist_ok=True)
            directory = tempfile.TemporaryDirectory(prefix=".", dir=self.context.clusters)
            self._clusters[spec.cluster] = _Cluster(spec, directory)

    def _status(self, name: str) -> ClusterStatus:
        spec = self._clusters[name].spec
        workers = tuple(
            Component("worker", f"worker-{number}", healthy=True)
            for number in range(1, spec.all_workers + 1)
        )
        return ClusterStatus(
            name, self.name, ClusterState.RUNNING, spec.all_workers, spec.all_workers, workers
        )

    def _scale(self, spec: ClusterSpec, deadline: Deadline) -> None:
        self._clusters[spec.cluster].spec = spec

    def _destroy(self, name: str, deadline: Deadline) -> None:
        cluster = self._clusters.get(name)
        if cluster is None:
            return
        for run in cluster.runs:
            self._cancel(name, run)
        for entry in cluster.runs.values():
            if entry.thread:
                entry.thread.join()
        cluster.directory.cleanup()
        del self._clusters[name]

    def _leftovers(self, name: str) -> Sequence[str]:
        return [f"cluster {name} in memory"] if name in self._clusters else []

    def _submit(self, spec: ClusterSpec, submission: Submission) -> RunStatus:
        cluster = self._clusters[spec.cluster]
        if submission.run in cluster.runs:
            return cluster.runs[submission.run].status
        build_definition(submission.job)
        directory = Path(cluster.directory.name) / submission.run
        directory.mkdir()
        run = _Run(submission, directory, RunStatus(submission.run, RunState.PENDING))
        cluster.runs[submission.run] = run
        run.thread = threading.Thread(target=_execute, args=(run,), daemon=True)
        run.thread.start()
        return run.status

    def _entry(self, cluster: str, run: str) -> _Run:
        try:
            return self._clusters[cluster].runs[run]
        except KeyError:
            raise self._unknown_run(cluster, run) from None

    def _run_status(self, cluster: str, run: str) -> RunStatus:
        return self._entry(cluster, run).status

    def _logs(
        self, cluster: str, run: str, streams: Sequence[LogStream], follow: bool
    ) -> Iterator[LogChunk]:
        entry = self._entry(cluster, run)
        offsets = dict.fromkeys(streams, 0)
        while True:
            last = not follow or entry.status.state.is_terminal
            for stream in streams:
                file = entry.directory / stream.value
                data = file.read_bytes()[offsets[stream] :] if file.exists() else b""
                if data:
                    offsets[stream] += len(data)
                    yield LogChunk(stream, data)
            if last:
                return
            time.sleep(0.02)

    def _cancel(self, cluster: str, run: str) -> None:
        entry = self._entry(cluster, run)
        with entry.lock:
            entry.cancelled = True
            if entry.process:
                entry.process.kill()

    def _reconcile(self, cluster: str) -> Sequence[RunStatus]:
        return [run.status for run in self._clusters[cluster].runs.values()]

    def _cluster_logs(self, cluster: str) -> Iterator[tuple[str, bytes]]:
        yield "memory", b"a cluster in memory writes no log\n"


def _execute(run: _Run) -> None:
    """Run the program until it succeeds or its budget of retries is spent."""
    started = time.time()
    status = run.status
    for attempt in range(1, run.submission.job.retries.program + 2):
        with run.lock:
            if run.cancelled:
                break
            run.process = _start(run)
            run.status = RunStatus(
                run.submission.run, RunState.RUNNING, started=started, attempts=attempt
            )
        status = _finish(run, run.status)
        program_failed = status.state is RunState.FAILED and status.exit_code is not None
        if run.cancelled or not program_failed:
            break
    run.status = _cancelled(run) if run.cancelled else status


def _start(run: _Run) -> subprocess.Popen[bytes]:
    with contextlib.ExitStack() as stack:
        outputs = [
            stack.enter_context((run.directory / stream.value).open("ab")) for stream in LogStream
        ]
        return subprocess.Popen(
            [sys.executable, run.submission.job.program, *run.submission.arguments],
            stdin=subprocess.DEVNULL,
            stdout=outputs[0],
            stderr=outputs[1],
            cwd=run.directory,
        )


def _finish(run: _Run, status: RunStatus) -> RunStatus:
    assert run.process is not None
    try:
        code = run.process.wait(run.submission.timeout)
    except subprocess.TimeoutExpired:
        run.process.kill()
        run.process.wait()
        reason = f"ended after its timeout of {run.submission.timeout:g} s"
        return replace(status, state=RunState.FAILED, reason=reason, finished=time.time())
    report = {"compute_seconds": round(time.time() - (status.started or 0), 3)}
    ended = replace(status, finished=time.time(), exit_code=code, report=report)
    if code == 0:
        return replace(ended, state=RunState.SUCCEEDED)
    lines = (run.directory / "stderr").read_text("utf-8", "replace").strip().splitlines()
    last = f": {lines[-1]}" if lines else ""
    reason = f"the program ended with exit code {code}{last}"
    return replace(ended, state=RunState.FAILED, reason=reason)


def _cancelled(run: _Run) -> RunStatus:
    return replace(run.status, state=RunState.CANCELLED, reason="cancelled", finished=time.time())
