"""Google's connector as a service account, whose key is in Hadoop's configuration only."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from google_account import Google, google
from servers import Server

from cloudmesh.sparknomad.image.host import host_agent, host_connectors, host_runtime
from cloudmesh.sparknomad.incluster import sparkconf
from cloudmesh.sparknomad.specfile import build_spec
from cloudmesh.sparknomad.storage.profile import StorageProfile
from cloudmesh.sparknomad.storage.profiles import open_storage
from cloudmesh.sparknomad.storage.storage import Storage
from cloudmesh.sparknomad.storage.url import StorageURL

MEGABYTE = 10**6


@dataclass
class Agent:
    """The transfer agent of a Spark line, started for each question as a run would."""

    classes: str
    java: str
    directory: Path

    def ask(self, storage: Storage, *requests: dict[str, Any]) -> list[dict[str, Any]]:
        """The last answer to each request."""
        told = storage.hadoop(StorageURL("", "google", "x"))
        values = {**told.conf, **told.secrets}
        properties = self.directory / "spark.properties"
        text = {f"spark.hadoop.{key}": value for key, value in values.items()}
        sparkconf.write_private(properties, sparkconf.properties_text(text))
        answers = self.directory / "answers"
        answers.unlink(missing_ok=True)
        command = [self.java, "-cp", self.classes, *sparkconf.module_options(self.java)]
        command += [sparkconf.logging_option(), "sparknomad.Agent", str(properties), str(answers)]
        lines = "".join(json.dumps(request) + "\n" for request in requests)
        done = subprocess.run(
            command, input=lines, text=True, capture_output=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        for secret in ("PRIVATE KEY", "MII"):
            assert secret not in done.stdout + done.stderr + answers.read_text()
        told_lines = map(json.loads, answers.read_text().splitlines())
        return [each for each in told_lines if "progress" not in each]


@pytest.fixture(
    scope="module", params=["4.1", pytest.param("3.5", marks=pytest.mark.slow)], name="agent"
)
def make_agent(
    request: pytest.FixtureRequest, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Agent:
    runtime = host_runtime(cache, print, line=request.param)
    connectors = host_connectors(cache, print, line=request.param)
    jar = host_agent(cache, print, line=request.param)
    classes = f"{runtime.spark_home}/jars/*:{connectors}/*:{jar}"
    home = tmp_path_factory.mktemp(f"agent-{request.param}")
    return Agent(classes, f"{runtime.java_home}/bin/java", home)


@pytest.fixture
def account(gcs_server: Server) -> Iterator[Google]:
    with google(gcs_server.endpoint) as made:
        yield made


def storage(account: Google, **changes: str) -> Storage:
    """A profile with the account's key."""
    document = json.dumps({**account.document, **changes})
    data = {
        "name": "google",
        "url": "gs://lab/account/",
        "kind": "gcs",
        "endpoint": account.endpoint,
        "options": {"project": "test"},
        "credentials": {"source": "plain", "values": {"json": document}},
    }
    return open_storage(build_spec(StorageProfile, data))


def moving(source: str, target: str, size: int) -> dict[str, Any]:
    shard = {"source": source, "target": target, "start": 0, "length": size, "size": size}
    return {"do": "move", "tasks": [[shard]], "threads": 2}


def test_a_key_opens_the_storage_and_its_token_is_used_again(
    agent: Agent, account: Google, tmp_path: Path
) -> None:
    (tmp_path / "here").write_bytes(b"0123456789" * 1000)
    there = f"gs://lab/account/{agent.directory.name}"
    account.failing = 2
    sent, listed, fetched = agent.ask(
        storage(account),
        moving((tmp_path / "here").as_uri(), f"{there}/object", 10_000),
        {"do": "list", "source": f"{there}/"},
        moving(f"{there}/object", (tmp_path / "back").as_uri(), 10_000),
    )
    for each in (sent, fetched):
        assert each["done"][0]["failure"] == "", each
    assert [each["size"] for each in listed["done"]["objects"]] == [10_000]
    assert (tmp_path / "back").read_bytes() == (tmp_path / "here").read_bytes()
    assert not account.refused
    # Each file system of a process has a token of its own.
    assert len(account.granted) == 1
    assert account.granted[0]["scope"].endswith("read_write")
    assert sum(account.accepted.values()) >= 3


def test_a_token_that_ends_in_the_middle_is_replaced(
    agent: Agent, account: Google, tmp_path: Path
) -> None:
    account.life = 3
    size = 2 * MEGABYTE
    (tmp_path / "here").write_bytes(b"x" * size)
    there = f"gs://lab/account/{agent.directory.name}"
    shards = [
        {
            "source": (tmp_path / "here").as_uri(),
            "target": f"{there}/{number}",
            "start": 0,
            "length": size,
            "size": size,
        }
        for number in range(60)
    ]
    account.delay = 0.2
    begun = time.monotonic()
    (sent,) = agent.ask(storage(account), {"do": "move", "tasks": [shards], "threads": 2})
    assert time.monotonic() - begun > account.life
    assert {each["failure"] for each in sent["done"]} == {""}, sent
    assert len(account.granted) > 1
    assert len(account.accepted) > 1
    assert not [each for each in account.refused if "statement" in each]


def test_what_is_refused_is_told_without_the_key(agent: Agent, account: Google) -> None:
    other = Google(token_uri=account.token_uri)
    wrong = storage(account, private_key=other.document["private_key"])
    (told,) = agent.ask(wrong, {"do": "list", "source": "gs://lab/account/"})
    assert told["failed"]["failure"] == "denied"
    assert "invalid_grant Invalid JWT" in told["failed"]["reason"]
    broken = storage(account, private_key="-----BEGIN PRIVATE KEY-----\nhush\n")
    (told,) = agent.ask(broken, {"do": "list", "source": "gs://lab/account/"})
    assert told["failed"]["failure"] == "denied"
    assert "no RSA key" in told["failed"]["reason"] and "hush" not in told["failed"]["reason"]
