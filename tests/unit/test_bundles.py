"""Bundles: what is in them comes back, and nothing else opens them."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.kdf import scrypt

from cloudmesh.sparknomad import bundles
from cloudmesh.sparknomad.bundles import Bundle, read_bundle, write_bundle
from cloudmesh.sparknomad.errors import ConflictError, InputError, NotFoundError

PASSPHRASE = "correct horse battery"
BUNDLE = Bundle(
    "rack", "nomad", "", {"cluster": "rack"}, {"cluster.json": "{}", "tls/ca-key.pem": "KEY"},
    ({"run": "r", "state": "succeeded"},),
)  # fmt: skip


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """128 MiB for each of hundreds of tries would take minutes."""
    monkeypatch.setattr(bundles, "_COST", 2**4)
    yield


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "rack.bundle"
    write_bundle(BUNDLE, path, PASSPHRASE)
    return path


def test_what_was_written_comes_back(written: Path) -> None:
    assert read_bundle(written, PASSPHRASE) == BUNDLE


def test_only_its_owner_may_read_it_and_nothing_is_left_beside(written: Path) -> None:
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    assert list(written.parent.iterdir()) == [written]


def test_nothing_of_it_can_be_read(written: Path) -> None:
    content = written.read_bytes()
    assert b"KEY" not in content and b"cluster" not in content and b"succeeded" not in content


def test_two_of_the_same_have_nothing_in_common(written: Path) -> None:
    other = written.with_name("other")
    write_bundle(BUNDLE, other, PASSPHRASE)
    begin = len(b"sparknomad bundle 1\n")
    assert written.read_bytes()[begin : begin + 44] != other.read_bytes()[begin : begin + 44]


def test_it_is_never_written_over(written: Path) -> None:
    before = written.read_bytes()
    with pytest.raises(ConflictError, match="not written over"):
        write_bundle(BUNDLE, written, PASSPHRASE)
    assert written.read_bytes() == before
    link = written.with_name("link")
    link.symlink_to(written.with_name("nothing"))
    with pytest.raises(ConflictError):
        write_bundle(BUNDLE, link, PASSPHRASE)
    assert not written.with_name("nothing").exists()


def test_a_wrong_passphrase_is_told(written: Path) -> None:
    for wrong in ("", "correct horse batterY", PASSPHRASE + " "):
        with pytest.raises(InputError, match="passphrase is not the one"):
            read_bundle(written, wrong)


def test_a_short_passphrase_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has 7 characters; at least 8"):
        write_bundle(BUNDLE, tmp_path / "x", "1234567")
    assert not (tmp_path / "x").exists()


def test_every_changed_byte_is_told(written: Path) -> None:
    whole = written.read_bytes()
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1
        written.write_bytes(bytes(changed))
        with pytest.raises(InputError, match=r"changed|no bundle|version"):
            read_bundle(written, PASSPHRASE)


def test_every_missing_end_is_told(written: Path) -> None:
    whole = written.read_bytes()
    for length in range(len(whole)):
        written.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"not whole|no bundle"):
            read_bundle(written, PASSPHRASE)


def test_a_missing_file_and_a_newer_version_are_told(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such file"):
        read_bundle(tmp_path / "x", PASSPHRASE)
    (tmp_path / "new").write_bytes(b"sparknomad bundle 2\n" + bytes(200))
    with pytest.raises(InputError, match="of a version"):
        read_bundle(tmp_path / "new", PASSPHRASE)
    with pytest.raises(NotFoundError, match="the directory"):
        write_bundle(BUNDLE, tmp_path / "no" / "x", PASSPHRASE)


def test_the_key_costs_what_it_should(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    seen = []
    real = scrypt.Scrypt
    monkeypatch.setattr(scrypt, "Scrypt", lambda *given: seen.append(given[2:]) or real(*given))
    write_bundle(BUNDLE, tmp_path / "x", PASSPHRASE)
    assert seen == [(2**17, 8, 1)]
