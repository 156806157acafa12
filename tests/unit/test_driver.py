"""The supervisor of a run, with fake Java and Python programs in place of Spark's."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cloudmesh.sparknomad.cluster.outcomes import status_from_outcome
from cloudmesh.sparknomad.incluster import driver, own_process
from cloudmesh.sparknomad.incluster.driver import Driver, Stop

module: Any = driver
WORKER = {"state": "ALIVE", "cores": 2, "coresfree": 2, "memory": 4096, "memoryfree": 4096}
Make = Callable[..., Driver]
OUTCOMES: Any = sys.modules[module.Outcome.__module__]
PROGRAMS: Any = sys.modules[module.Program.__module__]


class Impatient(Stop):
    """Shortens every pause, so that no test waits for a retry."""

    def wait(self, seconds: float) -> bool:
        return super().wait(min(seconds, 0.02))


def executable(path: Path, script: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def artifact(directory: Path, name: str, content: str) -> dict[str, str]:
    digest = hashlib.sha256(content.encode()).hexdigest()
    directory.mkdir(exist_ok=True)
    (directory / digest).write_text(content)
    return {"name": name, "sha256": digest}


@pytest.fixture
def spawned(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The processes that drivers start."""
    processes: list[Any] = []
    start = PROGRAMS.Program._start

    def recorded(program: Any, *arguments: Any, **options: Any) -> Any:
        processes.append(start(program, *arguments, **options))
        return processes[-1]

    monkeypatch.setattr(PROGRAMS.Program, "_start", recorded)
    return processes


