"""Doing one thing for many machines at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["at_once"]

Item = TypeVar("Item")
_WORKERS = 8


def at_once(
    items: Sequence[Item], do: Callable[[Item], object]
) -> list[tuple[Item, Exception | None]]:
    """Do something for all items, eight at a time.

    An interruption lets those that were begun end, so that what they did is known, and begins no
    other.

    Returns:
        Each item with what went wrong, in their order.
    """
    pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="compute")
    try:
        futures = [pool.submit(do, item) for item in items]
        found: list[tuple[Item, Exception | None]] = []
        for item, future in zip(items, futures, strict=True):
            error = future.exception()
            if error is not None and not isinstance(error, Exception):
                raise error
            found.append((item, error))
        return found
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
