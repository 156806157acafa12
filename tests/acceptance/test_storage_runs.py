"""Jobs whose storage is a parameter, on a real Nomad with real object stores."""

from __future__ import annotations

import contextlib
import json
import os
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from acceptance.conftest import Command, ended
from acceptance.words import COUNTED, KINDS, Lab, Stores
from secure import secure
from servers import Server

from cloudmesh.sparknomad.model import ImageRecord

pytestmark = pytest.mark.nomad


@pytest.fixture(scope="module")
def lab(
    root: None,
    image: ImageRecord,
    cache: Path,
    tmp_path_factory: pytest.TempPathFactory,
    stores: Stores,
) -> Iterator[Lab]:
    with ended(Command(tmp_path_factory.mktemp("storage home"), cache)) as command:
        made = Lab(command, stores)
        made.ok("cluster", "deploy", "--driver=exec")
        made.prepare()
        made.ok("storage", "put", "texts", "cluster:lab/texts/")
        yield made


EVERY = [(source, target) for source in KINDS for target in KINDS]
# Each kind once; the others take minutes.
SHORT = {("aws", "google"), ("azure", "stack"), ("hadoop", "file")}


@pytest.mark.parametrize(
    ("source", "target"),
    [
        pytest.param(*pair, marks=[] if pair in SHORT else [pytest.mark.slow], id="-".join(pair))
        for pair in EVERY
    ],
)
def test_the_same_job_reads_and_writes_every_storage(lab: Lab, source: str, target: str) -> None:
    lab.count_between(source, target)


def test_a_plain_url_uses_the_profile_that_it_lies_in_and_commits_by_magic(lab: Lab) -> None:
    lab.count("cluster:lab/texts/", "s3://lab/runs/out/magic/")
    lab.ok("storage", "get", "aws:out/magic/_SUCCESS", "_SUCCESS")
    proof = json.loads((lab.command.home / "_SUCCESS").read_text())
    assert proof["committer"] == "magic"


def test_google_without_credentials(lab: Lab) -> None:
    lab.count("public:texts/", "public:out/public/")


# Tells of the driver's and an executor's Java machine whether the shared archive is in use, and
# where the class that knows the service account is in their class paths.
SHARING = """
import os, pathlib, sys
from pyspark.sql import SparkSession

def told(process, path):
    maps = pathlib.Path(f"/proc/{process}/maps").read_text()
    return "spark.jsa" in maps, path.rpartition(":")[2]

def java(_):
    process = os.getpid()
    while "java" not in os.readlink(f"/proc/{process}/exe"):
        process = int(pathlib.Path(f"/proc/{process}/stat").read_text().rsplit(")")[-1].split()[1])
    words = pathlib.Path(f"/proc/{process}/cmdline").read_text().split("\\0")
    return told(process, words[words.index("-cp") + 1])

spark = SparkSession.builder.getOrCreate()
assert spark.read.text(sys.argv[2]).count() == 3
machine = spark._jvm.java.lang
own = machine.ProcessHandle.current().pid()
print(*told(own, machine.System.getProperty("java.class.path")))
print(*spark.sparkContext.parallelize([0], 1).map(java).first())
spark.stop()
"""


@pytest.mark.slow
def test_runs_with_a_service_account_start_from_the_shared_archive(lab: Lab) -> None:
    (lab.command.home / "sharing.py").write_text(SHARING)
    before = len(lab.account.granted)
    done = lab.ok("job", "run", "sharing.py", "--param", "input=google:texts/")
    assert done.out == "True /opt/sparknomad/transfer.jar\n" * 2
    # The driver lists, and an executor reads: each has a token of its own.
    assert len(lab.account.granted) >= before + 2
    assert not [each for each in lab.account.refused if "statement" in each]
    done = lab.ok("job", "run", "sharing.py", "--param", "input=aws:texts/")
    assert "transfer.jar" not in done.out and done.out.count("True") == 2


