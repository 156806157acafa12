"""The storage profiles of a user: ``cloudmesh.sparknomad.storage`` in ``cloudmesh.yaml``."""

from __future__ import annotations

import dataclasses
import difflib
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudmesh.sparknomad.configuration import storage_section
from cloudmesh.sparknomad.errors import ConflictError, InputError, NotFoundError, SpecError
from cloudmesh.sparknomad.processes import locked, write_private
from cloudmesh.sparknomad.specfile import build_spec, spec_to_dict
from cloudmesh.sparknomad.storage.credentials import find_credentials
from cloudmesh.sparknomad.storage.profile import CredentialSource, StorageProfile
from cloudmesh.sparknomad.storage.registry import kind_names, load_kind
from cloudmesh.sparknomad.storage.storage import Storage
from cloudmesh.sparknomad.storage.url import CLUSTER, SCHEMES, StorageURL, parse_url

if TYPE_CHECKING:
    from ruamel.yaml import YAML

__all__ = ["Profiles", "open_storage"]

_RESERVED = frozenset({CLUSTER, *SCHEMES})


def open_storage(profile: StorageProfile) -> Storage:
    """Open a profile's storage with its credentials.

    Raises:
        SpecError: if the profile can't be used.
        DependencyError: if a package is missing.
        CredentialError: if its credentials are not where it says.
    """
    kind = load_kind(profile.kind)
    return kind(profile, find_credentials(profile, kind.fields, kind.files))


class Profiles:
    """The profiles in a configuration file.

    Args:
        path: ``cloudmesh.yaml``; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    # reading

    def all(self) -> list[StorageProfile]:
        """Every profile, by name.

        Raises:
            SpecError: if one is not what it should be.
        """
        section = storage_section(self.path)
        return [self._read(name, data) for name, data in sorted(section.items())]

    def _read(self, name: str, data: Any) -> StorageProfile:
        place = f"{self.path}: cloudmesh.sparknomad.storage.{name}"
        if not isinstance(data, Mapping):
            raise SpecError(f"{place}: must be a mapping of fields.")
        if "name" in data:
            raise SpecError(f"{place}: name: the name stands before the fields already.")
        return _checked(build_spec(StorageProfile, {"name": name, **data}, origin=place))

    def find(self, name: str) -> StorageProfile:
        """One profile.

        Raises:
            NotFoundError: if there is none of this name.
        """
        section = storage_section(self.path)
        if name not in section:
            near = difflib.get_close_matches(name, section, n=1)
            known = ", ".join(sorted(section)) or "none"
            remedy = f"did you mean {near[0]!r}?" if near else f"known: {known}."
            raise NotFoundError(
                f"There is no storage profile {name!r}; {remedy}",
                hint=f"Add it: cms sparknomad storage profile add {name} --url=URL",
            )
        return self._read(name, section[name])

    def of(self, url: StorageURL) -> StorageProfile:
        """The profile that a URL is reached with.

        For a plain URL it is the one with the longest URL that the other begins with, else one
        made of the URL itself, with the credentials that the cloud's own tools would take.
        """
        if url.profile:
            return self.find(url.profile)
        text = str(url)
        nearest = None
        for profile in self.all():
            base = parse_url(profile.url).as_directory()
            same = SCHEMES[base.scheme] == SCHEMES[url.scheme] and base.authority == url.authority
            inside = same and f"{url.path}/".startswith(base.path)
            if inside and (nearest is None or len(base.path) > nearest[0]):
                nearest = len(base.path), profile
        if nearest:
            return nearest[1]
        return _checked(build_spec(StorageProfile, {"name": "url", "url": url.root or text}))

    def open(self, url: StorageURL) -> Storage:
        """Open the storage that a URL lies in; see `open_storage`."""
        return open_storage(self.of(url))

    # writing

    def add(self, profile: StorageProfile, *, replace: bool = False) -> StorageProfile:
        """Write a profile into the configuration; the rest of the file stays as it is.

        Returns:
            The profile as it is kept, with what was left out filled in.

        Raises:
            ConflictError: if there is one of this name and `replace` was not given.
        """
        profile = _checked(profile)
        data = _written(profile)
        with self._changed() as storage:
            if profile.name in storage and not replace:
                raise ConflictError(
                    f"There is a storage profile {profile.name!r} already.",
                    hint="Use --replace to write it anew.",
                )
            storage[profile.name] = data
        return profile

    def remove(self, name: str) -> None:
        """Take a profile out of the configuration.

        Raises:
            NotFoundError: if there is none of this name.
        """
        self.find(name)
        with self._changed() as storage:
            del storage[name]

    @contextmanager
    def _changed(self) -> Iterator[Any]:
        """The section, written back with the file's comments when the block ends."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with locked(self.path.with_name(f".{self.path.name}.lock")):
            storage_section(self.path)  # refuses what is no mapping before anything is written
            yaml = _round_trip()
            document = yaml.load(self.path) if self.path.exists() else None
            document = {} if document is None else document
            section = document
            for key in ("cloudmesh", "sparknomad", "storage"):
                if section.get(key) is None:
                    section[key] = {}
                section = section[key]
            yield section
            text = io.StringIO()
            yaml.dump(document, text)
            write_private(self.path.resolve(), text.getvalue())


