"""Machines that end themselves when their cluster is idle; the whole way is an acceptance test."""

from __future__ import annotations

import base64
import dataclasses
import re
import subprocess
import time
from pathlib import Path

import pytest
from unit.test_clouds_accounts import EC2, REQUEST, Open, Sky, managers, opened, spec

from cloudmesh.sparknomad.cluster.nomad.hosts.idling import idle_token, watching
from cloudmesh.sparknomad.cluster.nomad.hosts.scripts import script
from cloudmesh.sparknomad.cluster.nomad.record import HostRecord, NomadCluster
from cloudmesh.sparknomad.compute.kinds.clouds import cloud_of
from cloudmesh.sparknomad.compute.machines import MachineState
from cloudmesh.sparknomad.manager import Sparknomad
from cloudmesh.sparknomad.model import ClusterState, ClusterStatus
from cloudmesh.sparknomad.specs import ClusterSpec

__all__ = ["opened"]

# the loop beside an agent


def look(place: Path, answers: list[str], rounds: int) -> tuple[int, bool]:
    """Run the loop until its answers are used up; how many were asked for, and whether it ended."""
    home = place / "c"
    (home / "tls").mkdir(parents=True)
    (home / "idle-token").write_text("t")
    (home / "answers").write_text("".join(f"{answer}\n" for answer in answers))
    # A fake Nomad gives the next answer; with the last it takes away what lets the loop go on.
    (place / "nomad").write_text(
        "#!/bin/sh\n"
        '[ "$NOMAD_TOKEN" = t ] && [ "$*" = "job inspect -t {{range .TaskGroups}}{{.Count}}{{end}} '
        'scaler" ] || exit 1\n'
        "head -n 1 answers\nsed -i 1d answers\necho >>asked\n[ -s answers ] || rm -f idle.sh\n"
    )
    (place / "nomad").chmod(0o755)
    words = script(
        "idle", place=str(home), address="10.0.0.5", rounds=str(rounds),
        power_off="touch off; rm -f idle.sh",
    ).replace("sleep 10", "sleep 0")  # fmt: skip
    (home / "idle.sh").write_text(words)
    subprocess.run(["sh", str(home / "idle.sh")], check=True, timeout=20)
    return len((home / "asked").read_text().splitlines()), (home / "off").exists()


@pytest.mark.parametrize(
    ("answers", "asked", "ends"),
    [
        (["1", "1", "1", "1"], 4, False),
        (["0", "0", "0", "1"], 3, True),
        # What is deployed again before the time is over stays on.
        (["0", "0", "1", "0", "0"], 5, False),
        # Servers that have seen it, too, may be off by now; without that nothing is known.
        (["0", "", "", "1"], 3, True),
        (["", "", "", ""], 4, False),
    ],
)
def test_a_machine_ends_when_the_scaler_has_been_away_for_a_while(
    tmp_path: Path, answers: list[str], asked: int, ends: bool
) -> None:
    assert look(tmp_path / "var lib", answers, 3) == (asked, ends)


def test_the_loop_ends_at_once_when_it_is_told_to(tmp_path: Path) -> None:
    place = tmp_path / "c"
    place.mkdir()
    (place / "idle.sh").write_text(
        script("idle", place=str(place), address="10.0.0.5", rounds="3", power_off="false")
    )
    with subprocess.Popen(["sh", str(place / "idle.sh")]) as loop:
        give_up = time.monotonic() + 10
        while not (place / "idle").exists() or not children(loop.pid):
            assert time.monotonic() < give_up
            time.sleep(0.01)
        (child,) = children(loop.pid)
        loop.terminate()
        assert loop.wait(5) == 0
    assert not Path(f"/proc/{child}").exists()


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_servers_go_last_and_nothing_secret_is_an_argument() -> None:
    cluster = NomadCluster(
        data="", binary="", token="t", spark_secret="s", ports={}, driver="exec", image_id="i",
        tag="", rootfs="", spark="4", workers=1, cores=1, memory=1, directory="/var/lib/x/c",
    )  # fmt: skip
    hosts = [HostRecord("h", "10.0.0.1", server=True), HostRecord("w", "10.0.0.2")]
    for host, rounds in zip(hosts, (18, 6), strict=True):
        words = watching(cluster, host, "poweroff", "SECRET")
        assert "SECRET" not in words  # in base64, on standard input
        loop, token = (
            base64.b64decode(told).decode()
            for told in re.findall(r"<<'END'\n(.*?)END", words, re.S)
        )
        assert f"rounds={rounds}\n" in loop and "power_off=poweroff\n" in loop
        assert token == "SECRET" and "SECRET" not in loop


