"""Runs a pipeline where it was sent: as a task of Nomad, or beside an embedded cluster.

Called as ``pipeline_run.py DIRECTORY``, with ``plan.json`` in the directory, for an embedded
cluster; without an argument as the task of a dispatched Nomad job.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

sys.path[:0] = [str(Path(__file__).resolve().parent)]

if TYPE_CHECKING or __package__:
    from cloudmesh.sparknomad.incluster import (
        allocations,
        own_process,
        pipeline,
        pipeline_end,
        pipeline_engine,
        pipeline_launch,
        run_private,
        webhdfs,
    )
else:
    import allocations
    import own_process
    import pipeline
    import pipeline_end
    import pipeline_engine
    import pipeline_launch
    import run_private
    import webhdfs

__all__ = ["HELD", "LocalBackend", "NomadBackend", "main"]

HELD = "held"
"""A file in the directory of a run that is prepared, but not sent."""

_PLANS = "/sparknomad/pipelines"
_ARTIFACTS = "/sparknomad/artifacts"
_SCHEDULED = "NOMAD_META_plan"
_PATIENCE_SECONDS = 120.0
_SOON_SECONDS = 5.0


def _seen(outcome: Mapping[str, Any]) -> pipeline.Seen:
    return pipeline.Seen(
        str(outcome["state"]),
        str(outcome.get("reason") or ""),
        outcome.get("started"),
        outcome.get("finished"),
    )


@dataclass
class NomadBackend:
    """Dispatches runs as Nomad jobs, with a token that may dispatch, read and signal.

    Attributes:
        address: of Nomad's API, where there is no socket.
        secrets: the task's directory of secrets, with its token.
    """

    address: str
    secrets: Path
    _children: dict[str, str] = field(default_factory=dict)
    _told: set[str] = field(default_factory=set)

    def _ask(self, path: str) -> Any:
        return run_private.ask_nomad(self.address, self.secrets, _within(path))

    def _tell(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return run_private.tell_nomad(self.address, self.secrets, _within(path), body)

    def key(self, path: str) -> str:
        """The key that signs what is told of the end."""
        told = self._ask(f"/v1/var/{path}")
        return str(((told or {}).get("Items") or {}).get("key", ""))

    def send(self, attempt: pipeline.Attempt) -> None:
        """See `pipeline.Backend`; Nomad itself keeps a token from being dispatched twice."""
        job = quote(str(attempt.send["job"]), safe="")
        path = f"/v1/job/{job}/dispatch?idempotency_token={quote(attempt.run)}"
        body = {"Payload": attempt.send["payload"], "Meta": attempt.send["meta"]}
        try:
            told = self._tell(path, body)
        except run_private.RefusedError as error:
            raise pipeline.RefusedError(str(error)) from error
        if told.get("DispatchedJobID"):
            self._children[attempt.run] = told["DispatchedJobID"]

    def look(self, runs: Sequence[str]) -> dict[str, pipeline.Seen | None]:
        """See `pipeline.Backend`."""
        if any(run not in self._children for run in runs):
            self._find(set(runs))
        return {run: self._look(run) for run in runs}

    def _find(self, runs: set[str]) -> None:
        wanted = quote('ParentID != ""')
        listed = self._ask(f"/v1/jobs?prefix=run-&meta=true&filter={wanted}")
        if listed is None:
            raise OSError("Nomad does not list its jobs")
        for job in listed:
            run = (job.get("Meta") or {}).get("run")
            if run in runs:
                self._children[run] = job["ID"]

    def _look(self, run: str) -> pipeline.Seen | None:
        child = self._children.get(run)
        if child is None:
            return None
        name = quote(child, safe="")
        found = self._ask(f"/v1/job/{name}/allocations")
        if found is None:
            raise OSError(f"Nomad does not tell of {child}")
        if not found:
            job = self._ask(f"/v1/job/{name}") or {}
            ended = job.get("Stop") or run in self._told
            return pipeline.Seen("cancelled", "cancelled") if ended else _PENDING
        latest = max(found, key=lambda each: int(each["CreateIndex"]))
        if allocations.may_come_back(latest, time.time()):
            return pipeline.Seen("running")
        outcome = self._outcome(latest["ID"])
        if outcome and _seen(outcome).ended:
            return _seen(outcome)
        if latest["ClientStatus"] in allocations.ENDED:
            seen = self._ended(name, latest)
            if seen.state == "lost":
                with contextlib.suppress(run_private.RefusedError):  # a token of former times
                    self._tell_to_end(run, child)
            return seen
        return _seen(outcome) if outcome else _PENDING

    def _ended(self, name: str, allocation: Mapping[str, Any]) -> pipeline.Seen:
        """A run whose driver ended without saying how, or on a host that is away."""
        if allocations.ended_well(allocation, "driver"):
            return pipeline.Seen("succeeded")
        if allocation["ClientStatus"] in allocations.AWAY:
            return pipeline.Seen("lost", "the host that ran the driver was lost")
        job = self._ask(f"/v1/job/{name}") or {}
        if job.get("Stop") or allocation.get("DesiredStatus") == "stop":
            return pipeline.Seen("cancelled", "cancelled")
        reason = allocation.get("ClientDescription") or "the driver ended without a reason"
        return pipeline.Seen("failed", str(reason))

    def _outcome(self, allocation: str) -> dict[str, Any] | None:
        place = quote("alloc/data/run/outcome.json")
        try:
            told = self._ask(f"/v1/client/fs/cat/{allocation}?path={place}")
        except ValueError:  # it is not there yet: Nomad answers a text
            return None
        return told if isinstance(told, dict) and told.get("state") else None

    def cancel(self, run: str) -> None:
        """See `pipeline.Backend`: the driver ends its program when it is told to."""
        child = self._children.get(run)
        if child is None or self._signal(child):
            return
        self._tell_to_end(run, child)  # it waits for room
        self._signal(child)

    def _tell_to_end(self, run: str, child: str) -> None:
        """Leave word for a driver that is to begin, perhaps anew on a host that was away."""
        if run in self._told:
            return
        path = run_private.ended_path(child)
        body = {"Namespace": run_private.namespace(), "Path": path, "Items": {"by": "pipeline"}}
        self._tell(f"/v1/var/{path}", body)
        self._told.add(run)

    def _signal(self, child: str) -> bool:
        """Whether there is a driver that could be told to end."""
        found = self._ask(f"/v1/job/{quote(child, safe='')}/allocations")
        begun = [each for each in found or () if each["ClientStatus"] != "pending"]
        for allocation in begun:
            if allocation["ClientStatus"] == "running":
                path = f"/v1/client/allocation/{allocation['ID']}/signal"
                self._tell(path, {"Signal": "SIGTERM"})
        return bool(begun)


_PENDING = pipeline.Seen("pending")


def _within(path: str) -> str:
    """A request of Nomad's API for the namespace of this task."""
    return f"{path}{'&' if '?' in path else '?'}namespace={quote(run_private.namespace())}"


