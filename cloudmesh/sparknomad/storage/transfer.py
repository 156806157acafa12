"""Moving objects between storages from this machine: in parallel, verified, again where it ended.

An object is seen at its target only when it is whole. What is there already and proven equal is
not sent again, so that a transfer that was interrupted goes on.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from cloudmesh.sparknomad.errors import (
    CredentialError,
    InputError,
    NotFoundError,
    StorageError,
)
from cloudmesh.sparknomad.storage.storage import Entry, Storage
from cloudmesh.sparknomad.storage.url import StorageURL
from cloudmesh.sparknomad.units import format_bytes

__all__ = ["Transfer", "Transferred", "plan_transfer", "transfer"]

_SMALL = 8 * 1024 * 1024
_BLOCK = 8 * 1024 * 1024
_SAMPLE = 64 * 1024
_PARALLEL = 8
_ATTEMPTS = 3
_SAY_SECONDS = 2.0


@dataclass(frozen=True)
class Transfer:
    """One object and where it goes."""

    source: Entry
    target: StorageURL


@dataclass(frozen=True)
class Transferred:
    """What a transfer did.

    Attributes:
        objects: that were sent.
        skipped: that were there already, equal.
        size: bytes that were sent.
        seconds: that it took.
        verified: how many objects were proven by a checksum; the others by size and samples.
    """

    objects: int
    skipped: int
    size: int
    seconds: float
    verified: int


def plan_transfer(
    source: Storage, source_url: StorageURL, target_url: StorageURL
) -> list[Transfer]:
    """Find what has to be sent where.

    An object goes to the target itself, or into it where it is written as a directory. Of a
    directory or a pattern, what is in it goes below the target.

    Raises:
        NotFoundError: if there is nothing to send.
    """
    entries = [e for e in source.list(source_url, recursive=True) if not e.is_directory]
    single = len(entries) == 1 and entries[0].url.path == source_url.path
    if single:
        target = target_url.join(source_url.name) if target_url.is_directory else target_url
        return [Transfer(entries[0], target)]
    pattern = source_url.has_glob and source.find(source_url) is None
    base = source_url.glob_root if pattern else source_url.as_directory()
    return [Transfer(entry, target_url.join(entry.url.path[len(base.path) :])) for entry in entries]


class _Meter:
    """Tells how far a transfer is, now and then."""

    def __init__(self, count: int, size: int, say: Callable[[str], None]) -> None:
        self.count, self.size, self.say = count, size, say
        self.objects = self.bytes = 0
        self.begun = self.told = time.monotonic()
        self.lock = threading.Lock()

    def add(self, size: int, objects: int = 0) -> None:
        with self.lock:
            self.bytes += size
            self.objects += objects
            now = time.monotonic()
            if now - self.told < _SAY_SECONDS:
                return
            self.told = now
            self.say(self._line(now - self.begun))

    def _line(self, seconds: float) -> str:
        rate = self.bytes / seconds
        left = max(0, self.size - self.bytes) / rate if rate else 0.0
        return (
            f"{self.objects} of {self.count} objects, {format_bytes(self.bytes)} of "
            f"{format_bytes(self.size)}, {rate / 1e6:.1f} MB/s, {left:.0f} s left"
        )


class _Sender:
    def __init__(self, source: Storage, target: Storage, meter: _Meter) -> None:
        self.source, self.target, self.meter = source, target, meter
        self.stopping = threading.Event()
        self._vague: set[Storage] = set()

    def send(self, each: Transfer) -> tuple[bool, bool]:
        """Send one object; whether it was sent, and whether a checksum has proven it."""
        there = self.target.find(each.target)
        if there is not None and there.is_directory:
            raise InputError(f"{each.target}: is a directory; an object can't take its name.")
        if there is not None and self._equal(each.source, there):
            self.meter.add(each.source.size, 1)
            return False, True
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                digest = self._copy(each)
                proven = self._prove(each, digest)
                self.meter.add(0, 1)
                return True, proven
            except (CredentialError, NotFoundError):
                raise
            except StorageError:
                if attempt == _ATTEMPTS or self.stopping.wait(2.0**attempt):
                    raise
        raise AssertionError("unreachable")

    def _equal(self, source: Entry, there: Entry) -> bool:
        """Only a checksum proves that nothing has to be sent."""
        if source.size != there.size:
            return False
        known = self.target.checksum(there)
        return bool(known) and self.source.checksum(source) == known

    def _copy(self, each: Transfer) -> str:
        digest = hashlib.md5(usedforsecurity=False)
        if each.source.size <= _SMALL:
            data = self.source.read(each.source.url)
            digest.update(data)
            self.target.write(each.target, data)
            self.meter.add(len(data))
            return digest.hexdigest()
        with self.target.create(each.target) as write:
            for block in self._blocks(self.source, each.source):
                digest.update(block)
                write(block)
                self.meter.add(len(block))
        return digest.hexdigest()

    def _blocks(self, storage: Storage, entry: Entry) -> Iterator[bytes]:
        for start in range(0, entry.size, _BLOCK):
            if self.stopping.is_set():
                raise StorageError(f"{entry.url}: stopped")
            yield storage.read(entry.url, start, min(start + _BLOCK, entry.size))

    def _prove(self, each: Transfer, digest: str) -> bool:
        """Compare what has arrived with what was sent."""
        there = self.target.info(each.target)
        now = self.source.info(each.source.url)
        if (now.version, now.size) != (each.source.version, each.source.size):
            raise StorageError(f"{each.source.url}: changed while it was read.")
        if there.size != each.source.size:
            raise StorageError(
                f"{each.target}: arrived with {there.size:,} of {each.source.size:,} bytes."
            )
        self._is_told(self.source, each.source, each.source.md5, digest)
        proven = self._is_told(self.target, there, self.target.checksum(there), digest)
        if not proven:
            self._compare_samples(each)
        return proven

    def _is_told(self, storage: Storage, entry: Entry, md5: str, digest: str) -> bool:
        """Whether a storage's checksum of an object proves that it is what was sent.

        Raises:
            StorageError: if it proves that it is not.
        """
        if md5 == digest:
            return True
        if not md5 or storage in self._vague:
            return False
        differs = f"{entry.url}: its checksum {md5} differs from {digest}."
        if not storage.guesses_checksums:
            raise StorageError(differs)
        # Where a store encrypts, what looks like one is none: the same bytes twice prove that.
        again = hashlib.md5(usedforsecurity=False)
        for block in self._blocks(storage, entry):
            again.update(block)
        if again.hexdigest() != digest:
            raise StorageError(differs)
        self._vague.add(storage)
        return False

    def _compare_samples(self, each: Transfer) -> None:
        size = each.source.size
        for start in sorted({0, max(0, size // 2 - _SAMPLE), max(0, size - _SAMPLE)}):
            end = min(start + _SAMPLE, size)
            if start == end:
                continue
            sent = self.source.read(each.source.url, start, end)
            if self.target.read(each.target, start, end) != sent:
                raise StorageError(f"{each.target}: bytes {start:,} to {end:,} arrived damaged.")


def transfer(
    source: Storage,
    target: Storage,
    planned: Sequence[Transfer],
    say: Callable[[str], None],
) -> Transferred:
    """Send objects, several at a time.

    Args:
        source: where they are.
        target: where they go.
        planned: see `plan_transfer`.
        say: told how far it is.

    Raises:
        StorageError: of the first object that could not be sent; what was sent stays.
    """
    meter = _Meter(len(planned), sum(each.source.size for each in planned), say)
    sender = _Sender(source, target, meter)
    done: list[tuple[Transfer, tuple[bool, bool]]] = []
    with _pool(sender) as pool:
        futures = {pool.submit(sender.send, each): each for each in planned}
        for future, each in _as_completed(futures):
            done.append((each, future.result()))
    sent = [each for each, (was_sent, _) in done if was_sent]
    return Transferred(
        len(sent),
        len(done) - len(sent),
        sum(each.source.size for each in sent),
        time.monotonic() - meter.begun,
        sum(proven for _, (_, proven) in done),
    )


@contextlib.contextmanager
def _pool(sender: _Sender) -> Iterator[ThreadPoolExecutor]:
    """Threads that stop soon when the block ends by an exception, such as Ctrl-C."""
    pool = ThreadPoolExecutor(_PARALLEL)
    try:
        yield pool
    except BaseException:
        sender.stopping.set()
        pool.shutdown(cancel_futures=True)
        raise
    pool.shutdown()


def _as_completed(futures: dict[Future[Any], Transfer]) -> Iterator[tuple[Future[Any], Transfer]]:
    waiting = set(futures)
    while waiting:
        # Short waits: only between them does Python see Ctrl-C.
        ended, waiting = wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED)
        yield from ((future, futures[future]) for future in ended)
