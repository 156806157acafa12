"""A cluster on several hosts, reached by SSH: namespaces of this machine with a network."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from acceptance.conftest import Command, Done, ended
from acceptance.people import (
    PASSPHRASE,
    Person,
    Team,
    gets_no_more_of_nomad,
    gets_no_more_of_the_gateway,
    hello,
    two_steps,
    words,
)
from faulty import faulty
from lab import Lab, lab
from needs import require
from servers import Server

from cloudmesh.sparknomad.cluster.nomad.hosts.pki import Authority
from cloudmesh.sparknomad.manager import Sparknomad
from cloudmesh.sparknomad.model import ImageRecord
from cloudmesh.sparknomad.waiting import Deadline, wait_until

pytestmark = pytest.mark.nomad
EXAMPLES = Path(__file__).parents[2] / "examples"
SPARK_PORTS = range(30_000, 32_768)


@dataclass(frozen=True)
class Rack:
    """Three hosts, and a command that has deployed a cluster on them."""

    lab: Lab
    command: Command

    @property
    def directory(self) -> Path:
        return self.command.home / ".cloudmesh/sparknomad/clusters/default"

    @property
    def nomad(self) -> str:
        return f"https://{self.lab.hosts[0].address}:4646"

    def spec(self, **changes: Any) -> Path:
        """A spec of these hosts."""
        hosts = [host.entry for host in self.lab.hosts]
        fields = {"cluster": "default", "workers": 2, "memory": "1g", "driver": "exec"}
        path = self.command.home / "rack.yaml"
        path.write_text(yaml.safe_dump({**fields, "hosts": hosts, **changes}))
        return path

    def deploy(self, *more: str, **changes: Any) -> Done:
        return self.command("cluster", "deploy", f"--spec={self.spec(**changes)}", *more)


@contextmanager
def deployed_rack(
    cache: Path, tmp_path_factory: pytest.TempPathFactory, count: int, **changes: Any
) -> Iterator[Rack]:
    """A cluster on so many hosts; destroying it leaves nothing on any of them."""
    for program in ("sshd", "ip", "nsenter", "iptables"):
        require(shutil.which(program) or Path("/usr/sbin", program).exists(), program)
    home = tmp_path_factory.mktemp("rack home")
    hosts_home = tmp_path_factory.mktemp("hosts")
    with lab(hosts_home, count) as hosts, ended(Command(home, cache)) as command:
        made = Rack(hosts, command)
        done = made.deploy(**changes)
        assert done.code == 0, done
        yield made
        nothing_is_left_after_destroy(made)


@pytest.fixture(scope="module")
def rack(
    root: None, image: ImageRecord, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Rack]:
    with deployed_rack(cache, tmp_path_factory, 3) as made:
        yield made


def nothing_is_left_after_destroy(rack: Rack) -> None:
    rack.command.ok("cluster", "destroy", "default", "--force")
    for host in rack.lab.hosts:
        assert [path.name for path in host.state.iterdir()] == []
        running = host.run("ps", "-eo", "args")
        assert "nomad" not in running and "java" not in running, running
        assert " /var/lib/sparknomad/" not in host.run("cat", "/proc/self/mounts")
        assert "SPARKNOMAD" not in host.run("/usr/sbin/iptables", "-S")
    assert not rack.directory.exists()


def test_every_host_has_joined_with_its_role(rack: Rack) -> None:
    status = rack.command.ok("cluster", "status", "--output=json").json()
    assert (status["state"], status["workers"]) == ("running", 2)
    hosts = [part for part in status["components"] if part["kind"] == "host"]
    assert [(part["name"], part["healthy"], part["detail"]) for part in hosts] == [
        (rack.lab.hosts[0].address, True, "server and worker"),
        (rack.lab.hosts[1].address, True, "worker"),
        (rack.lab.hosts[2].address, True, "worker"),
    ]


def test_workers_are_on_hosts_of_their_own(rack: Rack) -> None:
    endpoints = rack.command.ok("cluster", "ui", "--output=json").json()
    places = [url for name, url in endpoints.items() if name.startswith("Spark worker UI")]
    assert len({url.rpartition(":")[0] for url in places}) == 2


def test_a_job_runs_with_files_of_this_machine(rack: Rack) -> None:
    words = rack.command.home / "words.txt"
    words.write_text("to be or not to be\n")
    job = ("job", "run", str(EXAMPLES / "wordcount.py"))
    done = rack.command.ok(*job, "--param", f"input={words}")
    assert done.out.splitlines()[0] == "     2  be"
    report = rack.command.ok("job", "report", done.err.split("run ")[1].split()[0]).out
    assert "succeeded" in report


def test_the_clusters_storage_is_reached_from_outside(rack: Rack) -> None:
    source = rack.command.home / "some file"
    source.write_bytes(b"x" * 3_000_000)
    storage = ("storage",)
    rack.command.ok(*storage, "put", str(source), "cluster:inputs/some file")
    listed = rack.command.ok(*storage, "list", "cluster:inputs/").out
    assert "some file" in listed
    back = rack.command.home / "back"
    rack.command.ok(*storage, "get", "cluster:inputs/some file", str(back))
    assert back.read_bytes() == source.read_bytes()


@pytest.fixture
def aws(rack: Rack, s3_server: Server) -> Iterator[dict[str, str]]:
    """A profile ``aws``: a storage that the hosts reach; the variables with its credentials."""
    with faulty(s3_server.endpoint, f"{rack.lab.subnet}.1") as proxy:
        profile = ("storage", "profile", "add", "aws", "--url=s3://lab/hosts/", "--replace")
        rack.command.ok(*profile, f"--endpoint={proxy.endpoint}", "--credentials=environment")
        yield s3_server.variables


def last_report(rack: Rack) -> Any:
    runs = rack.command.ok("job", "runs", "--limit=1", "--output=json").json()
    return rack.command.ok("job", "report", runs[0]["run"], "--output=json").json()


@pytest.mark.slow
def test_every_host_takes_part_in_what_is_moved(rack: Rack, aws: dict[str, str]) -> None:
    # Above 256 MiB an object is written in parts that are put together.
    size = 280_000_000
    path = rack.command.home / "big"
    path.write_bytes(random.Random(1).randbytes(1_000_000) * (size // 1_000_000))
    digest = hashlib.md5(path.read_bytes()).hexdigest()
    rack.command.ok("storage", "put", str(path), "aws:big", **aws)
    rack.command.ok("storage", "stage", "aws:big", **aws)
    told = last_report(rack)["inputs"]["input0"]
    assert told["fetched_bytes"] == size
    assert sum(node["bytes"] for node in told["nodes"].values()) == size
    assert len(told["nodes"]) == 2, told
    rack.command.ok("storage", "copy", "aws:big", "aws:copy", "--cluster=default", **aws)
    told = last_report(rack)["copies"][0]
    assert told["verified"] == 1 and len(told["nodes"]) == 2, told
    rack.command.ok("storage", "get", "aws:copy", str(path), **aws)
    assert hashlib.md5(path.read_bytes()).hexdigest() == digest


def test_deploying_again_sends_nothing_and_starts_nothing(rack: Rack) -> None:
    before = {host.name: host.run("pgrep", "-x", "nomad").split() for host in rack.lab.hosts}
    done = rack.deploy()
    assert done.code == 0, done
    assert "sending" not in done.err
    after = {host.name: host.run("pgrep", "-x", "nomad").split() for host in rack.lab.hosts}
    assert after == before


def answering(address: str) -> set[int]:
    """The ports that accept a connection from outside of the cluster's network."""

    def is_open(port: int) -> bool:
        with socket.socket() as probe:
            probe.settimeout(0.3)
            return probe.connect_ex((address, port)) == 0

    ports = [22, 80, 443, *range(4640, 4660), *SPARK_PORTS]
    with ThreadPoolExecutor(256) as pool:
        return {port for port, found in zip(ports, pool.map(is_open, ports), strict=True) if found}


