"""Bounded waiting: every wait says what it waited for when it gives up."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from cloudmesh.sparknomad.errors import WaitTimeoutError
from cloudmesh.sparknomad.units import format_duration

__all__ = ["Deadline", "wait_until"]

Answer = TypeVar("Answer")


class Deadline:
    """A point in time that several waits share.

    Args:
        seconds: from now.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds that are left, never below zero."""
        return max(0.0, self._end - time.monotonic())


def wait_until(
    probe: Callable[[], Answer | None],
    what: str,
    deadline: Deadline,
    *,
    interval: float = 0.1,
    hint: str = "",
) -> Answer:
    """Call `probe` until it answers something true.

    Args:
        probe: returns the answer, or something false to be asked again.
        what: what is waited for, completing "waited … for".
        deadline: when to give up; `probe` is called at least once.
        interval: seconds between two calls.
        hint: what the user can do when it does not happen.

    Raises:
        WaitTimeoutError: when the deadline has passed.
    """
    while True:
        answer = probe()
        if answer:
            return answer
        if not deadline.left:
            raise WaitTimeoutError(
                f"Waited {format_duration(deadline.seconds)} for {what}; it did not happen.",
                hint=hint or "Give more time with --timeout, and look at the logs.",
            )
        time.sleep(min(interval, deadline.left or interval))
