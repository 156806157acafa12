"""Finding a profile's credentials: read when they are needed, kept nowhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from cloudmesh.sparknomad import credentials
from cloudmesh.sparknomad.credentials import (
    KEYRING_SERVICE,
    CredentialField,
    Credentials,
    Owner,
    forget_keyring,
    keyring,
)
from cloudmesh.sparknomad.storage.profile import StorageProfile

__all__ = [
    "KEYRING_SERVICE",
    "CredentialField",
    "Credentials",
    "ask",
    "find_credentials",
    "forget_keyring",
    "keyring",
]


def _title(name: str) -> str:
    return f"Storage profile {name!r}"


def find_credentials(
    profile: StorageProfile,
    wanted: Sequence[CredentialField],
    files: Callable[[str], Mapping[str, str]],
) -> Credentials:
    """Read the credentials of a profile from where it says.

    Args:
        profile: whose.
        wanted: the fields that its kind knows.
        files: reads the cloud's own files, by the name of a profile in them.

    Returns:
        The fields that were found; none for ``instance`` and ``none``.

    Raises:
        CredentialError: if they are not there, with what to do.
    """
    add = f"cms sparknomad storage profile add {profile.name} --credentials"
    owner = Owner(
        title=_title(profile.name),
        credentials=profile.credentials,
        keyring=profile.name,
        remedy=f"{add}=SOURCE …",
        keyring_remedy=f"Add the profile again, which asks for them: {add}=keyring …",
    )
    return credentials.find_credentials(owner, wanted, files)


def ask(name: str, wanted: Sequence[CredentialField]) -> Mapping[str, str]:
    """Ask the person at the terminal for the fields of a profile; secrets are not shown.

    Raises:
        CredentialError: if there is no terminal.
    """
    return credentials.ask(_title(name), name, wanted)
