"""Parts of a running cluster are killed: what can survive does, what can't says why."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from acceptance.conftest import Command, ended, ours

from cloudmesh.sparknomad.model import ImageRecord

pytestmark = [pytest.mark.faults, pytest.mark.nomad]

SLOW_JOB = """
import time
from pyspark.sql import SparkSession
context = SparkSession.builder.getOrCreate().sparkContext
def work(n):
    time.sleep(1)
    return n
print("begun", flush=True)
print(context.parallelize(range(16), 16).map(work).sum(), flush=True)
"""


@pytest.fixture(scope="module")
def cluster(
    root: None, image: ImageRecord, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Command]:
    with ended(Command(tmp_path_factory.mktemp("faults"), cache)) as command:
        command.ok("cluster", "deploy", "--driver=exec")
        yield command


def java(main_class: str) -> Callable[[list[str]], bool]:
    return lambda words: bool(words) and main_class in words and words[0].endswith("/java")


def begin(cluster: Command) -> str:
    """Start the slow job, and wait until it computes."""
    program = cluster.home / "slow.py"
    program.write_text(SLOW_JOB)
    run = cluster.ok("job", "run", str(program), "--detach").out.strip()
    give_up = time.monotonic() + 120
    while "begun" not in cluster.ok("job", "logs", run).out:
        assert time.monotonic() < give_up, cluster.ok("job", "status", run).out
        time.sleep(0.2)
    time.sleep(3)
    return run


def succeeds(cluster: Command, run: str) -> None:
    done = cluster("job", "wait", run, "--timeout=200s")
    assert done.code == 0, (done, cluster("job", "logs", run))
    assert cluster.ok("job", "logs", run).out.endswith("120\n")


def whole(cluster: Command) -> None:
    """Wait until the cluster is running again by itself."""
    give_up = time.monotonic() + 120
    while True:
        status = cluster.ok("cluster", "status", "--output=json").json()
        if status["state"] == "running":
            return
        assert time.monotonic() < give_up, status
        time.sleep(0.5)


@pytest.mark.slow
def test_a_killed_executor_costs_only_its_tasks(cluster: Command) -> None:
    run = begin(cluster)
    executors = ours(cluster, java("org.apache.spark.executor.CoarseGrainedExecutorBackend"))
    assert executors
    executors[0].kill()
    succeeds(cluster, run)


def test_a_killed_worker_comes_back_and_the_run_succeeds(cluster: Command) -> None:
    run = begin(cluster)
    workers = ours(cluster, java("org.apache.spark.deploy.worker.Worker"))
    assert len(workers) == 2
    workers[0].kill()
    succeeds(cluster, run)
    whole(cluster)


@pytest.mark.slow
def test_a_killed_master_comes_back_and_the_run_succeeds(cluster: Command) -> None:
    run = begin(cluster)
    (master,) = ours(cluster, java("org.apache.spark.deploy.master.Master"))
    master.kill()
    succeeds(cluster, run)
    whole(cluster)


@pytest.mark.slow
def test_a_killed_java_machine_of_the_driver_is_retried(cluster: Command) -> None:
    run = begin(cluster)
    drivers = ours(cluster, lambda words: len(words) == 2 and words[1].endswith("java.args"))
    assert drivers
    drivers[0].kill()
    succeeds(cluster, run)
    status = cluster.ok("job", "status", run, "--output=json").json()
    assert status["attempts"] == 2


def test_a_killed_supervisor_is_started_again_by_nomad(cluster: Command) -> None:
    run = begin(cluster)
    supervisors = ours(cluster, lambda words: any(w.endswith("sparknomad/task.py") for w in words))
    assert supervisors
    for process in supervisors:
        if "python" in process.cmdline()[0]:
            process.kill()
    succeeds(cluster, run)


def test_a_killed_agent_is_told_and_deploying_again_adopts_what_runs(cluster: Command) -> None:
    run = begin(cluster)
    record = json.loads(
        (cluster.home / ".cloudmesh/sparknomad/clusters/default/cluster.json").read_text()
    )
    os.kill(record["pid"], signal.SIGKILL)
    status = cluster.ok("cluster", "status", "--output=json").json()
    assert status["state"] == "stopped"
    assert "deploy" in status["reason"]
    told = cluster("job", "run", str(cluster.home / "slow.py"), "--detach")
    assert told.code == 1
    assert "does not serve" in told.err
    cluster.ok("cluster", "deploy")
    succeeds(cluster, run)
    whole(cluster)


@pytest.mark.slow
def test_a_port_that_was_taken_meanwhile_is_told_and_others_are_chosen(cluster: Command) -> None:
    run = begin(cluster)
    file = cluster.home / ".cloudmesh/sparknomad/clusters/default/cluster.json"
    record = json.loads(file.read_text())
    os.kill(record["pid"], signal.SIGKILL)
    with socket.socket() as taker:
        taker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        give_up = time.monotonic() + 30
        while True:
            try:
                taker.bind(("127.0.0.1", record["ports"]["http"]))
                break
            except OSError:
                assert time.monotonic() < give_up
                time.sleep(0.1)
        taker.listen()
        told = cluster.ok("cluster", "deploy").err
    assert f"port {record['ports']['http']} is taken by another program" in told
    assert json.loads(file.read_text())["ports"] != record["ports"]
    succeeds(cluster, run)
    whole(cluster)


def test_a_cluster_with_a_dead_agent_is_destroyed_without_a_trace(
    root: None, image: ImageRecord, tmp_path: Path, cache: Path
) -> None:
    with ended(Command(tmp_path, cache)) as command:
        command.ok("cluster", "deploy", "--driver=exec", "--workers=1")
        directory = command.home / ".cloudmesh/sparknomad/clusters/default"
        record = json.loads((directory / "cluster.json").read_text())
        allocations = [path.name for path in (directory / "nomad/alloc").iterdir()]
        helpers = [Path(path) for path in _sockets(Path(record["sockets"]))]
        assert helpers, "its helpers make their sockets elsewhere"
        os.kill(record["pid"], signal.SIGKILL)
        command.ok("cluster", "destroy", "--force")
        assert not directory.exists()
        assert not Path(record["sockets"]).exists()
        assert str(directory) not in Path("/proc/self/mounts").read_text()
        for allocation in allocations:
            assert not list(Path("/sys/fs/cgroup").glob(f"*/nomad/{allocation}*"))


def _sockets(directory: Path) -> list[str]:
    """The sockets below a directory that somebody listens at."""
    lines = Path("/proc/net/unix").read_text().splitlines()
    return [path for line in lines if (path := line.split()[-1]).startswith(f"{directory}/")]
