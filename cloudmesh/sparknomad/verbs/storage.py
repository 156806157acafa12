"""The verbs about storage."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudmesh.sparknomad.configuration import storage_section
from cloudmesh.sparknomad.errors import InputError, NotFoundError
from cloudmesh.sparknomad.model_storage import RunStorage
from cloudmesh.sparknomad.specs import JobSpec, ParameterType
from cloudmesh.sparknomad.verbs.core import Core

if TYPE_CHECKING:
    from cloudmesh.sparknomad.storage.checking import CheckStep
    from cloudmesh.sparknomad.storage.profile import StorageProfile
    from cloudmesh.sparknomad.storage.profiles import Profiles
    from cloudmesh.sparknomad.storage.storage import Entry, Storage, Usage
    from cloudmesh.sparknomad.storage.transfer import Transferred
    from cloudmesh.sparknomad.storage.url import StorageURL

__all__ = ["StorageVerbs"]


class StorageVerbs(Core):
    """Profiles, and what lies in the storages that they name."""

    # profiles

    @property
    def _profiles(self) -> Profiles:
        from cloudmesh.sparknomad.storage.profiles import Profiles

        return Profiles(self.paths.configuration)

    def storage_profile_add(
        self,
        profile: StorageProfile,
        *,
        secrets: Mapping[str, str] | None = None,
        replace: bool = False,
    ) -> StorageProfile:
        """Remember a storage under a name.

        Args:
            profile: what the name stands for.
            secrets: its credentials, where they are kept in the system's keyring.
            replace: whether a profile of this name is replaced.

        Raises:
            SpecError: if its fields do not fit.
            ConflictError: if there is one of this name.
        """
        from cloudmesh.sparknomad.storage.credentials import KEYRING_SERVICE, keyring

        library = keyring() if secrets else None
        checked = self._profiles.add(profile, replace=replace)
        if library is not None:
            library.set_password(KEYRING_SERVICE, profile.name, json.dumps(dict(secrets or {})))
        return checked

    def storage_profile_list(self) -> list[StorageProfile]:
        """All storage profiles."""
        return self._profiles.all() if storage_section(self.paths.configuration) else []

    def storage_profile_show(self, name: str) -> StorageProfile:
        """One storage profile, without the values of its secrets."""
        return self._profiles.find(name)

    def storage_profile_remove(self, name: str) -> None:
        """Forget a storage profile; what it named stays where it is."""
        from cloudmesh.sparknomad.storage.credentials import forget_keyring
        from cloudmesh.sparknomad.storage.profile import CredentialSource

        profile = self._profiles.find(name)
        self._profiles.remove(name)
        if profile.credentials.source is CredentialSource.KEYRING:
            forget_keyring(name)

    # runs

    def _is_storage(self, text: str) -> bool:
        """Whether a text is a URL of some storage, or a path below a profile that there is."""
        from cloudmesh.sparknomad.storage.url import CLUSTER, is_storage_url, parse_url

        if not is_storage_url(text):
            return False
        try:
            name = parse_url(text).profile
        except InputError:
            return "://" in text
        return not name or name in (CLUSTER, *storage_section(self.paths.configuration))

    def _run_storage(
        self, job: JobSpec, bound: Mapping[str, Any]
    ) -> tuple[dict[str, str], RunStorage]:
        """What a run needs of the storages that its parameters name; see `resolve_storage`."""
        declared = job.parameters
        uris = {
            name: str(value)
            for name, value in bound.items()
            if name in declared and declared[name].type is ParameterType.URI and ":" in str(value)
        }
        if not uris:
            return {}, RunStorage()
        from cloudmesh.sparknomad.storage.running import resolve_storage

        return resolve_storage(uris, self._profiles.open)

    # what lies there

    def _opened(self, url: str) -> tuple[Storage, StorageURL]:
        from cloudmesh.sparknomad.storage.profiles import open_storage
        from cloudmesh.sparknomad.storage.url import CLUSTER, parse_url

        parsed = parse_url(url)
        if parsed.profile == CLUSTER:
            return open_storage(self._cluster_storage()), parsed
        return self._profiles.open(parsed), parsed

    def storage_list(self, url: str, *, recursive: bool = False) -> Iterator[Entry]:
        """What lies in a directory, below it, or fits a pattern."""
        storage, parsed = self._opened(url)
        return storage.list(parsed, recursive=recursive)

    def storage_info(self, url: str) -> Entry:
        """One object or directory."""
        storage, parsed = self._opened(url)
        return storage.info(parsed)

    def storage_usage(self, url: str) -> Usage:
        """How many objects lie below a URL, and their bytes."""
        storage, parsed = self._opened(url)
        return storage.usage(parsed)

    def storage_remove(self, url: str) -> int:
        """Remove an object, a directory with all that is in it, or what fits a pattern.

        Returns:
            How many objects were removed.

        Raises:
            NotFoundError: if there is nothing of this name.
        """
        storage, parsed = self._opened(url)
        if not parsed.path.strip("/"):
            raise InputError(
                f"{url!r} would remove a whole bucket or file system.",
                hint="Name what is in it, such as a pattern: " + f"{url.rstrip('/')}/*",
            )
        if parsed.has_glob and storage.find(parsed) is None:
            return sum(storage.remove(entry.url) for entry in list(storage.list(parsed)))
        if storage.find(parsed) is None:
            raise NotFoundError(f"{url}: there is nothing of this name.")
        return storage.remove(parsed)

    def storage_copy(self, source: str, target: str) -> Transferred:
        """Copy an object, a directory or what fits a pattern, and prove that it has arrived.

        Args:
            source: a URL, ``PROFILE:path`` or a path of this machine.
            target: such as well; a directory where it ends in a slash, or where `source` is one.
        """
        from cloudmesh.sparknomad.storage.transfer import plan_transfer, transfer

        origin, source_url = self._opened(source)
        destination, target_url = self._opened(target)
        planned = plan_transfer(origin, source_url, self._as_directory(destination, target_url))
        return transfer(origin, destination, planned, self.say)

    def _fetch_output(self, cluster: str, url: str, path: str, site: str = "") -> bool:
        """Move what a run wrote out of its cluster; whether there was anything."""
        from cloudmesh.sparknomad.storage.profiles import open_storage
        from cloudmesh.sparknomad.storage.transfer import plan_transfer, transfer
        from cloudmesh.sparknomad.storage.url import parse_url

        source = open_storage(self._cluster_storage(cluster, site))
        source_url = parse_url(url)
        found = source.find(source_url)
        if found is None:
            return False
        target, target_url = self._opened(f"{path}/" if found.is_directory else path)
        self.say(f"fetching {path}")
        transfer(source, target, plan_transfer(source, source_url, target_url), self.say)
        source.remove(source_url)
        return True

    @staticmethod
    def _as_directory(storage: Storage, url: StorageURL) -> StorageURL:
        """A target that is a directory already is meant as one."""
        if url.is_directory:
            return url
        there = storage.find(url)
        return url.as_directory() if there and there.is_directory else url

    def storage_put(self, path: str | Path, url: str) -> Transferred:
        """Copy a file or directory of this machine to a storage."""
        return self.storage_copy(_local(path), url)

    def storage_get(self, url: str, path: str | Path) -> Transferred:
        """Copy from a storage to a file or directory of this machine."""
        return self.storage_copy(url, _local(path))

    def storage_check(self, subjects: Sequence[str] = ()) -> list[CheckStep]:
        """Try storages from this machine: credentials, list, write, read, remove.

        Args:
            subjects: URLs or names of profiles; every profile if there are none.
        """
        from cloudmesh.sparknomad.storage.checking import check_storage
        from cloudmesh.sparknomad.storage.url import is_storage_url, parse_url

        steps: list[CheckStep] = []
        names = subjects or [profile.name for profile in self._profiles.all()]
        for subject in names:
            url = subject if is_storage_url(subject) or "/" in subject else f"{subject}:"
            self.say(f"checking {subject}")

            def opened(url: str = url) -> Storage:
                return self._opened(url)[0]

            steps += check_storage(subject, opened, parse_url(url))
        return steps


def _local(path: str | Path) -> str:
    """A path of this machine as it is told from a URL, with a slash if it is a directory."""
    text = str(path)
    text = text if text[:1] in ("/", ".", "~") else f"./{text}"
    return f"{text}/" if Path(text).expanduser().is_dir() else text
