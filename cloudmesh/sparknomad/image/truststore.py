"""The certificates that this machine trusts, as Java reads them.

PyPI's Java knows only the authorities that it was built with; a company's own, which pip and
Python find in the system's bundle, would be unknown to it. The form is that of a Java key
store, version 2: see ``sun.security.provider.JavaKeyStore``.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import ssl
import struct
from pathlib import Path

__all__ = ["PASSWORD", "java_key_store", "system_bundle"]

PASSWORD = "changeit"  # noqa: S105 - Java's own default; it protects nothing, it is a checksum
_MAGIC, _VERSION, _TRUSTED = 0xFEEDFEED, 2, 2
_SALT = b"Mighty Aphrodite"
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)


def system_bundle() -> Path | None:
    """The bundle of certificates that Python and pip use here, or ``None`` if there is none."""
    named = [os.environ.get(name) for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT")]
    paths = ssl.get_default_verify_paths()
    found = [*named, paths.cafile, "/etc/ssl/certs/ca-certificates.crt"]
    return next((Path(path) for path in found if path and Path(path).is_file()), None)


def java_key_store(bundle: bytes) -> bytes:
    """Turn a PEM bundle into a Java key store of trusted certificates.

    Args:
        bundle: certificates in PEM, with any text between them.
    """
    certificates = [base64.b64decode(match[1]) for match in _PEM.finditer(bundle)]
    body = struct.pack(">III", _MAGIC, _VERSION, len(certificates))
    for number, certificate in enumerate(certificates):
        body += struct.pack(">I", _TRUSTED) + _text(f"ca-{number}") + struct.pack(">Q", 0)
        body += _text("X.509") + struct.pack(">I", len(certificate)) + certificate
    # Java asks for SHA-1 here; it finds damage, and is not for security.
    digest = hashlib.sha1(usedforsecurity=False)
    digest.update(PASSWORD.encode("utf-16-be") + _SALT + body)
    return body + digest.digest()


def _text(value: str) -> bytes:
    encoded = value.encode("utf-8")
    return struct.pack(">H", len(encoded)) + encoded
