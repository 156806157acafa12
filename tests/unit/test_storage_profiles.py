"""Storage profiles: in the file, and where their credentials come from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cloudmesh.sparknomad import credentials
from cloudmesh.sparknomad.credentials import Credentials
from cloudmesh.sparknomad.errors import (
    ConflictError,
    CredentialError,
    DependencyError,
    NotFoundError,
    SpecError,
)
from cloudmesh.sparknomad.specfile import build_spec
from cloudmesh.sparknomad.storage.profile import StorageProfile
from cloudmesh.sparknomad.storage.profiles import Profiles, open_storage
from cloudmesh.sparknomad.storage.url import parse_url

KEYS = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "hush"}


def profile(**fields: Any) -> StorageProfile:
    return build_spec(StorageProfile, {"name": "aws", "url": "s3://bucket/data/", **fields})


@pytest.fixture
def profiles(tmp_path: Path) -> Profiles:
    return Profiles(tmp_path / "cloudmesh.yaml")


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in (*KEYS, "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "AZURE_CONFIG_DIR", "AZURE_STORAGE_KEY"):
        monkeypatch.delenv(name, raising=False)


# the file


def test_a_profile_is_read_back_as_it_was_added(profiles: Profiles) -> None:
    added = profiles.add(
        profile(endpoint="http://127.0.0.1:1", region="eu", credentials={"source": "environment"})
    )
    assert added.kind == "s3"
    assert profiles.find("aws") == added
    assert profiles.all() == [added]
    assert profiles.path.stat().st_mode & 0o077 == 0


def test_the_rest_of_the_file_stays_with_its_comments(profiles: Profiles) -> None:
    profiles.path.write_text(
        "# mine\ncloudmesh:\n  other: 1  # keep\n  sparknomad:\n    java: /j\n"
    )
    profiles.add(profile())
    text = profiles.path.read_text()
    assert "# mine" in text
    assert "other: 1  # keep" in text
    assert "java: /j" in text
    profiles.remove("aws")
    assert "s3://" not in profiles.path.read_text()
    assert profiles.all() == []


def test_a_name_is_taken_once(profiles: Profiles) -> None:
    profiles.add(profile())
    with pytest.raises(ConflictError, match="already"):
        profiles.add(profile(region="x"))
    assert profiles.find("aws").region == ""
    profiles.add(profile(region="x"), replace=True)
    assert profiles.find("aws").region == "x"


def test_an_unknown_name_is_told_with_the_nearest(profiles: Profiles) -> None:
    profiles.add(profile())
    with pytest.raises(NotFoundError, match="did you mean 'aws'"):
        profiles.find("awz")
    with pytest.raises(NotFoundError):
        profiles.remove("zzz")


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"name": "s3"}, "reserved"),
        ({"name": "cluster"}, "reserved"),
        ({"url": "other:x"}, "plain URL"),
        ({"url": "s3://b/*"}, "pattern"),
        ({"url": "ftp://x"}, "unknown scheme"),
        ({"kind": "azur"}, "did you mean 'azure'"),
        ({"options": {"projct": "x"}}, "options.projct: unknown for s3"),
        ({"credentials": {"source": "file"}}, "credentials.path: missing"),
        ({"credentials": {"source": "plain"}}, "credentials.values: missing"),
        ({"credentials": {"variables": {"key": "X"}}}, "credentials.variables.key: unknown"),
    ],
)
def test_fields_that_do_not_fit_are_refused(
    profiles: Profiles, fields: dict[str, Any], told: str
) -> None:
    with pytest.raises(SpecError, match=told):
        profiles.add(profile(**fields))
    assert not profiles.path.exists()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("cloudmesh: {sparknomad: {storage: [a]}}", "mapping of names"),
        ("cloudmesh: {sparknomad: {storage: {a: 1}}}", "mapping of fields"),
        ("cloudmesh: {sparknomad: {storage: {a: {url: 's3://b', regoin: x}}}}", "'region'"),
        ("cloudmesh: {sparknomad: {storage: {a: {}}}}", "url: missing"),
        ("cloudmesh: {sparknomad: {storage: {a: {name: a, url: 's3://b'}}}}", "name"),
    ],
)
def test_a_file_that_is_wrong_names_the_field(profiles: Profiles, text: str, told: str) -> None:
    profiles.path.write_text(text)
    with pytest.raises(SpecError, match=told) as caught:
        profiles.all()
    assert str(profiles.path) in caught.value.message


def test_a_broken_file_is_not_quoted(profiles: Profiles) -> None:
    profiles.path.write_text("cloudmesh: {secret_key: 'hush', x: [}\n")
    with pytest.raises(SpecError) as caught:
        profiles.all()
    assert "hush" not in str(caught.value)
    assert ":1" in caught.value.message


def test_a_plain_url_takes_the_profile_with_the_longest_url(profiles: Profiles) -> None:
    profiles.add(profile(name="wide", url="s3://bucket"))
    profiles.add(profile(name="narrow", url="s3://bucket/data/x"))
    found = {
        text: profiles.of(parse_url(text)).name
        for text in ("s3a://bucket/data/x/y", "s3://bucket/data/xy", "s3://bucket/", "s3://other/z")
    }
    assert list(found.values()) == ["narrow", "wide", "wide", "url"]
    assert profiles.of(parse_url("gs://bucket/data/x")).kind == "gcs"


# credentials


def fields_of(**told: Any) -> dict[str, str]:
    made = profile(kind="s3", credentials=told)
    return dict(open_storage(made).credentials)


def test_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OTHER", "second")
    assert fields_of(source="environment") == {"access_key": "AKIA", "secret_key": "hush"}
    told = {"source": "environment", "variables": {"secret_key": "OTHER"}}
    assert fields_of(**told)["secret_key"] == "second"


def test_a_missing_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA")
    with pytest.raises(CredentialError, match=r"AWS_SECRET_ACCESS_KEY.*secret_key missing"):
        fields_of(source="environment")


def test_the_clouds_own_files(tmp_path: Path) -> None:
    path = tmp_path / "home/.aws/credentials"
    path.parent.mkdir()
    path.write_text(
        "[default]\naws_access_key_id=A\naws_secret_access_key=B\n"
        "[work]\naws_access_key_id=C\naws_secret_access_key=D%\naws_session_token=E\n"
    )
    assert fields_of(source="files") == {"access_key": "A", "secret_key": "B"}
    work = {"access_key": "C", "secret_key": "D%", "session_token": "E"}
    assert fields_of(source="files", profile="work") == work
    assert fields_of() == {"access_key": "A", "secret_key": "B"}
    with pytest.raises(CredentialError, match="missing"):
        fields_of(source="files", profile="none")


def test_the_environment_comes_before_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "home/.aws/credentials"
    path.parent.mkdir()
    path.write_text("[default]\naws_access_key_id=A\naws_secret_access_key=B\n")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "half")
    assert fields_of()["access_key"] == "A"
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    assert fields_of()["access_key"] == "half"


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text("access_key: A\nsecret_key: 123\n")
    path.chmod(0o644)
    with pytest.raises(CredentialError, match="others may read it"):
        fields_of(source="file", path=str(path))
    path.chmod(0o600)
    assert fields_of(source="file", path=str(path)) == {"access_key": "A", "secret_key": "123"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("access_key: A\nsecret_key: [hush]\n", "mapping of names to texts"),
        ("access_key: A\nsecret: hush\n", "unknown field 'secret'"),
        ("access_key: A\n", "secret_key missing"),
        ("{hush", "neither YAML nor JSON"),
    ],
)
def test_a_file_that_is_wrong_is_told_without_its_content(
    tmp_path: Path, text: str, told: str
) -> None:
    path = tmp_path / "keys.yaml"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(CredentialError, match=told) as caught:
        fields_of(source="file", path=str(path))
    assert "hush" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CredentialError, match="can't be read"):
        fields_of(source="file", path=str(tmp_path / "none"))


def test_plain_none_and_instance() -> None:
    values = {"access_key": "A", "secret_key": "B"}
    assert fields_of(source="plain", values=values) == values
    assert fields_of(source="none") == {}
    assert fields_of(source="instance") == {}
    assert fields_of() == {}


class Keyring:
    """Stands in for the desktop's keyring, which no test machine has."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, name: str) -> str | None:
        return self.kept.get((service, name))

    def set_password(self, service: str, name: str, text: str) -> None:
        self.kept[service, name] = text

    def delete_password(self, service: str, name: str) -> None:
        del self.kept[service, name]