class Tokens:
    """What `idle_token` asks of Nomad."""

    def __init__(self) -> None:
        self.there = {"a": "of somebody else"}
        self.policies: dict[str, str] = {}
        self.made = 0

    def put_policy(self, name: str, rules: str, job: str = "", about: str = "") -> None:
        del job, about
        self.policies[name] = rules

    def tokens(self) -> list[dict[str, str]]:
        return [{"AccessorID": accessor, "Name": name} for accessor, name in self.there.items()]

    def create_token(self, body: dict[str, str]) -> dict[str, str]:
        self.made += 1
        self.there[f"n{self.made}"] = body["Name"]
        return {"SecretID": "s"}

    def delete_token(self, accessor: str) -> None:
        del self.there[accessor]


def test_there_is_one_token_that_only_reads_jobs() -> None:
    nomad = Tokens()
    for _ in range(3):
        assert idle_token(nomad) == "s"  # type: ignore[arg-type]
        assert len(nomad.there) == 2
    assert nomad.policies == {
        "sparknomad-idle": 'namespace "default" { capabilities = ["read-job"] }\n'
    }


# machines


def test_at_ec2_a_machine_that_is_off_has_ended() -> None:
    from libcloud.compute.drivers.ec2 import EC2NodeDriver

    driver = EC2NodeDriver("k", "s", region=EC2["region"])

    def asked(**more: object) -> object:
        made = cloud_of("ec2").create_arguments(driver, spec(**more), REQUEST)
        return made["ex_terminate_on_shutdown"]

    assert asked() is True
    assert asked(power_off="") is False
    assert asked(create={"ex_terminate_on_shutdown": False}) is False


@pytest.fixture
def manager(opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sparknomad:
    monkeypatch.setenv("SPARKNOMAD_CACHE", str(tmp_path / "cache"))
    made = managers(tmp_path, monkeypatch, "first")
    made.compute_create("farm", "sky", count=2, timeout=5)
    return made


def cluster(**more: object) -> ClusterSpec:
    fields = {"cluster": "c", "hosts": ({"compute": "farm"},), "idle": 60.0, **more}
    return ClusterSpec(**fields)  # type: ignore[arg-type]


def turn_off(count: int, state: MachineState = MachineState.STOPPED) -> None:
    for machine in list(Sky.accounts["a"].values())[:count]:
        Sky.accounts["a"][machine.id] = dataclasses.replace(machine, state=state)


def test_a_cluster_has_ended_when_all_its_machines_are_off(manager: Sparknomad) -> None:
    assert manager._ended_machines(cluster()) is None
    turn_off(1)
    assert manager._ended_machines(cluster()) is None  # one that was lost is mended
    turn_off(2)
    ((group, machines),) = manager._ended_machines(cluster()) or ()
    assert group.name == "farm" and len(machines) == 2
    assert manager._ended_machines(cluster(idle=None)) is None
    with_own = cluster(hosts=({"compute": "farm"}, {"host": "10.0.0.9"}))
    assert manager._ended_machines(with_own) is None
    Sky.accounts["a"].clear()
    assert manager._ended_machines(cluster()) == [(group, [])]


def test_only_machines_that_were_created_end_themselves(manager: Sparknomad) -> None:
    (host, _) = manager._with_machines(cluster(), create=False, timeout=5).hosts
    assert manager._power_off(host.labels) == "poweroff"
    assert manager._power_off({}) == manager._power_off({"sparknomad_group": "other"}) == ""


def test_the_status_tells_that_machines_have_ended(manager: Sparknomad) -> None:
    manager.store.put_cluster(cluster(), ClusterState.RUNNING)
    record = manager._cluster("c")
    stopped = ClusterStatus("c", "nomad", ClusterState.STOPPED, 0, 2, reason="nobody answers")
    assert manager._with_reason(record, stopped).reason == "nobody answers"
    turn_off(2)
    told = manager._with_reason(record, stopped).reason
    assert told.startswith("its machines have ended: nothing was run for 1m")
    running = dataclasses.replace(stopped, state=ClusterState.RUNNING)
    assert manager._with_reason(record, running) is running


def test_a_clouds_silence_changes_no_status(
    manager: Sparknomad, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn_off(2)
    monkeypatch.setenv("SKY_USER", "b")  # who lists none of them
    manager.store.put_cluster(cluster(), ClusterState.RUNNING)
    stopped = ClusterStatus("c", "nomad", ClusterState.STOPPED, 0, 2, reason="nobody answers")
    assert manager._with_reason(manager._cluster("c"), stopped) is stopped
