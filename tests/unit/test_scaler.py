"""How many workers there are, decided in the cluster, and when it is stopped."""

from __future__ import annotations

import dataclasses
import json
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudmesh.sparknomad.cluster.nomad.plans import cluster_jobs, run_meta
from cloudmesh.sparknomad.cluster.nomad.record import NomadCluster
from cloudmesh.sparknomad.errors import SpecError
from cloudmesh.sparknomad.incluster.scaler import Executors, Scaler, Site, demand, executors_of
from cloudmesh.sparknomad.model import Submission
from cloudmesh.sparknomad.specfile import build_spec
from cloudmesh.sparknomad.specs import ClusterSpec, JobSpec

SITE = Site("", 1, 4, 2, 2048)


@dataclass
class Cluster:
    """What Nomad, Spark and HDFS would say; the clock."""

    runs: list[dict[str, Any]] = field(default_factory=list)
    silent: list[dict[str, Any]] = field(default_factory=list)
    count: int = 1
    busy: set[int] = field(default_factory=set)
    lacks: int = 0
    copied: int = 0
    unseen: int = 0
    heard: int | None = None
    written: int = 7
    now: float = 0.0
    scaled: list[tuple[str, str, int]] = field(default_factory=list)

    def ask(self, path: str) -> Any:
        if path.startswith("/v1/jobs?prefix=run-"):
            assert 'filter=Status != "dead" and ParentID != ""' in unquote(path)
            return self.runs
        if path.startswith("/v1/allocations?namespace=*"):
            assert 'filter=ClientStatus == "unknown"' in unquote(path)
            return self.silent
        if path == "/v1/job/spark-worker/allocations":
            return [
                {"ID": f"a{index}", "DesiredStatus": "run", "Name": f"spark-worker.worker[{index}]"}
                for index in range(self.count)
            ]
        if path == "/v1/service/spark-worker":
            return [
                {"Address": "h", "Port": 7000 + index, "AllocID": f"a{index}"}
                for index in range(self.count)
            ]
        if path.startswith("/v1/service/"):
            return [{"Address": path.rpartition("/")[2], "Port": 1}]
        name = path.rpartition("/")[2]
        count = self.count if name == "spark-worker" else 1
        return {"TaskGroups": [{"Name": f"group of {name}", "Count": count}]}

    def page(self, url: str) -> Any:
        if url.endswith("name=NameNodeInfo"):
            heard = self.count if self.heard is None else self.heard
            nodes = {str(i): {"lastContact": 0 if i < heard else 30} for i in range(self.count)}
            return {"beans": [{"LiveNodes": json.dumps(nodes)}]}
        if "jmx" in url:
            told = {
                "MissingBlocks": 0,
                "UnderReplicatedBlocks": self.lacks,
                "PendingReplicationBlocks": self.copied,
                "NumInServiceLiveDataNodes": self.count + self.unseen,
            }
            return {"beans": [{**told, "LastWrittenTransactionId": self.written}]}
        workers = [
            {"host": "h", "port": 7000 + i, "state": "ALIVE", "coresused": int(i in self.busy)}
            for i in range(self.count)
        ]
        return {"workers": workers}

    def scale(self, job: str, group: str, count: int) -> None:
        self.scaled.append((job, group, count))
        if job == "spark-worker":
            self.count = count

    def scaler(self, **changes: Any) -> Scaler:
        return Scaler(
            (SITE,), self.ask, self.scale, page=self.page, clock=lambda: self.now, **changes
        )


def run_of(executors: str = "", site: str = "") -> dict[str, Any]:
    meta = {"run": "r", "executors": executors, "site": site}
    return {"ID": "run-r/dispatch-1", "Namespace": "default", "Meta": meta}


# demand


@pytest.mark.parametrize(
    ("runs", "workers"),
    [
        ([], 1),
        ([Executors(1, 1, 512)], 1),
        ([Executors(4, 1, 512)], 2),  # two of them fit one worker
        ([Executors(4, 1, 2048)], 4),  # by their memory one does
        ([Executors(100, 1, 512)], 4),
        ([Executors(None, 1, 512)], 4),
        ([Executors(1, 1, 512), Executors(1, 1, 512)], 1),
        ([Executors(2, 1, 512), Executors(1, 1, 512)], 2),
        ([Executors(1, 99, 512)], 1),
    ],
)
def test_workers_are_as_many_as_the_runs_can_use(runs: list[Executors], workers: int) -> None:
    assert demand(SITE, runs) == workers


