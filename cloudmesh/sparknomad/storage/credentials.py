"""Finding a profile's credentials: read when they are needed, kept nowhere."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cloudmesh.sparknomad.errors import CredentialError, DependencyError
from cloudmesh.sparknomad.storage.profile import CredentialSource, StorageProfile

if TYPE_CHECKING:
    from types import ModuleType

__all__ = [
    "KEYRING_SERVICE",
    "CredentialField",
    "Credentials",
    "ask",
    "find_credentials",
    "forget_keyring",
    "keyring",
]

KEYRING_SERVICE = "sparknomad"
Fields = Mapping[str, str]


@dataclass(frozen=True)
class CredentialField:
    """One part of a kind's credentials.

    Attributes:
        name: as in a profile and in files.
        variable: the environment variable that the cloud's own tools read.
        secret: whether knowing it lets one in; a user's name does not.
        optional: whether credentials are complete without it.
    """

    name: str
    variable: str
    secret: bool = True
    optional: bool = False


class Credentials(dict[str, str]):
    """The fields by name. Never shown: its text is the names alone."""

    def __repr__(self) -> str:
        return f"Credentials({', '.join(sorted(self)) or 'none'})"

    __str__ = __repr__


def find_credentials(
    profile: StorageProfile,
    wanted: Sequence[CredentialField],
    files: Callable[[str], Fields],
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
    source = profile.credentials.source
    if source in (CredentialSource.NONE, CredentialSource.INSTANCE) or not wanted:
        return Credentials()
    if source is CredentialSource.AUTO:
        found = _environment(profile, wanted)
        found = found if _complete(found, wanted) else files(profile.credentials.profile)
        return Credentials(found) if _complete(found, wanted) else Credentials()
    found = _read(source, profile, wanted, files)
    _check(profile, found, wanted)
    return Credentials(found)


def _complete(found: Fields, wanted: Sequence[CredentialField]) -> bool:
    return all(found.get(each.name) for each in wanted if not each.optional) and bool(found)


def _read(
    source: CredentialSource,
    profile: StorageProfile,
    wanted: Sequence[CredentialField],
    files: Callable[[str], Fields],
) -> Fields:
    if source is CredentialSource.ENVIRONMENT:
        return _environment(profile, wanted)
    if source is CredentialSource.FILES:
        return files(profile.credentials.profile)
    if source is CredentialSource.FILE:
        return _file(profile)
    if source is CredentialSource.KEYRING:
        return _keyring(profile)
    if source is CredentialSource.PROMPT:
        return _prompt(profile, wanted)
    return profile.credentials.values


def _check(profile: StorageProfile, found: Fields, wanted: Sequence[CredentialField]) -> None:
    known = {each.name for each in wanted}
    unknown = sorted(set(found) - known)
    missing = [each for each in wanted if not each.optional and not found.get(each.name)]
    where = _where(profile, missing)
    if unknown:
        raise CredentialError(
            f"Storage profile {profile.name!r}: {where}: unknown field {unknown[0]!r}; "
            f"known: {', '.join(sorted(known))}."
        )
    if missing or not found:
        names = ", ".join(each.name for each in missing or wanted)
        raise CredentialError(
            f"Storage profile {profile.name!r}: {where}: {names} missing.",
            hint="Provide it, or let the profile say where else its credentials come from: "
            f"cms sparknomad storage profile add {profile.name} --credentials=SOURCE …",
        )


def _where(profile: StorageProfile, missing: Sequence[CredentialField]) -> str:
    source = profile.credentials.source
    if source is CredentialSource.ENVIRONMENT and missing:
        names = [_variable(profile, each) for each in missing]
        return f"environment ({', '.join(names)})"
    if source is CredentialSource.FILE:
        return f"file {profile.credentials.path!r}"
    return str(source.value)


def _variable(profile: StorageProfile, field: CredentialField) -> str:
    return profile.credentials.variables.get(field.name, field.variable)


def _environment(profile: StorageProfile, wanted: Sequence[CredentialField]) -> Fields:
    values = {each.name: os.environ.get(_variable(profile, each), "") for each in wanted}
    return {name: value for name, value in values.items() if value}


def _file(profile: StorageProfile) -> Fields:
    path = Path(profile.credentials.path).expanduser()
    what = f"Storage profile {profile.name!r}: credentials in {str(path)!r}"
    try:
        mode = path.stat().st_mode
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CredentialError(f"{what}: can't be read: {error}") from None
    if mode & 0o077:
        raise CredentialError(
            f"{what}: others may read it (mode {mode & 0o777:o}).", hint=f"chmod 600 {path}"
        )
    return _fields_of(text, what)


def _fields_of(text: str, what: str) -> Fields:
    import yaml

    try:
        data = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        # PyYAML's message would quote the file, and so the secret.
        raise CredentialError(f"{what}: neither YAML nor JSON.") from None
    if not isinstance(data, dict) or not all(
        isinstance(key, str) and isinstance(value, str | int) for key, value in data.items()
    ):
        raise CredentialError(f"{what}: must be a mapping of names to texts.")
    return {key: str(value) for key, value in data.items()}


def keyring() -> ModuleType:
    """The library that knows the system's keyring.

    Raises:
        DependencyError: if it is not installed.
    """
    try:
        import keyring as library
    except ImportError as error:
        raise DependencyError(
            "The system's keyring needs the package 'keyring', which is not installed.",
            hint="pip install 'cloudmesh-sparknomad[keyring]'",
        ) from error
    module: ModuleType = library
    return module


def forget_keyring(name: str) -> None:
    """Take a profile's credentials out of the system's keyring, if they are there."""
    library = keyring()
    if library.get_password(KEYRING_SERVICE, name) is not None:
        library.delete_password(KEYRING_SERVICE, name)


def _keyring(profile: StorageProfile) -> Fields:
    library = keyring()
    what = f"Storage profile {profile.name!r}: the system's keyring"
    try:
        text = library.get_password(KEYRING_SERVICE, profile.name)
    except Exception as error:  # each back end has errors of its own
        raise CredentialError(f"{what} can't be read: {type(error).__name__}: {error}") from None
    if not text:
        raise CredentialError(
            f"{what} holds nothing of this name.",
            hint=f"Add the profile again, which asks for them: "
            f"cms sparknomad storage profile add {profile.name} --credentials=keyring …",
        )
    try:
        values: Fields = json.loads(text)
    except ValueError:
        raise CredentialError(f"{what} holds something else under this name.") from None
    return values


def ask(name: str, wanted: Sequence[CredentialField]) -> Fields:
    """Ask the person at the terminal for the fields; secrets are not shown.

    Raises:
        CredentialError: if there is no terminal.
    """
    import getpass

    if not sys.stdin.isatty():
        raise CredentialError(
            f"Storage profile {name!r}: its credentials are asked for, but standard input is no "
            "terminal.",
            hint="Use another source of credentials here, such as environment or file.",
        )
    values = {}
    for field in wanted:
        more = " (may be empty)" if field.optional else ""
        question = f"{name}: {field.name}{more}: "
        if field.secret:
            value = getpass.getpass(question)
        else:
            print(question, end="", file=sys.stderr, flush=True)
            value = sys.stdin.readline().rstrip("\n")
        if value:
            values[field.name] = value
    return values


def _prompt(profile: StorageProfile, wanted: Sequence[CredentialField]) -> Fields:
    return ask(profile.name, wanted)
