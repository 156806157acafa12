"""Tokens of the REST service: whoever keeps them keeps their digests only."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cloudmesh.sparknomad.errors import InputError
from cloudmesh.sparknomad.specs import ROLES

__all__ = ["FIRST", "AccessToken", "digest_of", "make_token"]

FIRST = "first"
"""The name of the token that is made when there is none yet."""


@dataclass(frozen=True)
class AccessToken:
    """A token as it is kept.

    Attributes:
        name: to know it by.
        role: ``operator``, ``submitter`` or ``reader``.
        digest: of its secret, in hexadecimal.
        created: seconds since the epoch.
        expires: the same, or ``None`` for never.
    """

    name: str
    role: str
    digest: str
    created: float
    expires: float | None = None

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> AccessToken:
        """Read back what `asdict` has made."""
        return cls(**document)


def digest_of(secret: str) -> str:
    """Of 256 random bits: nobody finds them by trying, so no slow function is needed."""
    return hashlib.sha256(secret.encode()).hexdigest()


def make_token(name: str, role: str, ttl: float | None = None) -> tuple[AccessToken, str]:
    """Make a token.

    Args:
        name: to know it by.
        role: what it may.
        ttl: seconds after which it ends.

    Returns:
        What is kept of it, and its secret.

    Raises:
        InputError: if there is no such role.
    """
    if role not in ROLES:
        raise InputError(f"--role={role}: must be one of {', '.join(ROLES)}.")
    secret, now = secrets.token_urlsafe(32), time.time()
    expires = None if ttl is None else now + ttl
    return AccessToken(name, role, digest_of(secret), now, expires), secret
