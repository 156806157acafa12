"""Workers that come and go with the work, and a cluster that is stopped when there is none."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from acceptance.conftest import Command, ended

from cloudmesh.sparknomad.incluster.direct import get_json
from cloudmesh.sparknomad.incluster.hdfs_health import Health, health
from cloudmesh.sparknomad.model import ImageRecord

pytestmark = [pytest.mark.nomad, pytest.mark.slow]

PROGRAM = """
import sys, time
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
seconds = int(sys.argv[1])
rows = spark.range(3, numPartitions=3)
rows.foreach(lambda row: time.sleep(seconds))
print("done", rows.count())
"""
JOB = {
    "job": "wide",
    "program": "wide.py",
    "parameters": {"seconds": {"type": "integer", "default": 1}},
    "arguments": ["{seconds}"],
    "resources": {"executors": {"count": 3, "memory": "512m"}, "driver": {"memory": "512m"}},
}
SPEC = {
    "cluster": "elastic",
    "workers": {"min": 1, "max": 3},
    "idle": "45s",
    "memory": "512m",
    "driver": "exec",
}


@pytest.fixture(scope="module")
def elastic(
    root: None, image: ImageRecord, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Command]:
    home = tmp_path_factory.mktemp("elastic home")
    (home / "wide.py").write_text(PROGRAM)
    (home / "wide.yaml").write_text(yaml.safe_dump(JOB))
    (home / "elastic.yaml").write_text(yaml.safe_dump(SPEC))
    with ended(Command(home, cache)) as made:
        made.ok("cluster", "deploy", f"--spec={home / 'elastic.yaml'}")
        yield made


def status(command: Command) -> Any:
    return command.ok("cluster", "status", "elastic", "--output=json").json()


def until(command: Command, true: Callable[[Any], bool], seconds: float) -> Any:
    give_up = time.monotonic() + seconds
    while not true(found := status(command)):
        assert time.monotonic() < give_up, found
        time.sleep(1)
    return found


def test_workers_come_with_a_run_and_go_and_then_everything_goes(elastic: Command) -> None:
    assert status(elastic)["workers"] == 1
    job = str(elastic.home / "wide.yaml")
    words = ("job", "run", job, "--cluster=elastic")
    run = elastic.ok(*words, "--param", "seconds=40", "--detach").out.strip()
    found = until(elastic, lambda told: told["workers"] == 3, 90)
    assert found["workers_wanted"] == 3
    assert [p["name"] for p in found["components"] if p["kind"] == "scaler"]
    ran = elastic.ok("job", "wait", run, "--output=json").json()
    assert ran["state"] == "succeeded"
    # Deploying again leaves what has come.
    again = elastic.ok("cluster", "deploy", f"--spec={elastic.home / 'elastic.yaml'}")
    assert "running" in again.out
    refused = elastic("cluster", "scale", "elastic", "2")
    assert refused.code == 2 and "come and go by themselves" in refused.err

    found = until(elastic, lambda told: told["state"] == "stopped", 180)
    assert "nothing was run for 45s" in found["reason"]
    running = elastic.ok("cluster", "status", "elastic").out
    assert "spark-worker" not in running

    # The next run starts it again.
    done = elastic.ok(*words)
    assert "done 3" in done.out and "the next run starts it again" in done.err


def test_a_worker_that_is_idle_goes_alone(elastic: Command) -> None:
    spec = {**SPEC, "idle": "1h"}
    path = elastic.home / "longer.yaml"
    path.write_text(yaml.safe_dump(spec))
    elastic.ok("cluster", "deploy", f"--spec={path}")
    job = str(elastic.home / "wide.yaml")
    elastic.ok("job", "run", job, "--cluster=elastic", "--param", "seconds=30")
    assert status(elastic)["workers_wanted"] == 3
    # Each has to be quiet for a minute, and HDFS to have its copies elsewhere after the first.
    until(elastic, lambda told: told["workers_wanted"] == 1, 360)
    until(elastic, lambda told: told["workers"] == 1 and told["state"] == "running", 60)
    assert "done 3" in elastic.ok("job", "run", job, "--cluster=elastic").out


def test_without_bounds_the_scaler_goes_and_with_the_workers_no_block(elastic: Command) -> None:
    path = elastic.home / "fixed.yaml"
    path.write_text(yaml.safe_dump({**SPEC, "idle": None, "workers": 3}))
    elastic.ok("cluster", "deploy", f"--spec={path}")
    run = elastic.ok("job", "run", str(elastic.home / "wide.yaml"), "--cluster=elastic", "--detach")
    elastic.ok("job", "wait", run.out.strip())
    fewer = elastic.ok("cluster", "scale", "elastic", "1")
    assert "letting HDFS copy what only 2 of the workers have" in fewer.err
    found = until(elastic, lambda told: told["state"] == "running" and told["workers"] == 1, 60)
    assert not [part for part in found["components"] if part["kind"] == "scaler"]
    page = found["endpoints"]["HDFS NameNode UI"]
    give_up = time.monotonic() + 120
    while (told := hdfs_of(page)) is None or told.nodes > 1:
        assert time.monotonic() < give_up, told
        time.sleep(1)
    assert not told.missing and told.lacking  # one alone has one copy of each


def hdfs_of(page: str) -> Health | None:
    query = f"{page}/jmx?qry=Hadoop:service=NameNode,name="
    (system,) = get_json(f"{query}FSNamesystem", 10)["beans"]
    (info,) = get_json(f"{query}NameNodeInfo", 10)["beans"]
    return health(system, info)
