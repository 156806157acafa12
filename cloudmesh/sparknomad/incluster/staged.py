"""What has been brought into a cluster: who brings it, who uses it, what may go.

Below one directory of the cluster's storage::

    entries/KEY/entry.json    what it is; its time of modification says when it was used last
    entries/KEY/files.json    each object: name, bytes, version
    entries/KEY/data/         the objects
    entries/KEY/used/RUN      a file for each run that reads it, touched while the run goes on
    partial/KEY/              the same while it is brought; it becomes the entry by one rename
    locks/KEY                 who brings it, touched while that goes on
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
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

__all__ = [
    "Catalog",
    "Entry",
    "Files",
    "Held",
    "StagedEntry",
    "key_of",
    "origin_key",
]

BEAT_SECONDS = 5.0
"""Between two touches of what is held."""

STALE_LOCK_SECONDS = 30.0
"""A lock that was not touched for so long belongs to nobody."""

STALE_USE_SECONDS = 600.0
"""The same of a run that reads an entry; clocks of hosts differ."""

_USES_KEPT = 20


class Files(Protocol):
    """What is needed of a storage: `webhdfs.WebHdfs` has it, and `localfiles.LocalFiles`."""

    def size(self, path: str) -> int | None: ...  # noqa: D102 - see `webhdfs.WebHdfs`
    def times(self, path: str) -> dict[str, float]: ...  # noqa: D102
    def read(self, path: str) -> bytes | None: ...  # noqa: D102
    def write(self, path: str, content: bytes) -> None: ...  # noqa: D102
    def create(self, path: str, content: bytes) -> bool: ...  # noqa: D102
    def rename(self, source: str, target: str) -> bool: ...  # noqa: D102
    def touch(self, path: str) -> None: ...  # noqa: D102
    def make_directory(self, path: str) -> None: ...  # noqa: D102
    def delete(self, path: str) -> None: ...  # noqa: D102
    def concat(self, target: str, sources: Sequence[str]) -> None: ...  # noqa: D102
    def replicate(self, path: str, count: int) -> None: ...  # noqa: D102
    def used(self, path: str) -> int: ...  # noqa: D102
    def room(self) -> tuple[int, int]: ...  # noqa: D102
    def hosts(self, path: str) -> list[list[str]]: ...  # noqa: D102


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


class Held:
    """Files that are touched as long as they are held, so that others see somebody is there.

    Args:
        files: where they are.
    """

    def __init__(self, files: Files) -> None:
        self._files = files
        self._paths: dict[str, float] = {}
        self._ended = threading.Event()
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None

    def hold(self, path: str, beats: int = 1) -> None:
        """Touch this file at every so many beats."""
        with self._guard:
            self._paths[path] = beats * BEAT_SECONDS
            if self._thread is None:
                self._thread = threading.Thread(target=self._beat, daemon=True)
                self._thread.start()

    def drop(self, path: str) -> None:
        """Remove this file, and touch it no more."""
        with self._guard:
            self._paths.pop(path, None)
        self._files.delete(path)

    def close(self) -> None:
        """Remove all of them."""
        self._ended.set()
        for path in list(self._paths):
            self.drop(path)

    def _beat(self) -> None:
        last: dict[str, float] = {}
        while not self._ended.wait(BEAT_SECONDS / 5):
            now = time.monotonic()
            with self._guard:
                due = [p for p, every in self._paths.items() if now - last.get(p, 0) >= every]
            for path in due:
                last[path] = now
                try:
                    self._files.touch(path)
                except OSError:
                    continue  # the next beat is soon enough


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
            self.files.delete(self._path("entries", key))
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

    def lock(self, key: str, run: str) -> bool:
        """Take the right to bring an entry; ``False`` while another has it."""
        path = self._path("locks", key)
        if not self.files.create(path, f"{run} {uuid.uuid4().hex}".encode()):
            return False
        self.held.hold(path)
        return True

    def wait_for(self, key: str, pause: Callable[[float], None]) -> None:
        """Wait until nobody brings an entry; takes the lock from who has died."""
        path = self._path("locks", key)
        seen: tuple[float, bytes | None] | None = None
        since = time.monotonic()
        while (touched := self.files.times(self._path("locks")).get(key)) is not None:
            if seen is None or touched != seen[0]:
                seen, since = (touched, self.files.read(path)), time.monotonic()
            if time.monotonic() - since > STALE_LOCK_SECONDS:
                self._break(path, seen[1])
                return
            pause(0.5)

    def _break(self, path: str, content: bytes | None) -> None:
        """Remove the lock of the dead; one that somebody has taken since stays."""
        aside = self._path("trash", uuid.uuid4().hex)
        self.files.make_directory(self._path("trash"))
        if not self.files.rename(path, aside):
            return  # another one who waits was quicker
        if self.files.read(aside) != content and self.files.rename(aside, path):
            return
        self.files.delete(aside)

    def unlock(self, key: str) -> None:
        """Give the right back; if it can't be told, it ends by itself as it is touched no more."""
        with contextlib.suppress(OSError):
            self.held.drop(self._path("locks", key))

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
        if not self.files.rename(place, self._path("entries", entry.key)):
            if self.find(entry.key) is None:
                raise OSError(f"{place} could not be given its name")
            self.files.delete(place)

    def change(self, key: str, **changes: Any) -> Entry | None:
        """Change an entry's pin or time to live."""
        entry = self.find(key)
        if entry is None:
            return None
        changed = Entry(**{**asdict(entry), **changes})
        self.files.write(
            self._path("entries", key, "entry.json"), json.dumps(asdict(changed)).encode()
        )
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

    def sweep(self, patience: float = STALE_USE_SECONDS * 6) -> list[Entry]:
        """Remove what has outlived its time, and what was half removed or half brought.

        Args:
            patience: seconds for which what was half brought may still be gone on with.

        Returns:
            The entries that were removed.
        """
        self.files.delete(self._path("trash"))
        now = time.time()
        locked = self.files.times(self._path("locks"))
        for key, changed in self.files.times(self._path("partial")).items():
            beat = max(changed, locked.get(key, 0.0))
            if beat < now - max(patience, 2 * STALE_LOCK_SECONDS * (key in locked)):
                self.files.delete(self.partial(key))
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
