"""A bundle of certificates as Java reads it, tried with Java's own keytool."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from cloudmesh.sparknomad.image.truststore import PASSWORD, java_key_store, system_bundle


def test_keytool_reads_every_certificate(tmp_path: Path) -> None:
    bundle, keytool = system_bundle(), shutil.which("keytool")
    if bundle is None or keytool is None:
        pytest.skip("needs keytool of a JDK, and a bundle of certificates")
    text = bundle.read_bytes()
    store = tmp_path / "trusted.jks"
    store.write_bytes(java_key_store(text))
    listed = subprocess.run(
        [keytool, "-list", "-storetype", "JKS", "-keystore", str(store), "-storepass", PASSWORD],
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
