"""The transfer agent, as Python sees it: a Java process that is asked by lines of JSON.

It lists what lies in a storage and moves bytes between two of them, with Hadoop's own
connectors and the run's credentials; see ``java/sparknomad/``. Everything is decided here.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

__all__ = [
    "Agent",
    "Listing",
    "Object",
    "Process",
    "Shard",
    "TransferError",
    "batches",
    "check_moved",
    "normal",
    "pays",
    "shards_of",
]

MEGABYTE = 1024 * 1024
_SMALLEST_RANGE, _LARGEST_RANGE = 16 * MEGABYTE, 128 * MEGABYTE
_SHARDS_FOR_A_CORE = 6
_TASK_BYTES, _TASK_SHARDS = 512 * MEGABYTE, 256
_THREADS = 8
"""Shards that one core moves at a time: a storage far away answers late."""

_HERE_BYTES, _HERE_OBJECTS = 32 * MEGABYTE, 50
"""What is moved by this process alone: executors would take longer to start."""

_HERE_THREADS_A_CORE = 4


class TransferError(Exception):
    """What the agent could not do.

    Args:
        failure: ``changed``, ``missing``, ``denied``, ``full``, ``name`` or ``unreachable``.
        reason: for a person.
    """

    def __init__(self, failure: str, reason: str) -> None:
        super().__init__(reason)
        self.failure = failure
        self.reason = reason

    @property
    def is_transient(self) -> bool:
        """Whether the same could work a moment later."""
        return self.failure in ("unreachable", "changed")


@dataclass(frozen=True)
class Object:
    """One object of a listing.

    Attributes:
        source: where it is.
        name: below the listing's root.
        size: in bytes.
        version: what changes with its content.
        modified: when it was written, in milliseconds since the epoch.
    """

    source: str
    name: str
    size: int
    version: str
    modified: int = 0


@dataclass(frozen=True)
class Listing:
    """What a place or pattern stands for.

    Attributes:
        found: whether there is anything.
        is_file: whether the place is one object.
        root: what the names are relative to.
        objects: all of them.
        seconds: that the storage took to say what the place is.
        requests: how many were made at least.
    """

    found: bool
    is_file: bool
    root: str
    objects: tuple[Object, ...]
    seconds: float = 0.0
    requests: int = 0

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(each.size for each in self.objects)


@dataclass(frozen=True)
class Shard:
    """A range of an object's bytes, and the file that it becomes."""

    source: str
    target: str
    start: int
    length: int
    size: int
    version: str = ""
    resume: bool = False
    verify: bool = False
    hosts: tuple[str, ...] = field(default_factory=tuple)
    upload: str = ""
    part: int = 0


class Process(Protocol):
    """A started agent: what `Agent` needs of it."""

    def poll(self) -> int | None:
        """The exit code; ``None`` while it runs."""

    def write(self, line: bytes) -> None:
        """Write to its standard input."""


