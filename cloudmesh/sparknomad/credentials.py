"""Finding credentials of storages and clouds: read when they are needed, kept nowhere."""

from __future__ import annotations

import configparser
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cloudmesh.sparknomad.errors import CredentialError, DependencyError
from cloudmesh.sparknomad.spec_credentials import CredentialSource, CredentialsSpec

if TYPE_CHECKING:
    from types import ModuleType

__all__ = [
    "KEYRING_SERVICE",
    "CredentialField",
    "Credentials",
    "Owner",
    "ask",
    "aws_files",
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
        name: as in the configuration and in files.
        variable: the environment variable that the cloud's own tools read.
        secret: whether knowing it lets one in; a user's name does not.
        optional: whether credentials are complete without it.
    """

    name: str
    variable: str
    secret: bool = True
    optional: bool = False


@dataclass(frozen=True)
class Owner:
    """Whose credentials are looked for.

    Attributes:
        title: for messages, such as ``Storage profile 'x'``.
        credentials: where they come from.
        keyring: its name in the system's keyring.
        remedy: how to say where else they come from.
        keyring_remedy: how to put them into the keyring.
    """

    title: str
    credentials: CredentialsSpec
    keyring: str
    remedy: str
    keyring_remedy: str


class Credentials(dict[str, str]):
    """The fields by name. Never shown: its text is the names alone."""

    def __repr__(self) -> str:
        return f"Credentials({', '.join(sorted(self)) or 'none'})"

    __str__ = __repr__


def find_credentials(
    owner: Owner,
    wanted: Sequence[CredentialField],
    files: Callable[[str], Fields],
) -> Credentials:
    """Read credentials from where their owner says.

    Args:
        owner: whose.
        wanted: the fields that its kind knows.
        files: reads the cloud's own files, by the name of a profile in them.

    Returns:
        The fields that were found; none for ``instance`` and ``none``.

    Raises:
        CredentialError: if they are not there, with what to do.
    """
    source = owner.credentials.source
    if source in (CredentialSource.NONE, CredentialSource.INSTANCE) or not wanted:
        return Credentials()
    if source is CredentialSource.AUTO:
        found = _environment(owner, wanted)
        found = found if _complete(found, wanted) else files(owner.credentials.profile)
        return Credentials(found) if _complete(found, wanted) else Credentials()
    found = _read(source, owner, wanted, files)
    _check(owner, found, wanted)
    return Credentials(found)


def _complete(found: Fields, wanted: Sequence[CredentialField]) -> bool:
    return all(found.get(each.name) for each in wanted if not each.optional) and bool(found)


def _read(
    source: CredentialSource,
    owner: Owner,
    wanted: Sequence[CredentialField],
    files: Callable[[str], Fields],
) -> Fields:
    if source is CredentialSource.ENVIRONMENT:
        return _environment(owner, wanted)
    if source is CredentialSource.FILES:
        return files(owner.credentials.profile)
    if source is CredentialSource.FILE:
        return _file(owner)
    if source is CredentialSource.KEYRING:
        return _keyring(owner)
    if source is CredentialSource.PROMPT:
        return _prompt(owner, wanted)
    return owner.credentials.values


def _check(owner: Owner, found: Fields, wanted: Sequence[CredentialField]) -> None:
    known = {each.name for each in wanted}
    unknown = sorted(set(found) - known)
    missing = [each for each in wanted if not each.optional and not found.get(each.name)]
    where = _where(owner, missing)
    if unknown:
        raise CredentialError(
            f"{owner.title}: {where}: unknown field {unknown[0]!r}; "
            f"known: {', '.join(sorted(known))}."
        )
    if missing or not found:
        names = ", ".join(each.name for each in missing or wanted)
        raise CredentialError(
            f"{owner.title}: {where}: {names} missing.",
            hint=f"Provide it, or say where else they come from: {owner.remedy}",
        )


def _where(owner: Owner, missing: Sequence[CredentialField]) -> str:
    source = owner.credentials.source
    if source is CredentialSource.ENVIRONMENT and missing:
        names = [_variable(owner, each) for each in missing]
        return f"environment ({', '.join(names)})"
    if source is CredentialSource.FILE:
        return f"file {owner.credentials.path!r}"
    return str(source.value)


def _variable(owner: Owner, field: CredentialField) -> str:
    return owner.credentials.variables.get(field.name, field.variable)


def _environment(owner: Owner, wanted: Sequence[CredentialField]) -> Fields:
    values = {each.name: os.environ.get(_variable(owner, each), "") for each in wanted}
    return {name: value for name, value in values.items() if value}


def _file(owner: Owner) -> Fields:
    path = Path(owner.credentials.path).expanduser()
    what = f"{owner.title}: credentials in {str(path)!r}"
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
    """Take credentials out of the system's keyring, if they are there."""
    library = keyring()
    if library.get_password(KEYRING_SERVICE, name) is not None:
        library.delete_password(KEYRING_SERVICE, name)


def _keyring(owner: Owner) -> Fields:
    library = keyring()
    what = f"{owner.title}: the system's keyring"
    try:
        text = library.get_password(KEYRING_SERVICE, owner.keyring)
    except Exception as error:  # each back end has errors of its own
        raise CredentialError(f"{what} can't be read: {type(error).__name__}: {error}") from None
    if not text:
        raise CredentialError(
            f"{what} holds nothing of this name.",
            hint=owner.keyring_remedy,
        )
    try:
        values: Fields = json.loads(text)
    except ValueError:
        raise CredentialError(f"{what} holds something else under this name.") from None
    return values


def aws_files(profile: str) -> Fields:
    """Read ``~/.aws/credentials``, or what ``AWS_SHARED_CREDENTIALS_FILE`` names.

    Args:
        profile: the section; that of ``AWS_PROFILE`` or ``default`` if empty.
    """
    named = os.environ.get("AWS_SHARED_CREDENTIALS_FILE")
    path = Path(named).expanduser() if named else Path.home() / ".aws" / "credentials"
    parser = configparser.RawConfigParser()
    try:
        parser.read(path, "utf-8")
    except (configparser.Error, UnicodeDecodeError):
        return {}
    section = profile or os.environ.get("AWS_PROFILE") or "default"
    if not parser.has_section(section):
        return {}
    names = {
        "access_key": "aws_access_key_id",
        "secret_key": "aws_secret_access_key",
        "session_token": "aws_session_token",
    }
    found = {ours: parser.get(section, theirs, fallback="") for ours, theirs in names.items()}
    return {name: value for name, value in found.items() if value}


def ask(title: str, name: str, wanted: Sequence[CredentialField]) -> Fields:
    """Ask the person at the terminal for the fields; secrets are not shown.

    Args:
        title: whose they are, for messages.
        name: before each question.
        wanted: the fields.

    Raises:
        CredentialError: if there is no terminal.
    """
    import getpass

    if not sys.stdin.isatty():
        raise CredentialError(
            f"{title}: its credentials are asked for, but standard input is no terminal.",
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


def _prompt(owner: Owner, wanted: Sequence[CredentialField]) -> Fields:
    return ask(owner.title, owner.keyring, wanted)
