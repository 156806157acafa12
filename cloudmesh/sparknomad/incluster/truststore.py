"""The certificates that a machine trusts, and those that storage profiles name, as Java reads them.

PyPI's Java knows only the authorities that it was built with; a company's own, which pip and
Python find in the system's bundle, would be unknown to it; an image knows Debian's. The form is
that of a Java key store, version 2: see ``sun.security.provider.JavaKeyStore``.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shlex
import ssl
import struct
from pathlib import Path

__all__ = [
    "AUTHORITIES",
    "certificates",
    "java_key_store",
    "options",
    "system_bundle",
    "trust",
]

AUTHORITIES = "spark.sparknomad.authorities"
"""The key among a run's settings with certificates in PEM, which are no setting of Spark's."""

_PASSWORD = "changeit"  # noqa: S105 - Java's own default; it protects nothing, it is a checksum
_MAGIC, _VERSION, _TRUSTED = 0xFEEDFEED, 2, 2
_SALT = b"Mighty Aphrodite"
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL)


def system_bundle() -> Path | None:
    """The bundle of certificates that Python and pip use here, or ``None`` if there is none."""
    named = [os.environ.get(name) for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT")]
    paths = ssl.get_default_verify_paths()
    found = [*named, paths.cafile, "/etc/ssl/certs/ca-certificates.crt"]
    return next((Path(path) for path in found if path and Path(path).is_file()), None)


def certificates(bundle: bytes) -> str:
    """The certificates of a PEM bundle, without the text between them."""
    return "".join(match[0].decode("ascii") + "\n" for match in _PEM.finditer(bundle))


def options(store: str) -> list[str]:
    """What lets a Java machine trust what is in a key store, and nothing else.

    Args:
        store: its path, which Java reads when it first needs it.
    """
    named = {"trustStore": store, "trustStoreType": "JKS", "trustStorePassword": _PASSWORD}
    return [f"-Djavax.net.ssl.{name}={value}" for name, value in named.items()]


def trust(values: dict[str, str], scratch: Path) -> list[str]:
    """Let a Spark application trust what its storages' profiles name, beside what is usual.

    Executors get the key store as one of the application's files. They find it in their working
    directory, before their first task.

    Args:
        values: Spark's configuration; `AUTHORITIES` is taken out, what executors need put in.
        scratch: of the application, for the key store.

    Returns:
        Options of the driver's Java machine.
    """
    named = values.pop(AUTHORITIES, "")
    if not named:
        return []
    usual = system_bundle()
    store = scratch / "sparknomad-trusted.jks"
    store.write_bytes(java_key_store((usual.read_bytes() if usual else b"") + named.encode()))
    files = [values.get("spark.files", ""), store.as_uri()]
    values["spark.files"] = ",".join(filter(None, files))
    key = "spark.executor.extraJavaOptions"
    values[key] = f"{shlex.join(options(store.name))} {values.get(key, '')}".rstrip()
    return options(str(store))


def java_key_store(bundle: bytes) -> bytes:
    """Turn a PEM bundle into a Java key store of trusted certificates.

    Args:
        bundle: certificates in PEM, with any text between them.
    """
    found = [base64.b64decode(match[1]) for match in _PEM.finditer(bundle)]
    body = struct.pack(">III", _MAGIC, _VERSION, len(found))
    for number, certificate in enumerate(found):
        body += struct.pack(">I", _TRUSTED) + _text(f"ca-{number}") + struct.pack(">Q", 0)
        body += _text("X.509") + struct.pack(">I", len(certificate)) + certificate
    # Java asks for SHA-1 here; it finds damage, and is not for security.
    digest = hashlib.sha1(usedforsecurity=False)
    digest.update(_PASSWORD.encode("utf-16-be") + _SALT + body)
    return body + digest.digest()


def _text(value: str) -> bytes:
    encoded = value.encode("utf-8")
    return struct.pack(">H", len(encoded)) + encoded
