"""Supervises one run inside the cluster: fetch, start Spark, watch, retry, report.

Called as ``driver.py DIRECTORY``, where ``DIRECTORY`` holds three files:

``definition.json``   the job, content-addressed: program, dependencies, resources, conf
``run.json``          this run: id, arguments (or their digest), timeout, time of submission
``cluster.json``      where the master, the artifacts and Spark lie on this host

It writes ``outcome.json`` there after every change, atomically, and the program's output to
``stdout`` and ``stderr``: what the provider reads. (Docker loses what a program writes just
before its end; a file does not.) A driver that is started again in the same directory goes on
from it, so that neither budget of retries is spent twice and no program runs again after its
outcome is known.
"""

from __future__ import annotations

import concurrent.futures
import fcntl
import json
import os
import shutil
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

sys.path[:0] = [str(Path(__file__).resolve().parent)]


if TYPE_CHECKING:
    from cloudmesh.sparknomad.incluster import (
        own_process,
        run_attempt,
        run_children,
        run_private,
        run_staging,
    )
    from cloudmesh.sparknomad.incluster.addresses import Servers
    from cloudmesh.sparknomad.incluster.run_attempt import Attempt, explain
    from cloudmesh.sparknomad.incluster.run_inputs import InputError
    from cloudmesh.sparknomad.incluster.run_outcome import (
        CANCELLED,
        EXIT_INFRASTRUCTURE,
        EXIT_TIMEOUT,
        Outcome,
        Verdict,
        abandon,
    )
    from cloudmesh.sparknomad.incluster.run_program import Program
    from cloudmesh.sparknomad.incluster.run_staging import InfrastructureError
    from cloudmesh.sparknomad.incluster.run_transfers import RunTransfers
    from cloudmesh.sparknomad.incluster.run_waiting import (
        CancelledError,
        DeadlineError,
        NoResourcesError,
        Stop,
        in_thread,
    )
else:
    import own_process
    import run_attempt
    import run_children
    import run_private
    import run_staging
    from addresses import Servers
    from run_attempt import Attempt, explain
    from run_inputs import InputError
    from run_outcome import (
        CANCELLED,
        EXIT_INFRASTRUCTURE,
        EXIT_TIMEOUT,
        Outcome,
        Verdict,
        abandon,
    )
    from run_program import Program
    from run_staging import InfrastructureError
    from run_transfers import RunTransfers
    from run_waiting import CancelledError, DeadlineError, NoResourcesError, Stop, in_thread

__all__ = ["EXIT_INFRASTRUCTURE", "EXIT_TIMEOUT", "Driver", "Stop", "main"]

_KILL_GRACE_SECONDS = 10
_MASTER_SECONDS = 120
_KEEP_SECONDS = 600
_Result = TypeVar("_Result")


