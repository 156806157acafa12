"""The Nomad agent of this machine, started for real without a cluster upon it."""

from __future__ import annotations

import contextlib
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloudmesh.sparknomad.cluster.nomad import agent, binary
from cloudmesh.sparknomad.cluster.nomad.record import HOST, NomadCluster
from cloudmesh.sparknomad.cluster.nomad.wanted import wanted_cluster
from cloudmesh.sparknomad.configuration import Configuration
from cloudmesh.sparknomad.errors import ClusterError
from cloudmesh.sparknomad.ports import free_ports
from cloudmesh.sparknomad.specs import ClusterSpec, TaskDriver
from cloudmesh.sparknomad.waiting import Deadline

pytestmark = pytest.mark.nomad

SECONDS = 60
MEMORY_MB = 1024


@contextlib.contextmanager
def taken_by_udp() -> Iterator[int]:
    """A port that looks free to who asks by TCP alone."""
    (port,) = free_ports(1)
    with socket.socket(type=socket.SOCK_DGRAM) as taker:
        taker.bind((HOST, port))
        yield port


@pytest.fixture
def record(cache: Path, tmp_path: Path) -> Iterator[NomadCluster]:
    """What is remembered of an agent that has not been started yet."""
    nomad = binary.find_nomad(Configuration(), cache, print)
    spec = ClusterSpec(cluster="alone", driver=TaskDriver.RAW_EXEC)
    try:
        yield wanted_cluster(spec, None, data=tmp_path / "data", binary=str(nomad))
    finally:
        made = NomadCluster.read(tmp_path)
        if made:
            agent.stop_agent(made)
            shutil.rmtree(made.sockets, ignore_errors=True)


def started(record: NomadCluster, directory: Path, said: list[str]) -> NomadCluster:
    deadline = Deadline(SECONDS)
    return agent.ensure_agent("alone", directory, record, deadline, said.append, MEMORY_MB)


def test_an_agent_chooses_other_ports_than_those_taken_before_it(
    record: NomadCluster, tmp_path: Path
) -> None:
    http, rpc = free_ports(2)
    said: list[str] = []
    with taken_by_udp() as serf:
        ports = {"http": http, "rpc": rpc, "serf": serf}
        made = started(record.changed(ports=ports), tmp_path, said)
    assert set(made.ports.values()).isdisjoint(ports.values())
    assert agent.answers(made) == ""
    assert len([line for line in said if line.endswith("meanwhile: choosing others")]) == 1


def test_an_agent_gives_up_when_every_choice_is_taken(
    record: NomadCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    with taken_by_udp() as serf:
        choices = iter([[*free_ports(2), serf] for _ in range(3)])
        monkeypatch.setattr(agent, "free_ports", lambda count: next(choices))
        with pytest.raises(ClusterError, match="address already in use") as caught:
            started(record, tmp_path, said)
    assert "agent.log" in str(caught.value.hint)
    assert len([line for line in said if "choosing others" in line]) == 2
    assert next(choices, None) is None


def test_an_agent_of_which_nobody_took_note_is_no_second_one(
    record: NomadCluster, tmp_path: Path
) -> None:
    """As when a command is killed after it has started the agent, and before it says so."""
    first = started(record, tmp_path, [])
    first.changed(pid=0, created=0.0).write(tmp_path)
    again = started(first.changed(pid=0, created=0.0), tmp_path, [])
    assert not first.agent.alive and again.agent.alive and again.pid != first.pid
    assert agent.answers(again) == ""
