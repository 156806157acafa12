"""No room: the quota of what is staged, and disks that are really full."""

from __future__ import annotations

import contextlib
import os
import random
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from acceptance.conftest import Command, Done, ended
from faulty import Answer, Faulty, Request, faulty
from servers import Server

from cloudmesh.sparknomad.model import ImageRecord

pytestmark = [pytest.mark.faults, pytest.mark.nomad, pytest.mark.slow]

DISK = 3_000_000_000
"""Nomad counts 300 MB of it for each group of tasks."""

PROGRAM = """
import argparse, sys, time
from pyspark.sql import SparkSession
parser = argparse.ArgumentParser()
parser.add_argument("--input")
parser.add_argument("--output")
parser.add_argument("--shuffle", action="store_true")
parser.add_argument("--sleep", type=float, default=0)
given = parser.parse_args()
spark = SparkSession.builder.getOrCreate()
files = spark.sparkContext.binaryFiles(given.input)
print(files.map(lambda each: len(each[1])).sum(), given.input.partition(":")[0], flush=True)
time.sleep(given.sleep)
if given.shuffle or given.output:
    from pyspark.sql import functions as F
    rows = spark.range(3_000_000).select(F.sha2(F.col("id").cast("string"), 512).alias("x"))
    if given.shuffle:
        rows = rows.sort("x")
    if given.output:
        rows.write.text(given.output)
    else:
        print(rows.select(F.max("x")).first())
spark.stop()
"""
JOB = """
job: sizes
program: sizes.py
startup: fast
parameters:
  input: {type: uri, required: true, stage: always}
  output: {type: uri}
  shuffle: {type: string}
  sleep: {type: number, default: 0}
arguments: ["--input", "{input}", "--output", "{output}", "{shuffle}", "--sleep", "{sleep}"]
"""


@dataclass(frozen=True)
class Lab:
    """A cluster on a small disk, and an S3 profile ``aws`` behind a proxy."""

    command: Command
    environment: dict[str, str]
    proxy: Faulty
    disk: Path

    def __call__(self, *words: str) -> Done:
        return self.command(*words, **self.environment)

    def ok(self, *words: str) -> Done:
        done = self(*words)
        assert done.code == 0, f"{words}: {done}"
        return done

    def put(self, name: str, size: int) -> None:
        path = self.command.home / "upload"
        path.write_bytes(random.Random(name).randbytes(size))
        self.ok("storage", "put", "upload", f"aws:{name}")

    def run(self, source: str, *more: str) -> Done:
        return self("job", "run", "sizes.yaml", "--param", f"input={source}", *more)

    def staged(self) -> list[str]:
        told = self.ok("storage", "staged", "--output=json").json()
        return sorted(each["source"] for each in told)

    def report(self, done: Done) -> dict[str, Any]:
        run = re.search(r"run (sizes-\S+) on cluster", done.err)
        assert run is not None, done
        told: dict[str, Any] = self.ok("job", "report", run[1], "--output=json").json()
        return told

    @contextlib.contextmanager
    def full(self) -> Iterator[None]:
        """Nothing more fits on the disk."""
        ballast = self.disk / "ballast"
        try:
            with ballast.open("wb") as stream:
                step = 2**30
                while step >= 4096:
                    try:
                        size = os.fstat(stream.fileno()).st_size
                        os.posix_fallocate(stream.fileno(), size, step)
                    except OSError:
                        step //= 2
            yield
        finally:
            ballast.unlink()

    def evicted(self) -> None:
        """Nothing half-written is left after an eviction, once its lock is nobody's."""
        give_up = time.monotonic() + 120
        while time.monotonic() < give_up:
            self.ok("storage", "evict")
            half = self("storage", "list", "cluster:/sparknomad/staged/partial/", "--output=json")
            if half.code == 4 or half.json() == []:
                return
            time.sleep(5)
        raise AssertionError(half)

    def is_well(self) -> None:
        """The cluster runs, and does what it is asked."""
        give_up = time.monotonic() + 60
        while (told := self.ok("cluster", "status", "--output=json").json())["state"] != "running":
            assert time.monotonic() < give_up, told
            time.sleep(1)
        done = self.run("aws:small")
        assert done.code == 0 and done.out.startswith("1000 "), done


