"""The transfer agent by itself, with every Spark line: Google's accounts, uploads in parts."""

from __future__ import annotations

import hashlib
import json
import random
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
from cloudmesh.sparknomad.incluster import java_files, java_options
from cloudmesh.sparknomad.specfile import build_spec
from cloudmesh.sparknomad.storage.profile import StorageProfile
from cloudmesh.sparknomad.storage.profiles import open_storage
from cloudmesh.sparknomad.storage.storage import Storage
from cloudmesh.sparknomad.storage.url import StorageURL
from cloudmesh.sparknomad.waiting import Deadline, wait_until

MEGABYTE = 10**6


@dataclass
class Agent:
    """The transfer agent of a Spark line, started for each question as a run would."""

    classes: str
    java: str
    directory: Path

    @property
    def answers(self) -> Path:
        return self.directory / "answers"

    def start(self, storage: Storage) -> subprocess.Popen[str]:
        """Start it with a storage's settings and credentials."""
        told = storage.hadoop(StorageURL("", storage.profile.name, "x"))
        properties = self.directory / "spark.properties"
        text = {f"spark.hadoop.{k}": v for k, v in {**told.conf, **told.secrets}.items()}
        java_files.write_private(properties, java_files.properties_text(text))
        self.answers.unlink(missing_ok=True)
        command = [self.java, "-cp", self.classes, *java_options.module_options(self.java)]
        command += [java_options.logging_option(), "sparknomad.Agent"]
        return subprocess.Popen(
            [*command, str(properties), str(self.answers)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def told(self) -> list[dict[str, Any]]:
        """The last answer to each request so far."""
        lines = self.answers.read_text().splitlines() if self.answers.exists() else []
        return [each for each in map(json.loads, lines) if "progress" not in each]

    def ask(self, storage: Storage, *requests: dict[str, Any]) -> list[dict[str, Any]]:
        """The last answer to each request."""
        with self.start(storage) as process:
            lines = "".join(json.dumps(request) + "\n" for request in requests)
            output, _ = process.communicate(lines, timeout=120)
        assert process.returncode == 0, output
        for secret in ("PRIVATE KEY", "MII"):
            assert secret not in output + self.answers.read_text()
        return self.told()


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
        "options": {"project": "test", "fs.gs.checksum.type": "CRC32C"},  # as the agent's are
        "credentials": {"source": "plain", "values": {"json": document}},
    }
    return open_storage(build_spec(StorageProfile, data))


def moving(source: str, target: str, size: int, **more: Any) -> dict[str, Any]:
    shard = {"source": source, "target": target, "start": 0, "length": size, "size": size}
    return {"do": "move", "tasks": [[{**shard, **more}]], "threads": 2}


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
    assert account.granted[0]["aud"] == account.token_uri
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


def test_what_arrives_damaged_is_fetched_again(
    agent: Agent, account: Google, tmp_path: Path
) -> None:
    size = 100_000
    (tmp_path / "here").write_bytes(b"0123456789" * (size // 10))
    here, back = (tmp_path / "here").as_uri(), (tmp_path / "back").as_uri()
    there = f"gs://lab/account/{agent.directory.name}/proof"
    account.damaging = 1
    sent, fetched = agent.ask(
        storage(account), moving(here, there, size, verify=True), moving(there, back, size)
    )
    assert sent["done"][0]["proven"], sent
    assert fetched["done"][0]["failure"] == "", fetched
    assert fetched["done"][0]["attempts"] == 2
    assert account.damaging == 0
    assert (tmp_path / "back").read_bytes() == (tmp_path / "here").read_bytes()
    account.paths.clear()
    (fetched,) = agent.ask(storage(account), moving(there, back, size))
    media = [path for path in account.paths if "alt=media" in path]
    # What a checksum costs: one question more than the object itself.
    assert (len(media), fetched["done"][0]["attempts"]) == (1, 1), account.paths


def test_an_object_that_has_changed_is_not_taken_for_damaged(
    agent: Agent, account: Google, tmp_path: Path
) -> None:
    size = 100_000
    (tmp_path / "here").write_bytes(b"0123456789" * (size // 10))
    there = f"gs://lab/account/{agent.directory.name}/changed"
    account.damaging = 1
    _, fetched = agent.ask(
        storage(account),
        moving((tmp_path / "here").as_uri(), there, size),
        moving(there, (tmp_path / "back").as_uri(), size, version="1"),
    )
    assert fetched["done"][0]["failure"] == "changed"
    assert not (tmp_path / "back").exists()


# uploads in parts


@pytest.fixture
def bucket(s3_server: Server) -> Iterator[Any]:
    """A client of boto's for S3."""
    from botocore.session import Session  # type: ignore[import-untyped]

    client = Session().create_client(
        "s3",
        s3_server.region,
        endpoint_url=s3_server.endpoint,
        aws_access_key_id=s3_server.access_key,
        aws_secret_access_key=s3_server.secret_key,
    )
    yield client
    client.close()


def s3(server: Server) -> Storage:
    keys = {"access_key": server.access_key, "secret_key": server.secret_key}
    data = {
        "name": "aws",
        "url": "s3://lab/parts/",
        "kind": "s3",
        "endpoint": server.endpoint,
        "credentials": {"source": "plain", "values": keys},
    }
    return open_storage(build_spec(StorageProfile, data))


def part(source: Path, target: str, upload: str, number: int, length: int) -> dict[str, Any]:
    size = source.stat().st_size
    start = (number - 1) * length
    return {
        "source": source.as_uri(),
        "target": target,
        "start": start,
        "length": min(length, size - start),
        "size": size,
        "upload": upload,
        "part": number,
        "verify": True,
    }


def test_an_object_of_several_parts_is_seen_when_it_is_whole(
    agent: Agent, s3_server: Server, bucket: Any, tmp_path: Path
) -> None:
    source, length = tmp_path / "big", 6 * MEGABYTE
    source.write_bytes(random.Random(7).randbytes(2 * length + 1000))
    name = f"parts/{agent.directory.name}"
    target = f"s3a://lab/{name}"
    with agent.start(s3(s3_server)) as process:
        assert process.stdin is not None

        def ask(request: dict[str, Any]) -> Any:
            assert process.stdin is not None
            before = len(agent.told())
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            wait_until(lambda: len(agent.told()) > before, "the agent to answer", Deadline(60))
            return agent.told()[-1]["done"]

        hdfs = "file:///nowhere"  # what is no S3 is written as a whole
        begun = ask({"do": "begin", "uploads": [{"target": target}, {"target": hdfs}]})
        upload = begun[0]["upload"]
        assert upload and not begun[1]["upload"]
        shards = [part(source, target, upload, number, length) for number in (3, 1, 2)]
        moved = ask({"do": "move", "tasks": [shards], "threads": 2})
        assert {each["failure"] for each in moved} == {""}
        assert "Contents" not in bucket.list_objects_v2(Bucket="lab", Prefix=name)
        parts = [{"number": m["part"], "handle": m["handle"], "digest": m["digest"]} for m in moved]
        wanted = {"target": target, "upload": upload, "parts": parts}
        size = source.stat().st_size
        (completed,) = ask({"do": "complete", "uploads": [{**wanted, "size": size}]})
        assert completed["proven"] and not completed["failure"]
        body = bucket.get_object(Bucket="lab", Key=name)["Body"].read()
        assert hashlib.md5(body).digest() == hashlib.md5(source.read_bytes()).digest()
        # What can't be put together is given up.
        (again,) = ask({"do": "begin", "uploads": [{"target": f"{target}-2"}]})
        wrong = {"target": f"{target}-2", "upload": again["upload"], "size": 1, "parts": parts[:1]}
        (completed,) = ask({"do": "complete", "uploads": [wrong]})
        assert completed["failure"]
        assert left(bucket, name) == []
        assert ask({"do": "abort", "uploads": [wrong]}) == []
        process.stdin.close()
        assert process.wait(30) == 0


def left(bucket: Any, name: str) -> list[str]:
    """The uploads that were neither completed nor aborted."""
    told = bucket.list_multipart_uploads(Bucket="lab", Prefix=name)
    return [each["Key"] for each in told.get("Uploads", ())]


def test_an_agent_that_is_told_to_end_leaves_no_upload(
    agent: Agent, s3_server: Server, bucket: Any, tmp_path: Path
) -> None:
    source = tmp_path / "big"
    source.write_bytes(bytes(12 * MEGABYTE))
    name = f"parts/stopped-{agent.directory.name}"
    target = f"s3a://lab/{name}"
    with agent.start(s3(s3_server)) as process:
        assert process.stdin is not None
        process.stdin.write(json.dumps({"do": "begin", "uploads": [{"target": target}]}) + "\n")
        process.stdin.flush()
        wait_until(lambda: len(agent.told()) == 1, "the agent to answer", Deadline(60))
        (begun,) = agent.told()[0]["done"]
        shard = part(source, target, begun["upload"], 1, 6 * MEGABYTE)
        process.stdin.write(json.dumps({"do": "move", "tasks": [[shard]], "threads": 1}) + "\n")
        process.stdin.flush()
        wait_until(lambda: len(agent.told()) == 2, "the agent to answer", Deadline(60))
        assert left(bucket, name) == [name]
        process.terminate()
        assert process.wait(30) == 143
    assert left(bucket, name) == []
    assert "Contents" not in bucket.list_objects_v2(Bucket="lab", Prefix=name)
