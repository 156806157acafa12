"""What goes wrong while an input is staged: the run survives it, or says why; nothing is wrong."""

from __future__ import annotations

import hashlib
import random
import re
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from acceptance.conftest import Command, Done, ended
from faults.test_lost_parts import java, ours
from faulty import Answer, Faulty, Request, faulty
from servers import Server

from cloudmesh.sparknomad.model import ImageRecord

pytestmark = [pytest.mark.faults, pytest.mark.nomad, pytest.mark.slow]

# The digest of all bytes, read by Spark from where the input was staged.
PROGRAM = """
import argparse, hashlib
from pyspark.sql import SparkSession
parser = argparse.ArgumentParser()
parser.add_argument("--input")
given = parser.parse_args()
spark = SparkSession.builder.getOrCreate()
files = spark.sparkContext.binaryFiles(given.input).mapValues(
    lambda content: hashlib.sha256(content).hexdigest()
)
for name, digest in sorted(files.collect()):
    print(name.rpartition("/")[2], digest)
spark.stop()
"""
JOB = """
job: digest
program: digest.py
startup: fast
retries: {infrastructure: 1}
parameters:
  input: {type: uri, required: true, stage: always}
arguments: ["--input", "{input}"]
"""
COPIED = """
import argparse
from pyspark.sql import SparkSession
parser = argparse.ArgumentParser()
parser.add_argument("--input")
parser.add_argument("--output")
given = parser.parse_args()
spark = SparkSession.builder.getOrCreate()
spark.conf.set("spark.sql.files.maxPartitionBytes", 4_000_000)
spark.read.text(given.input).write.text(given.output)
"""
COPIED_JOB = """
job: copied
program: copied.py
startup: fast
retries: {infrastructure: 3}
parameters:
  input: {type: uri, required: true, stage: never}
  output: {type: uri, required: true, write: direct}
arguments: ["--input", "{input}", "--output", "{output}"]
"""
BIG = 40_000_000
EXPIRED = (
    "<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"
)
DENIED = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
MISSING = "<Error><Code>NoSuchBucket</Code><Message>no such bucket</Message></Error>"
ELSEWHERE = (
    "<Error><Code>AuthorizationHeaderMalformed</Code><Message>The authorization header is "
    "malformed; the region 'us-east-1' is wrong; expecting 'eu-west-1'</Message></Error>"
)
BUSY = "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


@dataclass(frozen=True)
class Lab:
    """A cluster, and an S3 profile ``aws`` behind a proxy that spoils answers."""

    command: Command
    environment: dict[str, str]
    proxy: Faulty

    def __call__(self, *words: str) -> Done:
        return self.command(*words, **self.environment)

    def ok(self, *words: str) -> Done:
        done = self(*words)
        assert done.code == 0, f"{words}: {done}"
        return done

    def put(self, name: str, content: bytes) -> None:
        path = self.command.home / "upload"
        path.write_bytes(content)
        self.ok("storage", "put", "upload", f"aws:{name}")

    def run(self, source: str) -> Done:
        return self("job", "run", "digest.yaml", "--param", f"input={source}")

    def staged(self) -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = self.ok("storage", "staged", "--output=json").json()
        return told


@pytest.fixture(scope="module")
def made(
    root: None,
    image: ImageRecord,
    cache: Path,
    tmp_path_factory: pytest.TempPathFactory,
    s3_server: Server,
) -> Iterator[Lab]:
    home = tmp_path_factory.mktemp("staging faults")
    environment = s3_server.variables
    with faulty(s3_server.endpoint) as proxy, ended(Command(home, cache)) as command:
        lab = Lab(command, environment, proxy)
        lab.ok("cluster", "deploy", "--driver=exec")
        words = ("storage", "profile", "add", "aws", "--url=s3://lab/faults/")
        lab.ok(*words, f"--endpoint={proxy.endpoint}", "--credentials=environment")
        (home / "digest.py").write_text(PROGRAM)
        (home / "digest.yaml").write_text(JOB)
        (home / "copied.py").write_text(COPIED)
        (home / "copied.yaml").write_text(COPIED_JOB)
        yield lab


@pytest.fixture
def lab(made: Lab) -> Iterator[Lab]:
    yield made
    made.proxy.spoil = lambda request: None
    made.proxy.spoilt.clear()


def content(seed: int, size: int = BIG) -> bytes:
    return random.Random(seed).randbytes(size)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def gets(name: str) -> Callable[[Request], bool]:
    return lambda request: request.method == "GET" and name in request.path.split("?")[0]


def some(part: float, wanted: Callable[[Request], bool], answer: Answer) -> Any:
    """Spoil a part of the answers, the same ones each time."""
    dice = random.Random(7)
    return lambda request: answer if wanted(request) and dice.random() < part else None


def first(count: int, wanted: Callable[[Request], bool], answer: Answer) -> Any:
    """Spoil the first answers."""
    left = [count]

    def spoil(request: Request) -> Answer | None:
        if not wanted(request) or not left[0]:
            return None
        left[0] -= 1
        return answer

    return spoil


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("storm", some(0.3, gets("storm"), Answer(503, BUSY))),
        ("reset", first(3, gets("reset"), Answer(cut=3_000_000))),
        ("dropped", some(0.2, gets("dropped"), Answer(cut=0))),
        ("stalled", first(1, gets("stalled"), Answer(stall=60))),
    ],
)
def test_what_a_network_does_costs_time_but_no_byte(lab: Lab, name: str, spoil: Any) -> None:
    parts = {f"{name}-{number}": content(number, size) for number, size in ((1, BIG), (2, 1000))}
    for part, data in parts.items():
        lab.put(f"{name}/{part}", data)
    lab.proxy.spoil = spoil
    done = lab.run(f"aws:{name}/")
    assert done.code == 0, done
    assert lab.proxy.spoilt
    told = dict(line.split() for line in done.out.splitlines())
    assert told == {part: digest(data) for part, data in parts.items()}


