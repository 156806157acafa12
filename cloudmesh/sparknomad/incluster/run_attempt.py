"""How one start of a program ended, and whose fault that was."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import resource
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "Attempt",
    "End",
    "classify",
    "explain",
    "is_frame",
    "is_full",
    "lost_block",
    "memory_kills",
    "near_memory_limit",
]

_LOST_CLUSTER = re.compile(
    r"All masters are unresponsive|Master removed our application|"
    r"Application has been killed\. Reason: (Master|All masters)"
)
_HEAP_FULL = re.compile(r"java\.lang\.OutOfMemoryError: ([^\r\n]{0,120})")
_DISK_FULL = re.compile(
    r"No space left on device|Disk quota exceeded|Resources are low on NN|DiskOutOfSpace|"
    r"could only be written to 0 of the .*There are [1-9]\d* datanode"
)
_LOST_BLOCK = re.compile(r"BlockMissingException|Could not obtain block|Missing block")
_FRAME = re.compile(r"at [\w.$<>/]+\(.*\)$|\.\.\. \d+ (more|common frames omitted)$")
"""What a Java stack trace has below the line that says what happened."""

_FULL = 0.72
"""Java and Python share the limit: one of them at this part of it leaves the other no room."""

_CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)
"""Signals that a program brings upon itself."""


@dataclass(frozen=True)
class Attempt:
    """How one start of the program ended.

    Attributes:
        kind: ``succeeded``, ``program``, ``infrastructure``, ``timeout``, ``cancelled``.
        reason: for a person.
        exit_code: the program's, where it ended by itself.
    """

    kind: str
    reason: str = ""
    exit_code: int | None = None


@dataclass(frozen=True)
class End:
    """What was seen of a program's end.

    Attributes:
        code: the program's exit code, or minus the signal that killed it.
        java: the same of its Java machine, if that ended while the program still ran. What
            happens to Java after the program has ended changes nothing.
    """

    code: int
    java: int | None = None

    @property
    def succeeded(self) -> bool:
        """Whether nothing is to be said about it."""
        return self.code == 0 and not self.java


def classify(end: End, tail: Iterable[str], *, memory_full: bool = False) -> Attempt:
    """Tell the program's failures from the infrastructure's.

    Args:
        end: what was seen.
        tail: the last lines that the program and Java wrote to standard error.
        memory_full: whether the kernel killed something for memory meanwhile.
    """
    if end.succeeded:
        return Attempt("succeeded", exit_code=0)
    lines = [line.strip() for line in tail if line.strip()]
    text, java = "\n".join(lines), end.java or 0
    if memory_full and (end.code < 0 or java < 0):
        return Attempt("program", "out of memory: the driver's container was full", 137)
    if java < 0:
        return Attempt("infrastructure", f"the driver's Java machine was killed (signal {-java})")
    if _LOST_CLUSTER.search(text):
        return Attempt("infrastructure", "the Spark master was lost")
    if end.java is None and end.code < 0 and -end.code not in _CRASHES:
        return Attempt("infrastructure", f"the program was killed (signal {-end.code})")
    return _fault(end, lines, _HEAP_FULL.search(text))


def _fault(end: End, lines: list[str], heap: re.Match[str] | None) -> Attempt:
    """A fault of the program itself."""
    telling = [line for line in lines if not is_frame(line)] or lines
    last = f": {telling[-1][:500]}" if telling else ""
    full = next((line[:500] for line in reversed(lines) if _DISK_FULL.search(line)), "")
    if end.code > 0:
        code, reason = end.code, f"the program ended with exit code {end.code}{last}"
    elif end.java is not None:  # it ended first, and the program with it
        code = end.java or 1
        reason = f"the driver's Java machine ended with exit code {end.java}{last}"
    else:
        code, reason = 128 - end.code, f"the program crashed (signal {-end.code}){last}"
    if heap:
        reason = f"out of memory: {heap[1]}"
    elif full:
        reason = f"the disk is full: {full}"
    return Attempt("program", reason, code)


def is_frame(line: str) -> bool:
    """Whether a line of a Java stack trace only says where something happened."""
    return _FRAME.match(line) is not None


def is_full(error: BaseException) -> bool:
    """Whether an exception says that there is no room on a disk."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def explain(error: BaseException) -> str:
    """An exception in words for a person."""
    if isinstance(error, OSError):
        return f"the disk is full: {error}" if is_full(error) else str(error)
    return f"{type(error).__name__}: {error}"


def memory_kills() -> int:
    """How often the kernel killed something of this control group for memory."""
    for name in ("/sys/fs/cgroup/memory/memory.oom_control", "/sys/fs/cgroup/memory.events"):
        with contextlib.suppress(OSError, ValueError):
            for line in Path(name).read_text("utf-8").splitlines():
                word, _, count = line.partition(" ")
                if word == "oom_kill":
                    return int(count)
    return 0


def near_memory_limit() -> bool:
    """Whether a child of this process has once filled most of what Nomad lets this task have.

    Nomad's exec driver shows a task no control group of its own, so the kernel's count of
    kills can't be read there; the largest child's peak can.
    """
    limit = os.environ.get("NOMAD_MEMORY_LIMIT", "")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return limit.isdigit() and peak >= _FULL * int(limit)


def lost_block(tail: Iterable[str]) -> bool:
    """Whether a program's last words are of a block that HDFS has no more."""
    return any(_LOST_BLOCK.search(line) for line in tail)
