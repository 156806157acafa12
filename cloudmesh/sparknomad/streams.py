"""What the system refuses: standard streams that are closed or gone, disks that are full."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import select
import shutil
import sys
from pathlib import Path
from typing import TextIO

from cloudmesh.sparknomad.errors import SparknomadError
from cloudmesh.sparknomad.paths import Paths

__all__ = ["drop_gone", "explain_system_error", "fill_closed", "flush"]

_NEARLY_FULL = 1024**2
_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST)


def fill_closed() -> None:
    """Put the null device where a standard stream is closed.

    Else the next file that is opened would be the standard output of this process.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            _to_nothing(number)
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


def _to_nothing(number: int) -> None:
    opened = os.open(os.devnull, os.O_RDWR)
    os.dup2(opened, number)
    if opened != number:
        os.close(opened)
    os.set_inheritable(number, True)


def _number(stream: TextIO) -> int | None:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return stream.fileno()
    return None


def flush(stream: TextIO) -> None:
    """Write what is buffered; what can't be written is dropped, or Python complains at exit."""
    try:
        stream.flush()
    except OSError:
        number = _number(stream)
        if number is not None:
            _to_nothing(number)


def drop_gone() -> bool:
    """Whether the reader of a standard stream has gone; what it would have read is dropped."""
    found = False
    for stream in (sys.stdout, sys.stderr):
        number = _number(stream)
        if number is not None and _is_gone(number):
            _to_nothing(number)
            found = True
    return found


def _is_gone(number: int) -> bool:
    poll = select.poll()
    poll.register(number, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def explain_system_error(error: OSError) -> SparknomadError | None:
    """What to tell of a full or read-only disk, or a path that is another user's.

    Returns:
        The error to show, or ``None`` for any other error.
    """
    number, path = _errno(error), error.filename2 or error.filename
    if number in _FULL:
        where = _text(path) if path else " or ".join(_full_directories())
        why = "no space left" if number == errno.ENOSPC else "the quota is used up"
        return SparknomadError(
            f"{why[0].upper()}{why[1:]} on {where}.",
            hint="Make room; the same command again goes on.",
        )
    if number in _REFUSED and path:
        return SparknomadError(
            f"{_text(path)}: {os.strerror(number).lower()}.",
            hint="Let this user write there, or use other directories: CLOUDMESH_CONFIG_DIR and "
            "SPARKNOMAD_CACHE name them.",
        )
    return None


def _text(path: object) -> str:
    text = os.fsdecode(path) if isinstance(path, str | bytes) else str(path)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _errno(error: OSError) -> int:
    """The number of an error; `shutil.Error` has it only in its text."""
    told = re.search(r"\[Errno (\d+)\]", str(error))
    return error.errno or (int(told[1]) if told else 0)


def _full_directories() -> list[str]:
    """Which of the directories that are written to are full; all if none seems to be."""
    found = [os.environ.get("TMPDIR") or "/tmp", str(Path.cwd())]  # noqa: S108  # nosec B108
    with contextlib.suppress(OSError):
        paths = Paths.from_environment()
        found = [str(paths.cache), str(paths.home), *found]
    full = []
    for name in found:
        with contextlib.suppress(OSError):
            if shutil.disk_usage(name).free < _NEARLY_FULL:
                full.append(name)
    return full or found
