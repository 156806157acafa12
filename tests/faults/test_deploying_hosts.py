"""Deploying on hosts is interrupted, hindered, or done by two at once."""

from __future__ import annotations

import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from acceptance.conftest import Command, Done
from acceptance.test_hosts import Rack, nothing_is_left_after_destroy
from lab import lab
from needs import require

from cloudmesh.sparknomad.model import ImageRecord

pytestmark = [pytest.mark.faults, pytest.mark.nomad, pytest.mark.slow]
IPTABLES = "/usr/sbin/iptables"


@pytest.fixture(scope="module")
def bare(
    root: None, image: ImageRecord, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Rack]:
    """Three hosts with nothing on them."""
    for program in ("sshd", "ip", "nsenter", "iptables"):
        require(shutil.which(program) or Path("/usr/sbin", program).exists(), program)
    home = tmp_path_factory.mktemp("bare home")
    with lab(tmp_path_factory.mktemp("hosts"), 3) as hosts:
        yield Rack(hosts, Command(home, cache))


def test_a_host_that_hangs_does_not_hold_the_others(bare: Rack) -> None:
    host = bare.lab.hosts[2]
    host.hang()
    begun = time.monotonic()
    try:
        done = bare.deploy("--min-workers=2")
        with_it = time.monotonic() - begun
        assert done.code == 0, done
        assert f"{host.address}: has not answered for" in done.err
    finally:
        host.hang(still=False)
    nothing_is_left_after_destroy(bare)
    begun = time.monotonic()
    done = bare.deploy()
    assert done.code == 0, done
    print(f"\ndeployed in {with_it:.0f} s beside a host that hangs", end=", ")
    print(f"all three in {time.monotonic() - begun:.0f} s")


def test_ssh_that_is_lost_in_the_middle_is_told_and_a_deploy_goes_on(bare: Rack) -> None:
    bare.command.ok("cluster", "destroy", "default", "--force")
    host = bare.lab.hosts[1]

    def cut() -> None:
        give_up = time.monotonic() + 60
        while not (host.state / "default").exists() and time.monotonic() < give_up:
            time.sleep(0.05)
        host.run(IPTABLES, "-I", "INPUT", "-p", "tcp", "--dport", "22", "-j", "DROP")

    thread = threading.Thread(target=cut)
    thread.start()
    begun = time.monotonic()
    done = bare.deploy()
    seconds = time.monotonic() - begun
    thread.join()
    host.run(IPTABLES, "-D", "INPUT", "-p", "tcp", "--dport", "22", "-j", "DROP")
    print(f"\nSSH lost: told after {seconds:.0f} s")
    assert done.code == 1, done
    assert f"{host.address}: the connection broke" in done.err or "did not end" in done.err
    done = bare.deploy()
    assert done.code == 0, done
    nothing_is_left_after_destroy(bare)


@pytest.mark.parametrize("seconds", [0.7, 1.5, 3, 6, 10, 16])
def test_a_deploy_goes_on_after_ctrl_c(bare: Rack, seconds: float) -> None:
    words = ("cluster", "deploy", f"--spec={bare.spec()}")
    assert bare.command.killed(seconds, *words, number=signal.SIGINT) in (130, 0)


def test_the_interrupted_deploy_is_completed_and_an_interrupted_destroy_too(bare: Rack) -> None:
    done = bare.deploy()
    assert done.code == 0, done
    for seconds in (0.7, 1.5, 3, 5):
        words = ("cluster", "destroy", "default", "--force")
        assert bare.command.killed(seconds, *words, number=signal.SIGINT) in (130, 0)
    nothing_is_left_after_destroy(bare)


def test_of_two_operators_at_once_at_most_one_gets_the_hosts(
    bare: Rack, tmp_path: Path, cache: Path
) -> None:
    other = Rack(bare.lab, Command(tmp_path, cache))
    answers: dict[str, Done] = {}

    def deploy(name: str, rack: Rack) -> None:
        answers[name] = rack.deploy()

    threads = [
        threading.Thread(target=deploy, args=(name, rack))
        for name, rack in (("one", bare), ("other", other))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    codes = {name: done.code for name, done in answers.items()}
    print(f"\ntwo at once: {codes}")
    assert 0 not in codes.values() or sorted(codes.values()) == [0, 1], answers
    for name, rack in (("one", bare), ("other", other)):
        if codes[name]:
            assert "a cluster of this name" in answers[name].err, answers[name]
            rack.command("cluster", "destroy", "default", "--force")
    if 0 not in codes.values():
        assert bare.deploy().code == 0
        codes["one"] = 0
    winner = bare if codes["one"] == 0 else other
    assert winner.command.ok("cluster", "status", "--output=json").json()["state"] == "running"
    nothing_is_left_after_destroy(winner)


def test_a_full_disk_is_told_before_anything_is_sent(bare: Rack) -> None:
    host = bare.lab.hosts[2]
    host.power_off()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=100m", "tmpfs", str(host.state)], check=True
    )
    try:
        host.boot()
        done = bare.deploy()
        assert done.code == 1
        assert f"{host.address}: " in done.err and "disk" in done.err, done
        assert "sending" not in done.err
    finally:
        host.power_off()
        subprocess.run(["umount", "-l", str(host.state)], check=True)
        host.boot()
    bare.command.ok("cluster", "destroy", "default", "--force")