@pytest.fixture
def make(tmp_path: Path, master: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Make:
    """Makes a run's directory and a driver of it; made again, it goes on in there."""
    monkeypatch.setattr(module, "_MASTER_SECONDS", 0.2)
    monkeypatch.setattr(module, "_KILL_GRACE_SECONDS", 0.5)
    monkeypatch.setattr(PROGRAMS, "_JAVA_DIED_SECONDS", 0.5)
    monkeypatch.setattr(module.run_attempt, "memory_kills", int)
    directory = tmp_path / "run"
    store = tmp_path / "artifacts"

    def made(
        java: str = "exit 0",
        python: str = "",
        retries: tuple[int, int] = (0, 0),
        timeout: float | None = None,
        queue_timeout: float | None = None,
        outcome: dict[str, Any] | None = None,
    ) -> Driver:
        directory.mkdir(exist_ok=True)
        count = f"echo start >> {shlex.quote(str(tmp_path / 'starts'))}\n"
        java_home = Path(executable(tmp_path / "jdk/bin/java", java if python else count + java))
        program = "p.py" if python else "p.jar"
        resources = {"cores": 1, "memory": 1024**3}
        documents = {
            "definition": {
                "job": "j",
                "class": None,
                "conf": {},
                "startup": "fast",
                "program": artifact(store, program, "program"),
                "python": [],
                "jars": [],
                "files": [artifact(store, "data.txt", "data")],
                "resources": {"driver": resources, "executors": {**resources, "count": None}},
                "retries": {"infrastructure": retries[0], "program": retries[1]},
            },
            "run": {
                "run": "r",
                "arguments": ["a b"],
                "timeout": timeout,
                "queue_timeout": queue_timeout,
                "submitted": time.time(),
            },
            "cluster": {
                "master": "spark://h:1",
                "master_ui": master["url"],
                "host": "127.0.0.1",
                "artifacts": str(store),
                "spark_home": str(tmp_path),
                "run": "r",
                "conf_dir": str(tmp_path),
                "java_home": str(java_home.parent.parent),
                "python": executable(tmp_path / "python", count + python),
                "executor_python": "python3",
            },
        }
        for name, document in documents.items():
            (directory / f"{name}.json").write_text(json.dumps(document))
        if outcome is not None:
            whole = {
                "run": "r",
                "phase": "staging",
                "state": "staging",
                "reason": "",
                "exit_code": None,
                "attempts": [],
                "received": time.time(),
                **outcome,
            }
            (directory / "outcome.json").write_text(json.dumps(whole))
        driver = Driver(directory)
        driver.stopping = Impatient()
        return driver

    return made


def outcome(tmp_path: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((tmp_path / "run/outcome.json").read_text())
    return read


def starts(tmp_path: Path) -> int:
    path = tmp_path / "starts"
    return len(path.read_text().splitlines()) if path.exists() else 0


def test_a_program_that_succeeds(make: Make, tmp_path: Path) -> None:
    driver = make("echo out; echo err >&2; cat data.txt")
    assert driver.execute() == 0
    told = outcome(tmp_path)
    assert (told["state"], told["phase"], told["exit_code"]) == ("succeeded", "finished", 0)
    assert [attempt["kind"] for attempt in told["attempts"]] == ["succeeded"]
    assert {"queue_seconds", "stage_seconds", "compute_seconds"} <= set(told["report"])
    assert (tmp_path / "run/stdout").read_text() == "out\ndata"
    assert (tmp_path / "run/stderr").read_text() == "err\n"
    assert not list((tmp_path / "run").glob("attempt-*"))


def test_a_program_that_fails_tells_its_code_and_last_line(make: Make, tmp_path: Path) -> None:
    assert make("echo boom >&2; exit 3").execute() == 3
    told = outcome(tmp_path)
    assert (told["state"], told["exit_code"]) == ("failed", 3)
    assert told["reason"] == "the program ended with exit code 3: boom"


def test_a_python_program_ends_its_java_machine(make: Make, tmp_path: Path) -> None:
    driver = make(java="cat > /dev/null", python="echo hello; exit 4")
    assert driver.execute() == 4
    assert (tmp_path / "run/stdout").read_text() == "hello\n"
    assert driver.children.running == []


def test_a_killed_java_machine_is_the_infrastructures_fault(make: Make, tmp_path: Path) -> None:
    assert make(java="kill -9 $$", python="sleep 5").execute() == module.EXIT_INFRASTRUCTURE
    told = outcome(tmp_path)
    assert (told["state"], told["exit_code"]) == ("failed", None)
    assert "Java machine was killed (signal 9)" in told["reason"]


@pytest.mark.parametrize(
    ("java", "kind", "reason"),
    [
        ("kill -9 $$", "infrastructure", "the program was killed (signal 9)"),
        (
            "echo 'All masters are unresponsive! Giving up.' >&2; exit 1",
            "infrastructure",
            "the Spark master was lost",
        ),
        (
            "echo 'java.lang.OutOfMemoryError: Java heap space' >&2; exit 1",
            "program",
            "out of memory: Java heap space",
        ),
        ("exit 1", "program", "the program ended with exit code 1"),
        (
            r"printf 'Caused by: a.B: why\n\tat c.D.e(D.java:1)\n\t... 1 more\n' >&2; exit 1",
            "program",
            "the program ended with exit code 1: Caused by: a.B: why",
        ),
        ("exit 0", "succeeded", ""),
    ],
)
def test_how_an_end_is_classified(
    make: Make, tmp_path: Path, java: str, kind: str, reason: str
) -> None:
    make(java).execute()
    (attempt,) = outcome(tmp_path)["attempts"]
    assert (attempt["kind"], attempt["reason"]) == (kind, reason)


def test_a_full_container_is_the_programs_fault(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = make("kill -9 $$", retries=(5, 0))
    counts = iter([4, 5])
    monkeypatch.setattr(module.run_attempt, "memory_kills", lambda: next(counts))
    assert driver.execute() == 137
    assert "container was full" in outcome(tmp_path)["reason"]


@pytest.mark.parametrize(
    ("java", "retries", "count"),
    [
        ("exit 1", (9, 2), 3),
        ("exit 1", (9, 0), 1),
        ("kill -9 $$", (2, 9), 3),
        ("kill -9 $$", (0, 9), 1),
    ],
)
def test_each_kind_of_failure_has_its_own_budget(
    make: Make, tmp_path: Path, java: str, retries: tuple[int, int], count: int
) -> None:
    make(java, retries=retries).execute()
    told = outcome(tmp_path)
    assert (starts(tmp_path), len(told["attempts"]), told["state"]) == (count, count, "failed")
    assert (f"(after {count} attempts)" in told["reason"]) == (count > 1)


def test_a_retry_that_succeeds_is_a_success(make: Make, tmp_path: Path) -> None:
    assert make("test -f again || { touch again; exit 1; }", retries=(0, 1)).execute() == 0
    told = outcome(tmp_path)
    assert [attempt["kind"] for attempt in told["attempts"]] == ["program", "succeeded"]
    assert "retry 1 of 1" in (tmp_path / "run/stderr").read_text()


def test_a_finished_run_is_not_run_again(make: Make, tmp_path: Path) -> None:
    make("exit 3").execute()
    before = outcome(tmp_path)
    assert make("exit 0").execute() == 3
    assert outcome(tmp_path) == before
    assert starts(tmp_path) == 1


def test_a_driver_that_was_killed_has_spent_one_of_the_infrastructures_budget(
    make: Make, tmp_path: Path
) -> None:
    driver = make("kill -9 $$", retries=(2, 0), outcome={"phase": "running", "state": "running"})
    driver.execute()
    reasons = [attempt["reason"] for attempt in outcome(tmp_path)["attempts"]]
    assert reasons[0] == "the driver was killed"
    assert len(reasons) == 3


def test_a_killed_driver_without_budget_does_not_run_again(make: Make, tmp_path: Path) -> None:
    driver = make("exit 0", outcome={"phase": "running", "state": "running"})
    assert driver.execute() == module.EXIT_INFRASTRUCTURE
    assert starts(tmp_path) == 0


@pytest.mark.parametrize(("kind", "code"), [("succeeded", 0), ("program", 3)])
def test_a_driver_killed_while_it_finishes_does_not_run_the_program_again(
    make: Make, tmp_path: Path, kind: str, code: int
) -> None:
    last = {"kind": kind, "reason": "before", "exit_code": code, "finished": 1.0}
    driver = make("exit 0", outcome={"state": "running", "started": 1.0, "attempts": [last]})
    assert driver.execute() == code
    assert starts(tmp_path) == 0


def test_a_program_is_ended_at_its_timeout(make: Make, tmp_path: Path) -> None:
    driver = make("exec sleep 30", timeout=0.3)
    assert driver.execute() == module.EXIT_TIMEOUT
    told = outcome(tmp_path)
    assert (told["state"], told["reason"]) == ("failed", "ended after its timeout of 0.3 s")
    assert driver.children.running == []


def test_a_timeout_counts_from_the_first_start(make: Make, tmp_path: Path) -> None:
    driver = make("exec sleep 30", timeout=60, outcome={"started": time.time() - 61})
    assert driver.execute() == module.EXIT_TIMEOUT


def test_a_timeout_before_a_retry_ends_the_run(make: Make, tmp_path: Path) -> None:
    driver = make("sleep 0.4; exit 1", retries=(0, 5), timeout=600)

    def pause(seconds: float) -> None:
        if seconds >= 1:
            driver.deadline = time.time() - 1
        Driver._pause(driver, seconds)

    driver._pause = pause  # type: ignore[method-assign]
    assert driver.execute() == module.EXIT_TIMEOUT
    assert outcome(tmp_path)["state"] == "failed"


def test_a_cancelled_run_ends_with_all_it_started(make: Make, tmp_path: Path) -> None:
    driver = make("trap '' TERM; echo $$ > pid; while :; do sleep 0.05; done")
    threading.Timer(0.4, driver.stopping.set).start()
    assert driver.execute() == 143
    told = outcome(tmp_path)
    assert (told["state"], told["phase"]) == ("cancelled", "finished")
    pid = int((tmp_path / "run/work/pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_cancelled_run_counts_the_start_of_its_program(make: Make, tmp_path: Path) -> None:
    driver = make("exec sleep 30")
    threading.Timer(0.3, driver.stopping.set).start()
    driver.execute()
    assert starts(tmp_path) == 1
    assert status_from_outcome("r", outcome(tmp_path)).attempts == 1


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("{}", "did not answer"),
        ("no json", "did not answer"),
        (json.dumps({"workers": []}), "had no live worker"),
        (json.dumps({"workers": [{**WORKER, "state": "DEAD"}]}), "had no live worker"),
        (json.dumps({"workers": [{**WORKER, "memory": 512}]}), "no worker had room"),
        (json.dumps({"workers": [{**WORKER, "cores": 0}]}), "no worker had room"),
    ],
)
def test_a_cluster_that_can_hold_no_executor_is_the_infrastructures_fault(
    make: Make, tmp_path: Path, master: dict[str, Any], body: str, problem: str
) -> None:
    master["body"] = body
    assert make().execute() == module.EXIT_INFRASTRUCTURE
    assert problem in outcome(tmp_path)["reason"]
    assert starts(tmp_path) == 0


@pytest.mark.parametrize("busy", [{"coresfree": 0}, {"memoryfree": 512}])
def test_a_run_waits_for_a_free_executor_before_it_starts_java(
    make: Make, tmp_path: Path, master: dict[str, Any], busy: dict[str, int]
) -> None:
    free, master["body"] = master["body"], json.dumps({"workers": [{**WORKER, **busy}]})
    driver = make("exit 0", queue_timeout=60)
    thread = threading.Thread(target=driver.execute)
    thread.start()
    wait_for(lambda: '"pending"' in read(tmp_path / "run/outcome.json"))
    told = status_from_outcome("r", outcome(tmp_path))
    assert "waits for room for an executor of 1 core, 1024 MiB" in told.reason
    assert starts(tmp_path) == 0
    master["body"] = free
    thread.join(20)
    assert (outcome(tmp_path)["state"], outcome(tmp_path)["reason"]) == ("succeeded", "")


def test_a_run_that_finds_no_room_fails_after_its_queue_timeout(
    make: Make, tmp_path: Path, master: dict[str, Any]
) -> None:
    master["body"] = json.dumps({"workers": [{**WORKER, "coresfree": 0}]})
    assert make(queue_timeout=0.1).execute() == module.EXIT_TIMEOUT
    assert outcome(tmp_path)["reason"].startswith("no resources after 0.1 s: waits for room")
    assert (outcome(tmp_path)["state"], starts(tmp_path)) == ("failed", 0)


@pytest.mark.parametrize(
    ("body", "missing"),
    [
        pytest.param('{"workers": ', 100, id="an answer that is cut short"),
        pytest.param("[]", 0, id="a list"),
        pytest.param('{"workers": [{}]}', 0, id="a worker without a state"),
    ],
)
def test_an_odd_answer_of_the_master_does_not_end_the_driver(
    make: Make, tmp_path: Path, master: dict[str, Any], body: str, missing: int
) -> None:
    master.update(body=body, missing=missing)
    assert make().execute() == module.EXIT_INFRASTRUCTURE


def test_a_lost_or_damaged_artifact_is_no_fault_of_the_program(make: Make, tmp_path: Path) -> None:
    driver = make()
    digest = driver.definition["program"]["sha256"]
    (tmp_path / "artifacts" / digest).write_text("other")
    assert driver.execute() == module.EXIT_INFRASTRUCTURE
    assert "p.jar arrived damaged" in outcome(tmp_path)["reason"]
    (tmp_path / "run/outcome.json").unlink()
    (tmp_path / "artifacts" / digest).unlink()
    assert Driver(tmp_path / "run").execute() == module.EXIT_INFRASTRUCTURE
    assert "p.jar could not be fetched" in outcome(tmp_path)["reason"]


def test_the_event_log_becomes_the_report(make: Make, tmp_path: Path) -> None:
    event = json.dumps({"Event": "SparkListenerApplicationStart", "App ID": "app-1"})
    make(f"printf '%s\\n{{cut' {shlex.quote(event)} > ../events/app-1").execute()
    assert outcome(tmp_path)["report"]["application_id"] == "app-1"


def test_arguments_are_in_a_file_and_not_in_the_command(make: Make, tmp_path: Path) -> None:
    make('cat "${1#@}"; echo $# >&2').execute()
    assert (tmp_path / "run/stdout").read_text().endswith('p.jar"\n"a b"\n')
    assert (tmp_path / "run/stderr").read_text() == "1\n"


def test_the_pipes_of_an_ended_program_are_closed(make: Make, spawned: list[Any]) -> None:
    make(java="cat > /dev/null", python="exit 0").execute()
    assert len(spawned) == 2
    for child in spawned:
        assert child.process.stdout.closed and child.process.stderr.closed
        assert child.process.stdin is None or child.process.stdin.closed


def test_only_one_driver_supervises_a_run(make: Make, tmp_path: Path) -> None:
    make()
    with (tmp_path / "run/.driver.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert module.main([str(tmp_path / "run")]) == module.EXIT_INFRASTRUCTURE
    assert starts(tmp_path) == 0
    assert "another driver" in (tmp_path / "run/stderr").read_text()


def test_the_note_of_a_runs_process_names_the_driver_that_has_it(
    make: Make, tmp_path: Path
) -> None:
    make(java="cat > /dev/null", python="exit 0")
    run = tmp_path / "run"
    other = json.dumps({"pid": 1, "created": 0.0})
    (run / own_process.NOTE).write_text(other)
    with (run / ".driver.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        module.main([str(run)])
    assert (run / own_process.NOTE).read_text() == other
    # Who has started a driver that ended at once takes nothing from the one that goes on.
    own_process.note_process(run, os.getpid(), replace=False)
    assert (run / own_process.NOTE).read_text() == other
    assert module.main([str(run)]) == 0
    noted = json.loads((run / own_process.NOTE).read_text())
    assert noted["pid"] == os.getpid()
    assert noted["created"] == own_process.start_time(os.getpid())
    assert own_process.start_time(2**22 + 1) == 0
    assert not list(run.glob(f".{own_process.NOTE}.*"))


# what else may happen at any moment


def test_java_may_be_killed_after_the_program_has_ended(make: Make, tmp_path: Path) -> None:
    assert make(java="cat > /dev/null; kill -9 $$", python="exit 0").execute() == 0
    assert outcome(tmp_path)["state"] == "succeeded"
    assert len(outcome(tmp_path)["attempts"]) == 1


def test_a_java_machine_that_does_not_start_is_the_programs_fault(
    make: Make, tmp_path: Path
) -> None:
    driver = make(java="echo 'bad conf' >&2; exit 2", python="exec sleep 30", retries=(3, 0))
    assert driver.execute() == 2
    reason = outcome(tmp_path)["reason"]
    assert reason == "the driver's Java machine ended with exit code 2: bad conf"
    assert starts(tmp_path) == 1


def test_a_crash_is_the_programs_fault(make: Make, tmp_path: Path) -> None:
    driver = make(java="cat > /dev/null", python="kill -SEGV $$", retries=(3, 0))
    assert driver.execute() == 128 + signal.SIGSEGV
    assert "the program crashed (signal 11)" in outcome(tmp_path)["reason"]
    assert starts(tmp_path) == 1


@pytest.mark.parametrize("word", ["", "env -i "])
def test_a_daemon_that_holds_the_output_open_delays_nothing(
    make: Make, tmp_path: Path, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.run_children, "_PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(module.run_children, "_READ_SECONDS", 0.2)
    late = "'echo $$ > daemon; sleep 1; echo late; exec sleep 5'"
    driver = make(f"{word}setsid sh -c {late} & while ! test -s daemon; do :; done; echo out")
    begun = time.monotonic()
    assert driver.execute() == 0
    assert time.monotonic() - begun < 4
    daemon = int((tmp_path / "run/work/daemon").read_text())
    if not word:
        wait_for(lambda: not alive(daemon))
    time.sleep(1.2)
    assert (tmp_path / "run/stdout").read_text() == "out\n"
    with contextlib.suppress(ProcessLookupError):
        os.kill(daemon, signal.SIGKILL)


def test_a_long_line_is_not_kept_in_memory(make: Make, tmp_path: Path) -> None:
    make("head -c 300000 /dev/zero | tr '\\0' x >&2; exit 1").execute()
    assert (tmp_path / "run/stderr").stat().st_size == 300_000
    assert len(outcome(tmp_path)["reason"]) < 1000


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_before_the_program_is_told(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PROGRAMS.java_files, "write_private", full_disk)
    assert make().execute() == module.EXIT_INFRASTRUCTURE
    assert "the disk is full" in outcome(tmp_path)["reason"]
    assert status_from_outcome("r", outcome(tmp_path)).attempts == 0


def test_what_happened_is_told_though_a_long_trace_follows(make: Make, tmp_path: Path) -> None:
    frames = "for n in $(seq 99); do echo 'at a.b.C.d(E.java:1)'; done; echo '... 55 more'"
    make(f"(echo 'Caused by: S3Exception: Access Denied'; {frames}) >&2; exit 1").execute()
    assert outcome(tmp_path)["reason"].endswith(": Caused by: S3Exception: Access Denied")


def test_a_full_disk_while_the_program_runs_is_told(make: Make, tmp_path: Path) -> None:
    make("echo 'java.io.IOException: No space left on device' >&2; exit 1").execute()
    assert outcome(tmp_path)["reason"].startswith("the disk is full: java.io.IOException")


def test_the_outcome_has_room_on_a_full_disk(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = OUTCOMES._write

    def limited(path: Path, document: dict[str, Any]) -> None:
        if (tmp_path / "run/.reserve").exists():
            full_disk()
        write(path, document)

    monkeypatch.setattr(OUTCOMES, "_write", limited)
    assert make("exit 3").execute() == 3
    assert outcome(tmp_path)["state"] == "failed"


def test_an_outcome_that_cannot_be_written_is_a_failure(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OUTCOMES, "_write", full_disk)
    assert make().execute() == module.EXIT_INFRASTRUCTURE
    assert starts(tmp_path) == 0
    told = (tmp_path / "run/stderr").read_text()
    assert "Traceback" in told and "No space left on device" in told


def test_a_full_disk_under_the_output_does_not_stop_the_program(make: Make, tmp_path: Path) -> None:
    driver = make("head -c 1000000 /dev/zero; exit 3")
    (tmp_path / "run/stdout").symlink_to("/dev/full")
    assert driver.execute() == 3
    assert "output was lost: the disk is full" in outcome(tmp_path)["reason"]


@pytest.mark.parametrize("place", ["_wait_for_room", "_begin", "_finish"])
def test_a_bug_ends_the_run_with_a_reason(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def bug(*_: object) -> int:
        return 1 // 0

    driver = make()
    monkeypatch.setattr(driver, place, bug)
    known = place == "_finish"  # the program has succeeded before
    assert driver.execute() == (0 if known else module.EXIT_INFRASTRUCTURE)
    told = outcome(tmp_path)
    assert (told["state"], told["phase"]) == ("succeeded" if known else "failed", "finished")
    assert known or "ZeroDivisionError" in told["reason"]
    assert "Traceback" in (tmp_path / "run/stderr").read_text()


def test_a_run_that_cannot_be_read_has_an_outcome(make: Make, tmp_path: Path) -> None:
    make()
    (tmp_path / "run/definition.json").unlink()
    assert module.main([str(tmp_path / "run")]) == module.EXIT_INFRASTRUCTURE
    assert "definition.json" in outcome(tmp_path)["reason"]
    assert status_from_outcome("r", outcome(tmp_path)).attempts == 0


def test_a_damaged_outcome_counts_as_a_start(make: Make, tmp_path: Path) -> None:
    make()
    (tmp_path / "run/outcome.json").write_text("")
    assert make().execute() == module.EXIT_INFRASTRUCTURE
    assert starts(tmp_path) == 0


def test_what_blocks_before_the_program_is_cancelled_at_once(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = threading.Event()
    monkeypatch.setattr(module.run_staging, "fetch_all", lambda *_: blocked.wait(30))
    driver = make()
    threading.Timer(0.2, driver.stopping.set).start()
    begun = time.monotonic()
    assert driver.execute() == 143
    assert time.monotonic() - begun < 5
    blocked.set()
    assert outcome(tmp_path)["state"] == "cancelled"
    assert status_from_outcome("r", outcome(tmp_path)).attempts == 0


# with a supervisor that is a process


def alive(number: int) -> bool:
    """Whether a process still does something."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def wait_for(condition: Callable[[], Any]) -> None:
    give_up = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.01)


@contextlib.contextmanager
def supervisor(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-I", str(module.__file__), str(tmp_path / "run")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def test_nothing_outlives_a_killed_supervisor_for_long(make: Make, tmp_path: Path) -> None:
    make("setsid sleep 30 & echo $! $$ > pids; wait; exit 5", retries=(1, 0))
    pids = tmp_path / "run/work/pids"
    with supervisor(tmp_path) as process:
        wait_for(lambda: read(pids).endswith("\n"))
        process.kill()
    daemon, program = (int(word) for word in pids.read_text().split())
    wait_for(lambda: not alive(program))
    assert make("exit 0", retries=(1, 0)).execute() == 0
    wait_for(lambda: not alive(daemon))
    kinds = [attempt["kind"] for attempt in outcome(tmp_path)["attempts"]]
    assert kinds == ["infrastructure", "succeeded"]


def test_a_supervisor_killed_after_the_programs_end_does_not_run_it_again(
    make: Make, tmp_path: Path
) -> None:
    make(java="cat > /dev/null; exec sleep 30", python="exit 0", retries=(3, 3))
    with supervisor(tmp_path) as process:
        wait_for(lambda: "succeeded" in read(tmp_path / "run/outcome.json"))
        process.kill()
    assert outcome(tmp_path)["phase"] == "ended"
    with supervisor(tmp_path) as process:
        assert process.wait(20) == 0
    assert starts(tmp_path) == 1
    assert outcome(tmp_path)["state"] == "succeeded"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_cancels_a_running_program(
    make: Make, tmp_path: Path, number: signal.Signals
) -> None:
    make("exec sleep 30")
    with supervisor(tmp_path) as process:
        wait_for(lambda: starts(tmp_path))
        wait_for(lambda: '"running"' in read(tmp_path / "run/outcome.json"))
        process.send_signal(number)
        assert process.wait(20) == 143
    told = outcome(tmp_path)
    assert (told["state"], told["attempts"][-1]["kind"]) == ("cancelled", "cancelled")


@pytest.mark.parametrize("phase", ["staging", "retry"])
def test_a_signal_cancels_a_run_that_waits(
    make: Make, tmp_path: Path, master: dict[str, Any], phase: str
) -> None:
    make("exit 1", retries=(0, 9))
    if phase == "staging":
        master["body"] = "{}"
    with supervisor(tmp_path) as process:
        sign = "stage_seconds" if phase == "staging" else '"staging", "state": "staging"'
        wait_for(lambda: phase == "staging" or starts(tmp_path))
        wait_for(lambda: sign in read(tmp_path / "run/outcome.json"))
        process.terminate()
        assert process.wait(20) == 143
    assert outcome(tmp_path)["state"] == "cancelled"
    assert status_from_outcome("r", outcome(tmp_path)).attempts == starts(tmp_path)


def test_a_run_that_was_to_end_while_it_waited_runs_nothing(make: Make, tmp_path: Path) -> None:
    make("exit 0", retries=(3, 3))
    script = (
        "import sys; from cloudmesh.sparknomad.incluster import driver; "
        "sys.exit(driver.main(sys.argv[1:], cancelled=True))"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "run")], check=False)
    assert done.returncode == 143
    assert (outcome(tmp_path)["state"], starts(tmp_path)) == ("cancelled", 0)
    assert status_from_outcome("r", outcome(tmp_path)).attempts == 0


def test_a_full_container_counts_from_the_start_of_the_attempt(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = make("kill -9 $$")
    monkeypatch.setattr(module.run_attempt, "memory_kills", lambda: 4)
    assert driver.execute() == module.EXIT_INFRASTRUCTURE
    assert "was killed (signal 9)" in outcome(tmp_path)["reason"]


def test_a_program_whose_master_has_moved_is_begun_anew(make: Make, tmp_path: Path) -> None:
    """A Spark application does not outlive its master's address, and would wait for ever."""
    driver = make("[ $(wc -l < ../../starts) -gt 1 ] || sleep 60", retries=(1, 0))
    answers = iter([False, True])
    driver.servers.have_moved = lambda: starts(tmp_path) == 1 and next(answers, False)  # type: ignore[method-assign]
    renewed = []
    driver.servers.renew = lambda: renewed.append(starts(tmp_path)) or len(renewed) > 1  # type: ignore[method-assign, func-returns-value]
    assert driver.execute() == 0
    kinds = [attempt["kind"] for attempt in outcome(tmp_path)["attempts"]]
    assert kinds == ["infrastructure", "succeeded"] and renewed == [0, 1]
    assert "master has moved" in outcome(tmp_path)["attempts"][0]["reason"]
    assert "Spark's master is at spark://h:1 now" in (tmp_path / "run/stderr").read_text()