@pytest.mark.slow
def test_the_embedded_cluster_acts_as_a_service_account(lab: Lab) -> None:
    words = ("job", "run", "words.yaml", "--cluster=local", "--param", "input=google:texts/")
    try:
        done = lab.ok(*words, "--param", "output=google:out/embedded/")
        assert done.out == COUNTED
    finally:
        lab.ok("cluster", "destroy", "local")


# credentials

LOOKER = """
import sys, time
from pyspark.sql import SparkSession
spark = SparkSession.builder.config("spark.ui.enabled", "true").getOrCreate()
for place in sys.argv[2:5:2]:
    spark.read.text(place).count()
print(spark.sparkContext.uiWebUrl, flush=True)
time.sleep(float(sys.argv[6]))
"""


def test_a_runs_secrets_are_nowhere_to_be_seen(lab: Lab) -> None:
    import time

    import psutil

    (lab.command.home / "looker.py").write_text(LOOKER)
    params = ("--param", "input=aws:texts/", "--param", "other=google:texts/")
    params += ("--param", "seconds=15")
    plan = lab.ok("job", "run", "looker.py", *params, "--dry-run")
    run = lab.ok("job", "run", "looker.py", *params, "--detach").out.strip()
    texts = {"plan": plan.out + plan.err}
    give_up = time.monotonic() + 120
    while not (address := lab.ok("job", "logs", run).out.strip()):
        assert time.monotonic() < give_up
        time.sleep(0.5)
    with urllib.request.urlopen(f"{address}/environment/", timeout=20) as answer:
        texts["environment page"] = answer.read().decode()
    assert "secret.key" in texts["environment page"]
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if "azurite" in " ".join(process.cmdline()[:2]):
                continue  # the server itself
            texts[f"argv of {process.pid}"] = " ".join(process.cmdline())
            texts[f"environment of {process.pid}"] = json.dumps(process.environ())
    for listed in lab.nomad("jobs?meta=true"):
        texts[f"job {listed['ID']}"] = json.dumps(
            lab.nomad(f"job/{urllib.request.quote(listed['ID'], safe='')}")
        )
    for allocation in lab.nomad("allocations"):
        texts[f"allocation {allocation['ID']}"] = json.dumps(
            lab.nomad(f"allocation/{allocation['ID']}")
        )
    assert len(lab.nomad("vars?prefix=sparknomad/credentials")) == 1
    lab.ok("job", "wait", run)
    assert lab.nomad("vars?prefix=sparknomad/credentials") == []
    texts["logs"] = lab.ok("job", "logs", run).err + lab.ok("cluster", "logs").out
    lab.ok("storage", "get", "cluster:events/", "events/")
    lab.ok("storage", "get", "cluster:runs/", "outcomes/")
    data = lab.command.home / ".cloudmesh/sparknomad"
    for path in [*lab.command.home.glob("events/*"), *lab.command.home.glob("outcomes/*")]:
        texts[str(path)] = path.read_text()
    assert any("secret.key" in text for name, text in texts.items() if "events/" in name)
    for path in _written(data):
        with contextlib.suppress(OSError):
            texts[str(path)] = path.read_bytes().decode("latin-1")
    own = re.compile(rf"\b{psutil.Process().pid}$")
    for name, text in texts.items():
        for secret in lab.secrets:
            assert secret not in text or own.search(name), name


def _written(data: Path) -> Iterator[Path]:
    """What a cluster has written, without the links of its image; Nomad's own state too."""
    image = ("usr", "opt", "etc", "var", "lib", "bin")
    for directory, names, files in os.walk(data):
        names[:] = [name for name in names if name not in image]
        # Nomad's pipes of output would be waited for.
        yield from (path for path in (Path(directory) / n for n in files) if path.is_file())


def test_a_changed_credential_is_used_by_the_next_run(lab: Lab) -> None:
    wrong = {**lab.environment, "AWS_SECRET_ACCESS_KEY": "wrong"}
    words = ("job", "run", "words.yaml", "--param", "input=aws:texts/", "--param")
    done = lab.command(*words, "output=cluster:lab/rotated/", **wrong)
    assert done.code == 3
    assert "wrong" not in done.out.lower().replace("wrong key", "")
    assert "403" in done.err or "SignatureDoesNotMatch" in done.err
    lab.count("aws:texts/", "cluster:lab/rotated/")


