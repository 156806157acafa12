"""A cluster on this machine that another home of it uses, and takes over."""

from __future__ import annotations

import hashlib
import hmac
import json
import shutil
import stat
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from acceptance.conftest import Command, ended
from acceptance.people import two_steps
from hooks import hook

from cloudmesh.sparknomad.model import ImageRecord

pytestmark = [pytest.mark.nomad, pytest.mark.slow]
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def first(
    root: None, image: ImageRecord, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Command]:
    with ended(Command(tmp_path_factory.mktemp("first"), cache)) as command:
        command.ok("cluster", "deploy", "--driver=exec", "--workers=1", "--memory=1g")
        (command.home / "passphrase").write_text("correct horse battery\n")
        yield command


def secret(first: Command) -> str:
    return f"--passphrase-file={first.home / 'passphrase'}"


def another(first: Command, tmp_path: Path, role: str) -> Command:
    bundle = tmp_path / f"{role}.bundle"
    create = ("cluster", "token", "create", f"--role={role}", f"--bundle={bundle}")
    first.ok(*create, secret(first))
    command = Command(tmp_path, first.cache)
    shown = command.ok("cluster", "import", str(bundle), secret(first), "--output=json").json()
    assert shown["role"] == role
    return command


def run(command: Command) -> str:
    (command.home / "words.txt").write_text("to be or not to be\n")
    words = ("job", "run", str(EXAMPLES / "wordcount.py"), "--param")
    return command.ok(*words, f"input={command.home / 'words.txt'}").out.splitlines()[0]


def test_a_submitter_runs_jobs_and_nothing_more(first: Command, tmp_path: Path) -> None:
    command = another(first, tmp_path, "submitter")
    assert run(command) == "     2  be"
    assert command("cluster", "scale", "default", "2").code == 1
    record = json.loads(
        (tmp_path / ".cloudmesh/sparknomad/clusters/default/cluster.json").read_text()
    )
    assert not record["spark_secret"] and not record["data"]
    for path in ("/v1/var/nomad/jobs", "/v1/acl/tokens", "/v1/agent/self"):
        url = f"http://127.0.0.1:{record['ports']['http']}{path}"
        asked = urllib.request.Request(url, headers={"X-Nomad-Token": record["token"]})
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(asked, timeout=20)
    done = command("cluster", "rotate")
    assert done.code == 1 and "submitter" in done.err


def test_a_submitter_runs_a_pipeline(first: Command, tmp_path: Path) -> None:
    command = another(first, tmp_path, "submitter")
    with hook() as (url, got):
        path = Path(two_steps(command, 0))
        document = {**json.loads(path.read_text()), "notify": {"url": url, "secret": "HOOK"}}
        path.write_text(json.dumps(document))
        done = command.ok("pipeline", "run", str(path), "--output=json", HOOK="key")
        assert [step["state"] for step in done.json()["steps"]] == ["succeeded", "succeeded"]
        give_up = time.monotonic() + 60
        while not got:
            assert time.monotonic() < give_up
            time.sleep(0.2)
    headers, body = got[0]
    signature = hmac.new(b"key", body, hashlib.sha256).hexdigest()
    assert headers["X-Sparknomad-Signature"] == f"sha256={signature}"
    refused = command("pipeline", "schedule", str(path), "--schedule=0 3 * * *", HOOK="key")
    assert refused.code == 1 and "may not run pipelines by a schedule" in refused.err
    assert command.ok("pipeline", "schedules", "--output=json").json() == []


def test_a_submitter_cancels_a_pipeline(first: Command, tmp_path: Path) -> None:
    command = another(first, tmp_path, "submitter")
    run = command.ok("pipeline", "run", two_steps(command, 300), "--detach").out.strip()

    def state() -> list[str]:
        record = command.ok("pipeline", "status", run, "--output=json").json()
        return [record["state"], *(step["state"] for step in record["steps"])]

    give_up = time.monotonic() + 120
    while state() != ["running", "running", "waiting"]:
        assert time.monotonic() < give_up
        time.sleep(0.5)
    command.ok("pipeline", "cancel", run)
    assert state() == ["cancelled", "cancelled", "skipped"]
    listed = command.ok("job", "runs", "--output=json").json()
    assert all(each["state"] == "cancelled" for each in listed), listed


def test_a_reader_runs_no_pipeline(first: Command, tmp_path: Path) -> None:
    command = another(first, tmp_path, "reader")
    refused = command("pipeline", "run", two_steps(command, 0))
    assert refused.code == 1 and "reader's token" in refused.err and "may not run" in refused.err
    assert command.ok("pipeline", "runs", "--output=json").json() == []


def test_an_operators_token_scales_and_makes_no_tokens(first: Command, tmp_path: Path) -> None:
    command = another(first, tmp_path, "operator")
    assert run(command) == "     2  be"
    command.ok("cluster", "scale", "default", "2")
    assert command.ok("cluster", "status", "--output=json").json()["workers"] == 2
    assert "namenode" in command.ok("cluster", "logs").out
    done = command("cluster", "token", "list")
    assert done.code == 1 and "an operator's token" in done.err
    command.ok("cluster", "scale", "default", "1")
    first.ok("cluster", "scale", "default", "1")


def test_another_home_takes_over(first: Command, tmp_path: Path) -> None:
    bundle = tmp_path / "all.bundle"
    first.ok("cluster", "export", str(bundle), secret(first))
    assert stat.S_IMODE(bundle.stat().st_mode) == 0o600
    wrong = tmp_path / "wrong"
    wrong.write_text("another passphrase\n")
    command = Command(tmp_path, first.cache)
    done = command("cluster", "import", str(bundle), f"--passphrase-file={wrong}")
    assert done.code == 2 and "passphrase is not the one" in done.err
    done = command("cluster", "import", str(bundle))
    assert done.code == 2 and "--passphrase-file" in done.err
    command.ok("cluster", "import", str(bundle), "--name=mine", secret(first))
    done = command("cluster", "rotate", "mine", "--dry-run")
    assert done.code == 1 and "neither certificates nor a key of gossip" in done.err
    assert command("cluster", "forget", "mine").code == 1
    command.ok("cluster", "scale", "mine", "2")
    command.ok("cluster", "destroy", "mine")
    shutil.rmtree(first.home / ".cloudmesh/sparknomad/clusters/default", ignore_errors=True)
