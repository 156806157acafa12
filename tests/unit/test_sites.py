"""Sites: what a spec says of them, where a run goes, and what crossed between them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from cloudmesh.sparknomad.cluster.nomad.configuration import host_configuration
from cloudmesh.sparknomad.cluster.nomad.plans import cluster_jobs
from cloudmesh.sparknomad.cluster.nomad.record import NomadCluster
from cloudmesh.sparknomad.cluster.nomad.wanted import wanted_cluster
from cloudmesh.sparknomad.cluster.sites import SiteStatus, choose_site
from cloudmesh.sparknomad.errors import NotFoundError, SpecError, UnreachableError
from cloudmesh.sparknomad.incluster.run_sites import site_report
from cloudmesh.sparknomad.specfile import build_spec, spec_to_dict
from cloudmesh.sparknomad.specs import ClusterSpec

GIB = 1024**3
DOCUMENT = {
    "cluster": "wide",
    "workers": 3,
    "memory": "2g",
    "hosts": [{"host": "extra", "site": "east"}],
    "sites": {
        "east": {"hosts": ["e[1-2]"], "cores": 4},
        "west": {"hosts": [{"host": "w1", "user": "ubuntu"}], "workers": 1, "memory": "8g"},
    },
}


def spec_of(**changes: object) -> ClusterSpec:
    return build_spec(ClusterSpec, {**DOCUMENT, **changes}, origin="test")


def site(name: str, *, room: int = 1, problem: str = "") -> SiteStatus:
    return SiteStatus(name, room, 1, ((1, GIB),) * room, problem)


# the spec


def test_every_host_knows_its_site_and_what_is_not_said_is_the_clusters() -> None:
    spec = spec_of()
    assert {(host.host, host.site) for host in spec.hosts} == {
        ("extra", "east"),
        ("e[1-2]", "east"),
        ("w1", "west"),
    }
    assert spec.parts["east"] == dataclasses.replace(spec.parts["east"], workers=3, cores=4)
    assert (spec.parts["west"].workers, spec.parts["west"].memory) == (1, 8 * GIB)
    assert spec.all_workers == 4


def test_a_spec_with_sites_can_be_written_and_read_again() -> None:
    assert build_spec(ClusterSpec, spec_to_dict(spec_of()), origin="test") == spec_of()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"hosts": ["extra"]}, "site of extra: None: must be one of the sites: east, west"),
        ({"hosts": [{"host": "x", "site": "north"}]}, "'north': must be one of the sites"),
        ({"sites": {}}, "none are given under sites"),
        ({"sites": {"east": {"hosts": ["e1"]}, "west": {}}}, "sites.west: has no hosts"),
        ({"sites": {"East!": {"hosts": ["e1"]}}}, "sites"),
        ({"sites": {"east": {"hosts": ["e1"], "wokers": 1}}}, "workers"),
    ],
)
def test_a_wrong_site_is_told(changes: dict[str, object], told: str) -> None:
    with pytest.raises(SpecError, match=told):
        spec_of(**changes)


# what Nomad is sent


def cluster_of(spec: ClusterSpec) -> NomadCluster:
    return wanted_cluster(spec, None, data=Path("data"), binary="nomad")


def test_each_site_has_jobs_of_its_own_in_its_datacenter() -> None:
    jobs = {job.id: job for job in cluster_jobs(cluster_of(spec_of()), "4")}
    names = ("gateway", "hdfs", "spark-master", "spark-worker", "spark-history")
    assert set(jobs) == {f"{name}-{where}" for name in names for where in ("east", "west")}
    east, west = jobs["spark-worker-east"].variables, jobs["spark-worker-west"].variables
    assert (east["site"], east["workers"], east["cores"], east["memory_mb"]) == ("east", 3, 4, 2048)
    assert (west["site"], west["workers"], west["cores"], west["memory_mb"]) == ("west", 1, 1, 8192)
    assert jobs["hdfs-west"].variables["replication"] == "1"


def test_without_sites_nothing_has_another_name() -> None:
    spec = build_spec(ClusterSpec, {"hosts": ["a"]}, origin="test")
    jobs = {job.id: job for job in cluster_jobs(cluster_of(spec), "4")}
    assert set(jobs) == {"gateway", "hdfs", "spark-master", "spark-worker", "spark-history"}
    assert all(job.variables["site"] == "" for job in jobs.values())


def test_an_agent_is_in_the_datacenter_of_its_site() -> None:
    cluster = cluster_of(spec_of())
    found = {
        host.name: host_configuration(cluster, host, [], Path("/x"))["datacenter"]  # type: ignore[arg-type]
        for host in cluster.hosts
    }
    assert found == {"extra": "east", "e1": "east", "e2": "east", "w1": "west"}


def test_a_record_with_sites_can_be_written_and_read_again(tmp_path: Path) -> None:
    cluster = cluster_of(spec_of())
    assert NomadCluster.read(tmp_path) is None
    assert NomadCluster.read(cluster.write(tmp_path) and tmp_path) == cluster


# where a run goes


def test_a_run_goes_to_its_largest_input() -> None:
    chosen = choose_site(
        [site("east"), site("west")], {"east": 5, "west": 2 * GIB}, cores=1, memory=1
    )
    assert chosen.site == "west" and not chosen.moved
    assert "largest input is near (2.0g)" in chosen.reason or "2g" in chosen.reason


def test_a_run_without_inputs_of_a_site_goes_to_the_first() -> None:
    chosen = choose_site([site("east"), site("west")], {}, cores=1, memory=1)
    assert chosen.site == "east" and "no input says where it is" in chosen.reason


@pytest.mark.parametrize(
    ("west", "why"),
    [
        (site("west", problem="it has no workers"), "it has no workers"),
        (site("west", room=0), "no room"),
    ],
)
def test_a_site_that_is_down_or_full_is_left_for_the_next(west: SiteStatus, why: str) -> None:
    chosen = choose_site([site("east"), west], {"west": 7}, cores=1, memory=1)
    assert chosen.site == "east" and chosen.moved
    assert "not west" in chosen.reason and why in chosen.reason


def test_where_all_are_full_the_run_waits_near_its_data() -> None:
    full = [site("east", room=0), site("west", room=0)]
    assert choose_site(full, {"west": 7}, cores=1, memory=1).site == "west"


def test_room_is_that_of_one_worker() -> None:
    two = SiteStatus("east", 2, 2, ((1, GIB), (1, GIB)))
    assert two.has_room(1, GIB)
    assert not two.has_room(2, GIB) and not two.has_room(1, 2 * GIB)


def test_what_is_asked_for_is_taken_though_it_is_full() -> None:
    sites = [site("east"), site("west", room=0)]
    assert choose_site(sites, {}, cores=1, memory=1, forced="west").site == "west"


def test_a_site_that_can_not_be_had_is_told() -> None:
    down = [site("east", problem="off"), site("west", problem="off too")]
    with pytest.raises(UnreachableError, match="east: off; west: off too"):
        choose_site(down, {}, cores=1, memory=1)
    with pytest.raises(UnreachableError, match="'west' is not up: off too"):
        choose_site(down, {}, cores=1, memory=1, forced="west")
    with pytest.raises(NotFoundError, match="no site 'north'; it has: east, west"):
        choose_site(down, {}, cores=1, memory=1, forced="north")
    with pytest.raises(NotFoundError, match="it has no sites"):
        choose_site([], {}, cores=1, memory=1, forced="north")


# the report


def test_what_was_staged_from_another_site_crossed_once() -> None:
    run = {"site": "west", "site_reason": "asked", "sites": {"input": "east", "output": "west"}}
    report = {"inputs": {"input": {"staged": True, "bytes": 100, "fetched_bytes": 100}}}
    told = site_report(run, report)
    assert told["crossed_bytes"] == 100
    assert told["crossed"] == {"input": {"site": "east", "bytes": 100}}
    cached = {"inputs": {"input": {"staged": True, "bytes": 100, "fetched_bytes": 0}}}
    assert site_report(run, cached)["crossed_bytes"] == 0


def test_what_spark_moves_itself_is_counted_beside_what_was_staged() -> None:
    run = {"site": "west", "sites": {"a": "east", "b": "east", "out": "east"}}
    report = {
        "input_bytes": 150,
        "output_bytes": 7,
        "inputs": {"a": {"staged": True, "bytes": 100, "fetched_bytes": 60}},
    }
    told = site_report(run, report)
    assert told["crossed_bytes"] == 60 + 50 + 7
    assert told["crossed"]["b"] == {"site": "east", "bytes": None}


def test_a_run_at_its_data_crosses_nothing_and_without_sites_nothing_is_told() -> None:
    near = {"site": "east", "sites": {"input": "east"}}
    assert site_report(near, {"input_bytes": 9})["crossed_bytes"] == 0
    assert site_report({"sites": {"input": "east"}}, {"input_bytes": 9}) == {}
