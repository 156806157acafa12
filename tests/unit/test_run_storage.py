"""What Spark is told of a run's storages, and how it is kept from other eyes."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path
from typing import Any

import pytest

from cloudmesh.sparknomad.errors import CredentialError, InputError, SpecError
from cloudmesh.sparknomad.incluster import run_private, sparkconf
from cloudmesh.sparknomad.job.jobs import local_inputs, local_outputs, make_submission, program_job
from cloudmesh.sparknomad.specfile import build_spec
from cloudmesh.sparknomad.specs import JobSpec
from cloudmesh.sparknomad.storage.profile import StorageProfile
from cloudmesh.sparknomad.storage.profiles import Profiles, open_storage
from cloudmesh.sparknomad.storage.running import resolve_storage
from cloudmesh.sparknomad.storage.storage import HadoopSettings
from cloudmesh.sparknomad.storage.url import StorageURL, parse_url

S3A = "fs.s3a.bucket.b."
HOST = "acc.dfs.core.windows.net"
JOB: dict[str, Any] = {
    "job": "j",
    "resources": {
        "driver": {"cores": 1, "memory": 1 << 30},
        "executors": {"count": 1, "cores": 1, "memory": 1 << 30},
    },
    "startup": "fast",
    "conf": {},
    "python": [],
    "jars": [],
    "files": [],
}


def settings(url: str, values: dict[str, str] | None = None, **fields: Any) -> HadoopSettings:
    source: dict[str, Any] = {"source": "none"}
    if values:
        source = {"source": "plain", "values": values}
    data = {"name": "p", "url": url, "credentials": source, **fields}
    profile = build_spec(StorageProfile, data)
    kinds = {"s3": "s3", "gs": "gcs", "abfs": "azure", "wasb": "azure", "swift": "swift"}
    kind = fields.get("kind") or kinds[url.split(":")[0]]
    made = build_spec(StorageProfile, {**data, "kind": kind})
    assert profile.url == made.url
    return open_storage(made).hadoop(StorageURL("", "p", "x/y"))


# kinds


def test_s3_has_keys_of_its_bucket() -> None:
    told = settings(
        "s3://b/data/",
        {"access_key": "A", "secret_key": "hush"},
        endpoint="http://127.0.0.1:1",
        region="eu",
    )
    assert told.url == "s3a://b/data/x/y"
    assert told.secrets == {f"{S3A}access.key": "A", f"{S3A}secret.key": "hush"}
    assert told.conf[f"{S3A}endpoint"] == "http://127.0.0.1:1"
    assert told.conf[f"{S3A}endpoint.region"] == "eu"
    assert told.conf[f"{S3A}path.style.access"] == "true"
    assert told.conf[f"{S3A}connection.ssl.enabled"] == "false"
    assert told.conf[f"{S3A}committer.name"] == "magic"
    assert "PathOutputCommitProtocol" in told.spark["spark.sql.sources.commitProtocolClass"]


@pytest.mark.parametrize(
    ("values", "source", "provider"),
    [
        ({}, "none", "AnonymousAWSCredentialsProvider"),
        ({}, "instance", "IAMInstanceCredentialsProvider"),
        ({"access_key": "A", "secret_key": "B"}, "", "SimpleAWSCredentialsProvider"),
        (
            {"access_key": "A", "secret_key": "B", "session_token": "C"},
            "",
            "TemporaryAWSCredentialsProvider",
        ),
    ],
)
def test_s3_is_told_how_to_sign(values: dict[str, str], source: str, provider: str) -> None:
    more = {"credentials": {"source": source}} if source else {}
    told = settings("s3://b/", values, **more)
    assert told.conf[f"{S3A}aws.credentials.provider"].endswith(f".{provider}")
    assert set(told.secrets) == {f"{S3A}{name.replace('_', '.')}" for name in values}
    assert told.conf[f"{S3A}path.style.access"] == "false"


def test_swift_has_the_staging_committer() -> None:
    told = settings("swift://b/", {"access_key": "A", "secret_key": "B"}, endpoint="http://h:1")
    assert told.url == "s3a://b/x/y"
    assert told.conf[f"{S3A}committer.name"] == "directory"


@pytest.mark.parametrize(
    ("values", "conf", "secrets"),
    [
        ({"account_key": "K"}, {}, {f"fs.azure.account.key.{HOST}": "K"}),
        (
            {"sas_token": "?sig=K"},
            {f"fs.azure.account.auth.type.{HOST}": "SAS"},
            {f"fs.azure.sas.fixed.token.{HOST}": "sig=K"},
        ),
        (
            {"client_id": "I", "client_secret": "K", "tenant_id": "T"},
            {
                f"fs.azure.account.auth.type.{HOST}": "OAuth",
                f"fs.azure.account.oauth2.client.id.{HOST}": "I",
            },
            {f"fs.azure.account.oauth2.client.secret.{HOST}": "K"},
        ),
    ],
)
def test_azure_knows_three_sorts_of_credentials(
    values: dict[str, str], conf: dict[str, str], secrets: dict[str, str]
) -> None:
    told = settings("abfs://c@acc/data/", values)
    assert told.url == f"abfss://c@{HOST}/data/x/y"
    assert conf.items() <= told.conf.items()
    assert secrets.items() <= told.secrets.items()


def test_azure_by_its_older_connector() -> None:
    told = settings("wasb://c@acc.blob.core.windows.net/", {"account_key": "K"})
    assert told.url == "wasbs://c@acc.blob.core.windows.net/x/y"
    assert told.secrets == {"fs.azure.account.key.acc.blob.core.windows.net": "K"}
    local = settings("wasb://c@devstoreaccount1/", endpoint="http://127.0.0.1:10000")
    assert local.url == "wasb://c@devstoreaccount1/x/y"


def test_azure_needs_an_account() -> None:
    with pytest.raises(SpecError, match="CONTAINER@ACCOUNT"):
        settings("abfs://c/data/")


def test_google_with_each_sort_of_credentials() -> None:
    user = {"type": "authorized_user", "client_id": "I", "client_secret": "S"}
    told = settings("gs://b/", {"json": json.dumps({**user, "refresh_token": "R"})})
    assert told.conf["fs.gs.auth.type"] == "USER_CREDENTIALS"
    assert told.secrets["fs.gs.auth.refresh.token"] == "R"
    key = {"type": "service_account", "client_email": "e", "private_key_id": "i"}
    told = settings("gs://b/", {"json": json.dumps({**key, "private_key": "hush", "more": "m"})})
    ((name, value),) = told.secrets.items()
    assert name == "fs.gs.sparknomad.service.account"
    token_uri = "https://oauth2.googleapis.com/token"
    kept = {"client_email": "e", "private_key": "hush", "private_key_id": "i"}
    assert json.loads(value) == {**kept, "token_uri": token_uri}
    assert told.conf["fs.gs.auth.type"] == "ACCESS_TOKEN_PROVIDER"
    for end in ("", ".impl"):  # of version 4 of the connector, and of 2.2
        assert told.conf[f"fs.gs.auth.access.token.provider{end}"] == "sparknomad.ServiceAccount"
    told = settings("gs://b/", credentials={"source": "instance"})
    assert told.conf["fs.gs.auth.type"] == "COMPUTE_ENGINE"
    assert settings("gs://b/").conf["fs.gs.auth.type"] == "UNAUTHENTICATED"
    with pytest.raises(InputError, match="ca: Google's connector"):
        settings("gs://b/", ca="/authority.pem")
    with pytest.raises(CredentialError, match="no credentials of Google") as caught:
        settings("gs://b/", {"json": "{hush"})
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"type": "external_account", "audience": "hush"}, "'external_account'"),
        ({"type": "service_account", "private_key": "hush"}, "it lacks client_email"),
        ({"type": "service_account", "client_email": "hush"}, "it lacks private_key"),
    ],
)
def test_google_says_which_credentials_it_takes(document: dict[str, str], told: str) -> None:
    with pytest.raises(CredentialError, match=told) as caught:
        settings("gs://b/", {"json": json.dumps(document)})
    assert "hush" not in str(caught.value)
    assert "service_account" in caught.value.hint


def test_hadoops_own_keys_pass_through() -> None:
    told = settings("s3://b/", options={"fs.s3a.threads.max": 9, "committer": "directory"})
    assert told.conf["fs.s3a.threads.max"] == "9"
    assert told.conf[f"{S3A}committer.name"] == "directory"
    assert "committer" not in told.conf


# parameters


@pytest.fixture
def profiles(tmp_path: Path) -> Profiles:
    made = Profiles(tmp_path / "cloudmesh.yaml")
    keys = {"source": "plain", "values": {"access_key": "A", "secret_key": "hush"}}
    for name, url in (("one", "s3://b/one/"), ("two", "s3://c/")):
        fields = {"name": name, "url": url, "credentials": keys}
        made.add(build_spec(StorageProfile, fields))
    fields = {"name": "twin", "url": "s3://b/", "endpoint": "http://h:1"}
    made.add(build_spec(StorageProfile, fields))
    return made


def test_parameters_become_what_hadoop_knows(profiles: Profiles) -> None:
    given = {
        "in": "one:x",
        "plain": "s3a://c/y",
        "own": "cluster:data/z",
        "path": "/tmp/x",
        "file": "file:///tmp/y",
    }
    resolved, storage = resolve_storage(given, profiles.open)
    assert resolved == {
        "in": "s3a://b/one/x",
        "plain": "s3a://c/y",
        "own": "cluster:/data/z",
        "file": "file:///tmp/y",
    }
    assert storage.profiles == ("one", "two", "url")
    assert storage.secrets["spark.hadoop.fs.s3a.bucket.c.secret.key"] == "hush"
    assert "hush" not in f"{storage} {dict(storage.conf)}"


def test_two_places_with_one_name_are_refused(profiles: Profiles) -> None:
    with pytest.raises(InputError, match="'one' and 'twin' both set"):
        resolve_storage({"a": "one:x", "b": "twin:y"}, profiles.open)


def test_the_web_is_read_by_the_agent_with_a_header_that_nobody_sees() -> None:
    told = settings("https://host:1/data/", {"user": "me", "password": "hush"}, kind="http")
    assert told.url == "https://host:1/data/x/y"
    assert told.conf["fs.https.impl"] == "sparknomad.HttpFileSystem"
    assert told.secrets == {"fs.http.authorization.host:1": "Basic bWU6aHVzaA=="}


# paths of this machine


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JobSpec:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.py").write_text("")
    (tmp_path / "dir/sub").mkdir(parents=True)
    (tmp_path / "dir/a").write_text("a")
    (tmp_path / "dir/sub/b c").write_text("b")
    values = {"in": "dir", "out": "./new", "url": "s3://b/x", "odd": "a:b", "glob": "./*.x"}
    assert set(program_job(Path("p.py"), values).parameters) == {"in", "out", "glob"} - {"in"}
    data = {
        "job": "j",
        "program": "p.py",
        "parameters": {name: {"type": "uri"} for name in values},
        "arguments": ["{in}", "{out}", "{url}", "{odd}", "{glob}"],
    }
    return build_spec(JobSpec, data)


def test_directories_are_brought_and_new_paths_are_fetched(job: JobSpec, tmp_path: Path) -> None:
    bound = {"in": "dir", "out": "./new", "url": "s3://b/x", "odd": "a:b", "glob": "./*.x"}
    inputs = local_inputs(job, bound, upload=True)
    assert set(inputs) == {"in"}
    places = [place for _, place in inputs["in"].files()]
    digest = inputs["in"].sha256
    assert places == [f"{digest}/dir/a", f"{digest}/dir/sub/b c"]
    assert local_outputs(job, bound) == {"out": tmp_path / "new"}
    sent = make_submission(job, bound, "run-1", None, upload=True)
    wanted = (f"cluster:/inputs/{digest}/dir", "cluster:/outputs/run-1/out")
    assert sent.arguments == (*wanted, "s3://b/x", "a:b", "./*.x")
    here = make_submission(job, bound, "run-1", None, upload=False)
    assert here.arguments[1] == str(tmp_path / "new")
    (tmp_path / "dir/a").write_text("changed")
    assert local_inputs(job, bound, upload=True)["in"].sha256 != digest


# within the cluster


def test_secrets_are_private_redacted_and_forgotten(tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir()
    key = "spark.hadoop.fs.azure.account.key.a+b"
    (private / run_private.CREDENTIALS).write_text(json.dumps({key: "hush"}))
    where = {
        "private": str(private),
        "storage_conf": {"spark.hadoop.fs.x": "1"},
        "master": "m",
        "host": "h",
        "executor_python": "p",
        "python": "p",
        "spark_home": "/s",
        "java_home": "/j",
        "conf_dir": "/c",
    }
    job = {**JOB, "conf": {"spark.redaction.regex": "mine"}}
    command = sparkconf.java_command(job, where, tmp_path, tmp_path)
    listed = private / "spark.properties"
    assert str(listed) in command
    assert "hush" not in " ".join(command)
    assert stat.S_IMODE(listed.stat().st_mode) == 0o600
    values = sparkconf.properties(job, where, tmp_path, tmp_path)
    assert (values[key], values["spark.hadoop.fs.x"]) == ("hush", "1")
    pattern = values["spark.redaction.regex"]
    assert re.search(pattern, key)
    assert re.search(pattern, "mine")
    run_private.clear(where)
    assert [path.name for path in private.iterdir()] == [run_private.CREDENTIALS]
    run_private.forget(where)
    assert list(private.iterdir()) == []
    run_private.forget(where)


def test_a_class_of_ours_is_at_the_end_of_every_class_path(tmp_path: Path) -> None:
    where = {"spark_home": "/s", "conf_dir": "/c", "connectors": "/x/*", "agent": "/a/t.jar"}
    assert sparkconf.class_path(where) == "/c:/s/jars/*:/x/*"
    assert sparkconf.own_classes(where) == ""
    where |= {"storage_conf": {"spark.hadoop.fs.x": "sparknomad.ServiceAccount"}}
    assert sparkconf.class_path(where) == "/c:/s/jars/*:/x/*:/a/t.jar"
    where |= dict.fromkeys(("master", "host", "executor_python", "python", "java_home"), "")
    told = sparkconf.properties(JOB, where, tmp_path, tmp_path)
    assert told["spark.executor.extraClassPath"] == "/x/*"
    assert told["spark.executorEnv.SPARK_DIST_CLASSPATH"] == "/a/t.jar"
    agent = sparkconf.agent_command(JOB, where, tmp_path, tmp_path, {})
    assert agent[agent.index("-cp") + 1] == "/c:/s/jars/*:/x/*:/a/t.jar"


def test_sparks_own_pattern_stays_where_the_job_has_none() -> None:
    pattern = run_private.redaction({"spark.hadoop.fs.gs.x": "1"}, None)
    for key in ("fs.gs.x", "my.password", "ACCESS_TOKEN", "fs.s3a.access.key"):
        assert re.search(pattern, key), key
    assert not re.search(pattern, "spark.app.name")


def test_without_storages_nothing_is_private(tmp_path: Path) -> None:
    assert run_private.storage_secrets({}) == {}
    assert run_private.storage_secrets({"private": str(tmp_path)}) == {}
    (tmp_path / run_private.CREDENTIALS).write_text("\n")
    assert run_private.storage_secrets({"private": str(tmp_path)}) == {}
    run_private.forget({})
    assert parse_url("s3://b/").path == ""
