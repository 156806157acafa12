"""Moving objects from this machine, where storages are not as they seem."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from cloudmesh.sparknomad.errors import StorageError
from cloudmesh.sparknomad.storage.credentials import Credentials
from cloudmesh.sparknomad.storage.kinds.file import FileStorage
from cloudmesh.sparknomad.storage.kinds.s3 import S3Storage
from cloudmesh.sparknomad.storage.profile import StorageProfile
from cloudmesh.sparknomad.storage.transfer import Transferred, plan_transfer, transfer
from cloudmesh.sparknomad.storage.url import parse_url


class Sealed(S3Storage):
    """S3 where the store encrypts: its ETags look like the MD5 of the content, and are not.

    No server that encrypts so can be had here, so the file system under it is one in memory.
    """

    def __init__(self) -> None:
        super().__init__(StorageProfile("sealed", "s3://bucket/", "s3"), Credentials())
        self.kept: dict[str, Any] = {}
        self.reads: list[str] = []
        self.damaged = 0
        self.honest = False

    def _path(self, url: Any) -> str:
        return "/" + super()._path(url)

    def _filesystem(self) -> Any:
        storage = self

        class Tagged(MemoryFileSystem):
            store = storage.kept
            pseudo_dirs = [""]  # noqa: RUF012

            def _tagged(self, info: dict[str, Any]) -> dict[str, Any]:
                if info["type"] == "file":
                    content = bytes(self.store[info["name"]].getbuffer())
                    seal = b"" if storage.honest else b"sealed"
                    info["ETag"] = '"' + hashlib.md5(seal + content).hexdigest() + '"'
                return info

            def info(self, path: str, **more: Any) -> Any:
                return self._tagged(super().info(path, **more))

            def find(self, path: str, detail: bool = False, **more: Any) -> Any:
                found = super().find(path, detail=True, **more)
                told = {name: self._tagged(info) for name, info in found.items()}
                return told if detail else list(told)

            def cat_file(self, path: str, start: Any = None, end: Any = None, **more: Any) -> Any:
                storage.reads.append(path)
                data = super().cat_file(path, start=start, end=end, **more)
                if storage.damaged:
                    storage.damaged -= 1
                    return b"?" + data[1:]
                return data

        return Tagged(skip_instance_cache=True)


@pytest.fixture
def files() -> FileStorage:
    return FileStorage(StorageProfile("files", "file:///", "file"), Credentials())


def move(source: Any, url: str, target: Any, to: str) -> Transferred:
    return transfer(source, target, plan_transfer(source, parse_url(url), parse_url(to)), print)


def test_an_etag_that_is_no_checksum_is_taken_for_none(tmp_path: Path, files: FileStorage) -> None:
    sealed = Sealed()
    for name in ("a", "b", "c"):
        sealed.filesystem.pipe_file(f"/bucket/in/{name}", name.encode() * 1000)
    told = move(sealed, "s3://bucket/in/", files, f"{tmp_path}/out/")
    assert (told.objects, told.size) == (3, 3000)
    assert (tmp_path / "out/b").read_bytes() == b"b" * 1000
    told = move(files, f"{tmp_path}/out/", sealed, "s3://bucket/back/")
    assert (told.objects, told.verified) == (3, 0)
    assert sealed.filesystem.cat_file("/bucket/back/c") == b"c" * 1000


def test_the_second_look_is_taken_once_for_a_storage(tmp_path: Path, files: FileStorage) -> None:
    sealed = Sealed()
    sealed.filesystem.pipe_file("/bucket/in/first", b"x")
    for number in range(50):
        sealed.filesystem.pipe_file(f"/bucket/in/{number}", b"x" * 100)
    move(sealed, "s3://bucket/in/", files, f"{tmp_path}/out/")
    assert 51 < len(sealed.reads) <= 51 + 8  # as many as are moved at a time


@pytest.mark.parametrize("honest", [True, False])
def test_damage_is_noticed_all_the_same(tmp_path: Path, files: FileStorage, honest: bool) -> None:
    sealed = Sealed()
    sealed.honest, sealed.damaged = honest, 1
    sealed.filesystem.pipe_file("/bucket/a", b"x" * 1000)
    move(sealed, "s3://bucket/a", files, f"{tmp_path}/a")  # tried again
    assert (tmp_path / "a").read_bytes() == b"x" * 1000


def test_a_checksum_that_is_told_has_to_fit(
    tmp_path: Path, files: FileStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloudmesh.sparknomad.storage.transfer._ATTEMPTS", 1)
    (tmp_path / "a").write_bytes(b"x")
    monkeypatch.setattr(files, "checksum", lambda entry: "0" * 32)
    with pytest.raises(StorageError, match=r"its checksum 0+ differs"):
        move(files, f"{tmp_path}/a", files, f"{tmp_path}/b")


@pytest.mark.parametrize("name", ["data1", "data[1]", "d*ta", "what?"])
def test_what_is_in_a_directory_goes_below_the_target(
    tmp_path: Path, files: FileStorage, name: str
) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "f.csv").write_text("1")
    planned = plan_transfer(files, parse_url(f"{tmp_path}/{name}/"), parse_url("there:x/"))
    assert [str(each.target) for each in planned] == ["there:x/f.csv"]


def test_a_name_as_long_as_a_disk_takes_is_written(tmp_path: Path, files: FileStorage) -> None:
    name = "漢" * 83 + ".csv"
    assert len(name.encode()) == 253
    (tmp_path / name).write_text("1")
    move(files, f"{tmp_path}/{name}", files, f"{tmp_path}/out/")
    assert (tmp_path / "out" / name).read_text() == "1"


def test_links_to_directories_and_to_nothing_are_left_out(
    tmp_path: Path, files: FileStorage
) -> None:
    place = tmp_path / "data"
    (place / "real").mkdir(parents=True)
    (place / "real/f").write_text("1")
    (place / "file").symlink_to("real/f")
    (place / "directory").symlink_to("real")
    (place / "nothing").symlink_to("nowhere")
    told = move(files, f"{place}/", files, f"{tmp_path}/out/")
    assert told.objects == 2
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == ["file", "real"]
