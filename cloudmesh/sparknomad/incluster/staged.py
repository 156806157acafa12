"""What has been brought into a cluster: who brings it, who uses it, what may go.

Below one directory of the cluster's storage::

    entries/KEY/entry.json    what it is; its time of modification says when it was used last
    entries/KEY/files.json    each object: name, bytes, version
    entries/KEY/data/         the objects
    entries/KEY/used/RUN      a file for each run that reads it, touched while the run goes on
    partial/KEY/              the same while it is brought; it becomes the entry by one rename
    locks/KEY                 who brings it, touched while that goes on (see `locks`)
    broken/LOCK.N             who removes the lock of one that has died
    trash/                    what is being removed
    uses/ORIGIN               when runs have read an origin, as JSON

The key is a digest of where the objects come from and of each one's name, bytes and version:
an input that has changed is another one. Every step is a rename or the creation of a file, of
which only one of two can succeed; whatever is killed between two of them leaves nothing that
could be read half.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or __package__:
    from cloudmesh.sparknomad.incluster.locks import STALE_LOCK_SECONDS, Files, Held, Locks
else:
    from locks import STALE_LOCK_SECONDS, Files, Held, Locks

__all__ = [
    "Catalog",
    "Entry",
    "StagedEntry",
    "key_of",
    "origin_key",
]

STALE_USE_SECONDS = 600.0
"""A run that has not touched what it reads for so long is dead; clocks of hosts differ."""

_USES_KEPT = 20


@dataclass(frozen=True)
class Entry:
    """What was brought into the cluster.

    Attributes:
        key: see the module.
        source: the URL that the user gave.
        origin: the endpoint and the place.
        objects: how many.
        bytes: in all.
        created: seconds since the epoch.
        seconds: that bringing it took.
        pin: whether it stays until it is asked to go.
        ttl: seconds after its last use when it goes; ``None`` for never.
    """

    key: str
    source: str
    origin: str
    objects: int
    bytes: int
    created: float
    seconds: float = 0.0
    pin: bool = False
    ttl: float | None = None


@dataclass(frozen=True)
class StagedEntry:
    """An entry as it is now: when it was used last, and by which runs it is being read."""

    entry: Entry
    last_used: float
    users: tuple[str, ...] = ()

    @property
    def expired(self) -> bool:
        """Whether it has outlived its time."""
        ttl = self.entry.ttl
        return ttl is not None and not self.entry.pin and self.last_used + ttl < time.time()


def key_of(origin: str, files: Iterable[tuple[str, int, str]]) -> str:
    """The key of some objects of an origin: name, bytes and version of each."""
    text = json.dumps([origin, sorted(files)])
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def origin_key(origin: str) -> str:
    """A short name for an origin."""
    return hashlib.sha256(origin.encode("utf-8", "surrogatepass")).hexdigest()[:32]


class Catalog:
    """The entries of one cluster.

    Args:
        files: the cluster's storage.
        root: the directory that holds all of it.
    """

    def __init__(self, files: Files, root: str) -> None:
        self.files = files
        self.root = root
        self.held = Held(files)
        self.locks = Locks(files, root, self.held)

    def _path(self, *parts: str) -> str:
        return "/".join((self.root, *parts))

    def data(self, key: str) -> str:
        """The directory of an entry's objects."""
        return self._path("entries", key, "data")

    def partial(self, key: str) -> str:
        """The directory of an entry while it is brought."""
        return self._path("partial", key)

    # reading

    def find(self, key: str) -> Entry | None:
        """An entry, or ``None`` if it is not there."""
        content = self.files.read(self._path("entries", key, "entry.json"))
        return Entry(**json.loads(content)) if content else None

    def all(self) -> list[StagedEntry]:
        """All entries, the last used first."""
        found = []
        for key in self.files.times(self._path("entries")):
            entry = self.find(key)
            if entry is not None:
                times = self.files.times(self._path("entries", key))
                users = tuple(self._users(self._path("entries", key)))
                found.append(StagedEntry(entry, times.get("entry.json", 0.0), users))
        return sorted(found, key=lambda each: -each.last_used)

    def _users(self, place: str) -> list[str]:
        fresh = time.time() - STALE_USE_SECONDS
        told = self.files.times(f"{place}/used")
        return sorted(name for name, touched in told.items() if touched > fresh)

    def objects(self, key: str) -> dict[tuple[str, int, str], str]:
        """An entry's objects: where each one is, by name, bytes and version."""
        content = self.files.read(self._path("entries", key, "files.json"))
        listed: list[list[Any]] = json.loads(content) if content else []
        return {(name, size, version): name for name, size, version in listed}

    def known(self, origin: str) -> dict[tuple[str, int, str], str]:
        """Where unchanged objects of an origin are in the cluster already."""
        found: dict[tuple[str, int, str], str] = {}
        for staged in self.all():
            if staged.entry.origin == origin:
                for identity, name in self.objects(staged.entry.key).items():
                    if identity[2]:
                        found[identity] = f"{self.data(staged.entry.key)}/{name}"
        return found

    # using

    def acquire(self, key: str, run: str) -> Entry | None:
        """Let a run read an entry: it stays until `release`.

        Returns:
            The entry, or ``None`` if it is not there, or not whole any more.
        """
        entry = self.find(key)
        if entry is None:
            return None
        mark = self._path("entries", key, "used", run)
        self.files.write(mark, b"")
        self.held.hold(mark, 10)
        if self.find(key) is None:  # it was removed meanwhile
            self.held.drop(mark)
            self._bury(key)
            return None
        self.files.touch(self._path("entries", key, "entry.json"))
        return entry

    def is_whole(self, key: str) -> bool:
        """Whether each block of each file is still somewhere."""
        listed = self.objects(key)
        paths = [f"{self.data(key)}/{name}" for name, size, _ in listed if size]
        try:
            return all(all(self.files.hosts(path)) for path in paths)
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Give back all that is held: locks, and what a run reads."""
        self.held.close()

    def count_use(self, origin: str, window: float) -> int:
        """Note that a run reads an origin; how often that was before, in so many seconds."""
        path = self._path("uses", origin_key(origin))
        content = self.files.read(path)
        try:
            times: list[float] = json.loads(content) if content else []
        except ValueError:
            times = []
        recent = [each for each in times if each > time.time() - window]
        self.files.write(path, json.dumps([*recent, time.time()][-_USES_KEPT:]).encode())
        return len(recent)

    # bringing

    def publish(self, entry: Entry, files: Sequence[tuple[str, int, str]]) -> None:
        """Make what was brought an entry.

        Raises:
            OSError: if it could not be given its name.
        """
        place = self.partial(entry.key)
        self.files.write(f"{place}/files.json", json.dumps(list(files)).encode())
        self.files.write(f"{place}/entry.json", json.dumps(asdict(entry)).encode())
        self.files.make_directory(f"{place}/data")
        self.files.make_directory(f"{place}/used")
        self.files.make_directory(self._path("entries"))
        target = self._path("entries", entry.key)
        if not self.files.rename(place, target):
            self._bury(entry.key)
            if self.find(entry.key) is None and not self.files.rename(place, target):
                raise OSError(f"{place} could not be given its name")
            self.files.delete(place)

    def change(self, key: str, **changes: Any) -> Entry | None:
        """Change an entry's pin or time to live."""
        entry = self.find(key)
        if entry is None:
            return None
        changed = Entry(**{**asdict(entry), **changes})
        place = self._path("entries", key, "entry.json")
        beside = f"{place}.{uuid.uuid4().hex}.part"
        self.files.write(beside, json.dumps(asdict(changed)).encode())
        self.files.replace(beside, place)  # HDFS empties a file before it writes it anew
        return changed

    def abandon(self, key: str) -> None:
        """Remove what was half brought; where that can't be now, `sweep` does it later."""
        with contextlib.suppress(OSError):
            self.files.delete(self.partial(key))

    # room

    def evict(self, key: str, *, force: bool = False) -> bool:
        """Remove an entry that no run reads; whether it is gone.

        Args:
            key: the entry.
            force: also if a run reads it, which will fail.
        """
        place = self._path("entries", key)
        if not force and self._users(place):
            return False
        aside = self._path("trash", f"{key}.{uuid.uuid4().hex}")
        self.files.make_directory(self._path("trash"))
        if not self.files.rename(place, aside):
            return self.find(key) is None
        # A run may have begun to read it between the question and the rename.
        if not force and self._users(aside) and self.files.rename(aside, place):
            return False
        self.files.delete(aside)
        return True

    def _bury(self, key: str) -> None:
        """Remove what is left of an entry that does not say what it is."""
        place = self._path("entries", key)
        if not self.files.times(place) or self.files.size(f"{place}/entry.json"):
            return
        aside = self._path("trash", f"{key}.{uuid.uuid4().hex}")
        self.files.make_directory(self._path("trash"))
        if not self.files.rename(place, aside):
            return
        # Another run may have brought it between the look and the rename.
        if not (self.files.size(f"{aside}/entry.json") and self.files.rename(aside, place)):
            self.files.delete(aside)

    def sweep(self, patience: float = STALE_USE_SECONDS * 6) -> list[Entry]:
        """Remove what has outlived its time, and what was half removed or half brought.

        Args:
            patience: seconds for which what was half brought may still be gone on with.

        Returns:
            The entries that were removed.
        """
        self.files.delete(self._path("trash"))
        self.locks.sweep()
        now = time.time()
        locked = self.locks.touched()
        for key, changed in self.files.times(self._path("partial")).items():
            beat = max(changed, locked.get(key, 0.0))
            if beat < now - max(patience, 2 * STALE_LOCK_SECONDS * (key in locked)):
                self.files.delete(self.partial(key))
        for key in self.files.times(self._path("entries")):
            self._bury(key)
        expired = [each.entry for each in self.all() if each.expired]
        return [entry for entry in expired if self.evict(entry.key)]

    def make_room(self, need: int, quota: int | None, copies: int) -> str:
        """Remove what was not used for longest until something fits.

        Args:
            need: bytes.
            quota: bytes that all entries may have; ``None`` for half of the disk.
            copies: of each block.

        Returns:
            Why it does not fit; empty if it does.
        """
        while True:
            total, free = self.files.room()
            used = self.files.used(self._path("entries")) + self.files.used(self._path("partial"))
            limit = total // (2 * copies) if quota is None else quota
            fits = need + used <= limit and need * copies <= free - total // 50
            if fits:
                return ""
            loose = [each for each in self.all() if not each.entry.pin and not each.users]
            if need > limit or not any(self.evict(each.entry.key) for each in reversed(loose)):
                return (
                    f"{need:,} bytes do not fit: staged inputs have {used:,} of {limit:,} bytes, "
                    f"the disks {free:,} free of {total:,}; what else is there is pinned or in use"
                )
