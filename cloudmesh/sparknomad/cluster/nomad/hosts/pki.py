"""A cluster's own certificate authority, and the certificates that it signs.

Nomad's names: https://developer.hashicorp.com/nomad/docs/secure/traffic/tls
"""

from __future__ import annotations

import datetime
import ipaddress
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from cloudmesh.sparknomad.errors import ClusterError
from cloudmesh.sparknomad.processes import locked, write_private

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

__all__ = ["LIFETIME", "Authority", "Certificate", "ends", "is_of", "make_authority"]

LIFETIME = timedelta(days=365)
"""Of certificates, where nothing else is asked for."""

_AUTHORITY_LIFETIME, _EARLIER = timedelta(days=3650), 10
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

    @property
    def has_key(self) -> bool:
        """Whether it can sign here."""
        return self._key_file.exists()

    def ensure(self) -> None:
        """Make it, unless it is there."""
        if self.certificate.exists() and self._key_file.exists():
            return
        if self.certificate.exists():
            self._signer()
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        certificate, key = make_authority(self.name)
        write_private(self._key_file, key)
        write_private(self.certificate, certificate)

    def issue(
        self, name: str, role: str, places: Sequence[str] = (), lifetime: timedelta = LIFETIME
    ) -> Certificate:
        """A certificate, made if it is not there, ends soon, or is for other places.

        Args:
            name: of its files.
            role: ``server``, ``client`` or ``cli``, which Nomad tells apart.
            places: addresses and names by which its holder is reached.
            lifetime: how long it is good for.

        Raises:
            ClusterError: if it has to be made, and the authority's key is not here.
        """
        files = Certificate(
            self.directory / f"{name}.pem", self.directory / f"{name}-key.pem", self.certificate
        )
        wanted = _alternatives(_names(role, places))
        if self._serves(files, wanted, lifetime):
            return files
        # Another command may make it just now: certificate and key have to be of one.
        lock = self.directory / ".issue.lock"
        lock.touch(mode=0o600)
        with locked(lock):
            if not self._serves(files, wanted, lifetime):
                certificate, key = self.sign(role, places, lifetime)
                write_private(files.key, key)
                write_private(files.certificate, certificate)
        return files

    def sign(
        self, role: str, places: Sequence[str] = (), lifetime: timedelta = LIFETIME
    ) -> tuple[str, str]:
        """A new certificate and its key, as PEM; nothing is written down."""
        from cryptography import x509
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import ExtendedKeyUsageOID

        signer, issuer = self._signer(), self._own()
        key = ec.generate_private_key(ec.SECP256R1())
        purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        usage = x509.KeyUsage(True, False, True, False, False, False, False, False, False)
        subject = _name(f"{role}.{_REGION}.nomad")
        built = (
            _builder(subject, issuer.subject, key.public_key(), lifetime)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
            .add_extension(_alternatives(_names(role, places)), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()),
                critical=False,
            )
        )
        return _pem(built.sign(signer, _hash())), _key_text(key)

    def _own(self) -> x509.Certificate:
        """The certificate of the key that signs; while that is rotated, two are trusted."""
        from cryptography import x509

        found = x509.load_pem_x509_certificates(self.certificate.read_bytes())
        if self.has_key:
            own = self._signer().public_key()
            found = [each for each in found if each.public_key() == own] or found
        return found[0]

    def _signer(self) -> ec.EllipticCurvePrivateKey:
        try:
            return _read_key(self._key_file)
        except FileNotFoundError:
            raise ClusterError(
                f"The key of the authority of cluster {self.name!r} is not on this machine: "
                f"{self._key_file}",
                hint="Import the bundle of an operator (`cluster export` where the key is, "
                "`cluster import` here).",
            ) from None

    def _serves(
        self, files: Certificate, wanted: x509.SubjectAlternativeName, lifetime: timedelta
    ) -> bool:
        from cryptography import x509
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        if not (files.certificate.exists() and files.key.exists()):
            return False
        key = load_pem_private_key(files.key.read_bytes(), None)
        found = x509.load_pem_x509_certificate(files.certificate.read_bytes())
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        left = found.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
        if found.public_key() != key.public_key():
            return False
        return names == wanted and left > lifetime / 4 and _signed_by(found, self._own())


def make_authority(name: str) -> tuple[str, str]:
    """The certificate and the key of a new authority, as PEM.

    Args:
        name: of the cluster.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    # Two authorities of one cluster have names of their own, or the old one's would be tried
    # for what the new one has signed.
    subject = _name(f"sparknomad {name} CA {secrets.token_hex(4)}")
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    built = (
        _builder(subject, subject, key.public_key(), _AUTHORITY_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return _pem(built.sign(key, _hash())), _key_text(key)


def ends(certificate: Path) -> datetime.datetime | None:
    """When a certificate ends, or ``None`` if there is none."""
    from cryptography import x509

    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
    except (OSError, ValueError):
        return None
    return found.not_valid_after_utc


def is_of(shown: Certificate) -> bool:
    """Whether a certificate is of the authority beside it; also if that can't be told."""
    from cryptography import x509

    try:
        own = x509.load_pem_x509_certificate(shown.certificate.read_bytes())
        known = x509.load_pem_x509_certificates(shown.authority.read_bytes())
    except (OSError, ValueError):
        return True
    return any(_signed_by(own, each) for each in known)


def _signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _names(role: str, places: Sequence[str]) -> list[str]:
    return [f"{role}.{_REGION}.nomad", "localhost", "127.0.0.1", *places]


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
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, lifetime: timedelta
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
        .not_valid_before(now - timedelta(minutes=_EARLIER))
        .not_valid_after(now + lifetime)
    )


def _key_text(key: ec.EllipticCurvePrivateKey) -> str:
    from cryptography.hazmat.primitives import serialization

    form = serialization.PrivateFormat.PKCS8
    none = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, none).decode()


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = serialization.load_pem_private_key(path.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def _pem(certificate: x509.Certificate) -> str:
    from cryptography.hazmat.primitives import serialization

    return certificate.public_bytes(serialization.Encoding.PEM).decode()