@pytest.fixture(scope="module")
def made(
    root: None,
    image: ImageRecord,
    cache: Path,
    tmp_path_factory: pytest.TempPathFactory,
    s3_server: Server,
) -> Iterator[Lab]:
    home = tmp_path_factory.mktemp("full")
    environment = s3_server.variables
    disk = home / ".cloudmesh" / "sparknomad" / "clusters"
    disk.mkdir(parents=True)
    small = ("mount", "-t", "tmpfs", "-o", f"size={DISK},mode=755", "tmpfs", str(disk))
    subprocess.run(small, check=True)
    try:
        with faulty(s3_server.endpoint) as proxy, ended(Command(home, cache)) as command:
            lab = Lab(command, environment, proxy, disk)
            lab.ok("cluster", "deploy", "--driver=raw_exec", "--workers=2", "--staging=60m")
            words = ("storage", "profile", "add", "aws", "--url=s3://lab/full/")
            lab.ok(*words, f"--endpoint={proxy.endpoint}", "--credentials=environment")
            (home / "sizes.py").write_text(PROGRAM)
            (home / "sizes.yaml").write_text(JOB)
            lab.put("small", 1000)
            yield lab
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.fixture
def lab(made: Lab) -> Iterator[Lab]:
    yield made
    made.proxy.spoil = lambda request: None
    for source in made.staged():
        made.ok("storage", "unstage", source, "--force")


def test_what_exceeds_the_quota_is_told_or_read_where_it_is(lab: Lab) -> None:
    lab.put("large", 80_000_000)
    done = lab.run("aws:large")
    assert done.code == 3, done
    assert "80,000,000 bytes do not fit: staged inputs have 0 of 62,914,560 bytes" in done.err
    assert "storage evict" in done.err and "--stage=never" in done.err
    lab.run("aws:large")
    again = lab.run("aws:large", "--stage=auto")
    assert again.code == 0 and again.out == "80000000 s3a\n", again
    told = lab.report(again)["inputs"]["input"]
    assert not told["staged"] and "80,000,000 bytes do not fit" in told["reason"]
    assert lab.staged() == []


def test_room_is_made_but_not_of_what_is_pinned_or_being_read(lab: Lab) -> None:
    for name in ("a", "b", "c"):
        lab.put(name, 25_000_000)
    lab.ok("storage", "stage", "aws:a", "--pin")
    words = ("job", "run", "sizes.yaml", "--param", "input=aws:b", "--param", "sleep=25")
    holds = lab.ok(*words, "--detach").out.strip()
    give_up = time.monotonic() + 60
    while "25000000 hdfs" not in lab.ok("job", "logs", holds).out:
        assert time.monotonic() < give_up
        time.sleep(0.5)
    refused = lab("storage", "stage", "aws:c")
    assert refused.code == 3 and "is pinned or in use" in refused.err, refused
    assert lab.staged() == ["aws:a", "aws:b"]
    lab.ok("job", "wait", holds)
    lab.ok("storage", "stage", "aws:c")
    assert lab.staged() == ["aws:a", "aws:c"]


def test_a_disk_that_is_full_while_an_input_comes_fails_the_run(lab: Lab) -> None:
    lab.put("coming", 40_000_000)
    with contextlib.ExitStack() as filled:
        begun = [False]

        def spoil(request: Request) -> Answer | None:
            if request.method == "GET" and "coming" in request.path.split("?")[0] and not begun[0]:
                begun[0] = True
                filled.enter_context(lab.full())
            return None

        lab.proxy.spoil = spoil
        done = lab.run("aws:coming")
    assert begun[0]
    assert done.code == 3 and "disk is full" in done.err, done
    assert "aws:coming" not in lab.staged()
    lab.is_well()
    lab.evicted()


@pytest.mark.parametrize("what", ["output=cluster:full/", "shuffle=--shuffle"])
def test_a_disk_that_is_full_while_a_program_writes_fails_the_run(lab: Lab, what: str) -> None:
    name = f"signal-{what[:6]}"
    lab.put(name, 500)
    with contextlib.ExitStack() as filled:
        begun = [False]

        def spoil(request: Request) -> Answer | None:
            if request.method == "GET" and name in request.path.split("?")[0] and not begun[0]:
                begun[0] = True
                filled.enter_context(lab.full())
            return None

        lab.proxy.spoil = spoil
        done = lab.run(f"aws:{name}", "--stage=never", "--param", what)
    assert begun[0]
    assert done.code == 3 and "disk is full" in done.err, done
    lab.is_well()
    listed = lab("storage", "list", "cluster:full/", "--recursive", "--output=json")
    assert listed.code == 4 or listed.json() == [], listed
