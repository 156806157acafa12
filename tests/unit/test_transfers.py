"""Cutting objects into ranges, putting those into tasks, and talking with the agent."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudmesh.sparknomad.incluster import transfers
from cloudmesh.sparknomad.incluster.transfers import (
    Agent,
    Object,
    Shard,
    TransferError,
    batches,
    check_moved,
    pays,
    shards_of,
)

MEGABYTE = 1024 * 1024
# Answers like the Java agent: progress, then the end; some requests kill it.
PROGRAM = """
import json, sys
answers = open(sys.argv[1], "a")
def tell(**fields):
    answers.write(json.dumps(fields) + "\\n")
    answers.flush()
for line in sys.stdin:
    asked = json.loads(line)
    if asked["do"] == "remove":
        sys.exit(3)
    if asked["do"] == "list" and asked["source"] == "denied":
        tell(failed={"failure": "denied", "reason": "no"})
    elif asked["do"] == "list":
        tell(done={"found": True, "isFile": True, "root": "s3a://b", "seconds": 0.5,
                   "requests": 1, "objects": [{"source": "s3a://b/x", "name": "x", "size": 3,
                                               "version": None, "modified": 7}]})
    else:
        tell(progress=1)
        tell(progress=2)
        tell(done=[{"source": s["source"], "failure": ""} for t in asked["tasks"] for s in t])
"""


class Process:
    """A process as `Agent` sees it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def poll(self) -> int | None:
        return self.process.poll()

    def write(self, line: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line)
        self.process.stdin.flush()


@contextmanager
def agent(directory: Path) -> Iterator[Agent]:
    answers = directory / "answers"
    command = [sys.executable, "-I", "-c", PROGRAM, str(answers)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        yield Agent(Process(process), answers, lambda: "it ended")


def test_an_agent_answers_one_request_after_the_other(tmp_path: Path) -> None:
    with agent(tmp_path) as asked:
        listing = asked.look("s3a://b/x")
        assert listing.found and listing.is_file and listing.size == 3
        assert listing.objects == (Object("s3a://b/x", "x", 3, "", 7),)
        told: list[int] = []
        moved = asked.move([Shard("s", "t", 0, 1, 1)], "name", cores=1, tell=told.append)
        assert told == [1, 2]
        assert moved == [{"source": "s", "failure": ""}]


def test_executors_serve_only_where_there_are_other_hosts(tmp_path: Path) -> None:
    big = [Shard("s", "t", 0, 64 * MEGABYTE, 64 * MEGABYTE)]
    with agent(tmp_path) as asked:
        assert asked.spreads(big)
        asked = Agent(asked._process, tmp_path / "answers", lambda: "", alone=True)
        assert not asked.spreads(big)


def test_a_refusal_is_told_with_its_kind(tmp_path: Path) -> None:
    with agent(tmp_path) as asked, pytest.raises(TransferError) as refused:
        asked.look("denied")
    assert refused.value.failure == "denied" and not refused.value.is_transient


def test_an_agent_that_dies_is_told(tmp_path: Path) -> None:
    with contextlib.suppress(BrokenPipeError), agent(tmp_path) as asked:
        for _ in range(2):
            with pytest.raises(TransferError, match="it ended") as lost:
                asked.remove(["x"])
            assert lost.value.is_transient


def thing(size: int, name: str = "d/x") -> Object:
    return Object(f"s3a://b/{name}", name, size, "v")


@given(st.integers(0, 4 * 1024 * MEGABYTE), st.integers(1, 64), st.integers(1, 4))
def test_ranges_cover_every_byte_once(size: int, cores: int, times: int) -> None:
    shards = shards_of(thing(size), "hdfs://h/d/x", "hdfs://h/r", cores, size * times)
    assert sum(shard.length for shard in shards) == size
    end = 0
    for shard in shards:
        assert shard.start == end and shard.size == size
        end += shard.length
    assert len({shard.target for shard in shards}) == len(shards)
    if len(shards) > 1:
        assert all(shard.length <= 128 * MEGABYTE for shard in shards)
        assert sorted(s.target for s in shards) == [s.target for s in shards]
        assert all(shard.target.startswith("hdfs://h/r/") for shard in shards)
    else:
        assert shards[0].target == "hdfs://h/d/x"


SIZES = st.lists(st.integers(0, 600 * MEGABYTE), min_size=1, max_size=300)


@given(SIZES, st.integers(1, 16), st.booleans())
def test_every_shard_is_in_one_task(sizes: list[int], cores: int, alone: bool) -> None:
    shards = [Shard(str(i), "t", 0, size, size) for i, size in enumerate(sizes)]
    tasks = list(batches(shards, cores, alone))
    assert [shard for task in tasks for shard in task] == shards
    assert all(tasks)


def test_there_is_work_for_every_core() -> None:
    many = [Shard(str(i), "t", 0, 10, 10) for i in range(10_000)]
    assert len(list(batches(many, 8, False))) >= 16
    big = [Shard(str(i), "t", 0, 64 * MEGABYTE, 64 * MEGABYTE) for i in range(32)]
    assert len(list(batches(big, 2, False))) >= 4


def test_little_is_moved_without_executors() -> None:
    assert not pays([Shard("s", "t", 0, 1000, 1000)] * 10)
    assert pays([Shard("s", "t", 0, 1, 1)] * 100)
    assert pays([Shard("s", "t", 0, 64 * MEGABYTE, 64 * MEGABYTE)])


def moved(failure: str) -> dict[str, Any]:
    return {"source": f"s3a://b/{failure}", "failure": failure, "reason": f"because {failure}"}


def test_the_worst_failure_is_told_with_the_number_of_others() -> None:
    check_moved([moved(""), moved("")])
    with pytest.raises(TransferError, match=r"s3a://b/denied: because denied \(and 1 more of 3\)"):
        check_moved([moved("unreachable"), moved(""), moved("denied")])


def test_requests_are_json_that_java_reads() -> None:
    document = json.dumps(Shard("s", "t", 0, 1, 1).__dict__)
    fields = set(json.loads(document))
    source = Path(transfers.__file__).with_name("java") / "sparknomad" / "Shard.java"
    text = source.read_text()
    assert all(f" {name}" in text for name in fields)
