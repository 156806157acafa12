"""Certificates between real sockets: what a person is told when they do not serve."""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from threaded import threaded

from cloudmesh.sparknomad.cluster.nomad.client import Nomad
from cloudmesh.sparknomad.cluster.nomad.hosts.pki import Authority, Certificate, ends
from cloudmesh.sparknomad.errors import ClusterError, TrustError, UnreachableError
from cloudmesh.sparknomad.processes import write_private


class Answering(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Silent(ThreadingHTTPServer):
    def finish_request(self, request: Any, client_address: Any) -> None:
        with self.context.wrap_socket(request, server_side=True) as wrapped:  # type: ignore[attr-defined]
            super().finish_request(wrapped, client_address)

    def handle_error(self, *_: object) -> None:
        """Refused connections are what this is about."""


@contextmanager
def server(shown: Certificate) -> Iterator[str]:
    """Like an agent of Nomad: it shows a certificate, and asks for one of the same authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(shown.certificate, shown.key)
    context.load_verify_locations(shown.authority)
    context.verify_mode = ssl.CERT_REQUIRED
    made = Silent(("127.0.0.1", 0), Answering)
    made.context = context  # type: ignore[attr-defined]
    with made, threaded(made):
        yield f"https://127.0.0.1:{made.server_port}"


def authority(directory: Path) -> Authority:
    made = Authority(directory, "c")
    made.ensure()
    return made


def told(address: str, shown: Certificate) -> UnreachableError:
    with pytest.raises(UnreachableError) as caught:
        Nomad(address, "token", shown).who()
    return caught.value


def test_what_serves_serves(tmp_path: Path) -> None:
    made = authority(tmp_path)
    with server(made.issue("host", "server")) as address:
        assert Nomad(address, "token", made.issue("operator", "cli")).who() == {}


def test_certificates_of_one_second_end_and_that_is_told(tmp_path: Path) -> None:
    made, second = authority(tmp_path), timedelta(seconds=1)
    host, own = made.issue("host", "server"), made.issue("operator", "cli", lifetime=second)
    short = made.issue("short", "server", lifetime=second)
    time.sleep(1.1)
    with server(host) as address:
        error = told(address, own)
        assert isinstance(error, TrustError) and error.code == "certificate_refused"
        assert f"({own.certificate}) ended at" in error.message
        assert "cluster rotate" in error.hint
    with server(short) as address:
        error = told(address, made.issue("fresh", "cli"))
        assert isinstance(error, TrustError)
        assert "certificate of the cluster at" in error.message and "has ended" in error.message
        assert "clocks" in error.hint and "cluster rotate" in error.hint


def test_an_ended_certificate_is_made_anew_when_it_is_asked_for(tmp_path: Path) -> None:
    made = authority(tmp_path)
    first = made.issue("h", "server", lifetime=timedelta(seconds=1)).certificate.read_text()
    time.sleep(1.1)
    assert made.issue("h", "server").certificate.read_text() != first


def test_another_authority_is_told_on_both_sides(tmp_path: Path) -> None:
    made, other = authority(tmp_path / "a"), authority(tmp_path / "b")
    own, host = made.issue("operator", "cli"), made.issue("host", "server")
    strange = other.issue("operator", "cli")
    with server(host) as address:
        error = told(address, Certificate(own.certificate, own.key, strange.authority))
        assert isinstance(error, TrustError)
        assert "is not signed by the cluster's authority" in error.message
        assert "do not go on" in error.hint
        error = told(address, Certificate(strange.certificate, strange.key, own.authority))
        assert isinstance(error, TrustError)
        assert "does not trust the authority of this machine's certificate" in error.message


def test_the_certificate_of_another_machine_is_told(tmp_path: Path) -> None:
    made = authority(tmp_path)
    certificate = made.issue("host", "server", ["10.0.0.1"])
    with server(certificate) as address:
        error = told(address.replace("127.0.0.1", "127.0.0.2"), made.issue("operator", "cli"))
    assert not isinstance(error, TrustError)  # nothing listens there


def test_an_unreachable_cluster_is_no_matter_of_trust(tmp_path: Path) -> None:
    made = authority(tmp_path)
    assert not isinstance(told("https://127.0.0.1:9", made.issue("operator", "cli")), TrustError)


def test_whoever_signs_is_in_the_middle_of_a_rotation_known_by_its_key(tmp_path: Path) -> None:
    made, following = authority(tmp_path / "a"), authority(tmp_path / "b")
    old = made.certificate.read_text()
    before = made.issue("h", "server").certificate.read_text()
    both = old + following.certificate.read_text()
    write_private(made.certificate, both)
    assert made.issue("h", "server").certificate.read_text() == before
    # Interrupted between the two files: the key is the new one, the order still the old one.
    write_private(tmp_path / "a/ca-key.pem", (tmp_path / "b/ca-key.pem").read_text())
    after = made.issue("h", "server")
    assert after.certificate.read_text() != before
    with server(Certificate(after.certificate, after.key, following.certificate)) as address:
        own = following.issue("operator", "cli")
        assert Nomad(address, "token", own).who() == {}


def test_without_the_authoritys_key_nothing_is_signed(tmp_path: Path) -> None:
    made = authority(tmp_path)
    (tmp_path / "ca-key.pem").unlink()
    with pytest.raises(ClusterError, match="is not on this machine") as caught:
        made.issue("h", "server")
    assert "cluster import" in caught.value.hint
    with pytest.raises(ClusterError):
        made.ensure()


def test_when_a_certificate_ends(tmp_path: Path) -> None:
    made = authority(tmp_path)
    assert ends(made.issue("h", "server").certificate) is not None
    assert ends(tmp_path / "nothing") is None
    (tmp_path / "text").write_text("text")
    assert ends(tmp_path / "text") is None
