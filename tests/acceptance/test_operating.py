"""Operating a cluster of several servers: what is lost, looked at, added, removed, upgraded."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from acceptance.test_hosts import EXAMPLES, Rack, deployed_rack
from lab import LabHost

from cloudmesh.sparknomad.model import ImageRecord

pytestmark = [pytest.mark.nomad, pytest.mark.slow]


@pytest.fixture(scope="module")
def rack(
    root: None, image: ImageRecord, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Rack]:
    with deployed_rack(cache, tmp_path_factory, 3, servers=3) as made:
        yield made
    made.command("image", "remove", "other")


def status_of(rack: Rack) -> Any:
    return rack.command.ok("cluster", "status", "--output=json").json()


def host_states(rack: Rack) -> dict[str, tuple[bool, str]]:
    return {
        part["name"]: (part["healthy"], part["detail"])
        for part in status_of(rack)["components"]
        if part["kind"] == "host"
    }


def until(rack: Rack, holds: Callable[[Any], bool], seconds: float = 120) -> float:
    """Wait for a status; how long that took."""
    begun = time.monotonic()
    while True:
        status = status_of(rack)
        if holds(status):
            return time.monotonic() - begun
        assert time.monotonic() - begun < seconds, status
        time.sleep(0.5)


def is_running(status: Any) -> bool:
    return bool(status["state"] == "running")


def nomad(rack: Rack, path: str) -> Any:
    """What Nomad's API answers, by whichever server serves."""
    from cloudmesh.sparknomad.cluster.nomad.client import Nomad
    from cloudmesh.sparknomad.cluster.nomad.hosts.pki import Authority

    record = json.loads((rack.directory / "cluster.json").read_text())
    shown = Authority(rack.directory / "tls", "default").issue("operator", "cli")
    servers = [f"https://{host['address']}:4646" for host in record["hosts"] if host["server"]]
    client = Nomad(servers[0], record["token"], shown, others=servers[1:])
    return client._request(*path.split("/")).json()


def leader(rack: Rack) -> LabHost:
    address = str(nomad(rack, "status/leader")).partition(":")[0]
    return next(host for host in rack.lab.hosts if host.address == address)


def wordcount(rack: Rack) -> None:
    words = rack.command.home / "words.txt"
    words.write_text("to be or not to be\n")
    job = ("job", "run", str(EXAMPLES / "wordcount.py"))
    done = rack.command.ok(*job, "--param", f"input={words}")
    assert done.out.splitlines()[0] == "     2  be"


def test_three_servers_are_workers_too(rack: Rack) -> None:
    assert host_states(rack) == {
        host.address: (True, "server and worker") for host in rack.lab.hosts
    }
    assert len(nomad(rack, "operator/raft/configuration")["Servers"]) == 3


@pytest.mark.parametrize("which", ["leader", "follower"])
def test_a_server_that_is_off_is_told_and_the_others_serve(rack: Rack, which: str) -> None:
    first = leader(rack)
    lost = first if which == "leader" else next(h for h in rack.lab.hosts if h is not first)
    lost.power_off()
    try:
        begun = time.monotonic()
        status_of(rack)
        print(f"{which} off: the first answer after {time.monotonic() - begun:.1f} s")
        told = f"{lost.address}: server and worker: down"
        print(f"told after {until(rack, lambda status: told in status['reason']):.1f} s")
        assert [healthy for healthy, _ in host_states(rack).values()].count(False) == 1
        # All the same services, elsewhere.
        seconds = until(rack, lambda status: status["reason"] == told)
        print(f"whole but for the host after {seconds:.1f} s more")
        wordcount(rack)
        refused = rack.deploy("--timeout=60s", servers=3)
        assert refused.code == 1
        assert f"{lost.address}: is not reached by SSH" in refused.err
        assert status_of(rack)["reason"] == told
        done = rack.deploy("--timeout=90s", "--min-workers=2", servers=3)
        assert done.code == 0, done
    finally:
        lost.boot()
    done = rack.deploy("--timeout=4m", servers=3)
    assert done.code == 0, (done, rack.command("cluster", "status"))
    assert is_running(status_of(rack))
    assert len(nomad(rack, "operator/raft/configuration")["Servers"]) == 3