@pytest.mark.parametrize(
    ("name", "answer", "words"),
    [
        ("expired", Answer(400, EXPIRED), "expired"),
        ("denied", Answer(403, DENIED), "denied|forbidden|AccessDenied"),
        ("bucket", Answer(404, MISSING), "NoSuchBucket|bucket"),
    ],
)
def test_what_is_taken_away_in_the_middle_fails_the_run_with_the_reason(
    lab: Lab, name: str, answer: Answer, words: str
) -> None:
    data = content(3)
    lab.put(f"{name}.bin", data)
    wanted, seen = gets(f"{name}.bin"), [0]

    def spoil(request: Request) -> Answer | None:
        seen[0] += wanted(request)
        return answer if seen[0] > 1 and wanted(request) else None

    lab.proxy.spoil = spoil
    done = lab.run(f"aws:{name}.bin")
    assert done.code == 3, done
    assert re.search(words, done.err, re.IGNORECASE), done
    assert f"aws:{name}.bin" not in [each["source"] for each in lab.staged()]
    lab.proxy.spoil = lambda request: None
    again = lab.run(f"aws:{name}.bin")
    assert again.code == 0 and digest(data) in again.out


@pytest.mark.parametrize(
    ("name", "answer", "words"),
    [
        ("denied", Answer(403, DENIED), "AccessDenied|Access Denied|Forbidden"),
        ("bucket", Answer(404, MISSING), "NoSuchBucket|bucket"),
        ("region", Answer(400, ELSEWHERE), "region"),
    ],
)
def test_what_is_taken_away_while_it_is_read_directly_fails_the_run(
    lab: Lab, name: str, answer: Answer, words: str
) -> None:
    lab.put(f"direct-{name}.txt", b"".join(b"%099d\n" % number for number in range(300_000)))
    wanted, seen = gets(f"direct-{name}.txt"), [0]

    def spoil(request: Request) -> Answer | None:
        seen[0] += wanted(request)
        return answer if seen[0] > 1 and wanted(request) else None

    lab.proxy.spoil = spoil
    begun = time.monotonic()
    given = (f"input=aws:direct-{name}.txt", f"output=aws:written-{name}/")
    done = lab("job", "run", "copied.yaml", "--param", given[0], "--param", given[1])
    assert done.code == 3, done
    (reason,) = re.findall(r"^.*ended with exit code 1: .*$", done.err, re.MULTILINE)
    assert re.search(words, reason, re.IGNORECASE), done
    assert time.monotonic() - begun < 120
    lab.proxy.spoil = lambda request: None
    listed = lab("storage", "list", f"aws:written-{name}/", "--recursive", "--output=json")
    assert listed.code == 4 or listed.json() == [], listed


def test_an_object_that_is_replaced_while_it_is_read_is_read_anew(lab: Lab) -> None:
    old, new = content(4), content(5)
    lab.put("replaced.bin", old)
    wanted, replaced = gets("replaced.bin"), [False]

    def spoil(request: Request) -> Answer | None:
        if wanted(request) and not replaced[0]:
            replaced[0] = True
            return Answer(stall=6)
        return None

    lab.proxy.spoil = spoil
    words = ("job", "run", "digest.yaml", "--param", "input=aws:replaced.bin", "--detach")
    run = lab.ok(*words).out.strip()
    give_up = time.monotonic() + 60
    while not replaced[0]:
        assert time.monotonic() < give_up
        time.sleep(0.05)
    lab.put("replaced.bin", new)
    lab.ok("job", "wait", run)
    assert digest(new) in lab.ok("job", "logs", run).out
    assert digest(old) not in lab.ok("job", "logs", run).out


@pytest.mark.parametrize(
    "victim",
    [
        "datanode",
        "namenode",
        "agent",
    ],
)
def test_a_part_of_the_cluster_that_dies_while_staging_is_survived(lab: Lab, victim: str) -> None:
    data = content(6)
    lab.put(f"{victim}.bin", data)
    wanted, begun = gets(f"{victim}.bin"), [False]

    def spoil(request: Request) -> Answer | None:
        if wanted(request):
            begun[0] = True
            return Answer(stall=2)
        return None

    lab.proxy.spoil = spoil
    words = ("job", "run", "digest.yaml", "--param", f"input=aws:{victim}.bin", "--detach")
    run = lab.ok(*words).out.strip()
    give_up = time.monotonic() + 60
    while not begun[0]:
        assert time.monotonic() < give_up
        time.sleep(0.05)
    kill(lab.command, victim)
    lab.ok("job", "wait", run, "--timeout=5m")
    assert digest(data) in lab.ok("job", "logs", run).out


def kill(command: Command, victim: str) -> None:
    server = "org.apache.hadoop.hdfs.server"
    classes = {
        "datanode": f"{server}.datanode.DataNode",
        "namenode": f"{server}.namenode.NameNode",
    }
    if victim in classes:
        found = ours(command, java(classes[victim]))
    else:
        found = ours(command, lambda words: any("transfer-1/java.args" in word for word in words))
    assert found, victim
    process: psutil.Process = found[0]
    process.send_signal(signal.SIGKILL)
