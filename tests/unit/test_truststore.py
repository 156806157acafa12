"""A bundle of certificates as Java reads it, tried with Java's own keytool."""

from __future__ import annotations

import base64
import shutil
import subprocess
from pathlib import Path

import pytest

from cloudmesh.sparknomad.incluster import truststore
from cloudmesh.sparknomad.incluster.truststore import java_key_store, system_bundle


def test_keytool_reads_every_certificate(tmp_path: Path) -> None:
    bundle, keytool = system_bundle(), shutil.which("keytool")
    if bundle is None or keytool is None:
        pytest.skip("needs keytool of a JDK, and a bundle of certificates")
    text = bundle.read_bytes()
    store = tmp_path / "trusted.jks"
    store.write_bytes(java_key_store(text))
    listed = subprocess.run(
        [keytool, "-list", "-storetype", "JKS", "-keystore", str(store), "-storepass", "changeit"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert listed.stdout.count("trustedCertEntry") == text.count(b"BEGIN CERTIFICATE")


def test_an_environment_names_the_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = tmp_path / "mine.pem"
    mine.write_text("")
    monkeypatch.setenv("SSL_CERT_FILE", str(mine))
    assert system_bundle() == mine


def test_an_application_trusts_what_is_named_beside_what_is_usual(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = tmp_path / "usual.pem"
    usual.write_text(_pem(b"usual"))
    monkeypatch.setenv("SSL_CERT_FILE", str(usual))
    values = {
        truststore.AUTHORITIES: truststore.certificates(f"# ours\n{_pem(b'ours')}".encode()),
        "spark.files": "file:/a",
        "spark.executor.extraJavaOptions": "-Djavax.net.ssl.trustStore=own -Xss4m",
    }
    told = truststore.trust(values, tmp_path)
    store = tmp_path / "sparknomad-trusted.jks"
    assert told[0] == f"-Djavax.net.ssl.trustStore={store}"
    assert b"usual" in store.read_bytes() and b"ours" in store.read_bytes()
    assert values["spark.files"] == f"file:/a,{store.as_uri()}"
    given = values["spark.executor.extraJavaOptions"].split()
    # The job's own comes last, so that Java takes it.
    assert given[0] == "-Djavax.net.ssl.trustStore=sparknomad-trusted.jks"
    assert given[-2:] == ["-Djavax.net.ssl.trustStore=own", "-Xss4m"]
    assert truststore.AUTHORITIES not in values


def test_nothing_changes_without_a_name(tmp_path: Path) -> None:
    values = {"spark.files": "file:/a"}
    assert truststore.trust(values, tmp_path) == []
    assert values == {"spark.files": "file:/a"} and not list(tmp_path.iterdir())


def _pem(content: bytes) -> str:
    told = base64.b64encode(content).decode()
    return f"-----BEGIN CERTIFICATE-----\n{told}\n-----END CERTIFICATE-----\n"
