"""Bundles: what another machine needs of a cluster, in one encrypted file.

The file is a line that names the format and its version, 16 bytes of salt, 16 bytes that tell
whether the passphrase is the right one, 12 bytes of nonce, and the content: JSON, compressed,
encrypted by AES-256-GCM with a key that scrypt makes of the passphrase. Everything before the
content is authenticated with it.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import os
import secrets
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cloudmesh.sparknomad.errors import ConflictError, InputError, NotFoundError

__all__ = [
    "MINIMUM",
    "Bundle",
    "IssuedToken",
    "TokenInfo",
    "read_bundle",
    "refuse_existing",
    "write_bundle",
]

MINIMUM = 8
"""Characters that a passphrase has at least."""

_MAGIC = b"sparknomad bundle 1\n"
_ANY_MAGIC = b"sparknomad bundle "
_SALT, _CHECK, _NONCE = 16, 16, 12
_HEADER = len(_MAGIC) + _SALT + _CHECK + _NONCE
# https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html: 128 MiB each.
_COST, _BLOCK, _LANES = 2**17, 8, 1
_LARGEST = 256 * 1024**2


@dataclass(frozen=True)
class TokenInfo:
    """A token of a cluster, without its secret.

    Attributes:
        accessor: by which it is revoked.
        role: ``management``, ``operator``, ``submitter``, ``reader``, or empty for another's.
        namespace: of Nomad, in which it is good; ``*`` for all.
        label: that it was given.
        created: when.
        expires: when it ends by itself; ``None`` for never.
    """

    accessor: str
    role: str
    namespace: str
    label: str
    created: str
    expires: str | None = None


@dataclass(frozen=True)
class IssuedToken:
    """A token that was just made.

    Attributes:
        token: what is known of it later, too.
        secret: it itself; told once.
        address: of Nomad's API.
        bundle: the file that was written for its user, or empty.
    """

    token: TokenInfo
    secret: str
    address: str
    bundle: str = ""


@dataclass(frozen=True)
class Bundle:
    """What is in such a file.

    Attributes:
        name: of the cluster.
        provider: that runs it.
        role: of the token in it; empty for everything that who deployed it has.
        spec: of the cluster, as plain data.
        files: of the cluster's directory, by name.
        runs: the history, as plain data.
        pipelines: the history of pipelines' runs, as plain data.
        groups: the machines of clouds that it uses, as plain data.
        schedules: of pipelines, as plain data.
    """

    name: str
    provider: str
    role: str
    spec: Mapping[str, Any]
    files: Mapping[str, str]
    runs: tuple[Mapping[str, Any], ...] = field(default=())
    pipelines: tuple[Mapping[str, Any], ...] = field(default=())
    groups: tuple[Mapping[str, Any], ...] = field(default=())
    schedules: tuple[Mapping[str, Any], ...] = field(default=())


def write_bundle(bundle: Bundle, path: Path, passphrase: str) -> None:
    """Write a bundle, whole or not at all; only its owner may read it.

    Raises:
        InputError: if the passphrase is too short.
        ConflictError: if there is something of this name.
    """
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    if len(passphrase) < MINIMUM:
        raise InputError(f"The passphrase has {len(passphrase)} characters; at least {MINIMUM}.")
    refuse_existing(path)
    salt, nonce = secrets.token_bytes(_SALT), secrets.token_bytes(_NONCE)
    key, check = _derive(passphrase, salt)
    header = _MAGIC + salt + check + nonce
    content = zlib.compress(json.dumps(asdict(bundle)).encode())
    _publish(path, header + AESGCM(key).encrypt(nonce, content, header))


def refuse_existing(path: Path) -> None:
    """Refuse a path at which something is, or whose directory is missing.

    Raises:
        ConflictError: if there is something of this name.
        NotFoundError: if its directory is not there.
    """
    if path.exists() or path.is_symlink():
        raise ConflictError(
            f"{path}: there is something of this name; it is not written over.",
            hint="Choose another name, or remove it first.",
        )
    if not path.parent.is_dir():
        raise NotFoundError(f"{path}: the directory {path.parent} is not there.")


def _publish(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        with contextlib.suppress(FileExistsError):
            # Unlike a rename it never takes the place of what came meanwhile.
            os.link(temporary, path)
            return
        refuse_existing(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_bundle(path: Path, passphrase: str) -> Bundle:
    """Read a bundle.

    Raises:
        NotFoundError: if it is not there.
        InputError: if it is no bundle, of a newer version, was changed, or the passphrase is
            another.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    content = _content(path)
    header = content[:_HEADER]
    salt = header[len(_MAGIC) : len(_MAGIC) + _SALT]
    key, check = _derive(passphrase, salt)
    if not hmac.compare_digest(check, header[-_NONCE - _CHECK : -_NONCE]):
        raise InputError(
            f"{path}: the passphrase is not the one that it was written with (or the beginning "
            "of the file was changed).",
        )
    try:
        plain = AESGCM(key).decrypt(header[-_NONCE:], content[_HEADER:], header)
    except InvalidTag:
        raise InputError(
            f"{path}: the passphrase is right, but the file was changed or is not whole.",
            hint="Fetch it again, and compare its SHA-256 with the first one's.",
        ) from None
    document = json.loads(zlib.decompress(plain))
    lists = {name: tuple(told) for name, told in document.items() if isinstance(told, list)}
    return Bundle(**{**document, **lists})


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > _LARGEST:
            raise InputError(f"{path}: is larger than a bundle can be.")
        content = path.read_bytes()
    except FileNotFoundError:
        raise NotFoundError(f"{path}: there is no such file.") from None
    if not content.startswith(_ANY_MAGIC):
        raise InputError(
            f"{path}: is no bundle of a cluster.",
            hint="`cluster export` and `cluster token create --bundle` write bundles.",
        )
    if not content.startswith(_MAGIC) and not _MAGIC.startswith(content):
        raise InputError(
            f"{path}: is a bundle of a version that this sparknomad does not know.",
            hint="Install the version that wrote it, or a newer one.",
        )
    if len(content) <= _HEADER:
        raise InputError(f"{path}: is not whole: it ends after {len(content)} bytes.")
    return content


def _derive(passphrase: str, salt: bytes) -> tuple[bytes, bytes]:
    """The key, and what tells whether a passphrase is the same."""
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    made = Scrypt(salt, 32 + _CHECK, _COST, _BLOCK, _LANES).derive(passphrase.encode())
    return made[:32], made[32:]
