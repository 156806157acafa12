"""What the manager refuses before it asks a provider."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cloudmesh.sparknomad.errors import ConflictError, NotFoundError
from cloudmesh.sparknomad.incluster.pipeline import StepState
from cloudmesh.sparknomad.manager import Sparknomad
from cloudmesh.sparknomad.model import ClusterState, RunRecord, RunState, RunStatus
from cloudmesh.sparknomad.paths import Paths
from cloudmesh.sparknomad.spec_pipelines import PipelineSpec, StepSpec
from cloudmesh.sparknomad.specfile import build_spec
from cloudmesh.sparknomad.specs import ClusterSpec
from cloudmesh.sparknomad.state_bundles import PIPELINE_RUNS, SCHEDULES, rows_of, take_over
from cloudmesh.sparknomad.state_pipelines import PipelineRecord, PipelineStore
from cloudmesh.sparknomad.state_schedules import ScheduleRecord, ScheduleStore
from cloudmesh.sparknomad.verbs.checking import _least_workers


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


# what is refused changes nothing


def test_a_refused_deploy_leaves_what_was_asked_for_before(
    manager: Sparknomad, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = ClusterSpec(cluster="mine", workers=2)
    manager.store.put_cluster(before, ClusterState.RUNNING)
    provider = manager._provider("nomad")

    def refuse(spec: ClusterSpec, runtime: object, *, timeout: float) -> None:
        del spec, runtime, timeout
        raise ConflictError("driver: cluster 'mine' runs on exec, not docker.")

    monkeypatch.setattr(provider, "deploy", refuse)
    monkeypatch.setattr(manager, "_runtime", lambda *given: None)
    with pytest.raises(ConflictError, match="runs on exec"):
        manager.cluster_deploy(ClusterSpec(cluster="mine", workers=9))
    found = manager.store.find_cluster("mine")
    assert found and (found.spec, found.state) == (before, ClusterState.RUNNING)


def test_the_last_host_of_a_site_is_not_removed(manager: Sparknomad) -> None:
    document = {"cluster": "mine", "sites": {"a": {"hosts": ["h1", "h2"]}, "b": {"hosts": ["h3"]}}}
    manager.store.put_cluster(build_spec(ClusterSpec, document), ClusterState.RUNNING)
    manager._operations_of = lambda record: None  # type: ignore[assignment, method-assign, return-value]
    with pytest.raises(ConflictError, match="h3: these are all hosts of site 'b'"):
        manager.cluster_remove_hosts("mine", ["h3"])


# pages


def test_runs_are_listed_page_by_page(manager: Sparknomad) -> None:
    for number in range(7):  # some were sent at once
        record = RunRecord(f"r-{number}", "j", "gone", RunState.SUCCEEDED, number // 3, {})
        manager.store.add_run(record)
        manager.store.update_run(record, RunStatus(record.run, RunState.SUCCEEDED))
    whole = [each.run for each in manager.job_runs()]
    assert sorted(whole) == [f"r-{number}" for number in range(7)]
    seen: list[str] = []
    while page := manager.job_runs(limit=2, after=seen[-1] if seen else None):
        seen += [each.run for each in page]
    assert seen == whole
    with pytest.raises(NotFoundError, match="no run 'x' after which"):
        manager.job_runs(after="x")


@pytest.fixture
def lost(manager: Sparknomad) -> Iterator[RunRecord]:
    """A run that is remembered, in a cluster that does not have it."""
    spec = ClusterSpec("mine", provider="memory")
    provider = manager._provider("memory")
    provider.deploy(spec, None, timeout=20)
    manager.store.put_cluster(spec, ClusterState.RUNNING)
    record = RunRecord("r-1", "j", "mine", RunState.PENDING, 1.0, {})
    manager.store.add_run(record)
    yield record
    provider.destroy("mine", timeout=20)


@pytest.mark.parametrize("state", [RunState.PENDING, RunState.LOST])
def test_a_run_that_was_not_sent_has_no_output(
    manager: Sparknomad, lost: RunRecord, state: RunState, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(manager, "say", said.append)
    manager.store.update_run(lost, RunStatus(lost.run, state))
    for follow in (False, True):
        assert list(manager.job_logs(lost.run, follow=follow)) == []
    assert said == ["cluster 'mine' does not have run r-1: it was not sent"] * 2


def test_the_output_of_a_run_that_is_forgotten_is_not_found(
    manager: Sparknomad, lost: RunRecord
) -> None:
    ended = RunStatus(lost.run, RunState.SUCCEEDED, started=2.0, finished=3.0)
    manager.store.update_run(lost, ended)
    with pytest.raises(NotFoundError, match="does not know a run 'r-1'"):
        list(manager.job_logs(lost.run))


@pytest.mark.parametrize(
    ("fields", "site", "least"),
    [
        ({}, "", 2),
        ({"workers": {"min": 3, "max": 5}}, "", 3),
        ({"min_workers": 1, "hosts": ["a", "b"]}, "", 1),
        ({"idle": "5m"}, "", 1),
        ({"sites": {"x": {"hosts": ["a"], "workers": 4}, "y": {"hosts": ["b"]}}}, "x", 4),
        ({"sites": {"x": {"hosts": ["a"], "workers": 4}, "y": {"hosts": ["b"]}}}, "y", 2),
    ],
)
def test_every_worker_that_has_to_be_there_has_to_answer_a_check(
    fields: dict[str, Any], site: str, least: int
) -> None:
    spec = build_spec(ClusterSpec, {"cluster": "mine", **fields})
    assert _least_workers(spec, site) == least


def test_a_job_without_storage_is_checked_without_any(
    manager: Sparknomad, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(manager, "cluster_check", lambda subjects, **_: asked.append(subjects))
    (tmp_path / "p.py").write_text("")
    manager.job_check(str(tmp_path / "p.py"), {})
    assert asked == [[]]


def test_a_bundle_takes_schedules_and_pipelines_along(manager: Sparknomad, tmp_path: Path) -> None:
    spec = PipelineSpec("p", {"a": StepSpec("job.yaml")})
    record = PipelineRecord("p-1", "p", "mine", RunState.SUCCEEDED, 1.0, {"x": 1})
    PipelineStore(manager.store).add(record, spec, ())
    schedule = ScheduleRecord("p-2", "p", "mine", "0 3 * * *", "UTC", "skip", 1.0, {})
    ScheduleStore(manager.store).add(schedule, spec, ())
    (tmp_path / "other").mkdir()
    other = Sparknomad(Paths(tmp_path / "other", tmp_path / "cache"))
    for table in (PIPELINE_RUNS, SCHEDULES):
        rows = rows_of(manager.store, table, "mine")
        for _ in range(2):
            take_over(other.store, table, json.loads(json.dumps(rows)), "theirs")
    (run,) = PipelineStore(other.store).runs()
    assert run == dataclasses.replace(record, cluster="theirs")
    found, planned, _ = ScheduleStore(other.store).find("p-2")
    assert (found.cluster, found.crontab, planned) == ("theirs", "0 3 * * *", spec)
    assert rows_of(manager.store, SCHEDULES, "another") == ()
