"""Hosts before anything is sent to them: ranges, roles, facts, certificates, configurations."""

from __future__ import annotations

import datetime
import shutil
import ssl
import subprocess
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudmesh.sparknomad.cluster.nomad.access import Access
from cloudmesh.sparknomad.cluster.nomad.client import Nomad
from cloudmesh.sparknomad.cluster.nomad.configuration import host_configuration
from cloudmesh.sparknomad.cluster.nomad.hosts.facts import Facts, problems, read_facts
from cloudmesh.sparknomad.cluster.nomad.hosts.pki import Authority, Certificate
from cloudmesh.sparknomad.cluster.nomad.hosts.scripts import placing, script
from cloudmesh.sparknomad.cluster.nomad.record import HostRecord, NomadCluster
from cloudmesh.sparknomad.compute.inventory import expand
from cloudmesh.sparknomad.errors import SpecError
from cloudmesh.sparknomad.specfile import build_spec
from cloudmesh.sparknomad.specs import ClusterSpec

SCRIPTS = (
    *("agent", "check", "claim", "facts", "fetch", "firewall", "keeper", "nomad", "place"),
    *("reload", "remove", "running", "start", "stop", "unpack"),
)


def hosts_of(servers: int = 1, *entries: Any) -> list[tuple[str, str, bool, bool]]:
    spec = build_spec(ClusterSpec, {"hosts": list(entries), "servers": servers})
    return [
        (host.name, host.address, host.server, host.worker)
        for host in expand(spec.hosts, spec.servers)
    ]


def test_a_range_is_so_many_hosts_and_the_first_is_the_server() -> None:
    assert hosts_of(1, "rack[01-03]") == [
        ("rack01", "", True, True),
        ("rack02", "", False, True),
        ("rack03", "", False, True),
    ]


def test_addresses_go_with_their_hosts() -> None:
    found = hosts_of(1, {"host": "a[1-2]", "address": "10.0.0.[7-8]"})
    assert [host[1] for host in found] == ["10.0.0.7", "10.0.0.8"]


def test_a_server_that_is_marked_runs_no_tasks() -> None:
    found = hosts_of(1, "a", {"host": "b", "role": "server"}, {"host": "c", "role": "worker"})
    assert [(name, server, worker) for name, _, server, worker in found] == [
        ("a", False, True),
        ("b", True, False),
        ("c", False, True),
    ]


@pytest.mark.parametrize(
    ("servers", "entries", "told"),
    [
        (1, ["a", "a"], "a: named twice"),
        (1, ["a[1-2]", "a2"], "a2: named twice"),
        (3, ["a", "b"], "servers: 3: among 2 hosts there are 2 that may be one"),
        (1, [{"host": "a", "role": "worker"}], "there are 0 that may be one"),
        (1, [{"host": "a", "role": "server"}], "none is left to run tasks"),
        (1, ["a", {"host": "b[1-3]", "role": "server"}], "there are 3 with role: server"),
        (1, [{"host": "a[1-2]", "address": "10.0.0.1"}], "stands for 1, but there are 2"),
        (1, ["a[3-1]"], "'a[3-1]': no such range"),
        (1, ["a[1-"], "'a[1-': no such range"),
    ],
)
def test_hosts_that_do_not_fit_are_refused(servers: int, entries: list[Any], told: str) -> None:
    with pytest.raises(SpecError) as caught:
        hosts_of(servers, *entries)
    assert told in caught.value.message


@pytest.mark.parametrize("name", ["a b", "a;reboot", "$(x)", "a'b", "a|b", ""])
def test_a_host_is_no_shell_command(name: str) -> None:
    with pytest.raises(SpecError, match="host"):
        hosts_of(1, name)


TOLD = """\
time=1700000000.5
kernel=Linux
machine=x86_64
address=10.0.0.2
cores=4
memory_kb=8000000
disk_kb=90000000
systemd=1
tool=tar
tool=gzip
tool=mount
tool=sha256sum
interface=10.0.0.2 eth0
interface=127.0.0.1 lo
listening=00000000:0016
listening=00000000000000000000000000000000:1226
cluster=abc
nomad=123
image=feed
"""


