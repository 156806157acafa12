"""HDFS has copies elsewhere before workers go."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from cloudmesh.sparknomad.cluster.nomad import leaving
from cloudmesh.sparknomad.cluster.nomad.client import Nomad
from cloudmesh.sparknomad.cluster.nomad.leaving import Leaving, are_spared
from cloudmesh.sparknomad.cluster.nomad.record import SiteRecord
from cloudmesh.sparknomad.cluster.nomad.variables import Variable
from cloudmesh.sparknomad.errors import ClusterError
from cloudmesh.sparknomad.waiting import Deadline

SERVICE, PROGRESS, DONE = "In Service", "Decommission In Progress", "Decommissioned"
PATH = "nomad/jobs/hdfs-east/namenode"


def info(alone: int = 0, safe_mode: str = "", **states: str) -> dict[str, Any]:
    """What a NameNode tells of DataNodes on the ports 1, 2, … in these states."""
    nodes = {f"h:{key}": {"xferaddr": f"h:{key[1:]}", "adminState": states[key]} for key in states}
    going = {
        key: {"xferaddr": node["xferaddr"], "decommissionOnlyReplicas": alone}
        for key, node in nodes.items()
        if node["adminState"] == PROGRESS
    }
    told = {"LiveNodes": json.dumps(nodes), "DecomNodes": json.dumps(going)}
    return {**told, "Safemode": safe_mode}


@pytest.mark.parametrize(
    ("told", "left", "spared"),
    [
        (info(p1=SERVICE, p2=SERVICE, p3=SERVICE), 2, False),
        (info(p1=SERVICE, p2=SERVICE, p3=PROGRESS), 2, False),
        (info(p1=SERVICE, p2=SERVICE, p3=DONE), 2, True),
        (info(p1=SERVICE, p2=SERVICE), 2, True),  # it is gone
        (info(p1=SERVICE, p3=SERVICE), 1, False),  # it is not yet known that it goes
        (info(3, p1=SERVICE, p3=PROGRESS), 1, False),
        (info(0, p1=SERVICE, p3=PROGRESS), 1, True),  # one alone can't keep two copies
        (info(0, "Safe mode is ON.", p1=SERVICE, p3=DONE), 1, False),
    ],
)
def test_workers_are_spared_when_nothing_is_on_them_alone(
    told: dict[str, Any], left: int, spared: bool
) -> None:
    assert are_spared(told, {"h:3"}, left) == spared


@dataclass
class Cluster:
    """A Nomad with three workers, and an HDFS that obeys its Variable."""

    copies: bool = True
    answers: bool = True
    listed: list[str] = field(default_factory=list)
    live: int = 3
    workers: int = 3

    def allocations(self, job: str) -> list[dict[str, Any]]:
        assert job == "spark-worker-east"
        worker = {"DesiredStatus": "run", "ClientStatus": "running"}
        ended = {"DesiredStatus": "stop", "ClientStatus": "complete"}
        names = [f"{job}.worker[{index}]" for index in range(self.workers)]
        found = [{"ID": name[-2], "Name": name, **worker} for name in names]
        return [*found, {"ID": "9", "Name": f"{job}.worker[9]", **ended}]

    def allocation(self, allocation: str) -> dict[str, Any]:
        ports = [
            {"Label": "rpc", "HostIP": "h", "Value": 70},
            {"Label": "hdfs", "HostIP": "h", "Value": int(allocation) + 1},
        ]
        return {"AllocatedResources": {"Shared": {"Ports": ports}}}

    def variable(self, path: str) -> Variable | None:
        assert path == PATH
        return Variable({"leaving": "\n".join(self.listed)}, 1) if self.listed else None

    def put_variable(self, path: str, items: Mapping[str, str]) -> None:
        assert path == PATH
        self.listed = items["leaving"].split("\n")

    def delete_variable(self, path: str) -> None:
        assert path == PATH
        self.listed = []

    def json(self, service: str, path: str) -> dict[str, Any]:
        assert (service, path) == (
            "hdfs-http",
            "/jmx?qry=Hadoop:service=NameNode,name=NameNodeInfo",
        )
        if not self.answers:
            raise ConnectionError("nobody is there")
        states = {
            f"p{port}": (DONE if self.copies else PROGRESS)
            if f"h:{port}" in self.listed
            else SERVICE
            for port in range(1, self.live + 1)
        }
        return {"beans": [info(7, **states)]}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster()

    class Access:
        def __init__(self, nomad: object, site: str) -> None:
            assert nomad is made and site == "east"

        json = staticmethod(made.json)

    monkeypatch.setattr(leaving, "Access", Access)
    return made


def keep(cluster: Cluster, workers: int, seconds: float = 10) -> list[str]:
    said: list[str] = []
    site = SiteRecord("east", workers, 1, 1, 0)
    Leaving(cast("Nomad", cluster), site, said.append).keep(workers, Deadline(seconds))
    return said


def test_those_of_the_highest_index_go(cluster: Cluster) -> None:
    said = keep(cluster, 2)
    assert cluster.listed == ["h:3"]
    assert said == ["letting HDFS copy what only 1 of the workers have"]


def test_nothing_happens_where_none_is_too_many(cluster: Cluster) -> None:
    cluster.answers = False  # nor is HDFS needed
    assert keep(cluster, 3) == keep(cluster, 5) == []
    assert cluster.listed == []


def test_those_that_have_gone_stay_listed_until_hdfs_has_seen_it(cluster: Cluster) -> None:
    cluster.listed, cluster.workers = ["h:3"], 2
    keep(cluster, 2)
    assert cluster.listed == ["h:3"]
    cluster.live = 2
    keep(cluster, 2)
    assert cluster.listed == []


def test_a_worker_that_came_in_the_place_of_one_is_none_that_goes(cluster: Cluster) -> None:
    cluster.listed = ["h:3"]
    keep(cluster, 3)
    assert cluster.listed == []


def test_they_stay_where_hdfs_cannot_copy_in_time(cluster: Cluster) -> None:
    cluster.copies = False
    with pytest.raises(
        ClusterError, match=r"could not copy everything .* on 1 .* they stay"
    ) as raised:
        keep(cluster, 2, 0.4)
    assert "--timeout" in raised.value.hint and cluster.listed == []


def test_they_stay_where_hdfs_does_not_answer(cluster: Cluster) -> None:
    cluster.answers = False
    with pytest.raises(ClusterError, match="HDFS did not answer"):
        keep(cluster, 2, 0.4)
    assert cluster.listed == []