def test_nothing_answers_from_outside_without_a_certificate(rack: Rack) -> None:
    found: set[int] = set()
    for host in rack.lab.hosts:
        open_ports = answering(host.address) - {22}
        found |= open_ports
        for port in open_ports:
            context = ssl.create_default_context(cafile=str(rack.directory / "tls/ca.pem"))
            with pytest.raises((ssl.SSLError, OSError)):
                opener = urllib.request.build_opener(
                    urllib.request.HTTPSHandler(context=context),
                    urllib.request.ProxyHandler({}),
                )
                opener.open(f"https://{host.address}:{port}/v1/agent/self", timeout=10)
    assert found == {4646, 4649}


def asked(rack: Rack, url: str, authority: Authority, token: str = "") -> int:
    """The HTTP status of a request with a certificate of some authority."""
    shown = authority.issue("operator", "cli")
    context = ssl.create_default_context(cafile=str(rack.directory / "tls/ca.pem"))
    context.load_cert_chain(shown.certificate, shown.key)
    opener = urllib.request.build_opener(
        urllib.request.HTTPSHandler(context=context), urllib.request.ProxyHandler({})
    )
    request = urllib.request.Request(url, headers={"X-Nomad-Token": token} if token else {})
    try:
        with opener.open(request, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_a_certificate_alone_opens_nothing(rack: Rack, tmp_path: Path) -> None:
    ours = Authority(rack.directory / "tls", "rack")
    token = json.loads((rack.directory / "cluster.json").read_text())["token"]
    gateway = next(
        f"https://{host.address}:4649"
        for host in rack.lab.hosts
        if 4649 in answering_few(host.address)
    )
    assert asked(rack, f"{rack.nomad}/v1/jobs", ours) == 403
    assert asked(rack, f"{rack.nomad}/v1/jobs", ours, token) == 200
    listing = f"{gateway}/webhdfs/v1/sparknomad?op=LISTSTATUS"
    assert asked(rack, listing, ours) == 401
    assert asked(rack, listing, ours, "00000000-0000-0000-0000-000000000000") == 401
    assert asked(rack, listing, ours, token) == 200
    assert asked(rack, f"{gateway}/to/127.0.0.1:22/webhdfs/v1/x", ours, token) == 404
    assert asked(rack, f"{gateway}/service/nomad/v1/jobs", ours, token) == 404
    other = Authority(tmp_path, "rack")
    other.ensure()
    for url in (f"{rack.nomad}/v1/jobs", listing):
        with pytest.raises((ssl.SSLError, OSError)):
            asked(rack, url, other, token)


def answering_few(address: str) -> set[int]:
    with socket.socket() as probe:
        probe.settimeout(1)
        return {4649} if probe.connect_ex((address, 4649)) == 0 else set()


def test_secrets_stay_where_they_are_needed(rack: Rack) -> None:
    authority = (rack.directory / "tls/ca-key.pem").read_text()
    token = json.loads((rack.directory / "cluster.json").read_text())["token"]
    for number, host in enumerate(rack.lab.hosts):
        place = host.state / "default"
        for path in (place / "agent.json", *(place / "tls").iterdir()):
            assert path.stat().st_mode & 0o077 == 0, path
            assert authority not in path.read_text()
        assert token not in (place / "agent.json").read_text()
        assert ("encrypt" in (place / "agent.json").read_text()) == (number == 0)


def test_a_second_operator_is_told_that_the_hosts_are_taken(
    rack: Rack, tmp_path: Path, cache: Path
) -> None:
    other = Rack(rack.lab, Command(tmp_path, cache))
    done = other.deploy()
    assert done.code == 1
    assert "a cluster of this name was deployed there from elsewhere" in done.err
    other.command("cluster", "destroy", "default", "--force")
    assert rack.command.ok("cluster", "status", "--output=json").json()["state"] == ("running")


@pytest.fixture(scope="module")
def people(rack: Rack, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Person]:
    """A submitter and a reader, each with a home of their own."""
    place = tmp_path_factory.mktemp("people")
    (place / "passphrase").write_text(PASSPHRASE)
    team = Team(rack, cache, place / "passphrase", place)
    return {role: team.invite(role, role) for role in ("submitter", "reader")}


def test_a_submitter_runs_jobs_and_deploys_nothing(people: dict[str, Person]) -> None:
    command = people["submitter"].command
    assert command.ok(*words(command)).out.splitlines()[0] == "     2  be"
    done = command("cluster", "deploy")
    assert done.code == 1
    assert "a submitter's token for cluster 'default'; it may not deploy it" in done.err


def test_a_submitter_runs_a_pipeline_by_way_of_the_gateway(people: dict[str, Person]) -> None:
    command = people["submitter"].command
    done = command.ok("pipeline", "run", two_steps(command, 0), "--output=json")
    assert [step["state"] for step in done.json()["steps"]] == ["succeeded", "succeeded"]


@pytest.mark.slow
def test_the_service_runs_on_a_host_with_a_certificate(
    rack: Rack, people: dict[str, Person], tmp_path: Path
) -> None:
    told = rack.command.ok("service", "start", "--cluster=default", "--output=json").json()
    try:
        assert told["url"].startswith("https://")
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(f"{told['url']}/clusters", timeout=20)
        nobody = requests.get(f"{told['url']}/clusters", timeout=20, verify=told["ca"])
        assert nobody.status_code == 401
        remote = Sparknomad.connect(told["url"], told["secret"], ca=Path(told["ca"]))
        run = remote.job_run(hello(remote, tmp_path), {"whom": "host"})
        assert remote.job_wait(run.run).state.value == "succeeded"
        assert remote.cluster_status("default").state.value == "running"
        nomad = f"{rack.lab.hosts[0].address}:4646"
        for path in ("jobs", "allocations", "vars"):
            where = f"/v1/{path}?namespace=sparknomad-service"
            code, text = people["submitter"].ask(nomad, "GET", where)
            assert code == 403 or text in ("[]", "null"), (path, text)
    finally:
        rack.command.ok("service", "stop", "--cluster=default")


def test_a_reader_sees_the_cluster_and_runs_nothing(people: dict[str, Person]) -> None:
    command = people["reader"].command
    assert command.ok("cluster", "status", "--output=json").json()["state"] == "running"
    done = command(*words(command))
    assert done.code == 1
    assert "a reader's token for cluster 'default'; it may not run jobs" in done.err


@pytest.mark.parametrize("role", ["submitter", "reader"])
def test_nomad_gives_a_role_no_more(rack: Rack, people: dict[str, Person], role: str) -> None:
    place = people[role].command.home.parent
    gets_no_more_of_nomad(Team(rack, rack.command.cache, place, place), people[role])


def test_the_gateway_gives_a_role_no_more(rack: Rack, people: dict[str, Person]) -> None:
    place = people["reader"].command.home.parent
    gets_no_more_of_the_gateway(Team(rack, rack.command.cache, place, place), people)


@pytest.mark.slow
def test_a_host_that_was_off_joins_again_by_a_deploy(rack: Rack) -> None:
    host = rack.lab.hosts[2]
    host.power_off()
    try:
        done = rack.deploy("--timeout=60s")
        assert done.code == 1
        assert f"{host.address}: is not reached by SSH" in done.err

        def is_missed() -> bool:
            status = rack.command.ok("cluster", "status", "--output=json").json()
            mine = next(part for part in status["components"] if part["name"] == host.address)
            return not mine["healthy"]

        # Nomad waits for the host's heartbeat first.
        wait_until(is_missed, "Nomad to miss the host", Deadline(60), interval=1.0)
    finally:
        host.boot()
    done = rack.deploy("--timeout=4m")
    assert done.code == 0, (done, rack.command("cluster", "status"))
    give_up = time.monotonic() + 60
    while True:
        status = rack.command.ok("cluster", "status", "--output=json").json()
        if status["state"] == "running":
            break
        assert time.monotonic() < give_up, status
        time.sleep(0.5)