def diff(rack: Rack, *options: str) -> tuple[int, dict[str, tuple[str, str]]]:
    done = rack.command("cluster", "diff", "--output=json", *options)
    assert done.code in (0, 1), done
    return done.code, {
        change["subject"]: (change["before"], change["after"]) for change in done.json()
    }


def test_a_diff_shows_what_a_deploy_would_change(rack: Rack) -> None:
    assert diff(rack) == (0, {})
    code, changes = diff(rack, f"--spec={rack.spec(servers=3, workers=3, memory='900m')}")
    assert code == 1
    assert changes["workers"] == ("2", "3")
    assert changes["job spark-worker: worker.Count"] == ("2", "3")
    assert "memory" in changes
    assert not [subject for subject in changes if subject.startswith("host")]
    # Nothing was touched by looking.
    assert diff(rack) == (0, {})
    host = rack.lab.hosts[2]
    host.run("sh", "-c", "kill $(cat /var/lib/sparknomad/default/keeper); pkill -INT -x nomad")
    try:
        code, changes = diff(rack)
        assert (code, changes[f"host {host.address}: agent"]) == (1, ("does not run", "runs"))
    finally:
        assert rack.deploy(servers=3).code == 0


def test_logs_and_ssh_reach_one_host(rack: Rack) -> None:
    host = rack.lab.hosts[1]
    logs = rack.command.ok("cluster", "logs", "default", host.address, "--output=json").json()
    assert "agent" in "".join(logs) or f"nomad-{host.address}" in logs
    others = [other.address for other in rack.lab.hosts if other is not host]
    assert not [name for name in logs if any(other in name for other in others)]
    done = rack.command("cluster", "ssh", "default", host.address, "--", "uname", "-n")
    assert (done.code, done.out) == (0, f"{host.name}\n"), done
    done = rack.command("cluster", "ssh", "default", host.address, "exit 7")
    assert done.code == 7
    unknown = rack.command("cluster", "ssh", "default", "nowhere")
    assert unknown.code == 4
    assert "has no host 'nowhere'" in unknown.err


SLOW_JOB = """
import time
from pyspark.sql import SparkSession
context = SparkSession.builder.getOrCreate().sparkContext
def work(n):
    time.sleep(1)
    return n
print("begun", flush=True)
pairs = context.parallelize(range(40), 20).map(lambda n: (n % 4, work(n)))
print(sum(value for _, value in pairs.reduceByKey(lambda a, b: a + b, 20).mapValues(
    lambda v: (time.sleep(0.5), v)[1]).collect()), flush=True)
"""


def begin(rack: Rack) -> str:
    """Start a job of about a minute, and wait until it computes."""
    program = rack.command.home / "slow.py"
    program.write_text(SLOW_JOB)
    run = rack.command.ok("job", "run", str(program), "--detach").out.strip()
    give_up = time.monotonic() + 120
    while "begun" not in rack.command.ok("job", "logs", run).out:
        assert time.monotonic() < give_up, rack.command.ok("job", "status", run).out
        time.sleep(0.5)
    time.sleep(3)
    return run


def succeeds(rack: Rack, run: str) -> int:
    """Wait for it; the number of attempts."""
    done = rack.command("job", "wait", run, "--timeout=280s")
    assert done.code == 0, (done, rack.command("job", "logs", run), host_states(rack))
    assert rack.command.ok("job", "logs", run).out.endswith("780\n")
    return int(rack.command.ok("job", "status", run, "--output=json").json()["attempts"])


def places(rack: Rack, job: str) -> list[str]:
    """The hosts that run a job's allocations."""
    found = nomad(rack, f"job/{job}/allocations")
    return sorted(a["NodeName"] for a in found if a["ClientStatus"] == "running")


