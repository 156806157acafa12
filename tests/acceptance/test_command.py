"""Exit codes, streams and formats of the command, despite what cms does with them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from acceptance.conftest import Command, ended


@pytest.fixture
def command(tmp_path: Path, cache: Path) -> Iterator[Command]:
    with ended(Command(tmp_path, cache, always_cms=True)) as made:
        yield made


@pytest.mark.parametrize(
    "arguments",
    [
        ["cluster", "list", "--output=json"],
        ["cluster", "status", "nowhere"],
        ["image", "list", "--output=xml"],
        ["job", "runs", "--limit=0", "--output=yaml"],
        ["pipeline", "show", "none"],
        ["storage", "info", "nowhere:x"],
        ["storage", "usage"],
    ],
)
def test_the_script_answers_as_cms_does(command: Command, arguments: list[str]) -> None:
    script = Command(command.home, command.cache)
    assert script.words(*arguments)[0].endswith("sparknomad")
    assert script(*arguments) == command(*arguments)


def test_nothing_is_listed_in_an_empty_home(command: Command) -> None:
    done = command.ok("cluster", "list")
    assert done.out == ""
    assert "no clusters" in done.err


@pytest.mark.parametrize("kind", ["cluster", "image", "job"])
def test_an_empty_list_is_an_empty_array(command: Command, kind: str) -> None:
    if kind == "image":
        command = Command(command.home, command.home / "empty cache", always_cms=True)
    assert command.ok(kind, "list", "--output=json").json() == []
    assert yaml.safe_load(command.ok(kind, "list", "--output=yaml").out) == []


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["clutser"], 2, "did you mean 'cluster'?"),
        (["job", "rnu"], 2, "did you mean 'run'?"),
        (["cluster", "deploy", "--wrokers=2"], 2, "did you mean '--workers'?"),
        (["job", "list", "--workers=2"], 2, "Usage:"),
        (["job", "run"], 2, "job run JOB"),
        (["job", "list", "--output=xml"], 2, "must be one of table, json, yaml"),
        (["cluster", "deploy", "--workers=x"], 2, "--workers: 'x' is not a whole number"),
        (["cluster", "deploy", "--workers=0"], 2, "workers: 0"),
        (["cluster", "deploy", "--memory=lots"], 2, "memory: 'lots'"),
        (["cluster", "deploy", "Upper"], 2, "cluster: 'Upper'"),
        (["cluster", "deploy", "--provider=nomda"], 2, "did you mean 'nomad'?"),
        (["cluster", "deploy", "--timeout=soon"], 2, "--timeout=soon"),
        (["cluster", "status", "nowhere"], 4, "no cluster 'nowhere'"),
        (["image", "inspect", "nothing"], 4, "no image 'nothing'"),
        (["job", "status", "none"], 4, "no run 'none'"),
        (["job", "show", "none"], 4, "no job 'none'"),
        (["job", "run", "none.yaml"], 4, "no file 'none.yaml'"),
        (["job", "run", "none.py"], 4, "none.py"),
        (["job", "runs", "--state=odd"], 2, "must be one of pending"),
        (["completion", "fish"], 2, "bash, zsh"),
    ],
)
def test_wrong_use_says_what_is_allowed(
    command: Command, arguments: list[str], code: int, told: str
) -> None:
    done = command(*arguments)
    assert (done.code, done.out) == (code, "")
    assert told in done.err
    assert "Traceback" not in done.err
    assert not (command.home / ".cloudmesh/sparknomad/clusters/local").exists()


def test_help_reaches_the_user_through_cms_too(command: Command) -> None:
    assert command.ok("-h").out.startswith("sparknomad: run Spark pipelines")
    listed = subprocess.run(
        [command.words()[0], "help", "sparknomad"],
        capture_output=True,
        text=True,
        check=False,
        env=command.environment,
        cwd=command.home,
    )
    assert "sparknomad cluster deploy" in listed.stdout


def test_the_help_of_one_command_is_short(command: Command) -> None:
    done = command.ok("job", "run", "-h")
    assert "job run JOB" in done.out
    assert "cluster deploy" not in done.out


def test_a_shell_of_cms_survives_our_errors(command: Command) -> None:
    done = subprocess.run(
        [command.words()[0]],
        input="sparknomad job status none\nsparknomad cluster list --output=json\nquit\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=command.environment,
        cwd=command.home,
    )
    assert "no run 'none'" in done.stderr
    assert "[]" in done.stdout


def test_a_job_is_defined_shown_listed_and_removed(command: Command, tmp_path: Path) -> None:
    (tmp_path / "p.py").write_text("print('hello')")
    (tmp_path / "job.yaml").write_text(
        "job: hello\nprogram: p.py\nparameters: {n: {type: integer, default: 3}}\n"
    )
    command.ok("job", "define", "job.yaml")
    assert [job["job"] for job in command.ok("job", "list", "--output=json").json()] == ["hello"]
    shown = command.ok("job", "show", "hello", "--output=json").json()
    assert shown["program"] == str(tmp_path / "p.py")
    assert yaml.safe_load(command.ok("job", "show", "hello").out) == shown
    command.ok("job", "remove", "hello")
    assert command("job", "remove", "hello").code == 4


def test_a_wrong_job_file_names_line_field_and_remedy(command: Command, tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text("job: bad\nprogram: p.py\nretires: {program: 1}\n")
    done = command("job", "define", "job.yaml")
    assert done.code == 2
    assert "job.yaml:3: retires: unknown field; did you mean 'retries'?" in done.err


def test_wrong_parameters_are_refused_before_anything_is_sent(
    command: Command, tmp_path: Path
) -> None:
    (tmp_path / "p.py").write_text("")
    (tmp_path / "job.yaml").write_text(
        "job: typed\nprogram: p.py\nparameters:\n"
        "  year: {type: integer, minimum: 1900}\n  day: {type: date, required: true}\n"
    )
    done = command("job", "run", "job.yaml", "--param", "yaer=3", "--param", "year=12")
    assert done.code == 2
    assert "did you mean 'year'?" in done.err
    assert "must be at least 1900" in done.err
    assert "day: missing" in done.err
    assert command.ok("job", "runs", "--output=json").json() == []


def test_a_dry_run_shows_the_plan_and_touches_nothing(command: Command, tmp_path: Path) -> None:
    plan = command.ok("cluster", "deploy", "--dry-run", "--output=json").json()
    bodies = "\n".join(step["body"] for step in plan["steps"])
    assert 'job "spark-worker"' in bodies
    assert '"acl": {' in bodies
    without_docker = command.ok(
        "cluster", "deploy", "--dry-run", "--output=json", DOCKER_HOST="unix:///nowhere"
    ).json()
    assert 'driver = "exec"' in "\n".join(step["body"] for step in without_docker["steps"])
    nothing = command("cluster", "deploy", "--dry-run", "--image=nothing")
    assert nothing.code == 4 and "There is no image 'nothing'" in nothing.err
    assert command.ok("cluster", "list", "--output=json").json() == []
    assert command.ok("image", "build", "--dry-run", "--output=json").json()["steps"]
    (tmp_path / "p.py").write_text("")
    steps = command.ok("job", "run", "p.py", "--dry-run", "--output=json").json()["steps"]
    assert json.loads(steps[0]["body"])["job"] == "p"


def test_completion_scripts_are_shell_and_complete(command: Command, tmp_path: Path) -> None:
    script = command.ok("completion", "bash").out
    (tmp_path / "completion").write_text(script)
    program = (
        "source completion; COMP_WORDS=(cms sparknomad cluster de); COMP_CWORD=3; "
        "_sparknomad_complete; echo ${COMPREPLY[*]}"
    )
    done = subprocess.run(
        ["bash", "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.split() == ["deploy", "destroy"]
    assert "bashcompinit" in command.ok("completion", "zsh").out


def test_doctor_tells_what_is_here(command: Command) -> None:
    checks = {check["name"]: check for check in command("doctor", "--output=json").json()}
    assert checks["Python"]["result"] == "ok"
    assert {"Java", "Spark", "Nomad", "Docker", "disk"} <= set(checks)


def test_a_broken_store_is_told_with_a_remedy(command: Command) -> None:
    command.ok("cluster", "list")
    store = command.home / ".cloudmesh" / "sparknomad" / "state.db"
    store.write_bytes(b"no database at all" * 100)
    done = command("job", "runs")
    assert done.code == 1
    assert str(store) in done.err
    assert "Traceback" not in done.err


def test_a_reader_that_goes_away_is_no_error(command: Command) -> None:
    words = " ".join(f"'{word}'" for word in command.words("-h"))
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {words} | head -n 1"],
        capture_output=True,
        text=True,
        check=False,
        env=command.environment,
        cwd=command.home,
    )
    assert done.returncode == 0, done
    assert done.stderr == ""
