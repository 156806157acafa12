"""Shares what was just looked at among those who ask for the same at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar

__all__ = ["Looks"]

Answer = TypeVar("Answer")

_SECONDS = 0.25
_MANY = 256


@dataclass
class _Look:
    lock: threading.Lock = field(default_factory=threading.Lock)
    at: float = float("-inf")
    answer: Any = None


class Looks:
    """Looks once for all who ask within a moment; what fails is not kept.

    Args:
        seconds: for which an answer is good.
        clock: seconds that only grow.
    """

    def __init__(
        self, seconds: float = _SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._seconds = seconds
        self._clock = clock
        self._guard = threading.Lock()
        self._looks: dict[Hashable, _Look] = {}

    def get(self, what: Hashable, look: Callable[[], Answer]) -> Answer:
        """What `look` returns, or has just returned to another who asked for the same.

        Args:
            what: equal for those who would see the same.
            look: looks; called by one thread at a time.
        """
        with self._guard:
            if len(self._looks) > _MANY:
                self._forget_old()
            shared = self._looks.setdefault(what, _Look())
        with shared.lock:
            if self._clock() - shared.at > self._seconds:
                shared.answer = look()
                shared.at = self._clock()  # after the answer: others may peek
            answer: Answer = shared.answer
            return answer

    def peek(self, what: Hashable) -> tuple[Any] | None:
        """What was just returned to another, as the only one of a tuple; never waits."""
        shared = self._looks.get(what)
        if shared is None or self._clock() - shared.at > self._seconds:
            return None
        return (shared.answer,)

    def clear(self) -> None:
        """Forget all: something has been changed."""
        with self._guard:
            self._looks.clear()

    def _forget_old(self) -> None:
        now = self._clock()
        old = [key for key, each in self._looks.items() if now - each.at > self._seconds]
        for key in old:
            del self._looks[key]