class Agent:
    """A running transfer agent.

    Args:
        process: the Java process.
        answers: the file that it writes to.
        explain: why it ended, for a person.
        alone: whether all workers are on the agent's own host: executors would only take
            their start from the same cores.
    """

    def __init__(
        self,
        process: Process,
        answers: Path,
        explain: Callable[[], str],
        *,
        alone: bool = False,
    ) -> None:
        self._process = process
        self._answers = answers
        self._explain = explain
        self._alone = alone
        self._offset = 0

    def spreads(self, shards: Sequence[Shard]) -> bool:
        """Whether moving these takes executors of the cluster."""
        return not self._alone and pays(shards)

    @property
    def is_running(self) -> bool:
        """Whether it can be asked anything."""
        return self._process.poll() is None

    def look(self, source: str, *, limit: int | None = None) -> Listing:
        """The objects that a place or pattern stands for.

        Raises:
            TransferError: if the storage does not tell.
        """
        request: dict[str, Any] = {"do": "list", "source": source}
        told = self._ask({**request, **({"limit": limit} if limit else {})})
        objects = tuple(
            Object(
                each["source"],
                each["name"],
                each["size"],
                each["version"] or "",
                each.get("modified", 0),
            )
            for each in told["objects"]
        )
        root = told["root"] or source
        return Listing(
            told["found"], told["isFile"], root, objects, told["seconds"], told["requests"]
        )

    def move(
        self,
        shards: Sequence[Shard],
        name: str,
        *,
        cores: int,
        place: bool = False,
        tell: Callable[[int], None] = lambda done: None,
    ) -> list[dict[str, Any]]:
        """Move shards, on the cluster's executors where that pays.

        Args:
            shards: what to move.
            name: of the Spark application, if there is one.
            cores: that the cluster has.
            place: whether each shard is moved where its bytes are.
            tell: is told now and then how many bytes have been moved.

        Returns:
            What became of each shard.

        Raises:
            TransferError: if the agent ended, or Spark gave up.
        """
        spread = self.spreads(shards)
        tasks = [[asdict(shard) for shard in batch] for batch in batches(shards, cores, place)]
        request = {
            "do": "move",
            "name": name,
            "tasks": tasks,
            "place": place and spread,
            "spread": spread,
            "threads": _THREADS if spread else max(_THREADS, _HERE_THREADS_A_CORE * cores),
        }
        moved: list[dict[str, Any]] = self._ask(request, tell)
        return moved

    def check(
        self, subjects: Sequence[Mapping[str, Any]], workers: int, python: str
    ) -> list[dict[str, Any]]:
        """Try storages from an executor of every worker.

        Args:
            subjects: ``name``, ``url``, ``endpoint`` and ``writable`` of each.
            workers: that the cluster has.
            python: the interpreter of Python workers.

        Raises:
            TransferError: if executors could not be had.
        """
        request = {"do": "check", "subjects": list(subjects), "workers": workers}
        steps: list[dict[str, Any]] = self._ask({**request, "python": python, "name": "check"})
        return steps

    def uploads(self, verb: str, uploads: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Begin, complete or abort objects of many parts; see ``java/sparknomad/Uploads.java``.

        Raises:
            TransferError: if that could not be done.
        """
        told: list[Any] = self._ask({"do": verb, "uploads": list(uploads)})
        return told

    def remove(self, places: Sequence[str]) -> None:
        """Remove objects or directories."""
        self._ask({"do": "remove", "paths": list(places)})

    def _ask(self, request: dict[str, Any], tell: Callable[[int], None] = lambda done: None) -> Any:
        try:
            self._process.write(json.dumps(request).encode() + b"\n")
        except OSError:
            raise TransferError("unreachable", self._explain()) from None
        for answer in self._replies():
            if "progress" in answer:
                tell(answer["progress"])
            elif "failed" in answer:
                raise TransferError(answer["failed"]["failure"], answer["failed"]["reason"])
            else:
                return answer["done"]
        raise TransferError("unreachable", self._explain())

    def _replies(self) -> Iterator[dict[str, Any]]:
        """Every answer as it comes; ends with the process."""
        while True:
            ended = self._process.poll() is not None
            for line in self._new_lines():
                yield json.loads(line)
            if ended:
                return
            time.sleep(0.02)

    def _new_lines(self) -> list[bytes]:
        try:
            with self._answers.open("rb") as stream:
                stream.seek(self._offset)
                data = stream.read()
        except FileNotFoundError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        return whole.splitlines()


def normal(url: str) -> str:
    """A URL as Hadoop writes it back: ``file:/x``, where we may write ``file:///x``."""
    return re.sub(r"^([A-Za-z][A-Za-z0-9+.-]*):///+", r"\1:/", url)


def shards_of(source: Object, target: str, ranges: str, cores: int, total: int) -> list[Shard]:
    """Cut an object into the ranges that are moved apart.

    Args:
        source: the object.
        target: the file that it becomes.
        ranges: the directory in which each range is a file, if there is more than one. HDFS puts
            together only what lies in one directory, and takes a comma for the end of a name.
        cores: that the cluster has.
        total: the bytes of all objects.
    """
    wanted = total // max(1, cores * _SHARDS_FOR_A_CORE)
    length = max(_SMALLEST_RANGE, min(_LARGEST_RANGE, wanted))
    if source.size < 2 * length:
        return [_shard(source, target, 0, source.size)]
    name = hashlib.sha256(target.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    starts = range(0, source.size, length)
    return [
        _shard(source, f"{ranges}/{name}.{start:015d}", start, min(length, source.size - start))
        for start in starts
    ]


def _shard(source: Object, target: str, start: int, length: int) -> Shard:
    return Shard(source.source, target, start, length, source.size, source.version, resume=True)


def pays(shards: Sequence[Shard]) -> bool:
    """Whether moving these is worth starting executors."""
    return sum(shard.length for shard in shards) > _HERE_BYTES or len(shards) > _HERE_OBJECTS


def batches(shards: Sequence[Shard], cores: int, alone: bool) -> Iterable[list[Shard]]:
    """Put shards together for Spark's tasks: enough for every core, and none too long.

    Args:
        shards: in any order.
        cores: that the cluster has.
        alone: whether each is one task, which Spark places where its bytes are.
    """
    total = sum(shard.length for shard in shards)
    if alone and len(shards) <= _HERE_OBJECTS * max(1, cores):
        return [[shard] for shard in shards]
    most_bytes = min(_TASK_BYTES, max(1, total // max(1, 3 * cores)))
    most = min(_TASK_SHARDS, max(1, len(shards) // max(1, 3 * cores)))
    made: list[list[Shard]] = []
    size = 0
    for shard in shards:
        if not made or size + shard.length > most_bytes or len(made[-1]) >= max(most, _THREADS):
            made.append([])
            size = 0
        made[-1].append(shard)
        size += shard.length
    return made


def check_moved(moved: Sequence[dict[str, Any]]) -> None:
    """Raise the worst of what went wrong.

    Raises:
        TransferError: if any shard was not moved.
    """
    failed = [each for each in moved if each["failure"]]
    if not failed:
        return
    order = ("full", "denied", "missing", "changed", "name", "unreachable")
    worst = min(failed, key=lambda each: order.index(each["failure"]))
    more = f" (and {len(failed) - 1} more of {len(moved)})" if len(failed) > 1 else ""
    full = "the disk is full: " if worst["failure"] == "full" else ""
    raise TransferError(worst["failure"], f"{full}{worst['source']}: {worst['reason']}{more}")
