"""What every kind of storage must do, on its real server.

A kind joins by a class that derives from `StorageSuite` and gives the fixture ``storage``: an
opened storage and the URL of an empty directory in it.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from pathlib import Path

import pytest

from cloudmesh.sparknomad.errors import InputError, NotFoundError, SparknomadError
from cloudmesh.sparknomad.storage.checking import check_storage
from cloudmesh.sparknomad.storage.profile import StorageProfile
from cloudmesh.sparknomad.storage.profiles import open_storage
from cloudmesh.sparknomad.storage.storage import Storage
from cloudmesh.sparknomad.storage.transfer import plan_transfer, transfer
from cloudmesh.sparknomad.storage.url import StorageURL, parse_url

HOSTILE = [
    "with a blank",
    "ünïcödé-☃-日本",
    "%2F%20%25",
    "a+b=c&d",
    "two..dots",
    "-leading",
    "quote'\"s",
    "semi;colon,comma",
    "hash#and?mark",
    "star*[x]{y}",
    "(round)@~!$^",
]


class StorageSuite:
    """The suite."""

    refused: tuple[str, ...] = ()
    """Of the hostile names, those that the storage itself can't have."""

    @pytest.fixture
    def storage(self) -> Storage:
        raise NotImplementedError

    @pytest.fixture
    def place(self, storage: Storage) -> StorageURL:
        """A directory that no other test uses, removed at the end."""
        url = parse_url(f"{storage.profile.name}:{uuid.uuid4().hex[:8]}/")
        yield url
        storage.remove(url)

    # one object

    def test_an_object_is_what_was_written(self, storage: Storage, place: StorageURL) -> None:
        data = os.urandom(1000)
        url = place.join("x.bin")
        storage.write(url, data)
        entry = storage.info(url)
        assert (entry.url, entry.size, entry.is_directory) == (url, 1000, False)
        assert storage.read(url) == data
        assert storage.read(url, 10, 20) == data[10:20]
        assert entry.md5 in ("", hashlib.md5(data).hexdigest())
        assert storage.remove(url) == 1
        assert storage.find(url) is None
        assert storage.remove(url) == 0

    def test_an_empty_object(self, storage: Storage, place: StorageURL) -> None:
        storage.write(place.join("empty"), b"")
        assert storage.info(place.join("empty")).size == 0
        assert storage.read(place.join("empty")) == b""

    def test_an_object_is_replaced(self, storage: Storage, place: StorageURL) -> None:
        url = place.join("x")
        storage.write(url, b"first")
        before = storage.info(url)
        storage.write(url, b"second!")
        after = storage.info(url)
        assert storage.read(url) == b"second!"
        assert before.version != after.version

    def test_a_large_object_in_pieces(self, storage: Storage, place: StorageURL) -> None:
        pieces = [os.urandom(5_000_001) for _ in range(5)]
        url = place.join("large")
        with storage.create(url) as write:
            for piece in pieces:
                write(piece)
            assert storage.find(url) is None
        assert storage.info(url).size == sum(map(len, pieces))
        assert storage.read(url, 5_000_001, 10_000_002) == pieces[1]

    def test_what_is_half_written_is_never_seen(self, storage: Storage, place: StorageURL) -> None:
        url = place.join("half")

        class StoppedError(Exception):
            pass

        with pytest.raises((StoppedError, SparknomadError)), storage.create(url) as write:
            for _ in range(3):
                write(os.urandom(9_000_000))
            raise StoppedError
        assert storage.find(url) is None
        assert [e for e in _listed(storage, place) if not e.endswith("/")] == []

    def test_nothing_of_this_name(self, storage: Storage, place: StorageURL) -> None:
        for call in (storage.info, storage.read, storage.usage):
            with pytest.raises(NotFoundError, match="nothing of this name"):
                call(place.join("none"))

    def test_a_directory_is_not_written(self, storage: Storage, place: StorageURL) -> None:
        with pytest.raises(InputError, match="is a directory"):
            storage.write(place, b"")

    # many

    def test_listing(self, storage: Storage, place: StorageURL) -> None:
        for name in ("b.csv", "a.csv", "sub/c.csv", "sub/deep/d.csv", "x.txt"):
            storage.write(place.join(name), b"12345")
        assert _listed(storage, place) == ["a.csv", "b.csv", "sub/", "x.txt"]
        everything = ["a.csv", "b.csv", "sub/c.csv", "sub/deep/d.csv", "x.txt"]
        assert _listed(storage, place, recursive=True) == everything
        assert _below(place, storage.list(place.join("*.csv"))) == ["a.csv", "b.csv"]
        assert _below(place, storage.list(place.join("**/{c,d}.csv"))) == everything[2:4]
        assert _below(place, storage.list(place.join("x.txt"))) == ["x.txt"]
        usage = storage.usage(place)
        assert (usage.objects, usage.size) == (5, 25)
        assert storage.remove(place.join("sub")) == 2
        assert _listed(storage, place, recursive=True) == ["a.csv", "b.csv", "x.txt"]
        with pytest.raises(NotFoundError, match="nothing fits"):
            list(storage.list(place.join("*.json")))

    def test_many_objects_are_all_listed(self, storage: Storage, place: StorageURL) -> None:
        names = [f"{number:04}" for number in range(120)]
        for name in names:
            storage.write(place.join(name), b"")
        assert _listed(storage, place) == names

    @pytest.mark.parametrize("name", HOSTILE)
    def test_hostile_names(self, storage: Storage, place: StorageURL, name: str) -> None:
        url = place.join(f"{name}/{name}")
        if name in self.refused:
            with pytest.raises(SparknomadError):
                storage.write(url, b"data")
            return
        storage.write(url, b"data")
        assert storage.read(url) == b"data"
        assert storage.info(url).url == url
        assert _listed(storage, place, recursive=True) == [f"{name}/{name}"]
        assert storage.remove(place.join(name)) == 1
        assert _listed(storage, place, recursive=True) == []

    def test_the_longest_name(self, storage: Storage, place: StorageURL) -> None:
        base = len(storage.plain(place).path)
        room = min(storage.longest_name, 1024) - base
        segments = "/".join(["s" * 200] * 8)[:room].rstrip("/")
        storage.write(place.join(segments), b"data")
        assert storage.read(place.join(segments)) == b"data"
        with pytest.raises(InputError, match="bytes"):
            storage.write(place.join("s" * storage.longest_name), b"")

    # moving

    def test_there_and_back(self, storage: Storage, place: StorageURL, tmp_path: Path) -> None:
        source = tmp_path / "from"
        (source / "sub dir").mkdir(parents=True)
        (source / "small").write_bytes(b"small")
        (source / "sub dir" / "large").write_bytes(os.urandom(20_000_000))
        files = _files()
        first = _send(files, _url(source, directory=True), storage, place.join("put/"))
        assert (first.objects, first.skipped, first.size) == (2, 0, 20_000_005)
        back = _send(storage, place.join("put/"), files, _url(tmp_path / "to", directory=True))
        assert back.objects == 2
        for name in ("small", "sub dir/large"):
            assert (tmp_path / "to" / name).read_bytes() == (source / name).read_bytes()

    def test_check_finds_nothing_wrong_and_leaves_nothing(
        self, storage: Storage, place: StorageURL
    ) -> None:
        storage.write(place.join("there"), b"")
        steps = check_storage("it", lambda: storage, place)
        way = ("resolve", "reach") if storage.profile.endpoint else ()
        assert [(step.step, step.ok, step.detail) for step in steps] == [
            (name, True, "") for name in ("credentials", *way, "list", "write", "read", "remove")
        ]
        assert _listed(storage, place) == ["there"]

    def test_hadoop_is_told_no_secret_in_the_open(
        self, storage: Storage, place: StorageURL
    ) -> None:
        settings = storage.hadoop(place)
        shown = f"{settings.url} {dict(settings.conf)} {dict(settings.spark)} {settings}"
        for field in storage.fields:
            if field.secret and storage.credentials.get(field.name):
                assert storage.credentials[field.name] not in shown
                assert settings.secrets


def _files() -> Storage:
    return open_storage(StorageProfile(name="here", url="file:///", kind="file"))


def _url(path: Path, *, directory: bool) -> StorageURL:
    return parse_url(f"here:{path}{'/' * directory}")


def _send(source: Storage, url: StorageURL, target: Storage, to: StorageURL):
    return transfer(source, target, plan_transfer(source, url, to), print)


def _below(place: StorageURL, entries) -> list[str]:
    return [entry.url.path.removeprefix(place.path) for entry in entries]


def _listed(storage: Storage, place: StorageURL, *, recursive: bool = False) -> list[str]:
    try:
        return _below(place, storage.list(place, recursive=recursive))
    except NotFoundError:
        return []
