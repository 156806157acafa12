"""What is on a host is known by more than a number; keys and certificates by more than a name."""

from __future__ import annotations

import os
import shlex
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cloudmesh.sparknomad.cluster.nomad.hosts.deployment import firewall_script
from cloudmesh.sparknomad.cluster.nomad.hosts.facts import Facts, problems, read_facts
from cloudmesh.sparknomad.cluster.nomad.hosts.pki import Authority
from cloudmesh.sparknomad.cluster.nomad.hosts.scripts import script, text
from cloudmesh.sparknomad.cluster.nomad.record import HostRecord, NomadCluster
from cloudmesh.sparknomad.compute import ssh
from cloudmesh.sparknomad.compute.inventory import Host

NO_SYSTEMD = pytest.mark.skipif(
    Path("/run/systemd/system").exists(), reason="systemd runs here: the script would use it"
)


@contextmanager
def running(*words: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has the number of one that has ended."""
    with running("sleep", "60") as process:
        yield process


def on_host(name: str, place: Path, **more: str) -> subprocess.CompletedProcess[str]:
    values = {"directory": str(place), "cluster": "c", "mark": "m2", **more}
    return subprocess.run(
        ["sh", "-s"], input=script(name, **values), capture_output=True, text=True, check=False
    )


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """The directory of a host whose agent has ended; a blank in its name."""
    place = tmp_path / "var lib"
    (place / "c").mkdir(parents=True)
    (place / "c" / "started").write_text("m1\n")
    return place


def test_a_stranger_is_not_taken_for_the_agent(
    host: Path, stranger: subprocess.Popen[bytes]
) -> None:
    (host / "c" / "pid").write_text(f"{stranger.pid}\n")
    assert "mark=" not in on_host("running", host).stdout
    told = on_host("reload", host)
    assert (told.returncode, told.stderr) == (6, "its agent does not run\n")
    assert (host / "c" / "started").read_text() == "m1\n" and stranger.poll() is None


def test_the_agent_is_known(host: Path) -> None:
    code = "import signal, time; signal.signal(1, lambda *_: exit(7)); print(1); time.sleep(60)"
    words = [sys.executable, "-uc", code, f"-config={host}/c/agent.json"]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as agent:
        assert agent.stdout and agent.stdout.readline()
        (host / "c" / "pid").write_text(f"{agent.pid}\n")
        assert "mark=m1\n" in on_host("running", host).stdout
        assert on_host("reload", host).returncode == 0
        assert agent.wait(10) == 7
    assert (host / "c" / "started").read_text() == "m2\n"


@NO_SYSTEMD
@pytest.mark.parametrize("mark", ["m1", "m2"])
def test_an_agent_is_started_though_strangers_have_its_numbers(
    host: Path, stranger: subprocess.Popen[bytes], mark: str
) -> None:
    place = host / "c"
    for name in ("pid", "keeper"):
        (place / name).write_text(f"{stranger.pid}\n")
    (place / "agent.sh").write_text('echo $$ >pid; exec sleep 60 # "$PWD/"\n')
    code = shlex.quote("import time; time.sleep(60)")
    agent = f'{shlex.quote(sys.executable)} -c {code} "$PWD/agent.json"'
    (place / "keeper.sh").write_text(
        f'cd "$(dirname "$0")"\necho $$ >keeper\necho $$ >pid; exec {agent}\n'
    )
    told = on_host("start", host, mark=mark)
    number = int((place / "pid").read_text())
    try:
        assert told.returncode == 0 and "started" in told.stdout, told
        assert number != stranger.pid and stranger.poll() is None
        assert on_host("start", host, mark=mark).stdout == ""  # it runs, as it should
        assert int((place / "pid").read_text()) == number
    finally:
        os.kill(number, signal.SIGKILL)


# addresses


@pytest.mark.parametrize(
    ("way", "address"),
    [("10.0.0.9 50000 10.0.0.5 22", "10.0.0.5"), ("", ""), ("odd", "")],
)
def test_the_address_is_that_at_which_we_have_come(way: str, address: str) -> None:
    assert ssh._own_address(way) == address


def facts(tmp_path: Path, address: str) -> Facts:
    """What this machine tells, as it does by sudo: without ``SSH_CONNECTION``."""
    words = script("facts", directory=str(tmp_path), cluster="c", address=address)
    environment = {"PATH": os.environ["PATH"]}
    done = subprocess.run(
        ["sh", "-s"], input=words, capture_output=True, text=True, check=True, env=environment
    )
    return read_facts(done.stdout)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("10.0.0.5", ""),
        ("", "its address is not known"),
        ("2001:db8::5", "its address 2001:db8::5 is one of IPv6"),
    ],
)
def test_a_host_has_an_address_of_ipv4(tmp_path: Path, address: str, told: str) -> None:
    found = facts(tmp_path, address)
    assert found.address == address
    wrong = problems(
        found, machine=found.machine, cluster_id="c", ports=(), needed_disk=0, skew=0.0
    )
    wrong = [each for each in wrong if "address" in each]
    assert (told in wrong[0]) if told else not wrong


# keys


@pytest.mark.parametrize(
    ("config", "looked_up"),
    [
        ("", ("rack01", 22)),
        ("Host rack01\n  HostName 10.0.0.5\n", ("10.0.0.5", 22)),
        ("Host rack01\n  HostName 10.0.0.5\n  Port 2222\n", ("10.0.0.5", 2222)),
        ("Host rack01\n  HostKeyAlias the-rack\n", ("the-rack", 22)),
    ],
)
def test_a_key_is_kept_under_the_name_by_which_it_is_looked_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: str, looked_up: tuple[str, int]
) -> None:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "config").write_text(config)
    monkeypatch.setenv("HOME", str(tmp_path))
    host = Host("rack01")
    keys = ssh.HostKeys(tmp_path / "known_hosts", lambda name, fingerprint: True)
    assert ssh._looked_up(host, {}) == looked_up and not ssh._is_known(host, keys, {})
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKHEChAhPHHfAF1v0mNQpaPzXwvHAbTLq4Mu9NEg3Y5d"
    keys.add(*looked_up, key)
    assert ssh._is_known(host, keys, {})


ISSUE = """
import sys
from datetime import timedelta
from pathlib import Path
from cloudmesh.sparknomad.cluster.nomad.hosts.pki import Authority
Authority(Path(sys.argv[1]), "c").issue("operator", "cli")
"""


def test_commands_at_once_leave_a_certificate_that_fits_its_key(tmp_path: Path) -> None:
    place = tmp_path / "tls"
    Authority(place, "c").ensure()
    words = [sys.executable, "-c", ISSUE, str(place)]
    started = [subprocess.Popen(words) for _ in range(4)]
    assert [each.wait(60) for each in started] == [0] * 4
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_cert_chain(place / "operator.pem", place / "operator-key.pem")


def test_a_certificate_of_another_key_is_made_anew(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "tls", "c")
    authority.ensure()
    mine = authority.issue("operator", "cli")
    other = authority.issue("other", "cli")
    mine.key.write_bytes(other.key.read_bytes())  # as two commands at once once left it
    again = authority.issue("operator", "cli")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_cert_chain(again.certificate, again.key)


# the embedded cluster's own processes


def test_only_our_own_processes_are_taken_for_a_clusters(home: Path) -> None:
    from cloudmesh.sparknomad.cluster.local.provider import LocalProvider
    from cloudmesh.sparknomad.cluster.provider import ProviderContext

    clusters = home / "clusters"
    place = clusters / "local"
    place.mkdir(parents=True)
    log = place / "master.log"
    log.write_text("")
    provider = LocalProvider(ProviderContext(clusters, home / "cache", print))
    java = home / "jdk" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.symlink_to(Path(sys.executable).resolve())
    code = "import time; time.sleep(60)"
    with (
        running("tail", "-f", str(log)),
        running(sys.executable, "-c", code, str(log)),
        running(str(java), "-c", code, f"-Dlog={log}") as ours,
    ):
        give_up = time.monotonic() + 10
        while [each.pid for each in provider._strays("local")] != [ours.pid]:
            assert time.monotonic() < give_up, provider._strays("local")
            time.sleep(0.05)


# a directory, and a firewall


def test_what_is_another_programs_is_no_place_for_ours(tmp_path: Path) -> None:
    place = tmp_path / "data"
    (place / "images").mkdir(parents=True)
    found = facts(place, "10.0.0.5")
    told = problems(found, machine=found.machine, cluster_id="c", ports=(), needed_disk=0, skew=0)
    assert found.foreign == ("images",)
    assert any("there is images of another program" in each for each in told)
    on_host("claim", place, identity="mine")
    assert facts(place, "10.0.0.5").foreign == ()


def test_a_directory_of_others_keeps_its_mode(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir(mode=0o750)
    theirs.chmod(0o750)
    for place in (theirs, tmp_path / "new"):
        assert on_host("claim", place, identity="mine").returncode == 0
        assert (place / "c" / "id").read_text() == "mine\n"
    assert theirs.stat().st_mode & 0o777 == 0o750
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o755


def test_the_rules_of_the_firewall_are_there_when_the_host_has_booted(tmp_path: Path) -> None:
    """With a stand-in for iptables, which would shut this machine's ports."""
    place, log = tmp_path / "c", tmp_path / "log"
    (tmp_path / "bin").mkdir()
    tool = tmp_path / "bin" / "iptables"
    tool.write_text(f'#!/bin/sh\necho "$*" >>{log}\n[ "$2" != -C ]\n')
    tool.chmod(0o755)
    cluster = NomadCluster.__new__(NomadCluster)
    object.__setattr__(cluster, "directory", str(place))
    object.__setattr__(cluster, "identity", "i" * 36)
    host = HostRecord("h", "10.0.0.5")
    place.mkdir()
    environment = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}

    def run(*words: str, text: str = "") -> str:
        log.unlink(missing_ok=True)
        subprocess.run(words, input=text, text=True, check=True, env=environment, cwd=place)
        return log.read_text()

    at_once = run("sh", "-s", text=firewall_script(cluster, [host]))
    assert "-s 10.0.0.5 -j RETURN" in at_once and "-j DROP" in at_once
    assert run("sh", "./firewall.sh") == at_once
    assert "sh ./firewall.sh" in text("agent")
