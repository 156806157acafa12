"""Processes that outlive the command that started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from cloudmesh.sparknomad.incluster.own_process import start_time
from cloudmesh.sparknomad.processes import (
    ProcessRef,
    scratch,
    spawn_detached,
    stop,
)
from cloudmesh.sparknomad.waiting import Deadline, wait_until

Start = Callable[[str], ProcessRef]
FOREVER = "exec sleep 60"
LOOP = "while :; do sleep 0.02; done"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts shell scripts; ends them and their sessions after the test."""
    started: list[ProcessRef] = []

    def run(script: str) -> ProcessRef:
        process = spawn_detached(
            ["sh", "-c", script],
            log=tmp_path / "log",
            environment={"PATH": os.environ["PATH"]},
            directory=tmp_path,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        for other in psutil.process_iter(["pid"]):
            try:
                if os.getsid(other.pid) == process.pid:
                    other.kill()
            except (ProcessLookupError, psutil.NoSuchProcess):
                continue
        try:
            os.waitpid(process.pid, 0)
        except ChildProcessError:
            continue


def read_soon(path: Path) -> str:
    return wait_until(
        lambda: path.read_text().strip() if path.exists() else None,
        str(path),
        Deadline(5),
        interval=0.01,
    )


def ref(pid: int) -> ProcessRef:
    return ProcessRef(pid, start_time(pid))


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_this_process_is_alive() -> None:
    assert ref(os.getpid()).alive


@pytest.mark.parametrize("offset", [-3600.0, -0.5, 0.5, 3600.0])
def test_another_process_of_the_same_number_is_no_match(offset: float) -> None:
    own = ref(os.getpid())
    assert not ProcessRef(own.pid, own.created + offset).alive


@pytest.mark.parametrize("pid", [-1, 0, 1])
def test_numbers_that_mean_groups_or_init_never_match(pid: int) -> None:
    assert not ProcessRef(pid, start_time(1)).alive


def test_a_zombie_is_not_alive() -> None:
    child = subprocess.Popen(["true"])
    process = ref(child.pid)
    wait_until(lambda: not process.alive, "the zombie", Deadline(5), interval=0.01)
    assert psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE
    child.wait()


def test_stopping_never_signals_another_process_of_the_same_number(start: Start) -> None:
    process = start(FOREVER)
    stop(ProcessRef(process.pid, process.created - 100), grace=0.1)
    assert process.alive


def test_a_detached_process_has_its_own_session_and_no_input(tmp_path: Path, start: Start) -> None:
    process = start("cat; echo out; echo err >&2; echo home=$HOME > home; " + FOREVER)
    assert read_soon(tmp_path / "home") == "home="
    assert os.getsid(process.pid) == process.pid
    assert (tmp_path / "log").read_text().split() == ["out", "err"]


def test_output_can_be_kept_apart_and_is_appended(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("before\n")
    process = spawn_detached(
        ["sh", "-c", "echo out; echo err >&2; pwd"],
        log=tmp_path / "log",
        stdout=tmp_path / "out",
        environment={},
        directory=tmp_path,
    )
    wait_until(lambda: not process.alive, "its end", Deadline(5), interval=0.01)
    stop(process, grace=0)
    assert (tmp_path / "out").read_text().split() == ["before", "out", str(tmp_path)]
    assert (tmp_path / "log").read_text() == "err\n"


def test_a_program_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        spawn_detached(
            [str(tmp_path / "no")], log=tmp_path / "log", environment={}, directory=tmp_path
        )


def test_a_detached_process_outlives_its_maker(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from cloudmesh.sparknomad.processes import *; "
        "d = Path(sys.argv[1]); p = spawn_detached(['sleep', '30'], log=d / 'log', "
        "environment={}, directory=d); print(p.pid, repr(p.created))"
    )
    told = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stderr == ""
    pid, created = told.stdout.split()
    process = ProcessRef(int(pid), float(created))
    assert process.alive
    stop(process, grace=5)
    assert not process.alive


def test_stopping_ends_the_process_with_its_children(tmp_path: Path, start: Start) -> None:
    process = start(f"sh -c 'echo $$ > child; {FOREVER}' & {FOREVER}")
    child = ref(int(read_soon(tmp_path / "child")))
    stop(process, grace=5)
    assert not process.alive
    assert not child.alive


def test_a_process_may_clean_up_after_itself(tmp_path: Path, start: Start) -> None:
    process = start(f"trap 'echo bye > bye; exit' TERM; echo 1 > ready; {LOOP}")
    read_soon(tmp_path / "ready")
    stop(process, grace=5)
    assert (tmp_path / "bye").exists()


def test_a_process_that_ignores_the_signal_is_killed_after_its_grace(
    tmp_path: Path, start: Start
) -> None:
    process = start(f"trap '' TERM; (trap '' TERM; {LOOP}) & echo $! > child; {LOOP}")
    child = ref(int(read_soon(tmp_path / "child")))
    begun = time.monotonic()
    stop(process, grace=0.3)
    assert 0.3 <= time.monotonic() - begun < 3
    assert not process.alive
    assert not child.alive


def test_what_a_process_starts_while_it_ends_is_ended_too(tmp_path: Path, start: Start) -> None:
    process = start(f"trap 'sleep 30 & echo $! > late; exit' TERM; echo 1 > ready; {LOOP}")
    read_soon(tmp_path / "ready")
    stop(process, grace=5)
    assert not is_running(int(read_soon(tmp_path / "late")))


def test_a_grandchild_whose_parent_has_ended_is_ended_too(tmp_path: Path, start: Start) -> None:
    process = start(f"(sleep 30 & echo $! > orphan); {FOREVER}")
    orphan = ref(int(read_soon(tmp_path / "orphan")))
    stop(process, grace=5)
    assert not orphan.alive


def test_a_group_of_its_own_is_ended_too(tmp_path: Path, start: Start) -> None:
    own = "import os, time; os.setpgid(0, 0); open('own', 'w').write('1'); time.sleep(30)"
    process = start(f'("{sys.executable}" -c "{own}" & echo $! > orphan); {FOREVER}')
    orphan = int(read_soon(tmp_path / "orphan"))
    read_soon(tmp_path / "own")
    assert os.getpgid(orphan) != process.pid
    stop(process, grace=5)
    assert not is_running(orphan)


def test_a_descendant_with_a_session_of_its_own_is_ended_too(tmp_path: Path, start: Start) -> None:
    process = start(f"setsid sh -c 'echo $$ > child; {FOREVER}' & {FOREVER}")
    child = int(read_soon(tmp_path / "child"))
    stop(process, grace=5)
    assert not is_running(child)


def test_who_leads_no_session_takes_none_with_it(tmp_path: Path, start: Start) -> None:
    first = start(f"{FOREVER} & echo $! > one; {FOREVER} & echo $! > two; wait")
    one, two = (int(read_soon(tmp_path / name)) for name in ("one", "two"))
    stop(ref(one), grace=5)
    assert not is_running(one)
    assert is_running(two)
    assert first.alive


def test_nobody_waits_for_a_zombie_of_another_parent(tmp_path: Path, start: Start) -> None:
    begun = time.monotonic()
    process = start(f"(sleep 30 & echo $! > orphan); {FOREVER}")
    read_soon(tmp_path / "orphan")
    stop(process, grace=5)
    assert time.monotonic() - begun < 4


def test_stopping_twice_is_fine(start: Start) -> None:
    process = start(FOREVER)
    stop(process, grace=5)
    stop(process, grace=5)
    assert not process.alive


def test_a_stopped_child_is_no_zombie(start: Start) -> None:
    process = start(FOREVER)
    stop(process, grace=5)
    assert not psutil.pid_exists(process.pid)


def test_a_signal_ends_only_its_own_session(start: Start) -> None:
    process, other = start(FOREVER), start(FOREVER)
    os.kill(process.pid, signal.SIGTERM)
    stop(process, grace=5)
    assert other.alive


def test_a_killed_commands_scratch_directory_is_free_to_be_removed(tmp_path: Path) -> None:
    program = (
        "import sys, os, signal; from pathlib import Path;"
        "from cloudmesh.sparknomad.processes import scratch\n"
        "with scratch('trial-', Path(sys.argv[1])): os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert len(list(tmp_path.iterdir())) == 1
    with scratch("trial-", tmp_path) as mine:
        assert list(tmp_path.iterdir()) == [mine]


def test_a_scratch_directory_goes_with_its_block_and_removes_what_killed_commands_left(
    tmp_path: Path,
) -> None:
    left = tmp_path / "trial-dead"
    left.mkdir()
    (left / "file").write_text("left by a killed command")
    with scratch("trial-", tmp_path) as first:
        assert not left.exists()
        with scratch("trial-", tmp_path) as second:
            assert first.is_dir(), "held by a live command"
            assert second != first
    assert list(tmp_path.iterdir()) == []


def test_a_process_is_the_same_when_the_clock_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    own = ref(os.getpid())
    read = Path.read_text

    def later(path: Path, *given: str) -> str:
        text = read(path, *given)
        if str(path) != "/proc/stat":
            return text
        boot = next(line for line in text.splitlines() if line.startswith("btime "))
        return text.replace(boot, f"btime {int(boot.split()[1]) + 3600}")

    monkeypatch.setattr(Path, "read_text", later)
    assert own.alive and own.created < time.time() / 10


def test_a_note_of_a_former_version_is_still_understood() -> None:
    created = psutil.Process().create_time()
    assert ProcessRef(os.getpid(), created).alive
    assert not ProcessRef(os.getpid(), created - 60).alive
