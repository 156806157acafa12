"""An object that is too big for one writer: several write parts of it."""

from __future__ import annotations

import contextlib
import hashlib
import random
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from acceptance.conftest import Command, Done, ended
from botocore.session import Session  # type: ignore[import-untyped]
from servers import Server

from cloudmesh.sparknomad.model import ImageRecord
from cloudmesh.sparknomad.waiting import Deadline, wait_until

pytestmark = pytest.mark.nomad

SIZE = 600_000_000
# One file of more than 256 MiB, and then `_SUCCESS`.
PROGRAM = """
import sys
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
lines = spark.range(0, 1_400_000, 1, 1).selectExpr("concat(id, repeat('x', 200)) AS value")
lines.write.text(sys.argv[2])
spark.stop()
"""
JOB = """
job: big
program: big.py
startup: fast
parameters:
  output: {type: uri, required: true, write: staged}
arguments: ["--output", "{output}"]
"""


@dataclass(frozen=True)
class Lab:
    """A cluster of two workers, S3 as the profile ``aws``, and ``cluster:big/object``."""

    command: Command
    server: Server
    environment: dict[str, str]
    client: Any
    digest: str

    def ok(self, *words: str) -> Done:
        done = self.command(*words, **self.environment)
        assert done.code == 0, f"{words}: {done}"
        return done

    @contextlib.contextmanager
    def started(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        with subprocess.Popen(
            self.command.words(*words),
            env={**self.command.environment, **self.environment},
            cwd=self.command.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            yield process

    def writers(self) -> set[int]:
        """The agents and executors that are connected with the storage now.

        Where all workers are on the agent's own host, as here, it writes the parts itself.
        """
        port = urlsplit(self.server.endpoint).port
        found = set()
        for process in psutil.process_iter(["cmdline"]):
            with contextlib.suppress(psutil.Error):
                words = " ".join(process.info["cmdline"] or ())
                if "CoarseGrainedExecutorBackend" in words or "/transfer-" in words:
                    ports = {c.raddr.port for c in process.net_connections() if c.raddr}
                    found |= {process.pid} if port in ports else set()
        return found

    def content(self, name: str) -> str:
        """The digest of an object's bytes."""
        body = self.client.get_object(Bucket="lab", Key=f"big/{name}")["Body"]
        digest = hashlib.md5()
        for block in body.iter_chunks(1 << 20):
            digest.update(block)
        return digest.hexdigest()

    def uploads(self, name: str) -> list[str]:
        """The uploads that are neither completed nor aborted."""
        told = self.client.list_multipart_uploads(Bucket="lab", Prefix=f"big/{name}")
        return [each["Key"] for each in told.get("Uploads", ())]

    def objects(self, name: str) -> list[dict[str, Any]]:
        told = self.client.list_objects_v2(Bucket="lab", Prefix=f"big/{name}")
        return list(told.get("Contents", ()))


@pytest.fixture(scope="module")
def lab(
    root: None,
    image: ImageRecord,
    cache: Path,
    tmp_path_factory: pytest.TempPathFactory,
    s3_server: Server,
) -> Iterator[Lab]:
    home = tmp_path_factory.mktemp("big home")
    keys = {
        "aws_access_key_id": s3_server.access_key,
        "aws_secret_access_key": s3_server.secret_key,
    }
    environment = {name.upper(): value for name, value in keys.items()}
    connect = Session().create_client
    client = connect("s3", s3_server.region, endpoint_url=s3_server.endpoint, **keys)
    block = random.Random(1).randbytes(1_000_000)
    digest = hashlib.md5()
    with (home / "object").open("wb") as stream:
        for number in range(SIZE // len(block)):
            data = number.to_bytes(8, "big") + block[8:]
            digest.update(data)
            stream.write(data)
    with contextlib.closing(client), ended(Command(home, cache)) as command:
        made = Lab(command, s3_server, environment, client, digest.hexdigest())
        made.ok("cluster", "deploy", "--driver=exec")
        words = ("storage", "profile", "add", "aws", "--url=s3://lab/big/")
        made.ok(*words, f"--endpoint={s3_server.endpoint}", "--credentials=environment")
        made.ok("storage", "put", "object", "aws:object")
        made.ok("storage", "copy", "aws:object", "cluster:big/object")
        (home / "object").unlink()
        (home / "big.py").write_text(PROGRAM)
        (home / "big.yaml").write_text(JOB)
        yield made


def test_one_object_is_written_in_parts_at_a_time(lab: Lab) -> None:
    copying = ("storage", "copy", "cluster:big/object", "aws:copied", "--output=json")
    done = lab.ok(*copying)
    assert done.json()["verified"] == 1
    assert lab.content("copied") == lab.digest
    assert lab.uploads("copied") == []
    # Three parts for each core; one writer alone would have made more.
    tag = lab.client.head_object(Bucket="lab", Key="big/copied")["ETag"].strip('"')
    assert tag.endswith("-6")
    run = re.search(r"run (\S+) on cluster", done.err)
    assert run is not None
    (copied,) = lab.ok("job", "report", run[1], "--output=json").json()["copies"]
    assert sum(each["bytes"] for each in copied["nodes"].values()) == SIZE


def test_a_copy_that_is_cancelled_leaves_no_upload(lab: Lab) -> None:
    copying = ("storage", "copy", "cluster:big/object", "aws:cancelled")
    with lab.started(*copying) as process:
        wait_until(lambda: bool(lab.uploads("cancelled")), "the upload to begin", Deadline(120))
        runs = lab.ok("job", "runs", "--output=json").json()
        (run,) = [each["run"] for each in runs if each["state"] in ("running", "staging")]
        lab.ok("job", "cancel", run)
        process.communicate(timeout=60)
    assert process.returncode != 0
    wait_until(lambda: not lab.uploads("cancelled"), "the upload to be aborted", Deadline(60))
    assert lab.objects("cancelled") == []


@pytest.mark.slow
def test_what_a_killed_writer_has_left_is_aborted_and_written_anew(lab: Lab) -> None:
    copying = ("storage", "copy", "cluster:big/object", "aws:survived")
    with lab.started(*copying) as process:
        wait_until(lambda: bool(lab.uploads("survived")), "the upload to begin", Deadline(120))
        wait_until(lambda: bool(lab.writers()), "somebody to write", Deadline(60))
        psutil.Process(min(lab.writers())).kill()
        _, errors = process.communicate(timeout=200)
    assert process.returncode == 0, errors
    assert lab.content("survived") == lab.digest
    assert lab.uploads("survived") == []


def test_a_big_output_is_there_before_success(lab: Lab) -> None:
    before = len(lab.server.access_log.read_text().splitlines())
    lab.ok("job", "run", "big.yaml", "--param", "output=aws:answer/")
    time.sleep(1)  # the log is written a moment after the answer
    asked = lab.server.access_log.read_text().splitlines()[before:]
    written = [line for line in asked if "answer/" in line]
    big, success = (
        max(number for number, line in enumerate(written) if name in line and verb in line)
        for name, verb in (("part-00000", "POST"), ("_SUCCESS", "PUT"))
    )
    assert big < success, written
    sizes = sorted(each["Size"] for each in lab.objects("answer/"))
    assert len(sizes) == 2 and sizes[0] == 0 and sizes[1] > 256 << 20
    assert lab.uploads("answer/") == []
