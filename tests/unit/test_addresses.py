"""A run follows the cluster's servers when they move, and not what only looks so."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from cloudmesh.sparknomad.incluster.addresses import Servers, find_servers, server_places

HERE = {"master": "h:1", "master_ui": "h:2", "hdfs": "h:3", "hdfs_http": "h:4"}
THERE = {**HERE, "master": "g:9", "hdfs": "g:8"}


class Place:
    """A run's document, and where Nomad says that the servers are."""

    def __init__(self, *, moves: bool = True) -> None:
        self.now = 0.0
        self.told: Any = HERE
        places = server_places(HERE)
        self.cluster: dict[str, Any] = {
            **places,
            "staging": {"prefix": "hdfs://h:3", "root": "/sparknomad/staged"},
            **({"moves": True} if moves else {}),
        }
        self.servers = Servers(self.cluster, self.find, lambda: self.now, self.start)

    @staticmethod
    def start(look: Callable[[], bool]) -> Future[bool]:
        done: Future[bool] = Future()
        done.set_result(look())
        return done

    def find(self, names: Iterable[str]) -> dict[str, str]:
        del names
        if isinstance(self.told, Exception):
            raise self.told
        return dict(self.told)

    def wait(self, seconds: float) -> bool:
        """Look all the time; whether they have moved."""
        until = self.now + seconds
        while self.now < until:
            self.now += 0.02
            if self.servers.have_moved():
                return True
        return False


def test_a_run_uses_the_servers_where_they_are() -> None:
    place = Place()
    assert not place.servers.renew()
    place.told = THERE
    assert place.servers.renew() and not place.servers.renew()
    assert place.cluster["master"] == "spark://g:9"
    assert place.cluster["storage"] == "hdfs://g:8/sparknomad"
    assert place.cluster["staging"] == {"prefix": "hdfs://g:8", "root": "/sparknomad/staged"}


def test_a_move_counts_when_it_lasts() -> None:
    place = Place()
    assert not place.wait(60)
    place.told = THERE
    assert not place.wait(9)
    place.told = HERE  # they have come back
    assert not place.wait(60)
    place.told = THERE
    assert place.wait(20)
    place.servers.renew()
    assert not place.wait(60)


@pytest.mark.parametrize(
    "told", [{**HERE, "master": ""}, {}, OSError("away"), ValueError("half written")]
)
def test_what_is_not_known_now_is_no_move(told: Any) -> None:
    place = Place()
    place.told = told
    assert not place.wait(60) and not place.servers.renew()
    assert place.cluster["master"] == "spark://h:1"


def test_an_embedded_cluster_never_moves() -> None:
    place = Place(moves=False)
    place.told = THERE
    assert not place.wait(60) and not place.servers.renew()


def test_a_task_reads_what_nomad_renders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "services.json").write_text(json.dumps(HERE))
    monkeypatch.setenv("NOMAD_TASK_DIR", str(tmp_path))
    monkeypatch.setenv("NOMAD_NAMESPACE", "default")
    assert find_servers() == HERE


@pytest.mark.parametrize(("site", "suffix"), [("", ""), ("east", "-east")])
def test_a_task_of_another_namespace_asks_for_those_of_its_site(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, site: str, suffix: str
) -> None:
    (tmp_path / "services.json").write_text(json.dumps(dict.fromkeys(HERE, "")))
    names = {"NOMAD_TASK_DIR": str(tmp_path), "NOMAD_SECRETS_DIR": str(tmp_path)}
    more = {"NOMAD_NAMESPACE": "runs", "SPARKNOMAD_NOMAD": "h:4646", "NOMAD_META_site": site}
    for name, value in {**names, **more}.items():
        monkeypatch.setenv(name, value)
    place = "cloudmesh.sparknomad.incluster.run_private.server_address"
    monkeypatch.setattr(place, lambda address, private, name: f"at {name}")
    assert find_servers()["master_ui"] == f"at spark-master-ui{suffix}"


def test_a_program_that_needs_no_hdfs_goes_on_without_its_name_node() -> None:
    place = Place()
    place.told = {**HERE, "hdfs": "g:8", "hdfs_http": ""}
    assert not place.wait(120)