@dataclass
class LocalBackend:
    """Starts the drivers of prepared runs as processes of this machine.

    An attempt tells the directory of its run, the command of its driver and its environment.
    """

    _directories: dict[str, Path] = field(default_factory=dict)
    _children: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def know(self, plan: pipeline.Plan) -> LocalBackend:
        """Learn where the runs of a plan are."""
        for step in plan.steps:
            for attempt in step.attempts:
                self._directories[attempt.run] = Path(attempt.send["directory"])
        return self

    def send(self, attempt: pipeline.Attempt) -> None:
        """See `pipeline.Backend`; the driver holds a lock, so that a second one ends at once."""
        directory = self._directories[attempt.run]
        with (directory / ".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if (directory / own_process.NOTE).exists():
                return
            process = subprocess.Popen(
                attempt.send["command"],
                env=attempt.send["environment"],
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            self._children[attempt.run] = process
            own_process.note_process(directory, process.pid, replace=False)
            (directory / HELD).unlink(missing_ok=True)

    def look(self, runs: Sequence[str]) -> dict[str, pipeline.Seen | None]:
        """See `pipeline.Backend`."""
        return {run: self._look(run) for run in runs}

    def _look(self, run: str) -> pipeline.Seen | None:
        directory = self._directories[run]
        process = _read(directory / own_process.NOTE)
        if process is None:
            return None
        if run in self._children:
            self._children[run].poll()  # so that no zombie is left
        # The order matters: a driver that ends between the two has written its outcome.
        alive = _is_alive(process)
        outcome = _read(directory / "outcome.json")
        seen = _seen(outcome) if outcome else _PENDING
        if seen.ended or alive:
            return seen
        if (directory / "cancelled").exists():
            return pipeline.Seen("cancelled", "cancelled")
        return pipeline.Seen("lost", "the driver's process was killed")

    def cancel(self, run: str) -> None:
        """See `pipeline.Backend`."""
        directory = self._directories[run]
        (directory / "cancelled").touch()
        process = _read(directory / own_process.NOTE)
        if process and _is_alive(process):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(process["pid"]), signal.SIGTERM)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        document: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return document


def _is_alive(process: Mapping[str, Any]) -> bool:
    return own_process.is_process(int(process["pid"]), float(process["created"]))


def _say(line: str) -> None:
    print(line, flush=True)


def _tell(plan: pipeline.Plan, key: str, ended: pipeline.PipelineState) -> None:
    if plan.notify:
        problem = pipeline_end.notify(plan.notify, key, pipeline_end.message(ended))
        _say(f"{plan.notify} was not told: {problem}" if problem else f"told {plan.notify}")


def _run(
    plan: pipeline.Plan, backend: pipeline.Backend, place: Path, stop: threading.Event
) -> pipeline.PipelineState:
    told: dict[str, str] = {}

    def save(state: pipeline.PipelineState) -> None:
        pipeline.write_state(place, state)
        for step in state.steps:
            if told.get(step.name) != step.state:
                told[step.name] = step.state
                _say(f"step {step.name}: {step.state} {step.reason}".rstrip())

    engine = pipeline_engine.Engine(plan, backend, save, stopping=stop.is_set, say=_say)
    ended = engine.run()
    _say(f"pipeline {plan.run}: {ended.state} {ended.reason}".rstrip())
    return ended


def _local(directory: Path) -> int:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    with (directory / ".engine.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            _say("another process runs this pipeline already")
            return 0
        plan = pipeline.Plan.read(json.loads((directory / "plan.json").read_text("utf-8")))
        ended = _run(plan, LocalBackend().know(plan), directory / "state.json", stop)
        _tell(plan, plan.secret, ended)
        return 0


def _task() -> int:
    """The task of a dispatched job, or of a launch of a schedule: its plan lies in the HDFS.

    It just ends when it is told to, as when its host is drained: another one goes on. Who cancels
    the pipeline ends its runs, or lets it do so by a signal of its own.
    """
    stop = threading.Event()
    signal.signal(signal.SIGUSR1, lambda *_: stop.set())
    local = Path(os.environ["NOMAD_TASK_DIR"])
    wanted = _wanted(local)
    services = json.loads((local / "services.json").read_text("utf-8"))
    place = Path(os.environ["NOMAD_ALLOC_DIR"]) / "data" / "pipeline"
    place.mkdir(parents=True, exist_ok=True)
    backend = NomadBackend(os.environ["SPARKNOMAD_NOMAD"], Path(os.environ["NOMAD_SECRETS_DIR"]))
    if run_private.told_to_end(backend.address, backend.secrets):
        stop.set()
    # Nomad's templates know services of the task's own namespace only.
    address = services["hdfs_http"] or run_private.server_address(
        backend.address, backend.secrets, os.environ["SPARKNOMAD_HDFS"]
    )
    hdfs = webhdfs.WebHdfs(address, patience=_PATIENCE_SECONDS)
    content = hdfs.read(wanted)
    if content is None:
        _say(f"the plan {wanted} is not there any more")
        return 1
    plan = pipeline.Plan.read(json.loads(content))
    if os.environ.get(_SCHEDULED):
        # https://developer.hashicorp.com/nomad/docs/job-specification/periodic: the id of a
        # launch ends with its second.
        plan = pipeline_launch.launched(plan, int(os.environ["NOMAD_JOB_ID"].rpartition("-")[2]))
    _sweep(hdfs)
    ended = _run(plan, backend, place / "state.json", stop)
    if stop.is_set():
        run_private.forget_end(backend.address, backend.secrets)
    key = backend.key(plan.secret) if plan.secret else ""
    _tell(plan, key, ended)
    if plan.keep is not None and ended.state == "succeeded":
        pipeline_end.expire(hdfs, plan.run, plan.kept, time.time() + plan.keep)
        if plan.keep <= _SOON_SECONDS:
            time.sleep(plan.keep)
        _sweep(hdfs)
    return 0


def _wanted(local: Path) -> str:
    """The plan's path: a dispatch tells its name or its digest, a schedule has the name."""
    if os.environ.get(_SCHEDULED):
        return f"{_PLANS}/{os.environ[_SCHEDULED]}"
    asked = json.loads((local / "run.json").read_text("utf-8"))
    return (
        f"{_ARTIFACTS}/{asked['artifact']}" if "artifact" in asked else f"{_PLANS}/{asked['plan']}"
    )


def _sweep(hdfs: webhdfs.WebHdfs) -> None:
    with contextlib.suppress(OSError, ValueError, KeyError):
        for path in pipeline_end.sweep(hdfs, time.time()):
            _say(f"removed {path}: it has outlived its time")


def main(argv: list[str]) -> int:
    """Entry point; see the module's docstring."""
    return _local(Path(argv[0]).resolve()) if argv else _task()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
