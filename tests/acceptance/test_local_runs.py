"""Runs on the embedded cluster, from the README's third path to 12 at once."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from acceptance.conftest import Command

pytestmark = pytest.mark.spark
EXAMPLES = Path(__file__).parents[2] / "examples"


def write(directory: Path, text: str) -> str:
    program = directory / "program.py"
    program.write_text(text)
    return str(program)


def test_the_wordcount_runs_at_once(shared: Command, tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("to be or not to be\n")
    done = shared.ok(
        "job",
        "run",
        str(EXAMPLES / "wordcount.py"),
        "--param",
        f"input={words}",
        "--param",
        f"output={tmp_path / 'counts'}",
    )
    assert done.out.splitlines()[:2] == ["     2  be", "     2  to"]
    assert "starting the embedded cluster 'local'" in done.err
    assert (tmp_path / "counts" / "_SUCCESS").exists()
    (shared.home / "here.txt").write_text("to be or not to be\n")
    again = shared.ok(
        "job", "run", str(EXAMPLES / "wordcount.py"), "--param", "input=here.txt", "--quiet"
    )
    assert again.out.splitlines()[:2] == done.out.splitlines()[:2]
    assert again.err == ""


def test_streams_and_exit_code_are_the_programs(shared: Command, tmp_path: Path) -> None:
    program = write(tmp_path, "import sys; print('out'); print('err', file=sys.stderr); exit(9)")
    done = shared("job", "run", program, "--quiet")
    assert done.code == 3
    assert done.out == "out\n"
    assert done.err.startswith("err\n")
    assert "exit code 9" in done.err


def test_parameters_of_a_program_become_its_arguments(shared: Command, tmp_path: Path) -> None:
    program = write(tmp_path, "import json, sys; print(json.dumps(sys.argv[1:]))")
    values = {"json": '{"a": [1, "b c"]}', "empty": "", "odd": "it's $HOME & {x} = 3"}
    words = [word for name, value in values.items() for word in ("--param", f"{name}={value}")]
    done = shared.ok("job", "run", program, *words, "--quiet")
    expected = [word for name, value in values.items() for word in (f"--{name}", value)]
    assert json.loads(done.out) == expected


def test_a_detached_run_is_waited_for_and_reported(shared: Command, tmp_path: Path) -> None:
    run = shared.ok("job", "run", write(tmp_path, "print('done')"), "--detach").out.strip()
    shared.ok("job", "wait", run, "--timeout=120s")
    status = shared.ok("job", "status", run, "--output=json").json()
    assert (status["run"], status["state"], status["exit_code"]) == (run, "succeeded", 0)
    report = shared.ok("job", "report", run, "--output=json").json()
    assert report["compute_seconds"] > 0
    assert "compute" in shared.ok("job", "report", run).out
    assert shared.ok("job", "logs", run).out == "done\n"
    listed = shared.ok("job", "runs", "--output=json").json()
    assert run in [each["run"] for each in listed]


def test_json_of_an_attached_run_is_one_object(shared: Command, tmp_path: Path) -> None:
    done = shared.ok("job", "run", write(tmp_path, "print('data')"), "--output=json", "--quiet")
    assert done.json()["state"] == "succeeded"
    assert "data\n" in done.err


def test_cancel_ends_a_run(shared: Command, tmp_path: Path) -> None:
    program = write(tmp_path, "import time; time.sleep(600)")
    run = shared.ok("job", "run", program, "--detach").out.strip()
    shared.ok("job", "cancel", run)
    done = shared("job", "wait", run)
    assert done.code == 3
    assert "cancelled" in done.err


def test_a_wait_that_takes_too_long_says_so(shared: Command, tmp_path: Path) -> None:
    program = write(tmp_path, "import time; time.sleep(600)")
    run = shared.ok("job", "run", program, "--detach").out.strip()
    done = shared("job", "wait", run, "--timeout=1s")
    assert done.code == 1
    assert "Waited 1.0s" in done.err
    shared.ok("job", "cancel", run)


def test_ctrl_c_leaves_the_run_running(shared: Command, tmp_path: Path) -> None:
    program = write(tmp_path, "import time; print('begun', flush=True); time.sleep(600)")
    process = subprocess.Popen(
        shared.words("job", "run", program),
        env=shared.environment,
        cwd=shared.home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    process.send_signal(2)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "The run goes on" in told
    run = shared.ok("job", "runs", "--limit=1", "--quiet", "--output=json").json()[0]
    assert run["state"] == "running"
    shared.ok("job", "cancel", run["run"])


def test_a_killed_driver_is_told_as_lost(shared: Command, tmp_path: Path) -> None:
    import psutil

    program = write(tmp_path, "import time; time.sleep(600)")
    run = shared.ok("job", "run", program, "--detach").out.strip()
    directory = shared.home / ".cloudmesh/sparknomad/clusters/local/runs" / run
    give_up = time.monotonic() + 60
    while shared.ok("job", "status", run, "--output=json").json()["state"] != "running":
        assert time.monotonic() < give_up
    process = psutil.Process(json.loads((directory / "process.json").read_text())["pid"])
    family = process.children(recursive=True)
    process.kill()
    done = shared("job", "wait", run, "--timeout=60s")
    assert done.code == 3
    assert "lost" in done.err
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):  # some end by themselves
            member.kill()


WHERE = """
import os, pathlib
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
def java(_):
    process = os.getppid()
    while "java" not in os.readlink(f"/proc/{process}/exe"):
        process = int(pathlib.Path(f"/proc/{process}/stat").read_text().rsplit(")")[-1].split()[1])
    words = pathlib.Path(f"/proc/{process}/cmdline").read_text().split("\\0")
    given = [word.partition("=")[2] for word in words if word.startswith("-Djava.io.tmpdir=")]
    return [*given, *os.environ["SPARK_EXECUTOR_DIRS"].split(":")]