@pytest.mark.slow
def test_all_launches_of_a_schedule_have_its_credentials(lab: Lab) -> None:
    import time

    values = {"input": "aws:texts/", "output": "aws:launched/{run}/"}
    steps = {"count": {"job": "words.yaml", "parameters": values}}
    path = lab.command.home / "counting.yaml"
    path.write_text(yaml.safe_dump({"pipeline": "counting", "steps": steps}))
    schedule = lab.ok("pipeline", "schedule", str(path), "--schedule=0 3 1 1 *").out.strip()
    kept = "vars?prefix=sparknomad/scheduled"
    runs = set()
    try:
        for launch in range(2):
            # What is due only once a year is launched now, as by `nomad job periodic force`.
            lab.nomad(f"job/schedule-{schedule}/periodic/force", "POST")
            give_up = time.monotonic() + 120
            while True:
                words = ("pipeline", "runs", "--pipeline=counting", "--output=json")
                found = lab.ok(*words).json()
                if len(found) > launch and found[0]["state"] == "succeeded":
                    break
                assert time.monotonic() < give_up and found[:1] != ["failed"], found
                time.sleep(1)
            runs.add(found[0]["run"])
            lab.ok("storage", "info", f"aws:launched/{found[0]['run']}/_SUCCESS")
            assert len(lab.nomad(kept)) == 1
        assert len(runs) == 2
    finally:
        give_up = time.monotonic() + 60
        while lab.command("pipeline", "unschedule", schedule).code != 0:
            assert time.monotonic() < give_up
            time.sleep(1)
    assert lab.nomad(kept) == []


def test_missing_credentials_are_told_before_anything_is_sent(lab: Lab) -> None:
    before = len(lab.ok("job", "runs", "--output=json").json())
    words = ("job", "run", "words.yaml", "--param", "input=aws:texts/", "--param", "output=x:y")
    done = lab.command(*words)
    assert done.code in (1, 4)
    assert "AWS_ACCESS_KEY_ID" in done.err or "no storage profile 'x'" in done.err
    assert len(lab.ok("job", "runs", "--output=json").json()) == before


def test_two_places_with_one_name_are_refused(lab: Lab, s3_server: Server) -> None:
    words = ("storage", "profile", "add", "twin", "--url=s3://lab/", "--credentials=none")
    lab.ok(*words, "--endpoint=http://127.0.0.1:9")
    words = ("job", "run", "words.yaml", "--param", "input=aws:texts/", "--param", "output=twin:x")
    done = lab.command(*words, **lab.environment)
    assert done.code == 2
    assert "both set" in done.err
    lab.ok("storage", "profile", "remove", "twin")


@pytest.mark.slow
def test_a_server_with_an_authority_of_its_own_is_used_from_the_cluster(
    lab: Lab, s3_server: Server, tmp_path: Path
) -> None:
    with secure(s3_server.endpoint, tmp_path) as (endpoint, authority, proxy):
        words = ("storage", "profile", "add", "private", "--url=s3://lab/runs/")
        words += (f"--endpoint={endpoint}", "--credentials=environment")
        lab.ok(*words)
        checked = lab.command("storage", "check", "private", **lab.environment)
        assert checked.code == 1 and "name its CA" in checked.out
        lab.ok("storage", "profile", "remove", "private")
        lab.ok(*words, f"--ca={authority}")
        lab.ok("storage", "check", "private")
        lab.ok("storage", "check", "private", "--cluster=default")
        before = len(proxy.asked)
        lab.count("private:texts/", "private:out/direct/", "--stage=never")
        assert len(proxy.asked) > before, "it was read elsewhere"
        lab.count("private:texts/", "private:out/staged/", "--stage=always")
        lab.ok("storage", "copy", "private:texts/", "private:out/copied/")
        missing = tmp_path / "missing.pem"
        authority.rename(missing)
        run = ("job", "run", "words.yaml", "--param", "input=private:texts/")
        told = lab.command(*run, "--param", "output=cluster:x", **lab.environment)
        assert told.code == 2 and f"ca: {authority} can't be read" in told.err
        lab.ok("storage", "profile", "remove", "private")