def test_the_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Keyring()
    monkeypatch.setattr(credentials, "keyring", lambda: library)
    with pytest.raises(CredentialError, match="holds nothing"):
        fields_of(source="keyring")
    library.set_password("sparknomad", "aws", json.dumps({"access_key": "A", "secret_key": "B"}))
    assert fields_of(source="keyring") == {"access_key": "A", "secret_key": "B"}
    library.set_password("sparknomad", "aws", "{")
    with pytest.raises(CredentialError, match="something else"):
        fields_of(source="keyring")
    credentials.forget_keyring("aws")
    credentials.forget_keyring("aws")
    assert not library.kept


def test_nobody_is_asked_without_a_terminal() -> None:
    with pytest.raises(CredentialError, match="no terminal"):
        fields_of(source="prompt")


def test_the_default_credentials_of_google(tmp_path: Path) -> None:
    made = profile(name="g", kind="gcs", url="gs://b/", credentials={"source": "files"})
    with pytest.raises(CredentialError, match="json missing"):
        open_storage(made)
    path = tmp_path / "home/.config/gcloud/application_default_credentials.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"type": "authorized_user"}')
    assert open_storage(made).credentials["json"].startswith("{")


def test_the_configuration_of_azure(tmp_path: Path) -> None:
    path = tmp_path / "home/.azure/config"
    path.parent.mkdir()
    path.write_text("[storage]\naccount = a\nkey = K==\n")
    made = profile(name="z", kind="azure", url="abfs://c@a/", credentials={"source": "files"})
    assert open_storage(made).credentials == {"account_key": "K=="}


def test_credentials_do_not_show_themselves() -> None:
    made = Credentials({"secret_key": "hush"})
    assert "hush" not in f"{made} {made!r}"
    kept = profile(credentials={"source": "plain", "values": {"secret_key": "hush"}})
    assert "hush" not in repr(kept)


def test_a_missing_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "s3fs", None)
    storage = open_storage(profile(kind="s3"))
    with pytest.raises(DependencyError, match="s3fs") as caught:
        storage.info(parse_url("aws:x"))
    assert "cloudmesh-sparknomad[s3]" in caught.value.hint
