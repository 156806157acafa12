"""Operating hosts, as far as no host is needed: entries, records, specs that differ."""

from __future__ import annotations

import asyncio
import os
import pty
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cloudmesh.sparknomad.cluster.nomad import client
from cloudmesh.sparknomad.cluster.nomad.client import Nomad
from cloudmesh.sparknomad.cluster.nomad.record import HostRecord, NomadCluster, remembered
from cloudmesh.sparknomad.cluster.nomad.wanted import refuse, wanted_cluster
from cloudmesh.sparknomad.compute import ssh
from cloudmesh.sparknomad.compute.inventory import Host, expand, names_of, without
from cloudmesh.sparknomad.errors import ConflictError, InputError, UnreachableError
from cloudmesh.sparknomad.manager import Sparknomad
from cloudmesh.sparknomad.model import ClusterState, ClusterStatus, Component
from cloudmesh.sparknomad.paths import Paths
from cloudmesh.sparknomad.progress import Progress
from cloudmesh.sparknomad.specfile import build_spec
from cloudmesh.sparknomad.specs import ClusterSpec


def spec_of(**fields: Any) -> ClusterSpec:
    return build_spec(ClusterSpec, {"hosts": ["a[1-4]"], **fields})


def cluster_of(spec: ClusterSpec, known: NomadCluster | None = None) -> NomadCluster:
    return wanted_cluster(spec, None, data=Path("/d"), binary="nomad", known=known)


def up(cluster: NomadCluster) -> NomadCluster:
    """As it is remembered once it was deployed."""
    hosts = tuple(
        replace(host, address=f"10.0.0.{number}", interface="eth0", joined=True)
        for number, host in enumerate(cluster.hosts, start=1)
    )
    return cluster.changed(hosts=hosts)


def test_a_host_is_taken_out_of_a_range() -> None:
    spec = spec_of(hosts=["x", {"host": "a[1-3]", "address": "10.0.0.[1-3]", "user": "me"}])
    left = without(spec.hosts, ["a2"])
    assert [(host.host, host.address, host.user) for host in left] == [
        ("x", None, None),
        ("a1", "10.0.0.1", "me"),
        ("a3", "10.0.0.3", "me"),
    ]
    assert without(spec.hosts, ["other"]) == spec.hosts
    assert names_of("rack[01-03]") == ["rack01", "rack02", "rack03"]


def test_what_a_deploy_has_made_here_is_known_to_the_next() -> None:
    made = {"sockets": "/tmp/sparknomad-0", "pid": 7, "created": 1.5, "task_ports": 30_000}
    known = cluster_of(spec_of()).changed(**made)
    again = cluster_of(spec_of(), known)
    assert {name: getattr(again, name) for name in made} == made


def test_servers_stay_servers_when_hosts_come_before_them() -> None:
    spec = spec_of(hosts=["new", "a[1-4]"], servers=3)
    assert [host.name for host in expand(spec.hosts, 3) if host.server] == ["new", "a1", "a2"]
    kept = expand(spec.hosts, 3, ["a1", "a2", "a3"])
    assert [host.name for host in kept if host.server] == ["a1", "a2", "a3"]


def test_what_was_found_of_a_host_is_not_forgotten_by_a_deploy_that_fails() -> None:
    known = up(cluster_of(spec_of()))
    again = cluster_of(spec_of(workers=3), known)
    assert [host.address for host in again.hosts] == [
        "10.0.0.1",
        "10.0.0.2",
        "10.0.0.3",
        "10.0.0.4",
    ]
    assert all(host.joined for host in again.hosts)
    assert (again.token, again.identity, again.workers) == (known.token, known.identity, 3)
    moved = remembered([HostRecord("a1", address="10.9.9.9")], known.hosts)
    assert (moved[0].address, moved[0].interface) == ("10.9.9.9", "")


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"hosts": ["a[1-3]"]}, "remove-hosts default a4"),
        ({"servers": 1}, "servers: a2, a3: keep the state"),
        ({"driver": "raw_exec"}, "driver: cluster 'default' runs on exec"),
        ({"directory": "/srv"}, "directory: cluster 'default' lies in"),
        ({"hosts": []}, "hosts: cluster 'default' runs on hosts"),
    ],
)
def test_what_a_deploy_cannot_change_is_refused(fields: dict[str, Any], told: str) -> None:
    known = up(cluster_of(spec_of(servers=3)))
    refuse("default", known, cluster_of(spec_of(servers=3, workers=4), known))
    with pytest.raises(ConflictError) as caught:
        refuse("default", known, cluster_of(spec_of(**{"servers": 3, **fields}), known))
    assert told in str(caught.value)


def test_a_cluster_without_a_host_that_it_may_do_without_serves() -> None:
    parts = (Component("host", "a1", False), Component("master", "m", True))
    status = ClusterStatus("c", "nomad", ClusterState.DEGRADED, 2, 3, parts)
    assert not status.serves(spec_of(workers=3))
    assert status.serves(spec_of(workers=3, min_workers=2))
    assert not status.serves(spec_of(workers=3, min_workers=3))
    broken = replace(status, components=(*parts, Component("worker", "w", False)))
    assert not broken.serves(spec_of(workers=3, min_workers=2))


def test_several_servers_that_are_off_are_told_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_ELECTION_SECONDS", 0.5)
    nomad = Nomad("http://127.0.0.1:9", "", others=["http://127.0.0.1:10"])
    assert nomad.leader() == ""
    with pytest.raises(UnreachableError, match="does not answer"):
        nomad._once("nodes", lambda: nomad._nomad.nodes.get_nodes())


def test_a_diff_of_a_cluster_that_is_not_there(home: Path) -> None:
    manager = Sparknomad(Paths.from_environment())
    (change,) = manager.cluster_diff(spec_of())
    assert (change.subject, change.after) == ("cluster", "deployed")


def test_a_host_that_hangs_is_given_up_when_enough_others_have_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ssh, "_GRACE_SECONDS", 0.2)

    async def do(host: Host) -> str:
        await asyncio.sleep(60 if host.name == "slow" else 0)
        if host.name == "bad":
            raise UnreachableError("bad: is off")
        return host.name

    hosts = [Host("a"), Host("slow"), Host("bad"), Host("b")]
    begun = time.monotonic()
    answers = asyncio.run(ssh.each_host(hosts, do, enough=2))
    assert time.monotonic() - begun < 5
    assert (answers["a"], answers["b"]) == ("a", "b")
    assert "has not answered for 0 s" in str(answers["slow"])
    assert "is off" in str(answers["bad"])


def test_hosts_are_a_table_on_a_terminal_and_nothing_in_a_pipe(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    progress = Progress(quiet=False)
    progress.show("a", "logging in")
    assert capsys.readouterr().err == ""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr("sys.stderr", terminal)
        progress.show("a", "logging in")
        progress.show("b", "logging in")
        progress.say("hello")
        progress.show("a", "joined")
        progress.show("", "")
        progress.say("done")
    told = b""
    while b"done" not in told:
        told += os.read(ours, 65536)
    os.close(ours)
    shown = told.decode()
    assert "\x1b[1A\x1b[J  a " in shown
    last = shown.split("\x1b[J")[-1].splitlines()
    assert [line.split(None, 1) for line in last[:2]] == [["a", "joined"], ["b", "logging in"]]
    assert last[2].endswith("done")


def test_docker_on_hosts_is_refused() -> None:
    with pytest.raises(InputError, match="driver: docker: hosts get the image as files"):
        cluster_of(spec_of(driver="docker"))
