"""Which inputs are brought into a cluster, and how; with a stand-in for the Java process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from cloudmesh.sparknomad.incluster import run_inputs
from cloudmesh.sparknomad.incluster.localfiles import LocalFiles
from cloudmesh.sparknomad.incluster.run_inputs import InputError, Inputs, Settings
from cloudmesh.sparknomad.incluster.run_progress import nodes
from cloudmesh.sparknomad.incluster.staged import Catalog, key_of
from cloudmesh.sparknomad.incluster.transfers import Listing, Object, Shard, pays

# In a cluster these modules are imported without their package.
TransferError = run_inputs.transfers.TransferError
ROOT = "s3a://bucket/data"
MEGABYTE = 1024 * 1024


@dataclass
class FakeAgent:
    """A storage with some objects (name to content and version), and who moves them."""

    objects: dict[str, tuple[bytes, str]]
    seconds: float = 1.0
    moved: list[Shard] = field(default_factory=list)
    while_moving: Callable[[], None] = lambda: None
    failure: str = ""

    def look(self, source: str, *, limit: int | None = None) -> Listing:
        listed = tuple(
            Object(f"{ROOT}/{name}", name, len(content), version)
            for name, (content, version) in sorted(self.objects.items())
        )
        return Listing(bool(listed), False, ROOT, listed[:limit], self.seconds, 1)

    def spreads(self, shards: Sequence[Shard]) -> bool:
        return pays(shards)

    def move(self, shards: Sequence[Shard], name: str, **_: Any) -> list[dict[str, Any]]:
        told = []
        for shard in shards:
            self.moved.append(shard)
            if not self.failure:
                self._write(shard)
            told.append(
                {
                    "source": shard.source,
                    "failure": self.failure,
                    "reason": "why",
                    "bytes": shard.length,
                    "host": "h",
                    "began": 1.0,
                    "ended": 2.0,
                }
            )
        self.while_moving()
        return told

    def _write(self, shard: Shard) -> None:
        if shard.source.startswith("file://"):
            content = Path(shard.source.removeprefix("file://")).read_bytes()
        else:
            content = self.objects[shard.source.removeprefix(f"{ROOT}/")][0]
        target = Path(shard.target.removeprefix("file://"))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content[shard.start : shard.start + shard.length])


@dataclass
class Lab:
    agent: FakeAgent
    catalog: Catalog
    said: list[str] = field(default_factory=list)
    quota: int | None = None

    def bring(self, mode: str = "always", run: str = "run", **more: Any) -> Any:
        settings = Settings("file://", quota=self.quota)
        inputs = Inputs(self.catalog, lambda: self.agent, run, settings, self.said.append)  # type: ignore[arg-type, return-value]
        wanted = {
            "name": "input",
            "source": f"{ROOT}/",
            "shown": "aws:data/",
            "origin": f"|{ROOT}/",
            "mode": mode,
            "declared": True,
            **more,
        }
        return inputs.bring(wanted)

    def read(self, url: str, name: str) -> bytes:
        return Path(url.removeprefix("file://"), name).read_bytes()


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    objects = {"a": (b"aaa", "1"), "deep/b": (b"bb", "1")}
    made = Lab(FakeAgent(objects), Catalog(LocalFiles(tmp_path), str(tmp_path / "staged")))
    yield made
    made.catalog.release()


def test_an_input_is_brought_once_and_then_found(lab: Lab) -> None:
    first = lab.bring()
    assert lab.read(first.url, "a") == b"aaa" and lab.read(first.url, "deep/b") == b"bb"
    assert first.report["fetched_bytes"] == 5 and not first.report["from_cache"]
    count = len(lab.agent.moved)
    second = lab.bring(run="other")
    assert second.url == first.url
    assert second.report["from_cache"] and second.report["fetched_bytes"] == 0
    assert len(lab.agent.moved) == count


def test_what_another_run_brings_between_look_and_lock_is_not_brought_again(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    take, other = lab.catalog.locks.take, Catalog(lab.catalog.files, lab.catalog.root)

    def late(key: str, run: str) -> bool:
        monkeypatch.undo()
        Lab(lab.agent, other).bring(run="quicker")
        return take(key, run)

    monkeypatch.setattr(lab.catalog.locks, "take", late)
    try:
        told = lab.bring().report
        assert told["from_cache"] and told["fetched_bytes"] == 0
        assert len(lab.agent.moved) == len(lab.agent.objects)
    finally:
        other.release()


def test_only_changed_objects_come_from_the_source(lab: Lab) -> None:
    lab.bring()
    lab.agent.moved.clear()
    lab.agent.objects["a"] = (b"AAAA", "2")
    again = lab.bring()
    assert lab.read(again.url, "a") == b"AAAA" and lab.read(again.url, "deep/b") == b"bb"
    assert again.report["fetched_objects"] == 1 and again.report["fetched_bytes"] == 4
    sources = sorted(shard.source.split(":")[0] for shard in lab.agent.moved)
    assert sources == ["file", "s3a"]


def test_an_input_that_changes_while_it_is_brought_is_brought_anew(lab: Lab) -> None:
    def change() -> None:
        lab.agent.objects["a"] = (b"later", "2")
        lab.agent.while_moving = lambda: None

    lab.agent.while_moving = change
    brought = lab.bring()
    assert lab.read(brought.url, "a") == b"later"
    assert len(lab.catalog.all()) == 1
    assert any("changed while it was staged" in line for line in lab.said)


def test_an_input_that_never_rests_is_given_up(lab: Lab) -> None:
    versions = iter(range(2, 100))

    def change() -> None:
        lab.agent.objects["a"] = (b"aaa", str(next(versions)))

    lab.agent.while_moving = change
    with pytest.raises(TransferError, match="changed 5 times") as given_up:
        lab.bring()
    assert given_up.value.is_transient
    assert lab.catalog.all() == []


@pytest.mark.parametrize(("seconds", "modes"), [(1.0, [0, 1, 1]), (0.001, [0, 0, 1])])
def test_auto_stages_what_is_read_again_and_sooner_what_is_far(
    lab: Lab, seconds: float, modes: list[int]
) -> None:
    lab.agent.seconds = seconds
    told = [lab.bring("auto", run=f"run{number}") for number in range(3)]
    assert [int(each.report["staged"]) for each in told] == modes
    assert told[0].url == f"{ROOT}/"
    assert "for the first time" in told[0].report["reason"]


def test_a_name_that_hdfs_can_not_have_is_told(lab: Lab) -> None:
    lab.agent.objects["10:30"] = (b"x", "1")
    with pytest.raises(InputError, match=r"input input \(aws:data/\): '10:30' can't be the name"):
        lab.bring()
    assert not lab.bring("auto").report["staged"]


def test_nothing_is_an_error_only_where_an_input_is_declared(lab: Lab) -> None:
    lab.agent.objects.clear()
    with pytest.raises(InputError, match="there is nothing of this name; check the URL"):
        lab.bring()
    assert lab.bring(declared=False).url == f"{ROOT}/"


def test_what_does_not_fit_is_an_error_or_read_where_it_is(lab: Lab) -> None:
    lab.quota = 3
    with pytest.raises(InputError, match="5 bytes do not fit"):
        lab.bring()
    lab.bring("auto")
    brought = lab.bring("auto", run="other")
    assert not brought.report["staged"] and "do not fit" in brought.report["reason"]


@pytest.mark.parametrize(
    ("failure", "error", "kept"),
    [("denied", InputError, False), ("unreachable", TransferError, True)],
)
def test_a_failure_that_may_pass_leaves_what_was_brought(
    lab: Lab, failure: str, error: type[Exception], kept: bool
) -> None:
    lab.agent.failure = failure
    place = Path(lab.catalog.root) / "partial"

    def leave() -> None:
        for shard in lab.agent.moved:
            lab.agent._write(shard)

    lab.agent.while_moving = leave
    with pytest.raises(error, match="why"):
        lab.bring()
    assert bool(list(place.rglob("a"))) is kept
    assert lab.catalog.all() == []
    assert not list((Path(lab.catalog.root) / "locks").iterdir())


def test_a_big_object_is_cut_and_put_together(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_inputs.transfers, "_SMALLEST_RANGE", 1000)
    content = bytes(range(256)) * 40
    lab.agent.objects = {"big": (content, "1")}
    brought = lab.bring()
    assert len(lab.agent.moved) > 2
    assert lab.read(brought.url, "big") == content
    assert [each.name for each in Path(lab.catalog.root).rglob("data/*")] == ["big"]


def test_a_pin_that_is_asked_later_is_kept(lab: Lab) -> None:
    lab.bring()
    lab.bring(pin=True, ttl=60.0)
    (found,) = lab.catalog.all()
    assert found.entry.pin and found.entry.ttl == 60.0


def test_nodes_are_measured_apart() -> None:
    moved = [
        {"host": "a", "bytes": 2_000_000, "began": 1.0, "ended": 2.0},
        {"host": "a", "bytes": 2_000_000, "began": 1.5, "ended": 3.0},
        {"host": "b", "bytes": 1_000_000, "began": 1.0, "ended": 2.0},
        {"host": "c", "bytes": 0, "began": 1.0, "ended": 2.0},
    ]
    assert nodes(moved) == {
        "a": {"bytes": 4_000_000, "seconds": 2.0, "mb_per_s": 2.0},
        "b": {"bytes": 1_000_000, "seconds": 1.0, "mb_per_s": 1.0},
    }


# room


def test_what_is_here_half_needs_room_only_for_the_rest(lab: Lab) -> None:
    lab.agent.objects = {"a": (b"x" * 6000, "1"), "b": (b"y" * 6000, "1")}
    lab.quota = 14_000
    key = key_of(f"|{ROOT}/", [("a", 6000, "1"), ("b", 6000, "1")])
    place = Path(lab.catalog.partial(key), "data")
    place.mkdir(parents=True)
    (place / "a").write_bytes(b"x" * 6000)
    assert lab.bring().report["bytes"] == 12_000


def test_what_is_removed_to_make_room_is_not_copied_from(lab: Lab) -> None:
    lab.agent.objects = {"a": (b"x" * 600, "1"), "b": (b"y" * 200, "1")}
    lab.quota = 1000
    lab.bring(run="before")
    lab.catalog.release()
    lab.agent.objects["b"] = (b"z" * 200, "2")
    lab.agent.moved.clear()
    told = lab.bring().report
    assert told["fetched_bytes"] == 800 and len(lab.catalog.all()) == 1


def test_what_another_run_removes_meanwhile_comes_from_the_source(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.bring(run="before")
    lab.catalog.release()
    lab.agent.objects["b"] = (b"new", "1")
    move, tries = lab.agent.move, []

    def moving(shards: Sequence[Shard], name: str, **more: Any) -> list[dict[str, Any]]:
        tries.append([shard.source for shard in shards])
        if len(tries) == 1:
            for each in lab.catalog.all():
                lab.catalog.evict(each.entry.key, force=True)
            raise TransferError("missing", "file:///… is not there")
        return move(shards, name, **more)

    monkeypatch.setattr(lab.agent, "move", moving)
    told = lab.bring().report
    assert any(each.startswith("file://") for each in tries[0])
    assert all(each.startswith(ROOT) for each in tries[1])
    assert told["fetched_objects"] == len(lab.agent.objects)


# ranges


BIG = 40 * MEGABYTE


@pytest.mark.parametrize("names", [("plumless", "buckeroo"), ("a=1,2/x", "a=1,2/y")])
def test_big_objects_of_any_names_are_whole(lab: Lab, names: tuple[str, str]) -> None:
    """The first two have the same CRC32; HDFS takes a comma for the end of a name."""
    first, second = names
    lab.agent.objects = {first: (b"1" * BIG, "1"), second: (b"2" * (BIG + 5), "1")}
    lab.agent.failure = "unreachable"
    write = lab.agent._write
    with pytest.raises(TransferError):
        lab.bring()
    for shard in lab.agent.moved:  # all ranges had come before it went wrong
        write(shard)
    assert all("," not in shard.target for shard in lab.agent.moved)
    lab.agent.failure = ""
    url = lab.bring().url
    assert lab.read(url, first) == b"1" * BIG and lab.read(url, second) == b"2" * (BIG + 5)
    assert not list(Path(lab.catalog.root).rglob("ranges"))


def test_a_file_that_lacks_a_range_is_not_taken_for_whole(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.agent.objects = {"big": (b"1" * BIG, "1")}
    write = lab.agent._write
    monkeypatch.setattr(lab.agent, "_write", lambda shard: (shard.start and write(shard)) or None)
    monkeypatch.setattr(
        lab.agent, "_write", lambda shard: None if 0 < shard.start < BIG // 2 else write(shard)
    )
    with pytest.raises(TransferError, match=f"of {BIG} bytes"):
        lab.bring()
    assert lab.catalog.all() == []
    monkeypatch.undo()
    assert lab.read(lab.bring().url, "big") == b"1" * BIG


def test_a_single_file_is_given_as_one_however_hadoop_writes_its_place() -> None:
    listing = Listing(True, True, "file:/data", (Object("file:/data/x", "x", 1, "v"),))
    assert run_inputs._rest("file:///data/x", listing) == "/x"