@pytest.mark.slow
def test_runs_trust_an_authority_for_azure(lab: Lab, tmp_path: Path) -> None:
    server = lab.stores.azure
    with secure(server.endpoint.removesuffix("/devstoreaccount1"), tmp_path) as found:
        endpoint, authority, proxy = found
        url = "--url=abfs://lab@devstoreaccount1.dfs.core.windows.net/runs/"
        words = (url, f"--endpoint={endpoint}", f"--ca={authority}", "--credentials=environment")
        lab.ok("storage", "profile", "add", "own", *words)
        try:
            lab.count("own:texts/", "cluster:counted/", "--stage=never")
            assert proxy.asked
        finally:
            lab.ok("storage", "profile", "remove", "own")


STORES = ("aws", "stack", "azure")


def longest(directory: str) -> str:
    """The longest name below a directory of a profile: its object's has 1,024 bytes."""
    size = 1024 - len(f"runs/{directory}")
    parts = "/".join(["é" * 50 + "n" * 100] * 6)
    cut = parts.encode()[:size].decode("utf-8", "ignore").rstrip("/")
    return cut + "x" * (size - len(cut.encode()))


@pytest.mark.slow
def test_names_of_1024_bytes_are_staged_from_each_store(lab: Lab) -> None:
    (lab.command.home / "long.txt").write_text("long\n")
    for store in STORES:
        lab.ok("storage", "put", "long.txt", f"{store}:long/{longest('long/')}")
    lab.ok("storage", "stage", *(f"{store}:long/" for store in STORES))
    told = lab.ok("storage", "staged", "--output=json").json()
    found = {each["source"]: each["objects"] for each in told}
    assert {store: found.get(f"{store}:long/") for store in STORES} == dict.fromkeys(STORES, 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "target"),
    [("aws", "azure"), ("azure", "stack"), ("stack", "aws")],
)
def test_names_of_1024_bytes_are_copied_in_the_cluster(lab: Lab, source: str, target: str) -> None:
    name = longest("from/")
    (lab.command.home / "long.txt").write_text("long\n")
    lab.ok("storage", "put", "long.txt", f"{source}:from/{name}")
    done = lab.ok("storage", "copy", f"{source}:from/", f"{target}:gone/", "--output=json")
    assert "on cluster default" in done.err and done.json()["objects"] == 1
    listed = lab.ok("storage", "list", f"{target}:gone/", "--recursive", "--output=json").json()
    assert [each["url"] for each in listed] == [f"{target}:gone/{name}"]
    lab.ok("storage", "remove", f"{target}:gone/")


@pytest.mark.slow
def test_a_name_that_hdfs_can_not_have_is_read_where_it_is(lab: Lab) -> None:
    (lab.command.home / "wide.txt").write_text("wide\n")
    # SeaweedFS has no such names either; Swift does.
    lab.ok("storage", "put", "wide.txt", f"stack:wide/{'w' * 300}")
    refused = lab.command("storage", "stage", "stack:wide/", **lab.environment)
    assert refused.code == 3 and "a part of it has 300 bytes, and 255 is the most" in refused.err
    assert "--stage=never" in refused.err
    copied = lab.command("storage", "copy", "stack:wide/", "cluster:wide/", **lab.environment)
    assert copied.code == 3 and "a part of it has 300 bytes" in copied.err
    words = ("job", "run", "words.yaml", "--stage=input=auto", "--param", "input=stack:wide/")
    done = lab.ok(*words, "--param", "output=aws:widened/")
    assert done.out == "wide 1\n"
    run = re.search(r"run (words-\S+) on cluster", done.err)
    assert run is not None
    told = lab.ok("job", "report", run[1], "--output=json").json()["inputs"]["input"]
    assert not told["staged"] and "255 is the most" in told["reason"]