class Driver:
    """One run.

    Args:
        directory: with the three files above; everything is written below it.
        stopping: tells it to stop.
    """

    def __init__(self, directory: Path, stopping: Stop | None = None) -> None:
        self.directory = directory
        self.stopping = stopping or Stop()
        self.output = run_children.Output(directory)
        self.definition = _load(directory / "definition.json")
        self.run = _load(directory / "run.json")
        self.cluster = {
            **_load(directory / "cluster.json"),
            "storage_conf": self.run.get("storage", {}).get("conf", {}),
        }
        self.servers = Servers(self.cluster)
        self.outcome = Outcome(directory, self.run, self.definition["retries"])
        self.arguments: list[str] = []
        self.launched = False
        self.program: Program | None = None
        local = str(directory / "local")
        marks = {"SPARKNOMAD_RUN": self.run["run"], "SPARK_LOCAL_DIRS": local}
        self.children = run_children.Children(self.output, marks)
        self.transfers = RunTransfers(
            directory,
            self.definition,
            self.run,
            self.cluster,
            self.children,
            self.output,
            self._wait_for_room,
        )
        limit = self.run.get("timeout")
        begun = self.outcome.data.get("started") or time.time()
        self.deadline: float | None = begun + limit if limit else None

    # the run

    def execute(self) -> int:
        """Run to the end, with retries.

        Returns:
            The exit code of this process: 0, the program's own, 70 for a failure of the
            infrastructure, 124 for a timeout, 143 when cancelled.
        """
        if self.outcome.data["phase"] == "finished":
            return int(self.outcome.data["task_exit_code"])
        try:
            self._begin()
            return self._finish(self._run_to_end())
        except Exception as error:
            return self._fail(error)
        finally:
            self.children.stop(_KILL_GRACE_SECONDS)
            self.transfers.release()

    def _begin(self) -> None:
        """Clear up what a killed supervisor has left, and count its attempt."""
        self.outcome.reserve()
        self.children.sweep()
        if self.outcome.data["phase"] == "running":
            killed = Attempt("infrastructure", "the driver was killed")
            self.outcome.record(killed, launched=True)

    def _run_to_end(self) -> Verdict:
        retry = False
        try:
            self._pause(0)
            while (verdict := self.outcome.verdict()) is None:
                if retry:
                    self._pause_before_retry()
                retry = True
                attempt = self._attempt()
                if self.outcome.verdict() is None:  # else it was recorded as soon as it was known
                    self.outcome.record(attempt, launched=self.launched)
                self._clear()
            if verdict.state == "succeeded" and self.transfers.outputs:
                verdict = self._upload(verdict)
        except CancelledError:
            return CANCELLED
        except DeadlineError:
            return Verdict("failed", self._late(), EXIT_TIMEOUT)
        return verdict

    def _upload(self, verdict: Verdict) -> Verdict:
        """Bring the staged outputs away; that is tried again without computing them again."""
        begun = time.monotonic()
        self.outcome.save(phase="uploading", state="running", reason="writes its output")
        problem = ""
        for count in range(self.definition["retries"]["infrastructure"] + 1):
            if count:
                self.output.say(f"{problem}; retry {count}")
                self._pause(min(30.0, 2.0**count))
            try:
                problem = self._meanwhile(self.transfers.upload)
                break
            except InfrastructureError as error:
                problem = str(error)
            finally:
                self.outcome.save(upload_seconds=time.monotonic() - begun)
        return Verdict("failed", problem, EXIT_INFRASTRUCTURE, 0) if problem else verdict

    def _pause_before_retry(self) -> None:
        last = self.outcome.attempts[-1]
        spent, budget = self.outcome.spent()
        self.output.say(f"{last['reason']}; {last['kind']} retry {spent} of {budget}")
        self.outcome.save(phase="staging", state="staging")
        self._pause(min(30.0, 2.0**spent))

    def _attempt(self) -> Attempt:
        self.launched = False
        self.program = None
        self._clear()
        try:
            self._renew_servers()
            program = self._stage()
            if self.definition["program"] is None:
                return Attempt("succeeded", exit_code=0)
            self._wait_for_room()
            return self._run_program(program)
        except InputError as error:
            return Attempt("program", str(error))
        except InfrastructureError as error:
            return Attempt("infrastructure", str(error))
        except DeadlineError:
            return Attempt("timeout", self._late())
        except NoResourcesError as error:
            return Attempt("timeout", str(error))
        except CancelledError:
            if not self.launched:
                raise
            return Attempt("cancelled", "cancelled")
        except OSError as error:
            kind = "program" if run_attempt.is_full(error) else "infrastructure"
            return Attempt(kind, f"the program was not run: {explain(error)}")
        finally:
            self.children.stop(_KILL_GRACE_SECONDS)

    def _renew_servers(self) -> bool:
        """Use the cluster's servers where they are now; whether that is elsewhere."""
        if not self.servers.renew():
            return False
        self.output.say(f"Spark's master is at {self.cluster['master']} now")
        self.transfers.renew()
        return True

    def _late(self) -> str:
        return f"ended after its timeout of {self.run['timeout']:g} s"

    def _clear(self) -> None:
        """Remove what only a running program needs."""
        for path in (self.directory / "local", *self.directory.glob("attempt-*")):
            shutil.rmtree(path, ignore_errors=True)
        run_private.clear(self.cluster)

    # the end

    def _finish(self, verdict: Verdict) -> int:
        if verdict.state == "succeeded" or "upload_seconds" not in self.outcome.data:
            self.transfers.forget_outputs()
        run_staging.drop_tables(self.cluster)
        lost = self.output.problem if verdict.code else ""
        self.outcome.finish(verdict, lost=lost, transfers=self.transfers.report)
        run_private.forget(self.cluster)
        self._keep()
        return verdict.code

    def _fail(self, error: Exception) -> int:
        """Leave a last outcome behind whatever went wrong."""
        self.output.say(_trace(error))
        reason = f"the run's supervisor failed: {explain(error)}"
        verdict = self._known_verdict() or Verdict("failed", reason, EXIT_INFRASTRUCTURE)
        try:
            self.children.stop(_KILL_GRACE_SECONDS)
            self._clear()
            return self._finish(verdict)
        except Exception as again:
            self.output.say(_trace(again))
        return self._say_last(verdict)

    def _say_last(self, verdict: Verdict) -> int:
        try:
            self.outcome.save(
                phase="finished",
                state=verdict.state,
                reason=verdict.reason,
                exit_code=verdict.exit_code,
                task_exit_code=verdict.code,
                finished=time.time(),
            )
        except Exception as error:
            self.output.say(_trace(error))
            return EXIT_INFRASTRUCTURE
        return verdict.code

    def _known_verdict(self) -> Verdict | None:
        try:
            return self.outcome.verdict()
        except Exception:
            return None

    def _keep(self) -> None:
        """Upload event logs and the outcome; a run does not fail because this fails."""
        if not self.cluster.get("events"):
            return
        events, outcome, run = self.directory / "events", self.outcome.file, self.run["run"]
        future = in_thread(lambda: run_staging.keep(events, outcome, run, self.cluster))
        begun = time.monotonic()
        while not concurrent.futures.wait([future], timeout=0.1).done:
            patience = _KILL_GRACE_SECONDS if self.stopping.wait(0) else _KEEP_SECONDS
            if time.monotonic() - begun > patience:
                break
        problem = future.result() if future.done() else "it took too long"
        if problem:
            self.output.say(f"the run's event log was not kept: {problem}")

    # before the program

    def _stage(self) -> Path:
        begun = time.monotonic()
        self.outcome.save(phase="staging", state="staging")
        self.transfers.start()
        program, self.arguments = self._meanwhile(
            lambda: run_staging.fetch_all(self.definition, self.run, self.cluster, self.directory)
        )
        if self.transfers.wanted:
            self._begin_early(program)
            places = self._meanwhile(self.transfers.prepare)
            self.arguments = [_replace(argument, places) for argument in self.arguments]
        self.outcome.save(stage_seconds=time.monotonic() - begun)
        return program

    def _wait_for_room(self) -> None:
        """Wait until a worker can take one executor: a Java machine before that would only idle."""
        page, wanted = self.cluster["master_ui"], self.definition["resources"]["executors"]
        patience = float(self.run.get("queue_timeout") or "inf")
        begun = missing_since = time.monotonic()
        while any(room := self._meanwhile(lambda: run_staging.find_room(page, wanted))):
            now = time.monotonic()
            if not room.missing:
                missing_since = now
            if room.missing and self._meanwhile(self._renew_servers):
                raise InfrastructureError("the cluster's servers have moved")
            if now - missing_since > _MASTER_SECONDS:
                raise InfrastructureError(f"{room.missing} for {_MASTER_SECONDS} s")
            if room.busy and now - begun > patience:
                raise NoResourcesError(patience, room.busy)
            if room.busy != self.outcome.data["reason"]:
                state = "pending" if room.busy else "staging"
                self.outcome.save(state=state, reason=room.busy)
            self._pause(0.2)
        if self.outcome.data["reason"]:
            self.outcome.save(state="staging", reason="")

    # the program

    def _begin_early(self, path: Path) -> None:
        """Start Java and Python while inputs are looked for, where they would not wait for room."""
        executors = self.definition["resources"]["executors"]
        if path.suffix == ".jar" or not self.transfers.inputs:
            return
        page = self.cluster["master_ui"]
        if not any(self._meanwhile(lambda: run_staging.find_room(page, executors))):
            # Not in a thread: Linux ends these processes with the thread that started them.
            self.program = self._new_program(path)
            self.program.begin()

    def _new_program(self, path: Path) -> Program:
        return Program(
            path,
            self.definition,
            self.cluster,
            self.directory,
            self.directory / f"attempt-{len(self.outcome.attempts)}",
            self.children,
            self._watch,
        )

    def _run_program(self, path: Path) -> Attempt:
        program = self.program or self._new_program(path)
        started = self.outcome.data.get("started") or time.time()
        self.outcome.save(phase="running", state="running", started=started)
        self.output.tail.clear()
        kills = run_attempt.memory_kills()
        program.launch(self.arguments)
        self.launched = True
        end = program.wait()
        if end.succeeded:
            self.outcome.record(Attempt("succeeded", exit_code=0), launched=True)
        program.end_gateway(lambda: self.stopping.wait(0))
        self.children.finish(_KILL_GRACE_SECONDS)
        full = run_attempt.memory_kills() > kills or run_attempt.near_memory_limit()
        tail = tuple(self.output.tail)
        attempt = run_attempt.classify(end, tail, memory_full=full)
        if attempt.kind == "program" and run_attempt.lost_block(tail):
            lost = self._meanwhile(self.transfers.lost_input)
            if lost:
                return Attempt("infrastructure", f"the cluster has lost a part of {lost}")
        return attempt

    # stopping

    def _pause(self, seconds: float) -> None:
        if self.stopping.wait(seconds):
            raise CancelledError
        if self.deadline is not None and time.time() > self.deadline:
            raise DeadlineError

    def _watch(self, seconds: float) -> None:
        """Pause while the program runs."""
        self._pause(seconds)
        if self.servers.have_moved():
            raise InfrastructureError("Spark's master has moved: its executors are lost")

    def _meanwhile(self, work: Callable[[], _Result]) -> _Result:
        """Do what blocks, and see meanwhile whether the run shall end."""
        future = in_thread(work)
        while not concurrent.futures.wait([future], timeout=0.05).done:
            self._pause(0)
        self._pause(0)
        return future.result()


def _replace(argument: str, places: dict[str, str]) -> str:
    for token, place in places.items():
        argument = argument.replace(token, place)
    return argument


def _load(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return loaded


def _trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)).rstrip()


def _supervise(directory: Path, stopping: Stop) -> int:
    with (directory / ".driver.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            run_children.Output(directory).say("another driver supervises this run already")
            return EXIT_INFRASTRUCTURE
        if "NOMAD_ALLOC_DIR" not in os.environ:
            own_process.note_process(directory, os.getpid(), replace=True)
        # Read only now: what another driver did before it gave up the lock is known.
        return Driver(directory, stopping).execute()


def main(argv: list[str], *, cancelled: bool = False) -> int:
    """Entry point; see the module's docstring.

    Args:
        argv: the run's directory.
        cancelled: whether it shall end before anything of it begins.
    """
    directory = Path(argv[0]).resolve()
    stopping = Stop()
    if cancelled:
        stopping.set()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: stopping.set())
    socket.setdefaulttimeout(60)
    try:
        return _supervise(directory, stopping)
    except Exception as error:
        run_children.Output(directory).say(_trace(error))
        abandon(directory, error)
        return EXIT_INFRASTRUCTURE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
