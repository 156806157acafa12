"""Inputs that are brought into the cluster once, outputs that are brought out of it."""

from __future__ import annotations

import concurrent.futures
import functools
import json
import re
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from acceptance.conftest import Command, Done, ended
from servers import Server
from threaded import threaded
from wrongs import Wrong

from cloudmesh.sparknomad.model import ImageRecord

pytestmark = pytest.mark.nomad

PROGRAM = """
import argparse
from pyspark.sql import SparkSession
parser = argparse.ArgumentParser()
parser.add_argument("--input")
parser.add_argument("--output")
given = parser.parse_args()
spark = SparkSession.builder.getOrCreate()
lines = spark.read.text(given.input)
print(lines.count())
if given.output:
    lines.distinct().coalesce(2).write.text(given.output)
spark.stop()
"""
JOB = """
job: lines
program: lines.py
startup: fast
parameters:
  input: {type: uri, required: true, stage: always}
  output: {type: uri, write: staged}
arguments: ["--input", "{input}", "--output", "{output}"]
"""
NAMES = """
import sys
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
place = sys.argv[sys.argv.index("--input") + 1]
assert place.startswith("hdfs://"), place
for row in spark.read.option("recursiveFileLookup", True).text(place).collect():
    print(row[0])
spark.stop()
"""
MEGABYTE = 10**6


@dataclass(frozen=True)
class Lab:
    """A deployed cluster with an S3 profile ``aws``."""

    command: Command
    server: Server
    environment: dict[str, str]

    def __call__(self, *words: str) -> Done:
        return self.command(*words, **self.environment)

    def ok(self, *words: str) -> Done:
        done = self(*words)
        assert done.code == 0, f"{words}: {done}"
        return done

    def put(self, name: str, text: str) -> None:
        path = self.command.home / "upload"
        path.write_text(text)
        self.ok("storage", "put", "upload", f"aws:{name}")

    def run(self, source: str, *more: str) -> tuple[Done, dict[str, Any]]:
        done = self.ok("job", "run", "lines.yaml", "--param", f"input={source}", *more)
        run = re.search(r"run (lines-\S+) on cluster", done.err)
        assert run is not None, done
        report = self.ok("job", "report", run[1], "--output=json").json()
        return done, report

    def requests(self, name: str, since: int) -> list[dict[str, Any]]:
        """What the server was asked about an object or those below it."""
        time.sleep(1)  # its log is written a moment after the answer
        entries = map(json.loads, self.server.access_log.read_text().splitlines()[since:])
        return [each for each in entries if each["key"].lstrip("/").startswith(f"stage/{name}")]

    @property
    def logged(self) -> int:
        time.sleep(1)
        return len(self.server.access_log.read_text().splitlines())

    def sent(self) -> float:
        """The bytes that the server has sent of the bucket, by its own counter."""
        with urllib.request.urlopen(self.server.metrics, timeout=10) as answer:
            text = answer.read().decode()
        found = re.search(
            r'^SeaweedFS_s3_bucket_traffic_sent_bytes_total\{bucket="lab"\} (\S+)', text, re.M
        )
        assert found is not None, text[:2000]
        return float(found[1])


