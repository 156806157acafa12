"""What becomes of images whose name a newer one has taken."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from cloudmesh.sparknomad.image import docker
from cloudmesh.sparknomad.image.store import SUPERSEDED, WHOLE, ImageStore
from cloudmesh.sparknomad.model import ImageRecord


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ImageStore:
    monkeypatch.setattr(docker, "daemon_problem", lambda: "not in this test")
    return ImageStore(tmp_path, lambda message: None)


def build(store: ImageStore, number: int, name: str = "default") -> ImageRecord:
    """An image as a build leaves it: its details, and its unpacked tree."""
    image_id = f"{number:064x}"[::-1]
    record = ImageRecord(name, image_id, "4.1.4", 1.0, 1, f"sparknomad/{name}:x", False, True)
    before = store._find(name)
    directory = store._directory(name)
    directory.mkdir(parents=True, exist_ok=True)
    details = {"record": asdict(record), "spec": {}, "layers": [], "config": {}}
    (directory / WHOLE).write_text(json.dumps(details))
    store._rootfs_path(record).mkdir(parents=True, exist_ok=True)
    if before and before.image_id != image_id:
        store._supersede(before)
    store._prune(name)
    return record


def there(store: ImageStore, *records: ImageRecord) -> list[bool]:
    return [store._rootfs_path(record).is_dir() for record in records]


def test_an_image_that_no_cluster_runs_goes_when_it_is_superseded(store: ImageStore) -> None:
    old, new = build(store, 1), build(store, 2)
    assert there(store, old, new) == [False, True]
    assert json.loads((store._directory("default") / SUPERSEDED).read_text()) == []


def test_an_image_that_a_cluster_runs_stays_until_that_is_gone(
    store: ImageStore, tmp_path: Path
) -> None:
    cluster = tmp_path / "a cluster"
    cluster.mkdir()
    old = build(store, 1)
    store._add_user(old, cluster)
    new = build(store, 2)
    assert there(store, old, new) == [True, True]
    third = build(store, 3)
    assert there(store, old, new, third) == [True, False, True]
    cluster.rmdir()
    fourth = build(store, 4)
    assert there(store, old, third, fourth) == [False, False, True]
    assert not store._users_file(old.image_id).exists()


def test_an_image_that_is_built_as_before_is_no_superseded_one(store: ImageStore) -> None:
    first = build(store, 1)
    build(store, 2)
    again = build(store, 1)
    assert first.image_id == again.image_id
    assert there(store, again) == [True]
    assert there(store, build(store, 1)) == [True]


def test_removing_an_image_removes_what_it_has_superseded(
    store: ImageStore, tmp_path: Path
) -> None:
    old = build(store, 1)
    store._add_user(old, tmp_path)
    new = build(store, 2)
    other = build(store, 3, "other")
    store.remove("default")
    assert there(store, old, new, other) == [False, False, True]
    assert [record.name for record in store.records()] == ["other"]
