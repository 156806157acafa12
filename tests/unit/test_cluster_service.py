"""The service in a cluster: what it is made of, and what it does before it serves."""

from __future__ import annotations

import hashlib
import io
import json
import stat
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from cloudmesh.sparknomad.access_tokens import AccessToken, digest_of, make_token
from cloudmesh.sparknomad.errors import InputError
from cloudmesh.sparknomad.image.service_packages import python_of, requirements_of
from cloudmesh.sparknomad.incluster.service_run import unpack
from cloudmesh.sparknomad.model import ImageRecord
from cloudmesh.sparknomad.paths import Paths
from cloudmesh.sparknomad.service.store import ServiceStore
from cloudmesh.sparknomad.service.task import configure, take_tokens

IMAGE = ImageRecord("default", "", "4.1.4", 0.0, 0, "", docker=False, unpacked=False)
DECLARED = [
    "cloudmesh-cmd5>=5.0.20",
    "docopt>=0.6.2",
    "pyyaml>=6.0",
    'connexion[uvicorn]>=3.3; extra == "service"',
    "s3fs>=2025.3; extra == 's3'",
    'pytest>=8.3; extra == "test"',
]


def archive(path: Path, name: str) -> str:
    with tarfile.open(path, "w:gz") as tar:
        entry = tarfile.TarInfo(name)
        entry.size = 2
        tar.addfile(entry, io.BytesIO(b"hi"))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_only_what_the_service_imports_is_packed() -> None:
    assert requirements_of(DECLARED, {"service"}) == ["connexion[uvicorn]>=3.3", "pyyaml>=6.0"]
    assert "s3fs>=2025.3" in requirements_of(DECLARED, {"service", "s3"})


@pytest.mark.parametrize(("told", "due"), [("3.11.2", "3.11"), ("3.12.0rc1", "3.12")])
def test_packages_are_for_the_python_of_the_image(told: str, due: str) -> None:
    assert python_of(replace(IMAGE, versions={"python": told})) == due


def test_an_image_of_another_machine_is_taken_for_one_of_debian() -> None:
    assert python_of(None) == python_of(IMAGE) == "3.11"


def test_an_image_with_an_old_python_runs_no_service() -> None:
    with pytest.raises(InputError, match=r"'old'.*3\.10\.4.*3\.11 or newer"):
        python_of(replace(IMAGE, name="old", versions={"python": "3.10.4"}))


def test_packages_are_unpacked_whole_or_not_at_all(tmp_path: Path) -> None:
    file, target = tmp_path / "a.tar.gz", tmp_path / "packages"
    sha256 = archive(file, "one.py")
    with pytest.raises(ValueError, match="not those of"):
        unpack(file, "0" * 64, target)
    assert not target.exists()
    unpack(file, sha256, target)
    assert (target / "one.py").read_text() == "hi"


def test_an_archive_writes_nothing_outside(tmp_path: Path) -> None:
    file, target = tmp_path / "a.tar.gz", tmp_path / "below" / "packages"
    target.parent.mkdir()
    sha256 = archive(file, "../../evil.py")
    with pytest.raises(ValueError, match="evil"):
        unpack(file, sha256, target)
    assert not target.exists() and not (tmp_path / "evil.py").exists()


def test_a_token_is_kept_without_its_secret() -> None:
    kept, secret = make_token("ci", "reader", 60)
    assert secret not in repr(kept) and kept.digest == digest_of(secret)
    assert kept.expires is not None and kept.expires - kept.created == pytest.approx(60)
    with pytest.raises(InputError, match="--role=god: must be one of"):
        make_token("ci", "god")


def test_tokens_are_those_that_were_given_last(tmp_path: Path) -> None:
    store = ServiceStore(tmp_path / "service.db")
    given, note = tmp_path / "given.json", tmp_path / "note.json"
    one, secret = make_token("one", "operator")
    two, other = make_token("two", "reader")
    for tokens in ([one, two], [two]):
        text = json.dumps([each.__dict__ for each in tokens])
        given.write_text(text)
        take_tokens(store, given, note)
        assert json.loads(note.read_text())["sha256"] == hashlib.sha256(text.encode()).hexdigest()
    assert store.find_token(secret) is None
    found = store.find_token(other)
    assert found is not None and (found.name, found.role) == ("two", "reader")
    assert AccessToken.read(two.__dict__) == two


def test_profiles_are_written_without_their_secrets(tmp_path: Path) -> None:
    paths, secrets = Paths(tmp_path / "home/sparknomad", tmp_path / "cache"), tmp_path / "secrets"
    paths.home.mkdir(parents=True)
    secrets.mkdir()
    given = {
        "fields": {"url": "s3://bucket/", "kind": "s3", "credentials": {"source": "keyring"}},
        "secrets": {"access_key": "who", "secret_key": "hush"},
        "ca": "CERTIFICATE",
    }
    plain = {"fields": {"url": "gs://b/", "credentials": {"source": "instance"}}, "secrets": {},
             "ca": ""}  # fmt: skip
    configure(paths, secrets, {"aws": given, "here": plain})
    text = paths.configuration.read_text()
    assert "hush" not in text
    written = yaml.safe_load(text)["cloudmesh"]["sparknomad"]["storage"]
    place = Path(written["aws"]["credentials"]["path"])
    assert written["aws"]["credentials"]["source"] == "file"
    assert json.loads(place.read_text())["secret_key"] == "hush"
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert Path(written["aws"]["ca"]).read_text() == "CERTIFICATE"
    assert written["here"]["credentials"] == {"source": "instance"}
