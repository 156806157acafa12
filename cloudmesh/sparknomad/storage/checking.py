"""Whether a storage can be used: every step that a job would take, tried from this machine."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from cloudmesh.sparknomad.errors import NotFoundError, SparknomadError, StorageError
from cloudmesh.sparknomad.storage.reaching import way_to
from cloudmesh.sparknomad.storage.storage import Storage
from cloudmesh.sparknomad.storage.url import StorageURL

__all__ = ["CheckStep", "check_storage"]

_PROBE = 4 * 1024 * 1024


@dataclass(frozen=True)
class CheckStep:
    """One thing that was tried.

    Attributes:
        subject: the profile or URL.
        step: such as ``list``, ``write``, ``read``, ``remove``.
        ok: whether it went well.
        seconds: that it took.
        rate: bytes a second, of steps that move some; else 0.
        detail: what went wrong.
        hint: what to do about it.
        node: the worker that tried it; empty for this machine.
    """

    subject: str
    step: str
    ok: bool
    seconds: float = 0.0
    rate: float = 0.0
    detail: str = ""
    hint: str = ""
    node: str = ""


def check_storage(subject: str, open_it: Callable[[], Storage], url: StorageURL) -> list[CheckStep]:
    """Try a storage; what is written for it is removed again.

    Args:
        subject: what the steps are told of.
        open_it: opens the storage.
        url: the directory to try it in.

    Returns:
        The steps up to the first that failed; removing is always tried.
    """
    steps: list[CheckStep] = []

    def attempt(step: str, work: Callable[[], object], size: int = 0) -> bool:
        begun = time.perf_counter()
        try:
            work()
        except SparknomadError as error:
            took = time.perf_counter() - begun
            steps.append(CheckStep(subject, step, False, took, 0.0, error.message, error.hint))
            return False
        took = time.perf_counter() - begun
        steps.append(CheckStep(subject, step, True, took, size / took if size else 0.0))
        return True

    storage: list[Storage] = []
    if not attempt("credentials", lambda: storage.append(open_it())):
        return steps
    opened = storage[0]
    # The libraries try a server that does not answer again, for up to half a minute.
    if not all(attempt(step, work) for step, work in way_to(opened)):
        return steps
    directory = url.as_directory()
    if not attempt("list", lambda: _list(opened, directory)) or not opened.writable:
        return steps
    probe = directory.join(f"sparknomad-check-{uuid.uuid4().hex[:12]}")
    data = os.urandom(_PROBE)
    written = attempt("write", lambda: opened.write(probe, data), len(data))
    if written:
        attempt("read", lambda: _read(opened, probe, data), len(data))
    if written or opened.find(probe) is not None:
        attempt("remove", lambda: _remove(opened, probe))
    return steps


def _list(storage: Storage, directory: StorageURL) -> None:
    try:
        next(iter(storage.list(directory)), None)
    except NotFoundError:
        # An object store has no empty directories; a bucket that is missing is told as such.
        return


def _read(storage: Storage, probe: StorageURL, data: bytes) -> None:
    if storage.read(probe) != data:
        raise StorageError(f"{probe}: was read back with other bytes than were written.")


def _remove(storage: Storage, probe: StorageURL) -> None:
    storage.remove(probe)
    if storage.find(probe) is not None:
        raise StorageError(f"{probe}: is still there after it was removed.")