@pytest.fixture(scope="module")
def lab(
    root: None,
    image: ImageRecord,
    cache: Path,
    tmp_path_factory: pytest.TempPathFactory,
    s3_server: Server,
) -> Iterator[Lab]:
    home = tmp_path_factory.mktemp("staging home")
    environment = s3_server.variables
    with ended(Command(home, cache)) as command:
        made = Lab(command, s3_server, environment)
        made.ok("cluster", "deploy", "--driver=exec")
        words = ("storage", "profile", "add", "aws", "--url=s3://lab/stage/")
        made.ok(*words, f"--endpoint={s3_server.endpoint}", "--credentials=environment")
        (home / "lines.py").write_text(PROGRAM)
        (home / "lines.yaml").write_text(JOB)
        yield made


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "lines of text.txt").write_text("one\ntwo\nthree\n")
    handler = functools.partial(Signed, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, threaded(server):
        yield f"http://127.0.0.1:{server.server_port}"


class Signed(SimpleHTTPRequestHandler):
    """A web server that lets a URL be signed, for GET alone, as the clouds' stores do."""

    def do_HEAD(self) -> None:
        if "sig=" in self.path:
            self.send_error(403)
        else:
            super().do_HEAD()

    def do_GET(self) -> None:
        if "sig=" in self.path and not self.path.endswith("?sig=a%2Fb%3D"):
            self.send_error(403)
            return
        if self.headers.get("Range") == "bytes=0-0":  # as much as the agent asks for the length
            size = Path(self.translate_path(self.path)).stat().st_size
            self.send_response(206)
            self.send_header("Content-Range", f"bytes 0-0/{size}")
            self.send_header("Content-Length", "1")
            self.end_headers()
            self.wfile.write(b"o")
            return
        super().do_GET()


def gets(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each for each in entries if each["operation"] == "REST.GET.OBJECT"]


def test_the_second_run_finds_its_input_in_the_cluster(lab: Lab) -> None:
    # Big enough to be cut in ranges that several tasks fetch.
    text = "".join(f"{number:099d}\n" for number in range(800_000))
    lab.put("twice.txt", text)
    before = lab.sent()
    first, report = lab.run("aws:twice.txt")
    assert first.out == "800000\n"
    told = report["inputs"]["input"]
    assert told["staged"] and not told["from_cache"]
    assert told["fetched_bytes"] == len(text) == told["bytes"]
    assert sum(node["bytes"] for node in told["nodes"].values()) == len(text)
    # Headers and listings are little beside it.
    assert len(text) <= lab.sent() - before < len(text) + MEGABYTE
    since, before = lab.logged, lab.sent()
    second, report = lab.run("aws:twice.txt")
    assert second.out == first.out
    told = report["inputs"]["input"]
    assert told["staged"] and told["from_cache"] and told["fetched_bytes"] == 0
    asked = lab.requests("twice.txt", since)
    assert gets(asked) == []
    assert len(asked) <= 1, asked
    assert lab.sent() - before < MEGABYTE
    near = report["locality_bytes"]
    local = sum(size for level, size in near.items() if level in ("NODE_LOCAL", "PROCESS_LOCAL"))
    assert local >= 0.9 * sum(near.values()) > 0


def test_only_what_has_changed_is_fetched_again(lab: Lab) -> None:
    for name in ("a.txt", "b.txt", "c.txt"):
        lab.put(f"many/{name}", f"{name}\n")
    lab.run("aws:many/")
    lab.put("many/b.txt", "changed\nto two\n")
    since = lab.logged
    done, report = lab.run("aws:many/")
    assert done.out == "4\n"
    told = report["inputs"]["input"]
    assert (told["objects"], told["fetched_objects"]) == (3, 1)
    fetched = [each["key"].rpartition("/")[2] for each in gets(lab.requests("many/", since))]
    assert fetched == ["b.txt"]


def test_two_runs_at_once_fetch_their_input_once(lab: Lab) -> None:
    lab.put("once.txt", "x" * 20 * MEGABYTE + "\n")
    since = lab.logged
    with concurrent.futures.ThreadPoolExecutor() as pool:
        runs = [pool.submit(lab.run, "aws:once.txt") for _ in range(2)]
        answers = [run.result() for run in runs]
    assert [done.out for done, _ in answers] == ["1\n", "1\n"]
    assert sorted(report["inputs"]["input"]["from_cache"] for _, report in answers) == [False, True]
    assert len(gets(lab.requests("once.txt", since))) == 1


@pytest.mark.slow
def test_an_input_read_once_is_read_where_it_is_and_the_next_time_staged(lab: Lab) -> None:
    lab.put("auto.txt", "one\n")
    reasons = []
    for _ in range(3):
        _, report = lab.run("aws:auto.txt", "--stage=auto")
        told = report["inputs"]["input"]
        assert told["staged"] == (not told["reason"].endswith("not worth a copy"))
        reasons.append((told["staged"], told["reason"]))
    assert not reasons[0][0] and "for the first time" in reasons[0][1]
    assert reasons[2][0]


def test_staging_by_command_pins_and_unstages(lab: Lab) -> None:
    lab.put("pinned.txt", "kept\n")
    lab.put("loose.txt", "gone\n")
    lab.ok("storage", "stage", "aws:pinned.txt", "--pin")
    lab.ok("storage", "stage", "aws:loose.txt", "--ttl=1d")
    shown = {each["source"]: each for each in lab.ok("storage", "staged", "--output=json").json()}
    assert shown["aws:pinned.txt"]["pin"] and not shown["aws:loose.txt"]["pin"]
    assert shown["aws:loose.txt"]["ttl"] == 86400
    evicted = [each["source"] for each in lab.ok("storage", "evict", "--output=json").json()]
    assert "aws:loose.txt" in evicted and "aws:pinned.txt" not in evicted
    _, report = lab.run("aws:pinned.txt")
    assert report["inputs"]["input"]["from_cache"]
    lab.ok("storage", "unstage", "aws:pinned.txt")
    assert lab.ok("storage", "staged", "--output=json").json() == []
    again = lab("storage", "unstage", "aws:pinned.txt")
    assert again.code == 4 and "nothing of it is staged" in again.err


def test_names_are_staged_as_they_are_written(lab: Lab) -> None:
    names = ["a blank.txt", "zwölf.txt", "100%2Fpercent.txt", "a+b.txt", "-dash.txt", "é/日本.txt"]
    names.append("x" * 240 + ".txt")
    for name in names:
        path = lab.command.home / "odd" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{name}\n")
    lab.ok("storage", "put", "odd/", "aws:odd/")
    program = lab.command.home / "names.py"
    program.write_text(NAMES)
    done = lab.ok("job", "run", "names.py", "--param", "input=aws:odd/", "--stage=input=always")
    assert sorted(done.out.splitlines()) == sorted(names)


def test_the_web_is_staged_whatever_the_job_says(lab: Lab, web: str) -> None:
    done, report = lab.run(f"{web}/lines of text.txt", "--stage=auto")
    assert done.out == "3\n"
    assert report["inputs"]["input"]["staged"]
    assert report["inputs"]["input"]["fetched_bytes"] == 14
    missing = lab("job", "run", "lines.yaml", "--param", f"input={web}/none.txt")
    assert missing.code == 3 and "there is nothing of this name" in missing.err


@pytest.mark.parametrize("place", ["lines%20of%20text.txt", "lines%20of%20text.txt?sig=a%2Fb%3D"])
def test_a_url_of_the_web_is_taken_as_it_was_escaped(lab: Lab, web: str, place: str) -> None:
    assert lab.run(f"{web}/{place}")[0].out == "3\n"


def test_a_missing_input_fails_before_the_program_starts(lab: Lab) -> None:
    done = lab("job", "run", "lines.yaml", "--param", "input=aws:nowhere/")
    assert done.code == 3
    assert "input input (aws:nowhere/): there is nothing of this name" in done.err
    assert done.out == ""


def test_a_staged_output_is_complete_when_it_says_so(lab: Lab) -> None:
    lab.put("words.txt", "b\na\nb\n")
    since = lab.logged
    _, report = lab.run("aws:words.txt", "--param", "output=aws:answer/")
    told = report["outputs"]["output"]
    listed = lab.ok("storage", "list", "aws:answer/", "--recursive", "--output=json").json()
    assert told["objects"] == len(listed)
    written = [
        each["key"].rpartition("/")[2]
        for each in lab.requests("answer/", since)
        if each["operation"] == "REST.PUT.OBJECT" and not each["key"].endswith("/")
    ]
    assert written[-1] == "_SUCCESS" and len(written) == len(listed)
    # The place is taken now: that is told before anything is computed.
    words = ("job", "run", "lines.yaml", "--param", "input=aws:words.txt")
    again = lab(*words, "--param", "output=aws:answer/")
    assert again.code == 3 and "there is something already" in again.err
    assert lab.ok("storage", "list", "cluster:outgoing/", "--output=json").json() == []


def test_a_copy_between_clouds_is_made_in_the_cluster(lab: Lab) -> None:
    for name in ("1.txt", "deep/2.txt", "with blank.txt"):
        lab.put(f"from/{name}", f"{name}\n")
    since = lab.logged
    done = lab.ok("storage", "copy", "aws:from/", "aws:to/", "--output=json")
    assert "on cluster default" in done.err
    told = done.json()
    assert (told["objects"], told["skipped"], told["verified"]) == (3, 0, 3)
    agents = {each["user_agent"] for each in gets(lab.requests("from/", since))}
    assert agents and all("Hadoop" in agent for agent in agents)
    assert lab.ok("storage", "copy", "aws:from/", "aws:to/", "--output=json").json()["skipped"] == 3
    listed = lab.ok("storage", "list", "aws:to/", "--recursive", "--output=json").json()
    assert [each["url"] for each in listed] == [
        "aws:to/1.txt",
        "aws:to/deep/2.txt",
        "aws:to/with blank.txt",
    ]


def test_a_copy_into_the_cluster_is_the_last_one_though_the_size_is_the_same(lab: Lab) -> None:
    middle = 200_000
    for letter in "ab":  # what differs is far from both ends, which are read back
        lab.put("same/size.txt", "x" * middle + letter + "x" * middle)
        lab.ok("storage", "copy", "aws:same/", "cluster:same/")
        lab.ok("storage", "get", "cluster:same/size.txt", f"{lab.command.home}/{letter}.txt")
        assert (lab.command.home / f"{letter}.txt").read_text()[middle] == letter


def test_every_worker_is_checked_with_every_storage(lab: Lab) -> None:
    done = lab.ok("check", "--output=json")
    steps = done.json()
    assert len({step["node"] for step in steps}) == 2
    told = {step["step"] for step in steps if step["subject"] == "aws"}
    assert told == {"resolve", "reach", "list", "write", "read", "remove"}
    assert {"clock", "cores", "memory", "disk", "java", "python"} <= {s["step"] for s in steps}
    listed = lab.ok("storage", "list", "aws:", "--output=json").json()
    assert not [each for each in listed if "sparknomad-check" in each["url"]]


def test_a_wrong_key_is_told_with_what_to_do(lab: Lab) -> None:
    wrong = {**lab.environment, "AWS_SECRET_ACCESS_KEY": "wrong"}
    done = lab.command("storage", "check", "aws", "--cluster=default", "--output=json", **wrong)
    assert done.code == 1
    failed = [step for step in done.json() if not step["ok"]]
    assert len(failed) == 2
    assert all(step["step"] == "list" and "secret key" in step["hint"] for step in failed)


def test_every_worker_tells_what_is_wrong_with_a_storage(lab: Lab, wrong: dict[str, Wrong]) -> None:
    for each in wrong.values():
        lab.ok("storage", "profile", "add", each.name, *each.words)
    environment = {key: value for each in wrong.values() for key, value in each.environment.items()}
    words = ("storage", "check", *wrong, "--cluster=default", "--output=json")
    done = lab.command(*words, **environment)
    for name in wrong:
        lab.ok("storage", "profile", "remove", name)
    assert done.code == 1, done
    steps = done.json()
    nodes = {step["node"] for step in steps}
    assert len(nodes) == 2
    for each in wrong.values():
        failed = [s for s in steps if s["subject"] == each.name and not s["ok"]]
        if each.step == "works":
            assert failed == []
            continue
        assert {step["node"] for step in failed} == nodes, (each.name, failed)
        for step in failed:
            assert step["step"] == each.step, (each.name, step)
            assert re.search(each.hint, step["hint"]), (each.name, step)


@pytest.mark.slow
def test_a_run_whose_storage_fails_the_check_is_not_sent(lab: Lab) -> None:
    lab.put("checked.txt", "one\n")
    words = ("job", "run", "lines.yaml", "--check", "--param", "input=aws:checked.txt")
    assert lab.ok(*words).out == "1\n"
    wrong = {**lab.environment, "AWS_SECRET_ACCESS_KEY": "wrong"}
    done = lab.command(*words, **wrong)
    assert done.code == 1 and "FAILED" in done.out
    assert "run lines-" not in done.err


def test_the_embedded_cluster_stages_into_its_own_directory(lab: Lab) -> None:
    lab.put("small/a.txt", "a\n")
    lab.put("small/b.txt", "b\n")
    for cached in (False, True):
        done, report = lab.run("aws:small/", "--cluster=local")
        assert done.out == "2\n"
        assert report["inputs"]["input"]["from_cache"] is cached
    lab.ok("cluster", "destroy", "local")
