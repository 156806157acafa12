"""What callers of the service get of its machine: nothing; and what they send, done once."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cloudmesh.sparknomad.cluster.memory import MemoryProvider
from cloudmesh.sparknomad.errors import (
    ClusterError,
    ForbiddenError,
    InputError,
    NotFoundError,
    SparknomadError,
    UnreachableError,
)
from cloudmesh.sparknomad.incluster.pipeline import PipelineState
from cloudmesh.sparknomad.model import ClusterState, RunState, RunStatus, Submission
from cloudmesh.sparknomad.paths import Paths
from cloudmesh.sparknomad.service.app import Service
from cloudmesh.sparknomad.service.guard import Limits
from cloudmesh.sparknomad.service.running import open_store
from cloudmesh.sparknomad.specs import ClusterSpec
from cloudmesh.sparknomad.verbs import core

PROGRAM = {"files": {"p.py": base64.b64encode(b"print('hi')\n").decode()}}


class Cluster(MemoryProvider):
    """A cluster that remembers what it was sent, and may lose an answer."""

    def __init__(self, context: Any, name: str) -> None:
        super().__init__(context)
        self.name = name  # type: ignore[misc]
        self.shares_files = name == "local"  # type: ignore[misc]
        self.sent: list[str] = []
        self.pipelines: list[tuple[str, ...]] = []
        self.lose = False

    def _submit(self, spec: ClusterSpec, submission: Submission) -> RunStatus:
        self.sent.append(submission.run)
        answer = super()._submit(spec, submission)
        if self.lose:
            self.lose = False
            raise UnreachableError("the answer did not come")
        return answer

    def check_pipelines(self, cluster: str, *, schedule: bool = False) -> None:
        del cluster, schedule

    def pipeline_submit(self, spec: ClusterSpec, pipeline: Any) -> None:
        del spec
        runs = tuple(each.run for step in pipeline.steps for each in step.submissions)
        self.pipelines.append(runs)
        if self.lose:
            self.lose = False
            raise UnreachableError("the answer did not come")

    def pipeline_state(self, cluster: str, run: str) -> PipelineState | None:
        del cluster, run
        return None


@pytest.fixture
def clusters(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Cluster]]:
    made: dict[str, Cluster] = {}

    def provider(name: str, context: Any) -> Cluster:
        return made.setdefault(name, Cluster(context, name))

    monkeypatch.setattr(core, "make_provider", provider)
    yield made
    for cluster in made.values():
        cluster.destroy("default", timeout=9)


@pytest.fixture
def service(home: Path, clusters: dict[str, Cluster]) -> Service:
    for name in ("configuration", "cache"):
        (home / name).mkdir()
    paths = Paths(home / "configuration", home / "cache")
    made = Service(paths, open_store(paths), Limits())
    spec = ClusterSpec(provider="nomad")
    made.calls().manager._provider("nomad").deploy(spec, None, timeout=9)
    made.store.create_token("me", "submitter")
    made.calls().manager.store.put_cluster(spec, ClusterState.RUNNING)
    return made


def define(service: Service, name: str, **spec: Any) -> None:
    body = {"spec": {"program": "p.py", **spec}, **PROGRAM}
    service.calls().call("job_define", {"job": name, "body": body})


def call(service: Service, verb: str, **arguments: Any) -> Any:
    return service.calls().call(verb, arguments)


# the embedded cluster


@pytest.mark.parametrize("cluster", ["local", "", None])
def test_nothing_runs_as_the_services_own_user(
    service: Service, clusters: dict[str, Cluster], cluster: str | None
) -> None:
    define(service, "job")
    manager = service.calls().manager
    manager.store.put_cluster(ClusterSpec(provider="nomad"), ClusterState.DESTROYING)
    if cluster == "local":
        with pytest.raises(ForbiddenError, match="service's own user"):
            call(service, "job_run", job="job", cluster=cluster)
    else:  # that one is asked which was meant, and no other
        call(service, "job_run", job="job", cluster=cluster)
    assert not getattr(clusters.get("local"), "sent", [])
    assert manager.store.find_cluster("local") is None


def test_no_pipeline_does(service: Service, clusters: dict[str, Cluster]) -> None:
    define(service, "job")
    call(service, "pipeline_define", pipeline="p", body={"steps": {"a": {"job": "job"}}})
    with pytest.raises(ForbiddenError):
        call(service, "pipeline_run", pipeline="p", cluster="local")
    manager = service.calls().manager
    made = call(service, "pipeline_run", pipeline="p")
    ended = PipelineState(made["run"], "failed", (), finished=1.0)
    manager._pipelines.update(manager._pipelines.run(made["run"]), ended)
    local = ClusterSpec(cluster="default", provider="local")
    manager.store.put_cluster(local, ClusterState.RUNNING)
    with pytest.raises(ForbiddenError):
        call(service, "pipeline_resume", run=made["run"])
    assert not clusters["local"].pipelines


def test_a_service_without_a_cluster_says_so(home: Path, clusters: dict[str, Cluster]) -> None:
    for name in ("configuration", "cache"):
        (home / name).mkdir()
    paths = Paths(home / "configuration", home / "cache")
    service = Service(paths, open_store(paths), Limits())
    define(service, "job")
    with pytest.raises(NotFoundError, match="no cluster 'default'"):
        call(service, "job_run", job="job")


# places


PLACES = ["/etc/passwd", "file:///etc/passwd", "passwd", "s3://private/payroll/"]


@pytest.mark.parametrize("place", PLACES)
def test_no_default_names_a_place_of_the_service(service: Service, place: str) -> None:
    parameters = {"input": {"type": "uri", "default": place}}
    with pytest.raises(InputError, match="PROFILE:path"):
        define(service, "job", parameters=parameters)
    define(service, "reader", parameters={"input": {"type": "uri"}}, arguments=["{input}"])
    body = {"parameters": parameters, "steps": {"a": {"job": "reader"}}}
    with pytest.raises(InputError, match="PROFILE:path"):
        call(service, "pipeline_define", pipeline="p", body=body)


@pytest.mark.parametrize("place", PLACES)
def test_no_step_names_one(
    service: Service, clusters: dict[str, Cluster], place: str, home: Path
) -> None:
    (home / "work" / "passwd").write_text("secret")
    define(service, "reader", parameters={"input": {"type": "uri"}}, arguments=["{input}"])
    steps = {"a": {"job": "reader", "parameters": {"input": place}}}
    call(service, "pipeline_define", pipeline="literal", body={"steps": steps})
    steps = {"a": {"job": "reader", "parameters": {"input": "{where}"}}}
    body = {"parameters": {"where": {"type": "string"}}, "steps": steps}
    call(service, "pipeline_define", pipeline="hidden", body=body)
    for pipeline, values in (("literal", {}), ("hidden", {"where": place})):
        with pytest.raises(InputError, match="PROFILE:path"):
            call(service, "pipeline_run", pipeline=pipeline, values=values)
    assert not clusters["nomad"].pipelines


def test_a_job_of_the_operators_is_held_to_it(service: Service, home: Path) -> None:
    (home / "work" / "p.py").write_text("")
    (home / "work" / "data").write_text("x")
    path = home / "work" / "mine.yaml"
    path.write_text("job: mine\nprogram: p.py\nparameters: {input: {type: uri, default: data}}\n")
    service.calls().manager.job_define(path)
    with pytest.raises(InputError, match=r"input: 'data': must lie below a storage profile"):
        call(service, "job_run", job="mine")


# names


@pytest.mark.parametrize("name", ["private.yaml", "secrets.yml", "etl.py", "a/b", "x.jar"])
def test_no_name_is_that_of_a_file(service: Service, home: Path, name: str) -> None:
    text = "job: private\nprogram: p.py\nconf: {spark.key: hunter2}\n"
    for each in ("private.yaml", "secrets.yml", "etl.py"):
        (home / "work" / each).write_text(text)
    asked: list[Callable[[], Any]] = [
        lambda: call(service, "job_show", job=name),
        lambda: call(service, "job_run", job=name),
        lambda: call(service, "pipeline_show", pipeline=name),
        lambda: call(service, "pipeline_run", pipeline=name),
        lambda: call(service, "pipeline_schedule", pipeline=name, schedule="0 3 * * *"),
        lambda: define(service, name),
        lambda: call(
            service, "pipeline_define", pipeline=name, body={"steps": {"a": {"job": "j"}}}
        ),
    ]
    define(service, "j")
    for ask in asked:
        with pytest.raises(SparknomadError) as refused:
            ask()
        assert refused.value.http_status in (400, 404)
        assert "hunter2" not in str(refused.value)
    assert [each["job"] for each in call(service, "job_list")] == ["j"]


# once


def once(service: Service, verb: str, key: str, **arguments: Any) -> Any:
    declared = service._declared[verb].declared
    (token,) = service.store.tokens()
    return service._once(verb, declared, token, arguments, key)


def test_a_run_whose_answer_was_lost_is_not_sent_as_another(
    service: Service, clusters: dict[str, Cluster]
) -> None:
    define(service, "job")
    clusters["nomad"].lose = True
    with pytest.raises(UnreachableError):
        once(service, "job_run", "key", job="job")
    (noted,) = service.calls().manager.store.runs()
    assert noted.state is RunState.PENDING
    made, status, _ = once(service, "job_run", "key", job="job")
    assert status == 201 and made["run"] == noted.run
    assert set(clusters["nomad"].sent) == {noted.run}
    (noted,) = service.calls().manager.store.runs()
    assert noted.state is not RunState.LOST


def test_what_was_refused_may_be_sent_anew_with_its_key(service: Service) -> None:
    with pytest.raises(NotFoundError):
        once(service, "job_run", "key", job="job")
    define(service, "job")
    assert once(service, "job_run", "key", job="job")[1] == 201


def test_a_pipeline_that_is_sent_again_has_the_same_runs(
    service: Service, clusters: dict[str, Cluster]
) -> None:
    define(service, "job")
    steps = {"a": {"job": "job", "retries": 2}, "b": {"job": "job", "after": ["a"]}}
    call(service, "pipeline_define", pipeline="p", body={"steps": steps})
    clusters["nomad"].lose = True
    with pytest.raises(UnreachableError):
        once(service, "pipeline_run", "key", pipeline="p")
    once(service, "pipeline_run", "key", pipeline="p")
    first, second = clusters["nomad"].pipelines
    assert first == second and len(set(first)) == 4
    once(service, "pipeline_run", "another", pipeline="p")
    assert not set(first) & set(clusters["nomad"].pipelines[-1])


def test_a_run_that_was_thought_lost_is_looked_after_when_it_is_sent_again(
    service: Service, clusters: dict[str, Cluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    define(service, "job")
    submit = clusters["nomad"]._submit

    def refuse(spec: ClusterSpec, submission: Submission) -> RunStatus:
        raise ClusterError("no leader")

    monkeypatch.setattr(clusters["nomad"], "_submit", refuse)
    with pytest.raises(ClusterError):
        once(service, "job_run", "key", job="job")
    (noted,) = service.calls().manager.store.runs()
    assert noted.state is RunState.LOST
    monkeypatch.setattr(clusters["nomad"], "_submit", submit)
    made, _, _ = once(service, "job_run", "key", job="job")
    again = service.calls().manager.job_wait(made["run"], timeout=20)
    assert again.run == noted.run and again.state is RunState.SUCCEEDED