def judged(told: str = TOLD, **changes: Any) -> list[str]:
    wanted = {
        "machine": "x86_64",
        "cluster_id": "abc",
        "ports": [4646],
        "needed_disk": 10**9,
        "skew": 0.0,
    }
    return problems(read_facts(told), **{**wanted, **changes})


def test_a_host_that_serves_has_no_problem() -> None:
    facts = read_facts(TOLD)
    assert facts == Facts(
        time=1700000000.5,
        kernel="Linux",
        machine="x86_64",
        address="10.0.0.2",
        cores=4,
        memory=8_192_000_000,
        disk=92_160_000_000,
        systemd=True,
        docker=False,
        tools=frozenset({"tar", "gzip", "mount", "sha256sum"}),
        interfaces={"10.0.0.2": "eth0", "127.0.0.1": "lo"},
        listening=frozenset({22, 4646}),
        cluster="abc",
        nomad="123",
        images=frozenset({"feed"}),
    )
    assert judged() == []


@pytest.mark.parametrize(
    ("told", "changes", "problem"),
    [
        (TOLD.replace("Linux", "Darwin"), {}, "it runs Darwin"),
        (TOLD.replace("x86_64", "aarch64"), {}, "it is an aarch64"),
        (TOLD.replace("tool=tar\n", ""), {}, "tar is missing"),
        (TOLD.replace("systemd=1\n", ""), {}, "neither systemd nor setsid"),
        (TOLD, {"needed_disk": 10**12}, "its disk has 87890 MB free; 953674 MB are needed"),
        (TOLD, {"skew": -600.0}, "its clock is -600.0 s off"),
        (TOLD, {"cluster_id": "other"}, "a cluster of this name was deployed there"),
        (TOLD.replace("cluster=abc\n", ""), {}, "port 4646 is taken"),
        (TOLD.replace("address=10.0.0.2\n", ""), {}, "its address is not known"),
    ],
)
def test_a_host_that_does_not_serve_says_why(
    told: str, changes: dict[str, Any], problem: str
) -> None:
    assert any(problem in each for each in judged(told, **changes))


@given(st.text())
def test_whatever_a_host_tells_is_read_or_refused(told: str) -> None:
    try:
        judged(told)
    except ValueError:
        return


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_are_scripts_of_any_shell(name: str) -> None:
    for shell in ("dash", "bash"):
        if shutil.which(shell):
            text = script(name, directory="/a b", cluster="c")
            subprocess.run([shell, "-n"], input=text.encode(), check=True)


def test_values_of_scripts_are_quoted() -> None:
    told = subprocess.run(
        ["sh", "-c", script("agent", x="a'b $(id) `id`").split("\n")[0] + '\nprintf %s "$x"'],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout == "a'b $(id) `id`"


@given(st.lists(st.binary(max_size=300), max_size=3))
def test_files_are_placed_as_they_are_for_their_owner_alone(
    tmp_path_factory: pytest.TempPathFactory, contents: list[bytes]
) -> None:
    place = tmp_path_factory.mktemp("placed")
    named = {f"{place}/{number}/f": content for number, content in enumerate(contents)}
    named[f"{place}/it's $(id) é"] = b"\nEND\n\0"
    subprocess.run(["sh", "-s"], input=placing(named), text=True, check=True, umask=0o022)
    assert {str(path): path.read_bytes() for path in place.rglob("*") if path.is_file()} == named
    assert {path.stat().st_mode & 0o077 for path in place.rglob("*")} == {0}


def test_a_file_that_cant_be_placed_ends_the_script(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    words = placing({f"{tmp_path}/file/below": b"x"}) + "echo went on\n"
    done = subprocess.run(["sh", "-s"], input=words, text=True, capture_output=True, check=False)
    assert done.returncode and not done.stdout and "file" in done.stderr


def test_certificates_are_of_one_authority_and_made_once(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "tls", "c")
    authority.ensure()
    first = authority.issue("h1", "server", ["10.0.0.1", "h1"])
    text = first.certificate.read_bytes()
    authority.ensure()
    assert authority.issue("h1", "server", ["10.0.0.1", "h1"]).certificate.read_bytes() == text
    assert authority.issue("h1", "server", ["10.0.0.2"]).certificate.read_bytes() != text
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "tls").iterdir()} == {0o600}
    verify = ["openssl", "verify", "-CAfile", str(authority.certificate)]
    done = subprocess.run([*verify, str(first.certificate)], capture_output=True, check=False)
    assert done.returncode == 0, done
    context = ssl.create_default_context(cafile=str(authority.certificate))
    context.load_cert_chain(first.certificate, first.key)


