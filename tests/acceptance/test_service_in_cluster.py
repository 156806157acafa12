"""The service as a job of the cluster that it serves."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from acceptance.conftest import Command, ended, ours
from acceptance.people import hello
from servers import Server, make_bucket

from cloudmesh.sparknomad.client import Remote
from cloudmesh.sparknomad.errors import SparknomadError
from cloudmesh.sparknomad.manager import Sparknomad
from cloudmesh.sparknomad.model import ImageRecord
from cloudmesh.sparknomad.ports import free_ports

pytestmark = pytest.mark.nomad
EXAMPLES = Path(__file__).parents[2] / "examples"
CLUSTER = "--cluster=default"
JOB = """
job: wordcount
program: wordcount.py
parameters: {input: {type: uri, required: true}}
arguments: ["--input", "{input}"]
"""


@dataclass(frozen=True)
class Served:
    """A cluster with its service, and who may call it."""

    command: Command
    url: str
    secret: str

    def connect(self, secret: str = "") -> Remote:
        return Sparknomad.connect(self.url, secret or self.secret)

    def token(self, name: str, role: str) -> str:
        made = ("service", "token", "create", name, f"--role={role}", CLUSTER)
        return self.command.ok(*made).out.strip()


@pytest.fixture(scope="module")
def served(
    root: None, image: ImageRecord, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    with ended(Command(tmp_path_factory.mktemp("served"), cache)) as command:
        command.ok("cluster", "deploy", "--driver=exec", "--workers=1", "--memory=1g")
        none = command("service", "status", CLUSTER)
        assert none.code == 4 and "No service runs in cluster 'default'" in none.err
        (port,) = free_ports(1)
        start = ("service", "start", CLUSTER, f"--port={port}", "--output=json")
        told = command.ok(*start).json()
        yield Served(command, told["url"], told["secret"])
        command.ok("service", "stop", CLUSTER)
        assert command("service", "status", CLUSTER).code == 4
        tokens = command.ok("cluster", "token", "list", "--output=json").out
        assert "the service in the cluster" not in tokens
        with pytest.raises(requests.ConnectionError):
            requests.get(f"{told['url']}/clusters", timeout=5)


def processes(served: Served) -> list[Any]:
    return ours(served.command, lambda words: "cloudmesh.sparknomad.service.task" in words)


def test_a_job_runs_without_the_machine_that_started_the_service(
    served: Served, tmp_path: Path
) -> None:
    remote = served.connect()
    assert [each.name for each in remote.cluster_list()] == ["default"]
    assert remote.cluster_status("default").state.value == "running"
    run = remote.job_run(hello(remote, tmp_path), {"whom": "you"})
    assert remote.job_wait(run.run).state.value == "succeeded"
    output = b"".join(chunk.data for chunk in remote.job_logs(run.run))
    assert b"hello you" in output
    assert "the service in the cluster" in served.command.ok("cluster", "token", "list").out
    told = served.command.ok("service", "status", CLUSTER, "--output=json").json()
    assert (told["state"], told["url"]) == ("running", served.url)


def test_a_token_is_good_until_it_is_revoked(served: Served) -> None:
    secret = served.token("ann", "reader")
    assert served.connect(secret).cluster_list()
    with pytest.raises(SparknomadError, match="needs the role"):
        served.connect(secret).job_remove("hello")
    again = served.command("service", "token", "create", "ann", "--role=reader", CLUSTER)
    assert again.code == 1 and "There is a token 'ann' already" in again.err
    listed = served.command.ok("service", "token", "list", CLUSTER, "--output=json")
    assert {each["name"] for each in listed.json()} == {"first", "ann"}
    assert secret not in listed.out
    served.command.ok("service", "token", "revoke", "ann", CLUSTER)
    asked = {"Authorization": f"Bearer {secret}"}
    assert requests.get(f"{served.url}/clusters", headers=asked, timeout=20).status_code == 401


def test_a_killed_service_goes_on_and_runs_nothing_twice(served: Served, tmp_path: Path) -> None:
    name = hello(served.connect(), tmp_path)
    asked = {"Authorization": f"Bearer {served.secret}", "Idempotency-Key": "only-once"}

    def send() -> Any:
        body = {"job": name}
        return requests.post(f"{served.url}/runs", json=body, headers=asked, timeout=60)

    first = send().json()["run"]
    (process,) = processes(served)
    os.kill(process.pid, signal.SIGKILL)
    give_up = time.monotonic() + 90
    while True:
        try:
            answer = send()
            break
        except requests.ConnectionError:
            assert time.monotonic() < give_up
            time.sleep(0.5)
    assert answer.json()["run"] == first and answer.headers["Idempotency-Replayed"] == "true"
    assert served.connect().job_wait(first).state.value == "succeeded"
    assert [each.run for each in served.connect().job_runs(job=name)].count(first) == 1


def test_a_pipeline_runs_by_it(served: Served, tmp_path: Path) -> None:
    remote = served.connect()
    hello(remote, tmp_path)
    steps = {"one": {"job": "hello"}, "two": {"job": "hello", "after": ["one"]}}
    path = tmp_path / "greetings.yaml"
    path.write_text(json.dumps({"pipeline": "greetings", "steps": steps}))
    remote.pipeline_define(path)
    run = remote.pipeline_run("greetings", {}).run
    give_up = time.monotonic() + 120
    while not (record := remote.pipeline_status(run)).state.is_terminal:
        assert time.monotonic() < give_up
        time.sleep(0.5)
    assert record.state.value == "succeeded", record


@pytest.mark.servers
@pytest.mark.slow
def test_it_has_the_storages_that_it_was_given(served: Served, s3_server: Server) -> None:
    command, asked = served.command, {"Authorization": f"Bearer {served.secret}"}
    (command.home / "words.txt").write_text("to be or not to be\n")
    make_bucket(s3_server, "service")
    profile = ("storage", "profile", "add", "aws", "--url=s3://service/")
    options = (f"--endpoint={s3_server.endpoint}", "--credentials=environment")
    command.ok(*profile, *options)
    keys = s3_server.variables
    command.ok("storage", "put", "words.txt", "aws:words.txt", **keys)

    def profiles() -> str:
        answer = requests.get(f"{served.url}/storage/profiles", headers=asked, timeout=20)
        return answer.text

    assert json.loads(profiles()) == []
    port = served.url.rpartition(":")[2].removesuffix("/v1")
    command.ok("service", "start", CLUSTER, f"--port={port}", "--storage=aws", **keys)
    told = profiles()
    assert [each["name"] for each in json.loads(told)] == ["aws"]
    assert s3_server.secret_key not in told
    remote = served.connect()
    (command.home / "wordcount.yaml").write_text(JOB)
    shutil.copyfile(EXAMPLES / "wordcount.py", command.home / "wordcount.py")
    remote.job_define(command.home / "wordcount.yaml")
    run = remote.job_run("wordcount", {"input": "aws:words.txt"})
    assert remote.job_wait(run.run).state.value == "succeeded"
    output = b"".join(chunk.data for chunk in remote.job_logs(run.run))
    assert b"2  be" in output


def test_what_does_not_fit_is_refused(served: Served, tmp_path: Path) -> None:
    command = served.command
    here = command("service", "start", CLUSTER, "--host=0.0.0.0")
    assert here.code == 2 and "goes with a service on this machine only" in here.err
    alone = command("service", "start", "--storage=s3")
    assert alone.code == 2 and "--storage: goes with --cluster=NAME only" in alone.err
    unknown = command("service", "start", CLUSTER, "--storage=nope")
    assert unknown.code == 4 and "There is no storage profile 'nope'" in unknown.err
    command.ok("storage", "profile", "add", "mine", f"--url=file://{tmp_path}/")
    mine = command("service", "start", CLUSTER, "--storage=mine")
    assert mine.code == 2 and "files of this machine" in mine.err
    cert = tmp_path / "cert.pem"
    half = command("service", "start", CLUSTER, f"--tls-cert={cert}")
    assert half.code == 2 and "give both, or none" in half.err
