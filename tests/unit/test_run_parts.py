"""Objects that several workers write; with a stand-in for the Java process."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudmesh.sparknomad.incluster import run_parts
from cloudmesh.sparknomad.incluster.transfers import Shard

TransferError = run_parts.transfers.TransferError
MEGABYTE = 1024 * 1024
BIG = 600 * MEGABYTE


@dataclass
class FakeAgent:
    """Says what it is asked, and does as it is told."""

    is_running: bool = True
    supported: bool = True
    broken: bool = False
    dies: bool = False
    stubborn: bool = False
    log: list[Any] = field(default_factory=list)

    def uploads(self, verb: str, uploads: Sequence[Mapping[str, Any]]) -> list[Any]:
        self.log.append((verb, [each["target"] for each in uploads]))
        if verb == "begin":
            return [
                {"target": e["target"], "upload": f"u-{e['target']}" if self.supported else ""}
                for e in uploads
            ]
        if verb == "abort":
            return [each["upload"] for each in uploads] if self.stubborn else []
        self.log.append([len(each["parts"]) for each in uploads])
        return [
            {"target": each["target"], "proven": True, "failure": "", "reason": ""}
            for each in uploads
        ]

    def move(self, shards: Sequence[Shard], name: str, **_: Any) -> list[dict[str, Any]]:
        self.log.append(("move", len(shards)))
        if self.dies:
            self.is_running = False
            raise TransferError("unreachable", "it ended")
        return [
            {
                "source": shard.source,
                "target": shard.target,
                "part": shard.part,
                "handle": f"h{shard.part}",
                "digest": "d",
                "failure": "unreachable" if self.broken and shard.part == 2 else "",
                "reason": "",
                "bytes": shard.length,
                "proven": False,
            }
            for shard in shards
        ]


def parts(agent: FakeAgent, pending: Path) -> run_parts.Parts:
    made: Any = agent
    return run_parts.Parts(lambda: made, pending)


def shard(target: str, size: int) -> Shard:
    return Shard(f"from/{target}", target, 0, size, size)


def test_only_what_is_big_is_cut(tmp_path: Path) -> None:
    agent, pending = FakeAgent(), tmp_path / "pending.json"
    moved = parts(agent, pending).move([shard("a", 5), shard("b", BIG)], "x", cores=2)
    assert agent.log == [("begin", ["b"]), ("move", 7), ("complete", ["b"]), [6]]
    assert sum(each["bytes"] for each in moved) == BIG + 5
    assert [each["target"] for each in moved if each["proven"]] == ["b"]
    assert not pending.exists()
    agent.log.clear()
    parts(agent, pending).move([shard("a", 5)], "x", cores=2)
    assert agent.log == [("move", 1)]


def test_a_storage_without_parts_gets_whole_objects(tmp_path: Path) -> None:
    agent = FakeAgent(supported=False)
    parts(agent, tmp_path / "pending.json").move([shard("b", BIG)], "x", cores=2)
    assert agent.log == [("begin", ["b"]), ("move", 1)]


def test_an_object_that_lacks_a_part_is_given_up(tmp_path: Path) -> None:
    agent, pending = FakeAgent(broken=True), tmp_path / "pending.json"
    moved = parts(agent, pending).move([shard("b", BIG)], "x", cores=2)
    assert agent.log[-1] == ("abort", ["b"])
    assert [each["part"] for each in moved if each["failure"]] == [2]
    assert not pending.exists()


@pytest.mark.parametrize("stubborn", [False, True])
def test_what_an_agent_has_left_is_given_up_by_the_next(tmp_path: Path, stubborn: bool) -> None:
    agent, pending = FakeAgent(dies=True), tmp_path / "pending.json"
    with pytest.raises(TransferError):
        parts(agent, pending).move([shard("b", BIG)], "x", cores=2)
    assert agent.log[-1] == ("move", 6)  # it can't be asked
    assert json.loads(pending.read_text()) == {"b": "u-b"}
    agent = FakeAgent(stubborn=stubborn)
    parts(agent, pending).move([], "x", cores=2)
    assert agent.log == [("abort", ["b"])]
    assert pending.exists() is stubborn


@given(st.integers(256, 5_000_000).map(lambda size: size * MEGABYTE + 1), st.integers(1, 500))
def test_parts_are_the_whole_and_storages_take_them(size: int, cores: int) -> None:
    made = run_parts.cut(shard("b", size), "u", cores)
    assert [each.part for each in made] == list(range(1, len(made) + 1))
    assert made[0].start == 0
    for one, other in itertools.pairwise(made):
        assert other.start == one.start + one.length
    assert made[-1].start + made[-1].length == size
    assert 2 <= len(made) <= 1000
    assert all(each.length >= 5 * MEGABYTE for each in made[:-1])
