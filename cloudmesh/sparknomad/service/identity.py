"""Who calls: tokens and their roles."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from cloudmesh.sparknomad.errors import ForbiddenError
from cloudmesh.sparknomad.service.store import Token
from cloudmesh.sparknomad.specs import ROLES

__all__ = ["CALLER", "bearer", "require"]

CALLER: ContextVar[Token | None] = ContextVar("CALLER", default=None)
"""Whose token came with the request; the guard looks it up."""


def bearer(token: str) -> dict[str, Any] | None:
    """What connexion asks about a bearer token: whose it is, or ``None``."""
    del token
    found = CALLER.get()
    return None if found is None else {"sub": found.name, "role": found.role, "token": found}


def require(token: Token, role: str, verb: str) -> None:
    """Refuse a caller whose role is less than is needed.

    Raises:
        ForbiddenError: with the role that is.
    """
    # ROLES begins with the most.
    if ROLES.index(token.role) > ROLES.index(role):
        raise ForbiddenError(
            f"Token {token.name!r} is a {token.role}'s; {verb} needs the role {role}.",
            hint="Ask an operator of the service for another token.",
        )