def _round_trip() -> YAML:
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.width = 4096
    return yaml


def _written(profile: StorageProfile) -> dict[str, Any]:
    """The fields that say something, as YAML has them."""
    data = spec_to_dict(profile)
    del data["name"]
    credentials = {key: value for key, value in data.pop("credentials").items() if value}
    if credentials != {"source": CredentialSource.AUTO.value}:
        data["credentials"] = credentials
    return {key: value for key, value in data.items() if value}


def _checked(profile: StorageProfile) -> StorageProfile:
    """A profile whose fields fit each other; its kind is filled in.

    Raises:
        SpecError: with a line for each thing that is wrong.
    """
    problems = []
    if profile.name in _RESERVED:
        problems.append(f"name: {profile.name!r}: is reserved; take another one")
    kind = profile.kind
    try:
        url = parse_url(profile.url)
    except InputError as error:
        raise SpecError(f"storage profile {profile.name!r}: url: {error.message}") from None
    if url.profile:
        problems.append(f"url: {profile.url!r}: must be a plain URL, not below a profile")
    elif url.has_glob:
        problems.append(f"url: {profile.url!r}: must not be a pattern")
    else:
        kind = kind or SCHEMES[url.scheme]
    if not problems:
        problems += _kind_problems(profile, kind)
    if problems:
        told = "\n".join(f"storage profile {profile.name!r}: {each}" for each in problems)
        raise SpecError(told)
    return dataclasses.replace(profile, kind=kind, url=str(url))


def _kind_problems(profile: StorageProfile, kind: str) -> Sequence[str]:
    if kind not in kind_names():
        near = difflib.get_close_matches(kind, kind_names(), n=1)
        known = ", ".join(kind_names())
        return [f"kind: {kind!r}: {f'did you mean {near[0]!r}?' if near else f'known: {known}'}"]
    made = load_kind(kind)
    found = []
    for name in profile.options:
        if "." not in name and name not in made.options:
            known = ", ".join(sorted(made.options)) or "none"
            found.append(
                f"options.{name}: unknown for {kind}; known: {known}, and Hadoop's own keys"
            )
    fields = {field.name for field in made.fields}
    for part in ("variables", "values"):
        for name in getattr(profile.credentials, part):
            if name not in fields:
                known = ", ".join(sorted(fields)) or "none"
                found.append(f"credentials.{part}.{name}: unknown for {kind}; known: {known}")
    wanted = {
        CredentialSource.FILE: ("path", profile.credentials.path),
        CredentialSource.PLAIN: ("values", profile.credentials.values),
    }.get(profile.credentials.source)
    if wanted and not wanted[1]:
        found.append(
            f"credentials.{wanted[0]}: missing; source {profile.credentials.source.value!r} "
            "needs it"
        )
    return found
