"""The archive that ``docker load`` reads."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from cloudmesh.sparknomad.image import docker
from cloudmesh.sparknomad.image.layers import Layer, LayerStore

CONFIG = {"Env": ["A=é"], "User": "185:185", "Entrypoint": ["/tini", "--"]}


class Pipe(io.RawIOBase):
    """Can only be written to, as the pipe to docker."""

    def __init__(self) -> None:
        self.content = b""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.content += bytes(data)
        return len(data)


@pytest.fixture
def layers(tmp_path: Path) -> list[Layer]:
    store = LayerStore(tmp_path)
    return [
        store.layer(f"layer {n}", f"key{n}", lambda tree, n=n: (tree / f"f{n}").touch())
        for n in range(3)
    ]


def archive(layers: list[Layer], machine: str = "amd64") -> bytes:
    pipe = Pipe()
    docker.write_archive(pipe, "sparknomad/x:1", layers, CONFIG, machine)
    return pipe.content


def members(content: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar.getmembers()}


def test_the_manifest_names_configuration_tag_and_layers_in_order(layers: list[Layer]) -> None:
    files = members(archive(layers))
    (manifest,) = json.loads(files["manifest.json"])
    assert manifest["RepoTags"] == ["sparknomad/x:1"]
    assert set(files) == {"manifest.json", manifest["Config"], *manifest["Layers"]}
    assert [files[name] for name in manifest["Layers"]] == [
        layer.path.read_bytes() for layer in layers
    ]


def test_the_configuration_is_named_by_its_digest(layers: list[Layer]) -> None:
    files = members(archive(layers))
    name = json.loads(files["manifest.json"])[0]["Config"]
    assert name == hashlib.sha256(files[name]).hexdigest() + ".json"


def test_the_configuration_describes_the_layers(layers: list[Layer]) -> None:
    files = members(archive(layers, "arm64"))
    (manifest,) = json.loads(files["manifest.json"])
    document = json.loads(files[manifest["Config"]])
    digests = ["sha256:" + hashlib.sha256(files[name]).hexdigest() for name in manifest["Layers"]]
    assert document["rootfs"] == {"type": "layers", "diff_ids": digests}
    assert digests == [layer.diff_id for layer in layers]
    assert (document["architecture"], document["os"]) == ("arm64", "linux")
    assert document["config"] == CONFIG
    assert len(document["history"]) == len(layers)


def test_the_same_image_is_the_same_archive(layers: list[Layer]) -> None:
    assert archive(layers) == archive(layers)


def test_a_layer_that_was_cut_short_is_an_error(layers: list[Layer]) -> None:
    layers[1].path.write_bytes(b"short")
    with pytest.raises(OSError, match="unexpected end of data"):
        archive(layers)


def test_without_the_command_the_daemon_has_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert docker.daemon_problem() == "the docker command is not installed"


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("exit 0", ""),
        ("echo first >&2; echo 'permission denied' >&2; exit 1", "permission denied"),
        ("exit 1", "the Docker daemon does not answer"),
    ],
)
def test_what_the_command_says_is_the_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, problem: str
) -> None:
    fake = tmp_path / "docker"
    fake.write_text(f"#!/bin/sh\n{script}\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert docker.daemon_problem() == problem