def test_a_host_is_added_drained_taken_back_and_removed(rack: Rack) -> None:
    host = rack.lab.add("h4")
    add = ("cluster", "add-hosts", "default", host.address, f"--host-key={host.known_host}")
    rack.command.ok(*add, "--workers=4")
    assert host_states(rack)[host.address] == (True, "worker")
    assert host.address in places(rack, "spark-worker")
    put = rack.command.home / "kept"
    put.write_bytes(b"y" * 5_000_000)
    rack.command.ok("storage", "put", str(put), "cluster:inputs/kept")
    run = begin(rack)
    begun = time.monotonic()
    rack.command.ok("cluster", "drain", "default", host.address)
    print(f"drained in {time.monotonic() - begun:.1f} s")
    assert host_states(rack)[host.address] == (True, "worker: drained")
    assert host.address not in places(rack, "spark-worker")
    assert "java" not in host.run("ps", "-eo", "comm")
    assert succeeds(rack, run) == 1
    rack.command.ok("cluster", "drain", "default", host.address, "--undo")
    assert host_states(rack)[host.address] == (True, "worker")
    begun = time.monotonic()
    done = rack.command.ok("cluster", "remove-hosts", "default", host.address)
    print(f"removed in {time.monotonic() - begun:.1f} s", done.err)
    assert host.address not in host_states(rack)
    assert [path.name for path in host.state.iterdir()] == []
    assert "SPARKNOMAD" not in host.run("/usr/sbin/iptables", "-S")
    assert host.address not in rack.lab.hosts[0].run("/usr/sbin/iptables", "-S")
    back = rack.command.home / "back"
    rack.command.ok("storage", "get", "cluster:inputs/kept", str(back))
    assert back.read_bytes() == put.read_bytes()
    assert host.address not in rack.command.ok("cluster", "diff", "--output=json").out
    wordcount(rack)


def test_a_server_is_replaced_and_a_dead_host_removed_by_force(rack: Rack) -> None:
    first = rack.lab.hosts[0]
    last = rack.lab.hosts[3] if len(rack.lab.hosts) > 3 else rack.lab.add("h4")
    told = rack.command("cluster", "remove-hosts", "default", first.address)
    assert told.code == 2
    assert "servers: 3: among 2 hosts" in told.err
    key = f"--host-key={last.known_host}"
    rack.command.ok("cluster", "add-hosts", "default", last.address, key, "--workers=2")
    first.power_off()
    told = rack.command("cluster", "remove-hosts", "default", first.address)
    assert told.code == 1
    assert "--force" in told.err
    done = rack.command.ok("cluster", "remove-hosts", "default", first.address, "--force")
    assert f"host {first.address}: " in done.err
    assert host_states(rack)[last.address] == (True, "server and worker")
    assert len(nomad(rack, "operator/raft/configuration")["Servers"]) == 3
    until(rack, is_running)
    wordcount(rack)
    # Once it is on again, it is taken in and so can be cleaned.
    first.boot()
    key = f"--host-key={first.known_host}"
    rack.command.ok("cluster", "add-hosts", "default", first.address, key)
    assert host_states(rack)[first.address] == (True, "worker")


def test_an_upgrade_takes_hosts_in_turns_and_a_job_survives(rack: Rack, tmp_path: Path) -> None:
    before = json.loads((rack.directory / "cluster.json").read_text())["image_id"]
    rack.command.ok(
        "image", "build", "other", "--variant=slim", "--requirements=" + str(small(tmp_path))
    )
    run = begin(rack)
    begun = time.monotonic()
    rack.command.ok("cluster", "upgrade", "default", "--image=other")
    print(f"upgraded in {time.monotonic() - begun:.1f} s")
    assert json.loads((rack.directory / "cluster.json").read_text())["image_id"] != before
    print(f"attempts: {succeeds(rack, run)}")
    assert diff(rack) == (0, {})
    wordcount(rack)


def small(directory: Path) -> Path:
    """Requirements that make an image differ."""
    path = directory / "requirements.txt"
    path.write_text("iniconfig==2.1.0\n")
    return path
