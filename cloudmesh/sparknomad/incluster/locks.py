"""The right to bring something into a cluster, which one of several has at a time.

A lock is a file that one of two can create. Who has it touches it, so that the lock of the dead
is told by its age. To remove such a lock one must first create ``broken/LOCK.N``, whose name is
made from what the lock says: only one can, and nobody can remove by mistake the lock that another
has taken since.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Protocol

__all__ = ["STALE_LOCK_SECONDS", "Files", "Held", "Locks"]

BEAT_SECONDS = 5.0
"""Between two touches of what is held."""

STALE_LOCK_SECONDS = 30.0
"""A lock that was not touched for so long belongs to nobody."""

_MARKS_KEPT_SECONDS = 86_400.0
"""Far longer than anybody waits between a look at a lock and its removal."""


class Files(Protocol):
    """What is needed of a storage: `webhdfs.WebHdfs` has it, and `localfiles.LocalFiles`."""

    def size(self, path: str) -> int | None: ...  # noqa: D102 - see `webhdfs.WebHdfs`
    def times(self, path: str) -> dict[str, float]: ...  # noqa: D102
    def read(self, path: str) -> bytes | None: ...  # noqa: D102
    def write(self, path: str, content: bytes) -> None: ...  # noqa: D102
    def create(self, path: str, content: bytes) -> bool: ...  # noqa: D102
    def rename(self, source: str, target: str) -> bool: ...  # noqa: D102
    def replace(self, source: str, target: str) -> None: ...  # noqa: D102
    def touch(self, path: str) -> None: ...  # noqa: D102
    def make_directory(self, path: str) -> None: ...  # noqa: D102
    def delete(self, path: str) -> None: ...  # noqa: D102
    def concat(self, target: str, sources: Sequence[str]) -> None: ...  # noqa: D102
    def replicate(self, path: str, count: int) -> None: ...  # noqa: D102
    def used(self, path: str) -> int: ...  # noqa: D102
    def room(self) -> tuple[int, int]: ...  # noqa: D102
    def hosts(self, path: str) -> list[list[str]]: ...  # noqa: D102


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
        self.forget(path)
        self._files.delete(path)

    def forget(self, path: str) -> None:
        """Touch this file no more, and leave it."""
        with self._guard:
            self._paths.pop(path, None)

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


class Locks:
    """The locks of one catalog.

    Args:
        files: the cluster's storage.
        root: the catalog's directory.
        held: touches what is taken.
    """

    def __init__(self, files: Files, root: str, held: Held) -> None:
        self._files = files
        self._directory = f"{root}/locks"
        self._broken = f"{root}/broken"
        self._held = held
        self._taken: dict[str, bytes] = {}

    def touched(self) -> dict[str, float]:
        """The locks that there are, and when each was touched last, in seconds since the epoch."""
        return self._files.times(self._directory)

    def take(self, key: str, run: str) -> bool:
        """Take the right to bring an entry; ``False`` while another has it."""
        path, content = self._path(key), f"{run} {uuid.uuid4().hex}".encode()
        if not self._files.create(path, content):
            return False
        self._taken[key] = content
        self._held.hold(path)
        return True

    def wait_for(self, key: str, pause: Callable[[float], None]) -> None:
        """Wait until nobody brings an entry; removes the lock of who has died."""
        path = self._path(key)
        seen: tuple[float, bytes | None] | None = None
        since = time.monotonic()
        while (touched := self.touched().get(key)) is not None:
            if seen is None or touched != seen[0]:
                seen, since = (touched, self._files.read(path)), time.monotonic()
            patience = int((time.monotonic() - since) / STALE_LOCK_SECONDS)
            if patience and self._remove(path, seen[1] or b"", patience):
                return
            pause(0.5)

    def give_back(self, key: str) -> None:
        """Give the right back; if it can't be told, it ends by itself as it is touched no more."""
        path, content = self._path(key), self._taken.pop(key, None)
        with contextlib.suppress(OSError):
            # Who stood still for too long may find that another has it now.
            if content is None or self._files.read(path) == content:
                self._held.drop(path)
            else:
                self._held.forget(path)

    def sweep(self) -> None:
        """Remove the marks of locks that were removed long ago."""
        for name, made in self._files.times(self._broken).items():
            if made < time.time() - _MARKS_KEPT_SECONDS:
                self._files.delete(f"{self._broken}/{name}")

    def _path(self, key: str) -> str:
        return f"{self._directory}/{key}"

    def _remove(self, path: str, content: bytes, patience: int) -> bool:
        """Remove the lock of the dead, if nobody else does.

        Args:
            path: the lock.
            content: what it has said all the time.
            patience: how many times the time was waited after which it belongs to nobody; who
                was to remove it may have died as well, so there is one mark for each.
        """
        name = f"{hashlib.sha256(content).hexdigest()[:32]}.{patience}"
        if not self._files.create(f"{self._broken}/{name}", b""):
            return False
        if (self._files.read(path) or b"") == content:
            self._files.delete(path)
        return True
