"""How a run's outputs come out of its cluster; with a stand-in for the Java process."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cloudmesh.sparknomad.incluster import run_inputs, run_outputs
from cloudmesh.sparknomad.incluster.localfiles import LocalFiles
from cloudmesh.sparknomad.incluster.transfers import Listing, Object, Shard

TransferError = run_outputs.transfers.TransferError
OutputError = run_outputs.run_inputs.InputError
TARGET = "s3a://bucket/answer"


@dataclass
class FakeAgent:
    """A storage (name below `TARGET` to content), and who moves objects there."""

    there: dict[str, bytes] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    fails: set[str] = field(default_factory=set)

    def look(self, source: str, *, limit: int | None = None) -> Listing:
        if source.startswith("file://"):
            root = Path(source.removeprefix("file://"))
            found = root.exists()
            paths = [path for path in sorted(root.rglob("*")) if path.is_file()]
            listed = [
                Object(f"file://{path}", str(path.relative_to(root)), path.stat().st_size, "v")
                for path in paths
            ]
            return Listing(found, False, source, tuple(listed))
        objects = [
            Object(f"{TARGET}/{name}", name, len(content), "v")
            for name, content in self.there.items()
        ]
        return Listing(bool(objects), False, TARGET, tuple(objects[:limit]))

    def move(self, shards: Sequence[Shard], name: str, **_: Any) -> list[dict[str, Any]]:
        told = []
        for shard in shards:
            short = shard.target.removeprefix(f"{TARGET}/")
            failed = short in self.fails
            if not failed:
                content = Path(shard.source.removeprefix("file://")).read_bytes()
                self.there[short] = content
                self.log.append(short)
            told.append(
                {
                    "source": shard.source,
                    "target": shard.target,
                    "failure": "unreachable" if failed else "",
                    "reason": "gone",
                    "host": "h",
                    "bytes": shard.length,
                    "began": 1.0,
                    "ended": 2.0,
                }
            )
        return told

    def remove(self, places: Sequence[str]) -> None:
        for place in places:
            short = place.removeprefix(f"{TARGET}/")
            self.log.append(f"-{short}")
            del self.there[short]


@dataclass
class Lab:
    agent: FakeAgent
    outputs: Any
    place: Path

    def write(self, **files: str) -> None:
        for name, content in files.items():
            path = self.place / "output" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)


def wanted(exists: str = "error") -> dict[str, Any]:
    return {"name": "output", "target": f"{TARGET}/", "shown": "aws:answer/", "exists": exists}


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    agent, place = FakeAgent(), tmp_path / "outgoing"
    made = run_outputs.Outputs(
        LocalFiles(tmp_path),
        str(place),
        lambda: agent,  # type: ignore[arg-type, return-value]
        run_inputs.Settings("file://"),
        tmp_path / "done.json",
        lambda message: None,
    )
    return Lab(agent, made, place)


def test_what_says_that_all_is_there_is_written_last(lab: Lab) -> None:
    lab.write(_SUCCESS="", part_0="one", part_1="two")
    told = lab.outputs.upload(wanted())
    assert lab.agent.log[-1] == "_SUCCESS"
    assert lab.agent.there == {"_SUCCESS": b"", "part_0": b"one", "part_1": b"two"}
    assert (told["objects"], told["bytes"]) == (3, 6)
    assert not (lab.place / "output").exists()


def test_a_place_that_is_taken_is_refused_before(lab: Lab) -> None:
    lab.agent.there["old"] = b"x"
    with pytest.raises(OutputError, match=r"output output \(aws:answer/\): there is something"):
        lab.outputs.check(wanted())
    lab.outputs.check(wanted("overwrite"))
    lab.outputs.check(wanted("append"))


def test_overwriting_removes_what_was_there_once_the_new_is(lab: Lab) -> None:
    lab.agent.there |= {"old": b"x", "part_0": b"old"}
    lab.write(_SUCCESS="", part_0="new")
    lab.outputs.upload(wanted("overwrite"))
    assert lab.agent.log == ["part_0", "-old", "_SUCCESS"]
    assert lab.agent.there == {"part_0": b"new", "_SUCCESS": b""}


def test_appending_leaves_what_was_there(lab: Lab) -> None:
    lab.agent.there["old"] = b"x"
    lab.write(part_0="new")
    lab.outputs.upload(wanted("append"))
    assert set(lab.agent.there) == {"old", "part_0"}


def test_an_upload_that_failed_half_goes_on(lab: Lab) -> None:
    lab.write(_SUCCESS="", part_0="one", part_1="two")
    lab.agent.fails = {"part_1"}
    with pytest.raises(TransferError, match="gone"):
        lab.outputs.upload(wanted())
    assert lab.agent.log == ["part_0"]
    lab.agent.fails = set()
    lab.outputs.upload(wanted())
    assert lab.agent.log == ["part_0", "part_1", "_SUCCESS"]


def test_what_was_never_written_is_no_upload(lab: Lab) -> None:
    assert lab.outputs.upload(wanted())["objects"] == 0


def test_the_mark_of_the_old_output_goes_before_the_new_comes(lab: Lab) -> None:
    lab.agent.there = {"_SUCCESS": b"", "part_old": b"old", "deep/_SUCCESS": b""}
    lab.write(_SUCCESS="", part_new="new")
    lab.agent.fails = {"part_new"}
    with pytest.raises(TransferError):
        lab.outputs.upload(wanted("overwrite"))
    assert "_SUCCESS" not in lab.agent.there and "deep/_SUCCESS" not in lab.agent.there
    lab.agent.fails = set()
    lab.outputs.upload(wanted("overwrite"))
    assert lab.agent.there == {"_SUCCESS": b"", "part_new": b"new"}


def test_our_own_mark_stays_when_the_rest_is_done_again(lab: Lab) -> None:
    lab.write(_SUCCESS="", part="new")
    lab.agent.there = {"_SUCCESS": b"", "part": b"new"}
    lab.outputs.done.write_text(json.dumps([f"{TARGET}/_SUCCESS", f"{TARGET}/part"]))
    lab.outputs.upload(wanted("overwrite"))
    assert lab.agent.there == {"_SUCCESS": b"", "part": b"new"}


@pytest.mark.parametrize("written", ["file:///place/answer", "file:/place/answer"])
def test_what_has_the_name_of_an_old_object_is_not_taken_for_it(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    """Hadoop lists ``file:/place`` where ``file:///place`` was asked for."""
    look, removed = lab.agent.look, []

    def listing(source: str, *, limit: int | None = None) -> Listing:
        if "place" not in source:
            return look(source, limit=limit)
        names = ("part", "gone")
        objects = tuple(Object(f"file:/place/answer/{n}", n, 3, "v") for n in names)
        return Listing(True, False, "file:/place/answer", objects)

    monkeypatch.setattr(lab.agent, "look", listing)
    monkeypatch.setattr(lab.agent, "remove", removed.extend)
    lab.write(part="new", _SUCCESS="")
    lab.outputs.upload({**wanted("overwrite"), "target": f"{written}/"})
    assert removed == ["file:/place/answer/gone"]
