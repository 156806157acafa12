"""A cluster of two sites, each with its own object store, and a slow link between them."""

from __future__ import annotations

import json
import random
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from acceptance.conftest import Command, Done, ended
from faulty import Faulty, faulty
from lab import Lab, LabHost, lab
from needs import require
from servers import make_bucket, seaweedfs

from cloudmesh.sparknomad.model import ImageRecord

pytestmark = [pytest.mark.nomad, pytest.mark.slow]

RATE = "24mbit"
SIZE = 15_000_000
PROGRAM = """
import argparse, time
from pyspark.sql import SparkSession

parser = argparse.ArgumentParser()
parser.add_argument("--input")
parser.add_argument("--seconds", type=int, default=0)
given = parser.parse_args()
spark = SparkSession.builder.getOrCreate()
if given.seconds:
    spark.range(1).foreach(lambda row: time.sleep(given.seconds))
else:
    lines = spark.read.text(given.input)
    print(lines.count(), lines.selectExpr("sum(crc32(value))").first()[0])
"""
JOB = {
    "job": "checksum",
    "program": "checksum.py",
    "parameters": {"input": {"type": "uri"}, "seconds": {"type": "integer"}},
    "arguments": ["--input", "{input}", "--seconds", "{seconds}"],
    "resources": {"executors": {"count": 1, "memory": "512m"}, "driver": {"memory": "512m"}},
}


