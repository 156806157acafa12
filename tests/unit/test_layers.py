"""Layers: reproducible tars in a content-addressed cache."""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from cloudmesh.sparknomad.image.layers import MTIME, Layer, LayerStore, key_of, unpack

FILES = {"b/x.txt": b"x", "a": b"a" * 9000, "b/c/é": b"", "z" * 120: b"long"}


def fill(names: list[str], mtime: int) -> Callable[[Path], None]:
    def write(tree: Path) -> None:
        for name in names:
            path = tree / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(FILES[name])
            path.chmod(0o640)
        (tree / "link").symlink_to("b/x.txt")
        (tree / "empty").mkdir()
        for path in [*tree.rglob("*"), tree]:
            os.utime(path, (mtime, mtime), follow_symlinks=False)

    return write


def nothing(tree: Path) -> None:
    (tree / "f").touch()


@pytest.fixture
def store(tmp_path: Path) -> LayerStore:
    return LayerStore(tmp_path / "layers")


def test_the_same_tree_gives_the_same_layer_whatever_its_order_and_times(
    store: LayerStore,
) -> None:
    names = list(FILES)
    first = store.layer("n", "1", fill(names, 1_000_000_000))
    second = store.layer("n", "2", fill(names[::-1], 1_600_000_000))
    assert first.diff_id == second.diff_id
    assert first.path.read_bytes() == second.path.read_bytes()


def test_another_content_or_mode_gives_another_layer(store: LayerStore) -> None:
    def content(tree: Path) -> None:
        (tree / "f").write_text("x")

    def mode(tree: Path) -> None:
        nothing(tree)
        (tree / "f").chmod(0o755)

    made = [store.layer("n", str(i), how) for i, how in enumerate([nothing, content, mode])]
    assert len({layer.diff_id for layer in made}) == 3


def test_a_layer_tells_its_digest_and_size(store: LayerStore) -> None:
    layer = store.layer("name", "key", fill(list(FILES), 0))
    content = layer.path.read_bytes()
    assert layer.diff_id == "sha256:" + hashlib.sha256(content).hexdigest()
    assert (layer.name, layer.key, layer.size) == ("name", "key", len(content))


def test_members_have_no_owner_and_one_time(store: LayerStore) -> None:
    with tarfile.open(store.layer("n", "k", fill(list(FILES), 5)).path) as tar:
        members = tar.getmembers()
    assert {(m.uid, m.gid, m.uname, m.gname, m.mtime) for m in members} == {(0, 0, "", "", MTIME)}
    assert [m.name for m in members if "/" not in m.name] == ["a", "b", "empty", "link", "z" * 120]


def test_a_layer_is_made_once(store: LayerStore) -> None:
    calls: list[Path] = []

    def count(tree: Path) -> None:
        calls.append(tree)
        nothing(tree)

    assert store.find("k") is None
    made = store.layer("n", "k", count)
    assert store.layer("n", "k", count) == made == store.find("k")
    assert len(calls) == 1
    assert sorted(path.name for path in made.path.parent.iterdir()) == ["layer.json", "layer.tar"]


def test_a_layer_that_fails_leaves_nothing_and_can_be_made_again(store: LayerStore) -> None:
    def fail(tree: Path) -> None:
        nothing(tree)
        raise RuntimeError("full")

    with pytest.raises(RuntimeError, match="full"):
        store.layer("n", "k", fail)
    assert store.find("k") is None
    assert store.layer("n", "k", nothing).size > 0


def test_a_tar_can_be_given_as_it_is(store: LayerStore, tmp_path: Path) -> None:
    made = store.layer("n", "1", fill(list(FILES), 0))
    same = store.layer("n", "2", lambda tar: tar.write_bytes(made.path.read_bytes()), is_tar=True)
    assert same.diff_id == made.diff_id


def test_only_the_layers_that_are_kept_stay(store: LayerStore) -> None:
    assert store.remove_except([]) == 0
    kept, gone = (store.layer("n", key, nothing) for key in ("kept", "gone"))
    freed = store.remove_except(["kept", "unknown"])
    assert freed > gone.size
    assert store.find("gone") is None
    assert store.find("kept") == kept
    assert store.layer("n", "gone", nothing).diff_id == gone.diff_id


def test_a_layer_that_is_being_made_is_not_removed(store: LayerStore) -> None:
    def remove_others(tree: Path) -> None:
        nothing(tree)
        store.remove_except(["kept"])

    assert store.layer("n", "k", remove_others).size > 0


def test_no_layer_is_removed_while_an_image_is_built(store: LayerStore) -> None:
    with store.in_use(), store.in_use():
        made = store.layer("n", "k", nothing)
        assert store.remove_except([]) == 0
        assert store.find("k") == made
    assert store.remove_except([]) > 0
    assert store.find("k") is None


def test_what_a_killed_build_left_is_removed(store: LayerStore) -> None:
    partial = store.directory / ".k.partial/tree"
    partial.mkdir(parents=True)
    (partial / "f").write_bytes(b"x" * 100)
    assert store.remove_except([]) == 100
    assert [path.name for path in store.directory.iterdir()] == [".lock"]


def test_layers_are_unpacked_over_one_another(store: LayerStore, tmp_path: Path) -> None:
    def upper(tree: Path) -> None:
        (tree / "a").write_text("upper")
        (tree / "only").touch()

    layers: list[Layer] = [
        store.layer("n", "1", fill(list(FILES), 0)),
        store.layer("n", "2", upper),
    ]
    unpack(layers, tmp_path / "root")
    root = tmp_path / "root"
    assert (root / "a").read_text() == "upper"
    assert (root / "link").resolve().read_bytes() == b"x"
    assert (root / "only").stat().st_mtime == MTIME


def test_keys_depend_on_parts_and_their_borders() -> None:
    assert key_of("a", 1, {"x": 1, "y": 2}) == key_of("a", 1, {"y": 2, "x": 1})
    keys = {key_of("ab"), key_of("a", "b"), key_of("b", "a"), key_of(["a", "b"]), key_of("a", 1)}
    assert len(keys) == 5
