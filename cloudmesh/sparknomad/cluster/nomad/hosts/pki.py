"""A cluster's own certificate authority, and the certificates that it signs.

Nomad's names: https://developer.hashicorp.com/nomad/docs/secure/traffic/tls
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cloudmesh.sparknomad.processes import write_private

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

__all__ = ["Authority", "Certificate"]

_AUTHORITY_DAYS, _DAYS, _EARLIER = 3650, 365, 10
_REGION = "global"


@dataclass(frozen=True)
class Certificate:
    """Where a certificate, its key, and its authority's certificate lie."""

    certificate: Path
    key: Path
    authority: Path


class Authority:
    """The authority of one cluster; its key stays where the cluster was deployed.

    Args:
        directory: holds ``ca.pem``, ``ca-key.pem`` and what was signed.
        name: of the cluster.
    """

    def __init__(self, directory: Path, name: str) -> None:
        self.directory = directory
        self.name = name

    @property
    def _key_file(self) -> Path:
        return self.directory / "ca-key.pem"

    @property
    def certificate(self) -> Path:
        """The authority's own certificate."""
        return self.directory / "ca.pem"

    def ensure(self) -> None:
        """Make it, unless it is there."""
        if self.certificate.exists() and self._key_file.exists():
            return
        from cryptography import x509
        from cryptography.hazmat.primitives.asymmetric import ec

        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(f"sparknomad {self.name} CA")
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        built = (
            _builder(subject, subject, key.public_key(), _AUTHORITY_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
        )
        _write(self._key_file, key)
        write_private(self.certificate, _pem(built.sign(key, _hash())))

    def issue(self, name: str, role: str, places: Sequence[str] = ()) -> Certificate:
        """A certificate, made if it is not there, ends soon, or is for other places.

        Args:
            name: of its files.
            role: ``server``, ``client`` or ``cli``, which Nomad tells apart.
            places: addresses and names by which its holder is reached.
        """
        from cryptography import x509
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import ExtendedKeyUsageOID

        files = Certificate(
            self.directory / f"{name}.pem", self.directory / f"{name}-key.pem", self.certificate
        )
        wanted = _alternatives([f"{role}.{_REGION}.nomad", "localhost", "127.0.0.1", *places])
        if _serves(files, wanted):
            return files
        signer = _read_key(self._key_file)
        issuer = x509.load_pem_x509_certificate(self.certificate.read_bytes()).subject
        key = ec.generate_private_key(ec.SECP256R1())
        purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        usage = x509.KeyUsage(True, False, True, False, False, False, False, False, False)
        built = (
            _builder(_name(f"{role}.{_REGION}.nomad"), issuer, key.public_key(), _DAYS)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
            .add_extension(wanted, critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()),
                critical=False,
            )
        )
        _write(files.key, key)
        write_private(files.certificate, _pem(built.sign(signer, _hash())))
        return files


def _hash() -> hashes.SHA256:
    from cryptography.hazmat.primitives import hashes

    return hashes.SHA256()


def _name(text: str) -> x509.Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _alternatives(places: Sequence[str]) -> x509.SubjectAlternativeName:
    from cryptography import x509

    names: list[x509.GeneralName] = []
    for place in dict.fromkeys(places):
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(place)))
        except ValueError:
            names.append(x509.DNSName(place))
    return x509.SubjectAlternativeName(names)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    from cryptography import x509

    now = datetime.datetime.now(datetime.UTC)
    # A host's clock may be behind ours by as much as a deploy lets pass.
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=_EARLIER))
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _serves(files: Certificate, wanted: x509.SubjectAlternativeName) -> bool:
    from cryptography import x509

    if not (files.certificate.exists() and files.key.exists()):
        return False
    found = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    left = found.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    return names == wanted and left > datetime.timedelta(days=_DAYS / 4)


def _write(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    from cryptography.hazmat.primitives import serialization

    form = serialization.PrivateFormat.PKCS8
    none = serialization.NoEncryption()
    text = key.private_bytes(serialization.Encoding.PEM, form, none)
    write_private(path, text.decode())


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = serialization.load_pem_private_key(path.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def _pem(certificate: x509.Certificate) -> str:
    from cryptography.hazmat.primitives import serialization

    return certificate.public_bytes(serialization.Encoding.PEM).decode()
