"""Commands killed at any moment: the same command again completes, and nothing is left."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from acceptance.conftest import Command, ended

from cloudmesh.sparknomad.model import ImageRecord

pytestmark = [pytest.mark.faults]

HELLO = "print('hello')"


def program(command: Command) -> str:
    path = command.home / "hello.py"
    path.write_text(HELLO)
    return str(path)


@pytest.fixture
def command(tmp_path: Path, cache: Path):  # type: ignore[no-untyped-def]
    with ended(Command(tmp_path, cache)) as made:
        yield made


@pytest.mark.spark
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_start_of_the_embedded_cluster_is_repaired(
    command: Command, number: signal.Signals
) -> None:
    for seconds in (0.3, 0.6, 1.0, 1.6, 2.5, 4.0):
        command.killed(seconds, "cluster", "deploy", "local", number=number)
    command.ok("cluster", "deploy", "local")
    assert command.ok("job", "run", program(command), "--quiet").out == "hello\n"
    for seconds in (0.3, 0.5, 0.8, 1.5):
        command.killed(seconds, "cluster", "destroy", "local", number=number)
    command.ok("cluster", "destroy", "local")
    assert command.ok("cluster", "list", "--output=json").json() == []
    assert not (command.home / ".cloudmesh/sparknomad/clusters/local").exists()


@pytest.mark.spark
def test_a_killed_submission_is_told_and_the_next_one_works(command: Command) -> None:
    command.ok("cluster", "deploy", "local")
    for seconds in (0.2, 0.4, 0.6, 0.8):
        command.killed(seconds, "job", "run", program(command), "--detach")
    assert command.ok("job", "run", program(command), "--quiet").out == "hello\n"
    runs = command.ok("job", "runs", "--output=json").json()
    assert len({run["run"] for run in runs}) == len(runs)
    for run in runs:
        done = command("job", "wait", run["run"], "--timeout=90s")
        assert done.code in (0, 3), done
        assert command.ok("job", "logs", run["run"]).out in ("", "hello\n")


@pytest.mark.nomad
@pytest.mark.parametrize(
    "number", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_killed_deploy_of_nomad_is_repaired(
    root: None, image: ImageRecord, command: Command, number: signal.Signals
) -> None:
    for seconds in (0.4, 0.8, 1.2, 2.0, 3.0, 6.0):
        command.killed(seconds, "cluster", "deploy", "--driver=exec", "--workers=1", number=number)
    command.ok("cluster", "deploy", "--driver=exec", "--workers=1")
    for seconds in (0.4, 0.7, 1.0, 2.0):
        command.killed(seconds, "job", "run", program(command), "--detach", number=number)
    assert command.ok("job", "run", program(command), "--quiet").out == "hello\n"
    for seconds in (0.3, 0.6, 1.0, 1.5, 3.0):
        command.killed(seconds, "cluster", "destroy", "--force", number=number)
    command.ok("cluster", "destroy", "--force")
    assert command.ok("cluster", "list", "--output=json").json() == []
    assert not (command.home / ".cloudmesh/sparknomad/clusters/default").exists()


@pytest.mark.slow
@pytest.mark.nomad
def test_a_killed_build_is_taken_up_again(root: None, image: ImageRecord, command: Command) -> None:
    requirements = command.home / "requirements.txt"
    requirements.write_text("tabulate==0.9.0\n")
    build = ("image", "build", "killed", f"--requirements={requirements}")
    try:
        for seconds in (0.3, 0.8, 1.5, 3.0, 5.0):
            command.killed(seconds, *build)
        built = command.ok(*build, "--output=json").json()
        assert built["versions"]["spark"] == built["spark"]
        assert command.ok("image", "check", "killed", "--output=json").json()["python"]
    finally:
        command.ok("image", "remove", "killed")
