"""What is staged in a cluster: locks, uses, eviction."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudmesh.sparknomad.incluster import locks
from cloudmesh.sparknomad.incluster.localfiles import LocalFiles
from cloudmesh.sparknomad.incluster.staged import Catalog, Entry, key_of

FILES = [("a", 1, "v1"), ("b", 2, "v2")]


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    made = Catalog(LocalFiles(tmp_path), str(tmp_path / "staged"))
    yield made
    made.release()


def other(catalog: Catalog) -> Catalog:
    """The same place, seen by another process."""
    return Catalog(catalog.files, catalog.root)


def put(catalog: Catalog, key: str, size: int = 10, **fields: object) -> Entry:
    place = Path(catalog.partial(key)) / "data"
    place.mkdir(parents=True)
    (place / "file").write_bytes(b"x" * size)
    entry = Entry(key, f"lab:{key}", f"origin {key}", 1, size, time.time(), **fields)  # type: ignore[arg-type]
    catalog.publish(entry, [("file", size, "v")])
    return entry


def used(catalog: Catalog, key: str, seconds_ago: float) -> None:
    then = time.time() - seconds_ago
    os.utime(Path(catalog.root) / "entries" / key / "entry.json", (then, then))


NAMES = st.tuples(st.text(max_size=5), st.integers(0, 9), st.text(max_size=5))


@given(st.lists(NAMES, max_size=5), st.randoms())
def test_a_key_does_not_depend_on_the_order(files: list[tuple[str, int, str]], mixer) -> None:  # type: ignore[no-untyped-def]
    mixed = list(files)
    mixer.shuffle(mixed)
    assert key_of("o", files) == key_of("o", mixed)


@pytest.mark.parametrize(
    ("origin", "files"),
    [
        ("other", FILES),
        ("o", [("a", 1, "v1"), ("b", 2, "v3")]),
        ("o", [("a", 1, "v1"), ("b", 3, "v2")]),
        ("o", [("a", 1, "v1"), ("c", 2, "v2")]),
        ("o", FILES[:1]),
    ],
)
def test_a_key_tells_one_content_from_another(
    origin: str, files: list[tuple[str, int, str]]
) -> None:
    assert key_of(origin, files) != key_of("o", FILES)


def test_what_is_published_is_found_with_its_objects(catalog: Catalog) -> None:
    assert catalog.find("k") is None
    entry = put(catalog, "k")
    assert catalog.find("k") == entry
    assert catalog.objects("k") == {("file", 10, "v"): "file"}
    assert catalog.known("origin k") == {("file", 10, "v"): f"{catalog.data('k')}/file"}
    assert catalog.known("another") == {}
    assert Path(catalog.data("k"), "file").read_bytes() == b"x" * 10
    assert not Path(catalog.partial("k")).exists()


def test_who_publishes_second_leaves_the_first_and_no_rest(catalog: Catalog) -> None:
    first = put(catalog, "k")
    put(catalog, "k", size=10)
    assert catalog.find("k") is not None
    assert first.created <= time.time()
    assert not Path(catalog.partial("k")).exists()


def test_only_one_of_two_brings_an_input(catalog: Catalog) -> None:
    rival = other(catalog)
    assert catalog.locks.take("k", "run-1")
    assert not rival.locks.take("k", "run-2")
    catalog.locks.give_back("k")
    assert rival.locks.take("k", "run-2")
    rival.release()


def test_who_waits_goes_on_when_the_lock_is_given_back(catalog: Catalog) -> None:
    rival = other(catalog)
    assert catalog.locks.take("k", "run-1")
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            catalog.locks.give_back("k")

    rival.locks.wait_for("k", pause)
    assert len(pauses) == 3


def test_a_lock_of_the_dead_is_taken_by_one_of_those_who_wait(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "STALE_LOCK_SECONDS", 0.2)
    monkeypatch.setattr(locks, "BEAT_SECONDS", 0.02)
    lock = Path(catalog.root) / "locks" / "k"
    lock.parent.mkdir(parents=True)
    lock.write_text("dead")
    rivals = [other(catalog) for _ in range(4)]
    got: list[bool] = []

    def pause(seconds: float) -> None:
        if got:
            raise TimeoutError
        time.sleep(0.01)

    def take(rival: Catalog) -> None:
        with contextlib.suppress(TimeoutError):
            rival.locks.wait_for("k", pause)
            got.append(rival.locks.take("k", "run"))

    threads = [threading.Thread(target=take, args=(rival,)) for rival in rivals]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got.count(True) == 1
    for rival in rivals:
        rival.release()


def test_the_lock_of_the_dead_goes_though_who_was_to_remove_it_died_too(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "STALE_LOCK_SECONDS", 0.1)
    lock = Path(catalog.root) / "locks" / "k"
    lock.parent.mkdir(parents=True)
    lock.write_text("dead")
    mark = f"{hashlib.sha256(b'dead').hexdigest()[:32]}.1"
    Path(catalog.root, "broken").mkdir()
    Path(catalog.root, "broken", mark).touch()
    catalog.locks.wait_for("k", lambda _: time.sleep(0.01))
    assert not lock.exists()


def test_who_comes_late_to_a_dead_lock_leaves_the_one_that_was_taken_since(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "STALE_LOCK_SECONDS", 0.5)
    lock = Path(catalog.root) / "locks" / "k"
    lock.parent.mkdir(parents=True)
    lock.write_text("dead")
    rival = other(catalog)
    create = LocalFiles.create

    def late(files: LocalFiles, path: str, content: bytes) -> bool:
        if "/broken/" in path:
            monkeypatch.setattr(LocalFiles, "create", create)
            rival.locks.wait_for("k", lambda _: time.sleep(0.01))
            assert rival.locks.take("k", "run-2")
            monkeypatch.setattr(locks, "STALE_LOCK_SECONDS", 1000)
        return create(files, path, content)

    def pause(seconds: float) -> None:
        time.sleep(0.01)
        if rival.locks.touched() and lock.read_text() != "dead":
            rival.locks.give_back("k")

    monkeypatch.setattr(LocalFiles, "create", late)
    catalog.locks.wait_for("k", pause)
    assert [each.name for each in Path(catalog.root, "broken").iterdir()] == [
        f"{hashlib.sha256(b'dead').hexdigest()[:32]}.1"
    ]


def test_who_stood_still_does_not_give_back_what_another_has_now(catalog: Catalog) -> None:
    rival = other(catalog)
    assert catalog.locks.take("k", "run-1")
    (Path(catalog.root) / "locks" / "k").unlink()
    assert rival.locks.take("k", "run-2")
    catalog.locks.give_back("k")
    assert not catalog.locks.take("k", "run-1")
    rival.locks.give_back("k")
    assert catalog.locks.take("k", "run-1")


def test_a_lock_that_is_held_is_touched(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "BEAT_SECONDS", 0.02)
    assert catalog.locks.take("k", "run")
    path = Path(catalog.root) / "locks" / "k"
    os.utime(path, (1, 1))
    give_up = time.monotonic() + 5
    while path.stat().st_mtime == 1 and time.monotonic() < give_up:
        time.sleep(0.01)
    assert path.stat().st_mtime > 1


def test_an_entry_that_is_read_is_not_evicted(catalog: Catalog) -> None:
    put(catalog, "k")
    rival = other(catalog)
    assert catalog.acquire("k", "run-1") is not None
    assert rival.all()[0].users == ("run-1",)
    assert not rival.evict("k")
    catalog.release()
    assert rival.all()[0].users == ()
    assert rival.evict("k")
    assert rival.find("k") is None


def test_what_is_read_goes_by_force(catalog: Catalog) -> None:
    put(catalog, "k")
    assert catalog.acquire("k", "run-1") is not None
    assert other(catalog).evict("k", force=True)
    assert catalog.acquire("k", "run-1") is None


def test_a_run_that_died_long_ago_reads_nothing(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(catalog, "k")
    mark = Path(catalog.root) / "entries" / "k" / "used" / "dead"
    mark.write_text("")
    os.utime(mark, (1, 1))
    assert catalog.all()[0].users == ()
    assert catalog.evict("k")


def test_what_has_outlived_its_time_is_swept_unless_it_is_pinned(catalog: Catalog) -> None:
    put(catalog, "old", ttl=60.0)
    put(catalog, "pinned", ttl=60.0, pin=True)
    put(catalog, "young", ttl=60.0)
    put(catalog, "endless")
    for key in ("old", "pinned", "endless"):
        used(catalog, key, 120)
    assert [entry.key for entry in catalog.sweep()] == ["old"]
    assert {each.entry.key for each in catalog.all()} == {"pinned", "young", "endless"}


def test_sweeping_removes_what_was_half_brought_long_ago(catalog: Catalog) -> None:
    for key, then in (("old", 1.0), ("new", time.time()), ("locked", 1.0)):
        place = Path(catalog.partial(key))
        place.mkdir(parents=True)
        os.utime(place, (then, then))
    assert catalog.locks.take("locked", "run")
    catalog.sweep()
    assert not Path(catalog.partial("old")).exists()
    assert Path(catalog.partial("new")).exists()
    assert Path(catalog.partial("locked")).exists()


def test_room_is_made_by_what_was_not_used_for_longest(catalog: Catalog) -> None:
    for key, ago in (("a", 30.0), ("b", 20.0), ("c", 10.0)):
        put(catalog, key, size=1000)
        used(catalog, key, ago)
    quota = catalog.files.used(f"{catalog.root}/entries") + 500
    assert catalog.make_room(1000, quota, 1) == ""
    assert {each.entry.key for each in catalog.all()} == {"b", "c"}


def test_no_room_is_made_of_what_is_pinned_or_read(catalog: Catalog) -> None:
    put(catalog, "pinned", size=1000, pin=True)
    put(catalog, "read", size=1000)
    assert catalog.acquire("read", "run") is not None
    told = catalog.make_room(1000, 2500, 1)
    assert "1,000 bytes do not fit" in told and "pinned or in use" in told
    assert len(catalog.all()) == 2


def test_what_can_never_fit_evicts_nothing(catalog: Catalog) -> None:
    put(catalog, "k", size=1000)
    assert catalog.make_room(10_000, 5000, 1)
    assert catalog.find("k") is not None


def test_uses_are_counted_within_a_window(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [catalog.count_use("o", 100) for _ in range(3)] == [0, 1, 2]
    assert catalog.count_use("another", 100) == 0
    later = time.time() + 1000
    monkeypatch.setattr(time, "time", lambda: later)
    assert catalog.count_use("o", 100) == 0


def test_an_entry_can_be_pinned_later(catalog: Catalog) -> None:
    put(catalog, "k")
    changed = catalog.change("k", pin=True)
    assert changed is not None and changed.pin
    assert catalog.find("k") == changed
    assert catalog.change("none", pin=True) is None


def test_an_entry_that_has_lost_a_file_is_not_whole(catalog: Catalog) -> None:
    put(catalog, "k")
    assert catalog.is_whole("k")
    Path(catalog.data("k"), "file").unlink()
    assert not catalog.is_whole("k")


class Emptying(LocalFiles):
    """As HDFS, which empties a file before it writes it anew, and may be full then."""

    full = False

    def write(self, path: str, content: bytes) -> None:
        if self.full:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_bytes(b"")
            raise OSError("no space left")
        super().write(path, content)


def test_an_entry_outlives_a_change_that_fails(tmp_path: Path) -> None:
    files = Emptying(tmp_path)
    catalog = Catalog(files, str(tmp_path / "staged"))
    put(catalog, "k")
    files.full = True
    with pytest.raises(OSError, match="no space"):
        catalog.change("k", pin=True)
    files.full = False
    assert catalog.find("k") and [each.entry.key for each in catalog.all()] == ["k"]
    changed = catalog.change("k", pin=True)
    assert changed and catalog.find("k") == changed and changed.pin


@pytest.mark.parametrize("content", [None, b""])
def test_what_does_not_say_what_it_is_is_in_nobodys_way(
    catalog: Catalog, content: bytes | None
) -> None:
    corpse = Path(catalog.root) / "entries" / "k"
    (corpse / "data").mkdir(parents=True)
    if content is not None:
        (corpse / "entry.json").write_bytes(content)
    put(catalog, "k")
    assert catalog.find("k")
    with contextlib.suppress(FileNotFoundError):
        (corpse / "entry.json").unlink()
    catalog.sweep()
    assert not corpse.exists()
