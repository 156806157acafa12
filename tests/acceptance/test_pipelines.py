"""Pipelines on the embedded cluster and on a real Nomad: order, failure, resuming, killing."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import signal
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from acceptance.conftest import Command, controllers, ended
from hooks import hook

from cloudmesh.sparknomad.model import ImageRecord

EXAMPLES = Path(__file__).parents[2] / "examples"
PROGRAM = """
import pathlib, sys, time
step, place, seconds = sys.argv[1:]
place = pathlib.Path(place)
with (place / "begun").open("a") as log:
    log.write(step + "\\n")
if (place / f"{step}.broken").exists():
    sys.exit(f"{step} is broken")
time.sleep(float(seconds))
print("done", step)
"""
JOB = {
    "job": "touch",
    "program": "touch.py",
    "parameters": {
        "step": {"required": True},
        "place": {"required": True},
        "seconds": {"type": "number", "default": 0},
    },
    "arguments": ["{step}", "{place}", "{seconds}"],
    "resources": {"driver": {"memory": "512m"}},
}


def step(name: str, *after: str, **more: Any) -> dict[str, Any]:
    values = {"step": name, "place": "{place}", **more.pop("values", {})}
    return {"job": "touch.yaml", "parameters": values, "after": list(after), **more}


def write(directory: Path, **steps: dict[str, Any]) -> str:
    (directory / "touch.py").write_text(PROGRAM)
    (directory / "touch.yaml").write_text(yaml.safe_dump(JOB))
    document = {"pipeline": "steps", "parameters": {"place": {"required": True}}, "steps": steps}
    path = directory / "steps.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return str(path)


def begun(directory: Path) -> list[str]:
    return (directory / "begun").read_text().split()


def states(record: Any) -> dict[str, str]:
    return {each["name"]: each["state"] for each in record["steps"]}


@pytest.mark.spark
def test_what_failed_is_resumed_and_nothing_else(shared: Command, tmp_path: Path) -> None:
    pipeline = write(
        tmp_path,
        a=step("a"),
        b=step("b", "a", retries=1),
        c=step("c", "a"),
        d=step("d", "b", "c"),
        mourn=step("mourn", "b", when="failed"),
    )
    (tmp_path / "b.broken").touch()
    words = ("pipeline", "run", pipeline, "--param", f"place={tmp_path}", "--cluster=local")
    done = shared(*words)
    assert done.code == 3 and "b is broken" in done.err and "pipeline resume" in done.err
    for line in ("+ a: succeeded", "  ! b: failed", "  + c: succeeded", "    - d: skipped"):
        assert line in done.out.splitlines()
    assert sorted(begun(tmp_path)) == ["a", "b", "b", "c", "mourn"]
    (run,) = shared.ok("pipeline", "runs", "--limit=1", "--output=json").json()
    (tmp_path / "b.broken").unlink()
    record = shared.ok("pipeline", "resume", run["run"], "--output=json", "--quiet").json()
    assert states(record) == {
        "a": "succeeded",
        "b": "succeeded",
        "c": "succeeded",
        "d": "succeeded",
        "mourn": "succeeded",  # the first time
    }
    assert sorted(begun(tmp_path)) == ["a", "b", "b", "b", "c", "d", "mourn"]
    again = shared("pipeline", "resume", run["run"])
    assert again.code != 0 and "is succeeded" in again.err
    # Its runs are runs like others.
    last = next(each for each in record["steps"] if each["name"] == "d")["runs"][-1]
    assert shared.ok("job", "logs", last).out == "done d\n"
    report = shared.ok("pipeline", "report", run["run"], "--output=json").json()
    assert [each["step"] for each in report] == ["a", "b", "c", "d", "mourn"]
    assert all(each["worked"] > 0 for each in report[:4])
    assert "s0 --> s1" in shared.ok("pipeline", "graph", run["run"]).out
    assert "step d: succeeded" in shared.ok("pipeline", "logs", run["run"]).out


@pytest.mark.spark
def test_a_killed_engine_is_started_again_and_no_step_runs_twice(
    shared: Command, tmp_path: Path
) -> None:
    slow = {"values": {"seconds": 1.5}}
    pipeline = write(tmp_path, a=step("a", **slow), b=step("b", "a", **slow), c=step("c", "b"))
    words = ("pipeline", "run", pipeline, "--param", f"place={tmp_path}", "--cluster=local")
    run = shared.ok(*words, "--detach").out.strip()
    directory = shared.home / ".cloudmesh/sparknomad/clusters/local/pipelines" / run
    for _ in range(3):
        time.sleep(1.5)
        shared.ok("pipeline", "status", run)
        engine = yaml.safe_load((directory / "process.json").read_text())
        with contextlib.suppress(ProcessLookupError):
            os.kill(engine["pid"], signal.SIGKILL)
    record = shared.ok("pipeline", "wait", run, "--output=json").json()
    assert set(states(record).values()) == {"succeeded"}
    assert begun(tmp_path) == ["a", "b", "c"]


@pytest.mark.spark
def test_a_cancelled_pipeline_ends_its_runs(shared: Command, tmp_path: Path) -> None:
    pipeline = write(tmp_path, a=step("a", values={"seconds": 300}), b=step("b", "a"))
    words = ("pipeline", "run", pipeline, "--param", f"place={tmp_path}", "--cluster=local")
    run = shared.ok(*words, "--detach").out.strip()
    give_up = time.monotonic() + 60
    while not (tmp_path / "begun").exists():
        assert time.monotonic() < give_up
        time.sleep(0.2)
    shared.ok("pipeline", "cancel", run)
    record = shared.ok("pipeline", "status", run, "--output=json").json()
    assert record["state"] == "cancelled"
    assert states(record) == {"a": "cancelled", "b": "skipped"}
    ran = shared.ok("job", "status", record["steps"][0]["runs"][0], "--output=json").json()
    assert ran["state"] == "cancelled"
    assert begun(tmp_path) == ["a"]


@pytest.mark.spark
def test_steps_that_did_the_same_are_not_done_again(shared: Command, tmp_path: Path) -> None:
    (tmp_path / "duplicate.py").write_text(
        "import pathlib, sys\n"
        "source, target, log = map(pathlib.Path, sys.argv[1:])\n"
        "target.write_text(source.read_text() + '!')\n"
        "log.open('a').write(target.name + ' ')\n"
    )
    job = {
        "job": "copy",
        "program": "duplicate.py",
        "parameters": {
            "input": {"type": "uri"},
            "output": {"type": "uri", "write": "direct"},
            "log": {},
        },
        "arguments": ["{input}", "{output}", "{log}"],
    }
    (tmp_path / "copy.yaml").write_text(yaml.safe_dump(job))
    log = str(tmp_path / "log")
    first = {"input": str(tmp_path / "in"), "output": f"{tmp_path}/{{run}}.a", "log": log}
    second = {"input": "{steps.a.output}", "output": f"{tmp_path}/{{run}}.b", "log": log}
    steps = {
        "a": {"job": "copy.yaml", "parameters": first},
        "b": {"job": "copy.yaml", "parameters": second},
    }
    path = tmp_path / "copies.yaml"
    path.write_text(yaml.safe_dump({"pipeline": "copies", "steps": steps}))
    (tmp_path / "in").write_text("x")
    words = ("pipeline", "run", str(path), "--cluster=local", "--output=json")
    one = shared.ok(*words).json()["run"]
    two = shared.ok(*words, "--reuse")
    assert two.err.count("done before by") == 2
    assert set(states(two.json()).values()) == {"succeeded"}
    assert (tmp_path / "log").read_text().split() == [f"{one}.a", f"{one}.b"]
    # Another content of the input is another step; so is one whose output is gone.
    (tmp_path / "in").write_text("yy")
    three = shared.ok(*words, "--reuse").json()["run"]
    assert (tmp_path / f"{three}.b").read_text() == "yy!!"
    (tmp_path / f"{three}.b").unlink()
    four = shared.ok(*words, "--reuse").json()["run"]
    assert (tmp_path / f"{four}.b").read_text() == "yy!!"
    assert (tmp_path / "log").read_text().split()[2:] == [f"{three}.a", f"{three}.b", f"{four}.b"]


def test_a_definition_is_kept_shown_drawn_and_removed(command: Command, tmp_path: Path) -> None:
    command.ok("pipeline", "define", str(EXAMPLES / "etl/etl.yaml"))
    listed = command.ok("pipeline", "list", "--output=json").json()
    assert [each["pipeline"] for each in listed] == ["flights-etl"]
    assert "carriers" in command.ok("pipeline", "show", "flights-etl").out
    drawn = command.ok("pipeline", "graph", "flights-etl", "--form=svg").out
    assert drawn.startswith("<svg") and "summary" in drawn
    command.ok("pipeline", "remove", "flights-etl")
    gone = command("pipeline", "show", "flights-etl")
    assert gone.code == 4 and "There is no pipeline 'flights-etl'" in gone.err
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("pipeline: p\nsteps:\n  a:\n    job: nowhere\n    after: [b]\n")
    told = command("pipeline", "define", str(wrong))
    assert told.code == 2
    assert "wrong.yaml:4: steps.a.job: There is no job 'nowhere'" in told.err
    assert "wrong.yaml:5: steps.a.after: 'b': there is no step 'b'" in told.err


# Nomad


@pytest.fixture(scope="module")
def deployed(
    root: None, image: ImageRecord, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Command]:
    with ended(Command(tmp_path_factory.mktemp("pipelines home"), cache)) as made:
        made.ok("cluster", "deploy", "--driver=exec")
        yield made


@pytest.mark.nomad
def test_an_etl_runs_in_the_cluster_though_what_runs_it_is_killed(
    deployed: Command, tmp_path: Path
) -> None:
    flights = tmp_path / "flights.csv"
    lines = ["year,month,carrier,origin,dest,dep_delay,distance"]
    lines += [f"2013,{n % 12 + 1},{c},JFK,LAX,{n},100" for n in range(40) for c in ("AA", "UA")]
    flights.write_text("\n".join(lines) + "\n")
    words = ("pipeline", "run", str(EXAMPLES / "etl/etl.yaml"), "--param", f"input={flights}")
    run = deployed.ok(*words, "--param", "output=cluster:answer", "--detach").out.strip()
    give_up = time.monotonic() + 60
    while not controllers(deployed):
        assert time.monotonic() < give_up
        time.sleep(0.1)
    killed = 0
    while deployed.ok("pipeline", "status", run, "--output=json").json()["finished"] is None:
        assert time.monotonic() < give_up + 400
        if killed < 3:
            time.sleep(3)
            for process in controllers(deployed):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
                    killed += 1
        time.sleep(1)
    record = deployed.ok("pipeline", "status", run, "--output=json").json()
    assert record["state"] == "succeeded", record
    assert killed >= 1
    sent = [each["runs"] for each in record["steps"]]
    assert all(len(runs) == 1 for runs in sent)
    known = deployed.ok("job", "runs", "--output=json").json()
    assert {each["run"] for each in known} >= {runs[0] for runs in sent}
    summary = next(each for each in record["steps"] if each["name"] == "summary")["runs"][0]
    assert deployed.ok("job", "logs", summary).out.split()[:3] == ["AA", "40", "19.5"]
    listed = deployed.ok("storage", "list", "cluster:answer/", "--output=json").json()
    assert any(each["url"].endswith("_SUCCESS") for each in listed)
    told = deployed.ok("pipeline", "report", run, "--output=json").json()
    assert all(each["output_bytes"] > 0 for each in told)


@pytest.mark.nomad
def test_an_end_is_told_signed_and_what_is_not_kept_goes(deployed: Command, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(
        "year,month,carrier,origin,dest,dep_delay,distance\n2013,1,AA,JFK,LAX,1,2\n"
    )
    with hook(503, 204) as (url, got):  # the first time it is too busy
        clean = {"input": str(tmp_path / "in.csv"), "output": "cluster:brief/{run}/clean"}
        document = {
            "pipeline": "brief",
            "steps": {"clean": {"job": str(EXAMPLES / "etl/clean.yaml"), "parameters": clean}},
            "notify": {"url": url, "secret": "HOOK"},
            "keep": "1s",
        }
        path = tmp_path / "brief.yaml"
        path.write_text(yaml.safe_dump(document))
        told = deployed("pipeline", "run", str(path))
        assert told.code == 1 and "no variable HOOK" in told.err
        record = deployed.ok("pipeline", "run", str(path), "--output=json", HOOK="key").json()
        give_up = time.monotonic() + 60
        while len(got) < 2:
            assert time.monotonic() < give_up
            time.sleep(0.2)
    (_, first), (headers, body) = got[:2]
    assert first == body
    assert (
        headers["X-Sparknomad-Signature"]
        == "sha256=" + hmac.new(b"key", body, hashlib.sha256).hexdigest()
    )
    assert json.loads(body)["run"] == record["run"] and json.loads(body)["state"] == "succeeded"
    give_up = time.monotonic() + 30
    while deployed("storage", "info", f"cluster:brief/{record['run']}/clean").code != 4:
        assert time.monotonic() < give_up
        time.sleep(1)


@pytest.mark.slow
@pytest.mark.nomad
def test_what_is_kept_for_a_while_goes_without_another_pipeline(
    deployed: Command, tmp_path: Path
) -> None:
    (tmp_path / "in.csv").write_text(
        "year,month,carrier,origin,dest,dep_delay,distance\n2013,1,AA,JFK,LAX,1,2\n"
    )
    clean = {"input": str(tmp_path / "in.csv"), "output": "cluster:while/{run}/clean"}
    steps = {"clean": {"job": str(EXAMPLES / "etl/clean.yaml"), "parameters": clean}}
    path = tmp_path / "while.yaml"
    path.write_text(yaml.safe_dump({"pipeline": "while", "steps": steps, "keep": "10s"}))
    record = deployed.ok("pipeline", "run", str(path), "--output=json").json()
    place = f"cluster:while/{record['run']}/clean"
    deployed.ok("storage", "info", place)
    home = deployed.home / ".cloudmesh/sparknomad/clusters/default"
    cluster = json.loads((home / "cluster.json").read_text())
    give_up = time.monotonic() + 60
    while deployed("storage", "info", place).code != 4:
        assert time.monotonic() < give_up
        # What is due every ten minutes is launched now, as by `nomad job periodic force`.
        address = f"http://127.0.0.1:{cluster['ports']['http']}/v1/job/pipeline-sweep"
        headers = {"X-Nomad-Token": cluster["token"]}
        asked = urllib.request.Request(f"{address}/periodic/force", headers=headers, method="POST")
        with urllib.request.urlopen(asked, timeout=20) as answer:
            assert answer.status == 200
        time.sleep(4)


@pytest.mark.nomad
def test_outputs_on_this_machine_are_refused(deployed: Command, tmp_path: Path) -> None:
    flights = tmp_path / "flights.csv"
    flights.write_text("year\n2013\n")
    words = ("pipeline", "run", str(EXAMPLES / "etl/etl.yaml"), "--param", f"input={flights}")
    told = deployed(*words, "--param", f"output={tmp_path / 'out'}")
    assert told.code == 2 and "step summary: parameter output" in told.err
    assert "nothing would be brought here" in told.err


@pytest.mark.nomad
def test_a_cancelled_pipeline_ends_its_runs_in_nomad(deployed: Command, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import time\nprint('begun', flush=True)\ntime.sleep(300)\n")
    document = {"pipeline": "slow", "steps": {"a": {"job": "slow.py"}}}
    (tmp_path / "slow.yaml").write_text(yaml.safe_dump(document))
    run = deployed.ok("pipeline", "run", str(tmp_path / "slow.yaml"), "--detach").out.strip()
    give_up = time.monotonic() + 60
    while True:
        record = deployed.ok("pipeline", "status", run, "--output=json").json()
        if record["steps"][0]["started"]:
            break
        assert time.monotonic() < give_up
    deployed.ok("pipeline", "cancel", run)
    record = deployed.ok("pipeline", "status", run, "--output=json").json()
    assert (record["state"], states(record)) == ("cancelled", {"a": "cancelled"})
    ran = deployed("job", "wait", record["steps"][0]["runs"][0], "--output=json")
    assert ran.code == 3 and ran.json()["state"] == "cancelled"


@pytest.mark.nomad
def test_a_step_that_waits_for_room_does_not_begin_after_its_pipelines_timeout(
    deployed: Command, tmp_path: Path
) -> None:
    (tmp_path / "late.py").write_text("print('it has run')\n")
    # As much as the host has, but not beside the cluster's servers.
    most = int((psutil.virtual_memory().total // 2**20 - 1000) / 1.1)
    resources = {"driver": {"memory": f"{most}m"}}
    job = {"job": "late", "program": "late.py", "resources": resources}
    (tmp_path / "late.yaml").write_text(yaml.safe_dump(job))
    document = {"pipeline": "late", "timeout": "3s", "steps": {"a": {"job": "late.yaml"}}}
    (tmp_path / "pipeline.yaml").write_text(yaml.safe_dump(document))
    done = deployed("pipeline", "run", str(tmp_path / "pipeline.yaml"), "--output=json", "--quiet")
    record = done.json()
    assert (done.code, record["state"], record["reason"]) == (3, "failed", "did not end within 3 s")
    assert states(record) == {"a": "cancelled"}
    (run,) = record["steps"][0]["runs"]
    told = deployed.ok("job", "status", run, "--output=json").json()
    assert (told["state"], told["reason"]) == ("cancelled", "cancelled before it was started")


@pytest.mark.nomad
@pytest.mark.slow
def test_a_schedule_runs_a_pipeline_by_itself(deployed: Command, tmp_path: Path) -> None:
    flights = tmp_path / "in.csv"
    flights.write_text("year,month,carrier,origin,dest,dep_delay,distance\n2013,1,AA,JFK,LAX,1,2\n")
    clean = {"input": str(flights), "output": "cluster:often/{run}/clean"}
    steps = {"clean": {"job": str(EXAMPLES / "etl/clean.yaml"), "parameters": clean}}
    path = tmp_path / "often.yaml"
    path.write_text(yaml.safe_dump({"pipeline": "often", "steps": steps}))
    schedule = deployed.ok("pipeline", "schedule", str(path), "--schedule=* * * * *").out.strip()
    flights.unlink()  # it has been brought into the cluster
    give_up = time.monotonic() + 150
    while True:
        found = deployed.ok("pipeline", "runs", "--pipeline=often", "--output=json").json()
        if found and all(each["state"] == "succeeded" for each in found):
            break
        assert time.monotonic() < give_up, found
        time.sleep(2)
    ((listed),) = deployed.ok("pipeline", "schedules", "--output=json").json()
    assert listed["schedule"] == schedule
    assert listed["last"] == found[0]["run"]
    assert 0 < listed["next"] - time.time() <= 60
    for each in found:
        ((run),) = each["steps"][0]["runs"]
        record = deployed.ok("job", "status", run, "--output=json").json()
        assert record["parameters"]["output"] == f"cluster:often/{each['run']}/clean"
        files = deployed.ok("storage", "list", record["parameters"]["output"], "--output=json")
        assert any(file["url"].endswith("_SUCCESS") for file in files.json())
    _unscheduled(deployed, schedule)
    assert deployed.ok("pipeline", "schedules", "--output=json").json() == []
    assert deployed("pipeline", "unschedule", schedule).code == 4
    # What it has launched is still known, and can be looked at.
    known = deployed.ok("pipeline", "status", found[0]["run"], "--output=json").json()
    assert known["state"] == "succeeded"


def _unscheduled(command: Command, schedule: str) -> None:
    """End a schedule; while a launch goes on, its credentials have to stay."""
    give_up = time.monotonic() + 120
    while True:
        told = command("pipeline", "unschedule", schedule)
        if told.code == 0:
            return
        assert "launches nothing more" in told.err, told.err
        assert time.monotonic() < give_up
        time.sleep(1)


@pytest.mark.spark
def test_an_embedded_cluster_has_no_schedules(command: Command, tmp_path: Path) -> None:
    path = tmp_path / "often.yaml"
    steps = {"a": {"job": str(EXAMPLES / "wordcount.py"), "parameters": {}}}
    path.write_text(yaml.safe_dump({"pipeline": "often", "steps": steps}))
    words = ("pipeline", "schedule", str(path), "--cluster=local")
    told = command(*words, "--schedule=0 3 * * *")
    assert told.code == 2 and "has no schedules" in told.err
    told = command(*words, "--schedule=0 25 * * *")
    assert told.code == 2 and "schedule: '0 25 * * *'" in told.err
    assert command.ok("pipeline", "schedules", "--output=json").json() == []