print(spark._jvm.java.lang.System.getProperty("java.io.tmpdir"))
print(*spark.sparkContext.parallelize([0], 1).map(java).first(), sep="\\n")
spark.range(9).write.saveAsTable("kept")
place = spark.conf.get("spark.sql.warehouse.dir").removeprefix("file:")
print("/" + place.lstrip("/"))
spark.stop()
"""


def test_what_a_killed_process_leaves_goes_with_the_cluster(
    shared: Command, tmp_path: Path
) -> None:
    done = shared.ok("job", "run", write(tmp_path, WHERE), "--quiet")
    home = shared.home / ".cloudmesh/sparknomad/clusters/local"
    places = done.out.splitlines()
    assert len(places) == 4 and all(place.startswith(f"{home}/") for place in places), done.out
    assert not Path(places[-1]).exists()


@pytest.mark.slow  # On Nomad it is tried always.
def test_twelve_runs_at_once_are_twelve_runs(shared: Command, tmp_path: Path) -> None:
    program = write(tmp_path, "print('here')")
    with ThreadPoolExecutor(12) as pool:
        started = list(pool.map(lambda _: shared.ok("job", "run", program, "--detach"), range(12)))
    runs = {done.out.strip() for done in started}
    assert len(runs) == 12
    for run in runs:
        assert shared("job", "wait", run, "--timeout=280s").code == 0
        assert shared.ok("job", "logs", run).out == "here\n"


def test_unfinished_runs_keep_a_cluster_from_being_destroyed(
    command: Command, tmp_path: Path
) -> None:
    program = write(tmp_path, "import time; time.sleep(600)")
    run = command.ok("job", "run", program, "--detach").out.strip()
    done = command("cluster", "destroy", "local")
    assert done.code == 1
    assert run in done.err and "--force" in done.err
    command.ok("cluster", "destroy", "local", "--force")
    assert command.ok("job", "status", run, "--output=json").json()["state"] == "cancelled"
    assert command.ok("cluster", "list", "--output=json").json() == []
    assert not (command.home / ".cloudmesh/sparknomad/clusters/local").exists()
