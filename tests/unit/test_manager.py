"""What the manager refuses before it asks a provider."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloudmesh.sparknomad.errors import ConflictError, NotFoundError
from cloudmesh.sparknomad.manager import Sparknomad
from cloudmesh.sparknomad.model import ClusterState
from cloudmesh.sparknomad.paths import Paths
from cloudmesh.sparknomad.specs import ClusterSpec


@pytest.fixture
def manager(tmp_path: Path) -> Sparknomad:
    for name in ("home", "cache"):
        (tmp_path / name).mkdir()
    return Sparknomad(Paths(tmp_path / "home", tmp_path / "cache"))


def test_an_image_that_a_cluster_uses_is_not_removed(manager: Sparknomad) -> None:
    manager.store.put_cluster(ClusterSpec(cluster="busy", image="mine"), ClusterState.RUNNING)
    with pytest.raises(ConflictError, match="used by cluster 'busy'"):
        manager.image_remove("mine")


def test_an_unused_image_that_is_not_there_is_not_found(manager: Sparknomad) -> None:
    spec = ClusterSpec(cluster="local", provider="local")
    manager.store.put_cluster(spec, ClusterState.RUNNING)
    with pytest.raises(NotFoundError):
        manager.image_remove("default")


def test_a_cluster_keeps_its_provider(manager: Sparknomad) -> None:
    manager.store.put_cluster(ClusterSpec(cluster="mine"), ClusterState.RUNNING)
    with pytest.raises(ConflictError, match="runs on provider 'nomad'"):
        manager.cluster_deploy(ClusterSpec(cluster="mine", provider="local"))
    assert manager.cluster_spec("mine") == ClusterSpec(cluster="mine")