@dataclass(frozen=True)
class Wide:
    """The hosts of both sites, a command that has deployed on them, and the far store's proxy."""

    lab: Lab
    command: Command
    stores: dict[str, Faulty]
    variables: dict[str, str]

    @property
    def east(self) -> LabHost:
        return self.lab.hosts[0]

    @property
    def west(self) -> LabHost:
        return self.lab.hosts[1]

    def deploy(self) -> Done:
        sites = {
            name: {"hosts": [host.entry]}
            for name, host in (("east", self.east), ("west", self.west))
        }
        fields = {"cluster": "default", "workers": 1, "memory": "1g", "driver": "exec"}
        path = self.command.home / "wide.yaml"
        path.write_text(yaml.safe_dump({**fields, "sites": sites}))
        return self.command.ok("cluster", "deploy", f"--spec={path}")

    def run(self, *more: str) -> Done:
        job = self.command.home / "checksum.yaml"
        return self.command.ok("job", "run", str(job), *more, **self.variables)

    def last(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The last run, and its report."""
        (run,) = self.command.ok("job", "runs", "--limit=1", "--output=json").json()
        return run, self.command.ok("job", "report", run["run"], "--output=json").json()


@pytest.fixture(scope="module")
def wide(
    root: None, image: ImageRecord, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Wide]:
    for program in ("sshd", "ip", "nsenter", "iptables", "tc"):
        require(shutil.which(program) or Path("/usr/sbin", program).exists(), program)
    with ExitStack() as stack:
        hosts = stack.enter_context(lab(tmp_path_factory.mktemp("hosts"), 2, far={"h2"}))
        home = tmp_path_factory.mktemp("wide home")
        command = stack.enter_context(ended(Command(home, cache)))
        stores, variables = {}, dict[str, str]()
        for name, host in (("east", hosts.hosts[0]), ("west", hosts.hosts[1])):
            server = stack.enter_context(seaweedfs(tmp_path_factory.mktemp(name)))
            make_bucket(server, f"{name}-lab")
            stores[name] = stack.enter_context(faulty(server.endpoint, listening=host.listen()))
            profile = ("storage", "profile", "add", name, f"--url=s3://{name}-lab/")
            more = (f"--endpoint={stores[name].endpoint}", f"--site={name}")
            own = f"{name}_key".upper(), f"{name}_secret".upper()
            variables |= dict(zip(own, server.variables.values(), strict=True))
            keys = zip(("access_key", "secret_key"), own, strict=True)
            named = [f"--set=credentials.variables.{field}={variable}" for field, variable in keys]
            command.ok(*profile, *more, "--credentials=environment", *named)
        made = Wide(hosts, command, stores, variables)
        (home / "checksum.py").write_text(PROGRAM)
        (home / "checksum.yaml").write_text(yaml.safe_dump(JOB))
        made.deploy()
        mixer = random.Random(4)
        lines = "".join(f"{mixer.getrandbits(200):060x}\n" for _ in range(SIZE // 61))
        (home / "lines.txt").write_text(lines)
        for name in stores:
            command.ok("storage", "put", str(home / "lines.txt"), f"{name}:lines.txt", **variables)
        hosts.slow(RATE)
        yield made
        command.ok("cluster", "destroy", "default", "--force")
        for host in hosts.hosts:
            assert [path.name for path in host.state.iterdir()] == []
            running = host.run("ps", "-eo", "args")
            assert "nomad" not in running and "java" not in running, running


def test_each_site_has_a_spark_and_an_hdfs_of_its_own(wide: Wide) -> None:
    status = wide.command.ok("cluster", "status", "--output=json").json()
    assert (status["state"], status["workers"], status["workers_wanted"]) == ("running", 2, 2)
    for site, host in (("east", wide.east), ("west", wide.west)):
        for title in ("Spark master", "Spark worker UI", "HDFS", "Spark History Server"):
            assert host.address in status["endpoints"][f"{title} at {site}"]


def test_a_run_goes_to_its_data_and_nothing_crosses(wide: Wide) -> None:
    before = wide.lab.carried()
    done = wide.run("--param", "input=west:lines.txt")
    assert "site west: its largest input is near" in done.err
    run, report = wide.last()
    assert run["site"] == report["site"] == "west"
    assert report["crossed_bytes"] == 0 and report["crossed"] == {}
    assert report["input_bytes"] >= SIZE * 0.99
    # What crosses is the command's own talk with the cluster.
    assert wide.lab.carried() - before < SIZE / 2


def test_forced_to_the_other_site_it_is_right_and_the_bytes_are_told(wide: Wide) -> None:
    near = wide.run("--param", "input=west:lines.txt")
    near_seconds = wide.last()[1]["compute_seconds"]
    before = wide.lab.carried()
    far = wide.run("--param", "input=west:lines.txt", "--site=east", "--stage=always")
    run, report = wide.last()
    size = (wide.command.home / "lines.txt").stat().st_size
    assert far.out == near.out
    assert run["site"] == "east" and report["site_reason"] == "it was asked for"
    assert report["crossed_bytes"] == size
    assert report["crossed"] == {"input": {"site": "west", "bytes": size}}
    assert wide.lab.carried() - before >= size
    # 24 Mbit/s are 3 MB/s: it can't have been quicker than that.
    assert report["stage_seconds"] >= size / 3e6 * 0.8
    assert report["stage_seconds"] + report["compute_seconds"] > near_seconds
    shown = wide.command.ok("job", "report", run["run"]).out
    assert "crossed" in shown and "input of site west" in shown
    # The second time it is there.
    before = wide.lab.carried()
    again = wide.run("--param", "input=west:lines.txt", "--site=east", "--stage=always")
    assert again.out == near.out and wide.last()[1]["crossed_bytes"] == 0
    assert wide.lab.carried() - before < size / 2
    staged = wide.command.ok("storage", "staged", "--site=east", "--output=json").json()
    assert [each["source"] for each in staged] == ["west:lines.txt"]
    assert wide.command.ok("storage", "staged", "--site=west", "--output=json").json() == []


def test_what_spark_reads_across_is_told_too(wide: Wide) -> None:
    wide.run("--param", "input=west:lines.txt", "--site=east", "--stage=never")
    _, report = wide.last()
    assert report["crossed"] == {"input": {"site": "west", "bytes": None}}
    assert report["crossed_bytes"] >= SIZE * 0.99


def test_a_full_site_is_left_for_the_next_best(wide: Wide) -> None:
    long = wide.run("--param", "seconds=120", "--site=west", "--detach").out.strip()
    try:
        give_up = time.monotonic() + 90
        while wide.command.ok("job", "status", long, "--output=json").json()["state"] != "running":
            assert time.monotonic() < give_up
        time.sleep(5)  # until its executor has the core
        done = wide.run("--param", "input=west:lines.txt", "--stage=always")
        assert "site east: not west, where its largest input is near" in done.err
        assert "it has no room now" in done.err
        assert wide.last()[0]["site"] == "east"
    finally:
        wide.command.ok("job", "cancel", long)


def test_a_site_that_is_off_is_left_for_the_next_best_and_comes_back(wide: Wide) -> None:
    wide.west.power_off()
    done = wide.run("--param", "input=west:lines.txt", "--stage=always")
    assert "site east: not west" in done.err and wide.last()[0]["site"] == "east"
    refused = wide.command(
        *("job", "run", str(wide.command.home / "checksum.yaml"), "--site=west"),
        *("--param", "input=west:lines.txt"),
        **wide.variables,
    )
    assert refused.code != 0 and "'west' is not up" in refused.err
    assert "Without --site" in refused.err
    wide.west.boot()
    wide.deploy()
    done = wide.run("--param", "input=west:lines.txt")
    assert "site west: its largest input is near" in done.err


def test_an_unknown_site_is_told(wide: Wide) -> None:
    job = str(wide.command.home / "checksum.yaml")
    done = wide.command("job", "run", job, "--site=north", "--param", "seconds=1")
    assert done.code == 4 and "it has: east, west" in done.err


def test_one_site_can_be_scaled(wide: Wide) -> None:
    status = json.loads(
        wide.command.ok("cluster", "scale", "default", "2", "--site=east", "--output=json").out
    )
    assert status["workers"] == status["workers_wanted"] == 3
    status = wide.command.ok("cluster", "scale", "default", "1", "--output=json").json()
    assert status["workers"] == status["workers_wanted"] == 2