def test_a_certificate_is_valid_for_hosts_whose_clock_is_behind(tmp_path: Path) -> None:
    from cryptography import x509

    authority = Authority(tmp_path, "c")
    authority.ensure()
    made = authority.issue("h1", "client")
    read = x509.load_pem_x509_certificate(made.certificate.read_bytes())
    now = datetime.datetime.now(datetime.UTC)
    assert now - read.not_valid_before_utc > datetime.timedelta(minutes=9)


def cluster_of(*hosts: HostRecord) -> NomadCluster:
    return NomadCluster(
        data="", binary="", token="t", spark_secret="s", ports={}, driver="exec", image_id="i",
        tag="", rootfs="/r", spark="4", workers=2, cores=1, memory=2**30, hosts=hosts,
        gossip_key="gossip-key", directory="/var/lib/sparknomad/c",
    )  # fmt: skip


def test_only_servers_have_the_key_of_gossip_and_all_talk_tls() -> None:
    server = HostRecord("a", "10.0.0.1", "eth0", server=True, worker=False)
    worker = HostRecord("b", "10.0.0.2", "eth0", labels={"rack": "1"})
    cluster = cluster_of(server, worker)
    place = PurePosixPath(cluster.directory)
    of_server = host_configuration(cluster, server, [server], place)
    of_worker = host_configuration(cluster, worker, [server], place)
    assert of_server["server"]["encrypt"] == "gossip-key"
    assert "client" not in of_server
    assert "gossip-key" not in str(of_worker)
    assert of_worker["client"]["servers"] == ["10.0.0.1:4647"]
    assert of_worker["client"]["meta"] == {"rack": "1"}
    for document in (of_server, of_worker):
        assert document["acl"]["enabled"] is True
        assert document["tls"]["verify_server_hostname"]
        assert document["tls"]["verify_https_client"]
        assert document["tls"]["http"] and document["tls"]["rpc"]
    both = host_configuration(cluster, replace(server, worker=True), [server], place)
    assert "client" in both and "server" in both


def test_a_host_is_reached_at_its_public_address_by_us_alone() -> None:
    inside, public = HostRecord("10.0.0.1", "10.0.0.1"), HostRecord("192.0.2.1", "10.0.0.2")
    named, jumped = HostRecord("rack01", "10.0.0.3"), HostRecord("10.1.0.4", "10.0.0.4", jump="j")
    outside = [host.outside for host in (inside, public, named, jumped)]
    assert outside == ["10.0.0.1", "192.0.2.1", "10.0.0.3", "10.0.0.4"]
    cluster = cluster_of(replace(public, server=True), inside)
    assert cluster.address == "https://192.0.2.1:4646"
    configuration = host_configuration(cluster, public, cluster.servers, PurePosixPath("/x"))
    assert configuration["advertise"]["http"] == "10.0.0.2:4646"
    assert configuration["client"]["servers"] == ["10.0.0.2:4647"]


def test_the_gateway_is_reached_at_its_hosts_public_address() -> None:
    class Told(Nomad):
        def service(self, name: str) -> list[str]:
            return {"gateway": ["10.0.0.2:4649"], "hdfs": ["10.0.0.2:30001"]}[name]

    shown = Certificate(Path("c"), Path("k"), Path("a"))
    access = Access(Told("https://192.0.2.1:4646", "t", shown, outside={"10.0.0.2": "192.0.2.1"}))
    assert access.url("spark-master") == "https://192.0.2.1:4649/service/spark-master"
    storage = access.storage("c")
    assert storage.url == "hdfs://10.0.0.2:30001/sparknomad/"
    assert storage.endpoint == "https://192.0.2.1:4649"
