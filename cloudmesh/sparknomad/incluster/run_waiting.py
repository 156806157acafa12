"""Waiting that a signal ends."""

from __future__ import annotations

import concurrent.futures
import threading
import time
from collections.abc import Callable
from typing import TypeVar

__all__ = [
    "CancelledError",
    "DeadlineError",
    "NoResourcesError",
    "Stop",
    "in_thread",
]

_Result = TypeVar("_Result")


class CancelledError(Exception):
    """The run was cancelled: the supervisor was told to stop."""


class DeadlineError(Exception):
    """The run's timeout has passed."""


class NoResourcesError(Exception):
    """The cluster had no room for the run for as long as it may wait.

    Args:
        seconds: how long it may wait.
        reason: what it waited for.
    """

    def __init__(self, seconds: float, reason: str) -> None:
        super().__init__(f"no resources after {seconds:g} s: {reason}")


class Stop:
    """Whether the supervisor shall stop: set by a handler of signals, so it takes no lock.

    (`threading.Event` takes one, and would wait for ever when the signal interrupts its own
    ``wait``.)
    """

    def __init__(self) -> None:
        self._told = False

    def set(self) -> None:
        """Stop."""
        self._told = True

    def wait(self, seconds: float) -> bool:
        """Wait so long, or until told to stop; whether it was."""
        give_up = time.monotonic() + seconds
        while not self._told and (left := give_up - time.monotonic()) > 0:
            time.sleep(min(left, 0.05))
        return self._told


def in_thread(work: Callable[[], _Result]) -> concurrent.futures.Future[_Result]:
    """Start what nobody has to wait for: its thread ends with this process."""
    future: concurrent.futures.Future[_Result] = concurrent.futures.Future()

    def body() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=body, daemon=True).start()
    return future