@given(
    st.lists(
        st.builds(
            Executors, st.none() | st.integers(0, 50), st.integers(0, 9), st.integers(0, 9999)
        )
    )
)
def test_demand_keeps_its_bounds(runs: list[Executors]) -> None:
    assert SITE.least <= demand(SITE, runs) <= SITE.most


@given(st.text(max_size=12))
def test_any_metadata_can_be_read(text: str) -> None:
    assert executors_of({"executors": text}).cores is not None


def test_a_run_says_what_it_can_use() -> None:
    job = build_spec(
        JobSpec,
        {
            "job": "j",
            "program": "p.py",
            "resources": {"executors": {"count": {"max": 6}, "memory": "2g"}},
        },
        origin="test",
    )
    meta = run_meta(Submission("r", job, (), None, site="east"))
    assert executors_of(meta) == Executors(6, 1, 2048) and meta["site"] == "east"
    plain = build_spec(JobSpec, {"job": "j", "program": "p.py"}, origin="test")
    assert executors_of(run_meta(Submission("r", plain, (), None))).count is None


# scaling


def test_more_workers_come_at_once() -> None:
    cluster = Cluster(runs=[run_of("3:2:512")])
    cluster.scaler().look()
    assert cluster.scaled == [("spark-worker", "group of spark-worker", 3)]


def test_fewer_workers_come_one_at_a_time_and_only_after_a_while() -> None:
    cluster = Cluster(count=4)
    scaler = cluster.scaler()
    for cluster.now in (0, 30, 59):
        scaler.look()
    assert cluster.count == 4
    for cluster.now in range(60, 120, 2):
        scaler.look()
    assert cluster.count == 3  # HDFS needs 60 s to see that a DataNode is gone, and then copies
    for cluster.now in range(122, 400, 2):
        scaler.look()
    assert cluster.count == 1
    assert [count for _, _, count in cluster.scaled] == [3, 2, 1]


def test_no_worker_goes_while_another_is_not_heard_of() -> None:
    cluster = Cluster(count=3, heard=2)
    scaler = cluster.scaler()
    for cluster.now in range(0, 300, 2):
        scaler.look()
    assert cluster.count == 3


def test_a_while_begins_anew_when_there_is_work_again() -> None:
    cluster = Cluster(count=2)
    scaler = cluster.scaler()
    scaler.look()
    cluster.now, cluster.runs = 50, [run_of("2:2:512")]
    scaler.look()
    cluster.now, cluster.runs = 70, []
    scaler.look()
    assert cluster.count == 2


@pytest.mark.parametrize(
    ("changes", "left"),
    [
        ({"busy": {1}}, 2),
        ({"busy": {0}}, 1),
        ({"lacks": 3}, 2),
        ({"copied": 3}, 2),
        # It is not listed any more, but its blocks are still counted.
        ({"unseen": 1}, 2),
    ],
)
def test_a_worker_that_is_needed_stays(changes: dict[str, Any], left: int) -> None:
    cluster = Cluster(count=2, **changes)
    scaler = cluster.scaler()
    for cluster.now in range(0, 100, 2):
        scaler.look()
    assert cluster.count == left


def test_hdfs_has_to_be_whole_for_a_while_before_a_worker_goes() -> None:
    cluster = Cluster(count=2)
    scaler = cluster.scaler()
    for cluster.now in range(0, 100, 2):
        cluster.lacks = int(cluster.now % 10 == 8)
        scaler.look()
    assert cluster.count == 2
    for cluster.now in range(102, 116, 2):
        cluster.lacks = 0
        scaler.look()
    assert cluster.count == 2
    for cluster.now in range(116, 120, 2):
        scaler.look()
    assert cluster.count == 1


def test_a_run_of_another_site_brings_no_workers_here() -> None:
    cluster = Cluster(runs=[run_of("4:2:512", site="west")])
    cluster.scaler().look()
    assert cluster.scaled == []


