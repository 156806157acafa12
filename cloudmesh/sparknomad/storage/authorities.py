"""The authorities that a storage profile names for its service's certificate."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from cloudmesh.sparknomad.errors import InputError
from cloudmesh.sparknomad.incluster.truststore import certificates

if TYPE_CHECKING:
    from cloudmesh.sparknomad.storage.profile import StorageProfile

__all__ = ["authorities_file", "authorities_of", "trusting"]


def authorities_file(profile: StorageProfile) -> Path:
    """The file with a profile's authorities, on this machine."""
    return Path(profile.ca).expanduser()


def authorities_of(profile: StorageProfile) -> str:
    """The certificates that a profile names, in PEM, with nothing else of the file.

    Raises:
        InputError: if they can't be read.
    """
    path = authorities_file(profile)
    hint = f"Mend it: cms sparknomad storage profile add {profile.name} --ca=FILE …"
    try:
        found = certificates(path.read_bytes())
    except OSError as error:
        raise InputError(
            f"Storage profile {profile.name!r}: ca: {path} can't be read: {error.strerror}.",
            hint=hint,
        ) from error
    if not found:
        raise InputError(
            f"Storage profile {profile.name!r}: ca: {path} has no certificate in PEM.", hint=hint
        )
    return found


def trusting(profile: StorageProfile) -> ssl.SSLContext:
    """A client's side of TLS that trusts what a profile names, and nobody else.

    Raises:
        InputError: if that can't be read.
    """
    return ssl.create_default_context(cadata=authorities_of(profile))
