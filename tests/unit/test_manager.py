"""What the manager refuses before it asks a provider."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloudmesh.sparknomad.errors import ConflictError, NotFoundError
from cloudmesh.sparknomad.incluster.pipeline import StepState
from cloudmesh.sparknomad.manager import Sparknomad
from cloudmesh.sparknomad.model import ClusterState, RunState
from cloudmesh.sparknomad.paths import Paths
from cloudmesh.sparknomad.spec_pipelines import PipelineSpec, StepSpec
from cloudmesh.sparknomad.specs import ClusterSpec
from cloudmesh.sparknomad.state_pipelines import PipelineRecord, PipelineStore


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


def test_no_step_of_a_pipeline_goes_on_after_its_cluster_was_destroyed(
    manager: Sparknomad,
) -> None:
    cluster = ClusterSpec(cluster="mine", provider="local")
    manager.store.put_cluster(cluster, ClusterState.RUNNING)
    steps = (StepState("a", "succeeded", finished=2.0), StepState("b", "running"), StepState("c"))
    record = PipelineRecord("p-1", "p", "mine", RunState.RUNNING, 1.0, {}, steps=steps)
    spec = PipelineSpec("p", {name: StepSpec("job.yaml") for name in "abc"})
    PipelineStore(manager.store).add(record, spec, ())
    manager.cluster_destroy("mine")
    ended = manager.pipeline_status("p-1")
    assert ended.state is RunState.CANCELLED
    assert [step.state for step in ended.steps] == ["succeeded", "cancelled", "skipped"]
    assert [step.finished for step in ended.steps] == [2.0, ended.finished, ended.finished]