def test_a_fixed_number_stays() -> None:
    cluster = Cluster(runs=[run_of("")], count=2)
    scaler = cluster.scaler()
    scaler.sites = (dataclasses.replace(SITE, least=2, most=2),)
    scaler.look()
    assert cluster.scaled == []


# idle


def test_a_cluster_without_runs_is_stopped_after_its_time() -> None:
    cluster = Cluster(runs=[run_of("1:1:1")])
    scaler = cluster.scaler(idle=100.0)
    assert not scaler.look()
    cluster.runs = []
    for cluster.now, stopped in ((10, False), (109, False), (111, True)):
        assert scaler.look() is stopped
    jobs = [job for job, _, count in cluster.scaled if count == 0]
    assert jobs == ["spark-worker", "spark-history", "spark-master", "hdfs", "gateway"]


def test_a_cluster_into_which_somebody_brings_an_input_is_not_idle() -> None:
    cluster = Cluster()
    scaler = cluster.scaler(idle=100.0)
    for cluster.now in range(0, 1000, 90):
        cluster.written += 1
        assert not scaler.look()
    assert not scaler.look()
    cluster.now += 101
    assert scaler.look()


@pytest.mark.parametrize(("seconds", "stopped"), [(10, False), (600, True)])
def test_a_run_whose_host_is_lost_keeps_no_cluster_awake(seconds: float, stopped: bool) -> None:
    run = run_of()
    since = (time.time() - seconds) * 1e9
    silent = {"ClientStatus": "unknown", "ModifyTime": since, "JobID": run["ID"]}
    cluster = Cluster(runs=[run], silent=[{**silent, "Namespace": run["Namespace"]}])
    scaler = cluster.scaler(idle=100.0)
    assert not scaler.look()
    cluster.now = 101
    assert scaler.look() is stopped


def test_without_idle_it_goes_on_for_ever() -> None:
    cluster = Cluster()
    scaler = cluster.scaler()
    scaler.look()
    cluster.now = 1e9
    assert not scaler.look() and cluster.scaled == []


# the spec


def spec_of(**fields: Any) -> ClusterSpec:
    return build_spec(ClusterSpec, fields, origin="test")


def record_of(spec: ClusterSpec) -> NomadCluster:
    from pathlib import Path

    from cloudmesh.sparknomad.cluster.nomad.wanted import wanted_cluster

    return wanted_cluster(spec, None, data=Path("d"), binary="nomad")


def test_bounds_and_idle_bring_a_scaler() -> None:
    spec = spec_of(workers={"min": 1, "max": 4}, idle="30m", cores=2)
    assert spec.scales and spec.all_workers == 1
    *others, scaler = cluster_jobs(record_of(spec), "4")
    assert scaler.id == "scaler" and scaler.variables["idle"] == 1800
    assert '"most": 4' in scaler.variables["sites"]
    workers = next(job for job in others if job.name == "spark-worker")
    assert workers.variables["workers"] == 1
    hdfs = next(job for job in others if job.name == "hdfs")
    assert hdfs.variables["replication"] == "2"  # the second worker will be one of two
    counted = cluster_jobs(record_of(spec), "4", counts={"": 3})
    assert next(j for j in counted if j.name == "spark-worker").variables["workers"] == 3


def test_a_fixed_number_without_idle_brings_none() -> None:
    assert "scaler" not in [job.id for job in cluster_jobs(record_of(spec_of(workers=3)), "4")]


@pytest.mark.parametrize(
    ("workers", "told"),
    [({"min": 3, "max": 2}, "min must be at most max"), ({"min": 1}, "max"), ({"max": 0}, "max")],
)
def test_wrong_bounds_are_told(workers: dict[str, int], told: str) -> None:
    with pytest.raises(SpecError, match=told):
        spec_of(workers=workers)


def test_a_cluster_whose_workers_come_by_themselves_is_not_scaled_by_hand() -> None:
    from cloudmesh.sparknomad.errors import InputError
    from cloudmesh.sparknomad.verbs.clusters import _with_workers

    with pytest.raises(InputError, match="come and go by themselves"):
        _with_workers(spec_of(workers={"max": 3}), 2, None)
    assert _with_workers(spec_of(workers=1, idle="1h"), 2, None).workers == 2
