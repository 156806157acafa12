"""How far a transfer is, and what each node has moved."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["nodes", "teller"]

_MEGABYTE = 1e6


def teller(say: Callable[[str], None], shown: str, total: int) -> Callable[[int], None]:
    """Tells how far a transfer is, every ten seconds."""
    begun = last = time.monotonic()

    def tell(done: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < 10 or done <= 0:
            return
        last = now
        rate = done / (now - begun)
        left = max(0.0, (total - done) / rate)
        say(
            f"{shown}: {done / _MEGABYTE:,.0f} of {total / _MEGABYTE:,.0f} MB, "
            f"{rate / _MEGABYTE:,.1f} MB/s, {left:,.0f} s to go"
        )

    return tell


def nodes(moved: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """What each node moved: bytes, the seconds from its first to its last, and MB/s."""
    spans: dict[str, list[float]] = {}
    for each in moved:
        if each["bytes"]:
            span = spans.setdefault(each["host"], [0.0, each["began"], each["ended"]])
            span[0] += each["bytes"]
            span[1] = min(span[1], each["began"])
            span[2] = max(span[2], each["ended"])
    told = {}
    for host, (size, began, ended) in sorted(spans.items()):
        seconds = max(ended - began, 1e-3)
        rate = round(size / seconds / _MEGABYTE, 3)
        told[host] = {"bytes": int(size), "seconds": round(seconds, 3), "mb_per_s": rate}
    return told
