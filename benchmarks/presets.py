"""How much is measured: ``PRESET=smoke``, ``short`` (default), ``medium`` or ``full``.

``ROUNDS`` overrides the number of samples, ``HOSTS=4,16`` the clusters on hosts, ``RUNS=10,200``
what is sent at once, ``STEPS=50`` the chains of pipelines.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

__all__ = ["PRESET", "Preset"]

MEGABYTE = 1_000_000
QUERIES = ("1", "3", "6", "9", "18")


@dataclass(frozen=True)
class Preset:
    """The sizes of what is measured.

    Attributes:
        name: of the preset.
        rounds: samples of each side of a comparison.
        long_rounds: the same, where one takes minutes.
        busy_rows: rows that the CPU-bound job hashes.
        workers: for which staging is measured.
        staged_bytes: of what is staged, in 16 objects.
        throttled_bytes: of the object behind the slow link.
        local_bytes: of the object in HDFS and staged.
        scale: TPC-H's scale factor.
        queries: of TPC-H.
        steps: of chains of pipelines.
        hosts: of clusters on several hosts.
        runs: dispatched at once.
        objects: staged, of 1 kB each.
        sizes: bytes of one object that is staged.
    """

    name: str
    rounds: int
    long_rounds: int
    busy_rows: int
    workers: tuple[int, ...]
    staged_bytes: int
    throttled_bytes: int
    local_bytes: int
    scale: str
    queries: tuple[str, ...]
    steps: tuple[int, ...]
    hosts: tuple[int, ...]
    runs: tuple[int, ...]
    objects: tuple[int, ...]
    sizes: tuple[int, ...]


_PRESETS = (
    Preset(
        "smoke", 1, 1, 2_000_000, (2,), 16 * MEGABYTE, 5 * MEGABYTE, 5 * MEGABYTE, "0.01",
        ("6",), (2,), (1,), (2,), (10,), (MEGABYTE,),
    ),
    Preset(
        "short", 2, 1, 12_000_000, (2,), 256 * MEGABYTE, 60 * MEGABYTE, 100 * MEGABYTE, "0.1",
        ("6",), (1, 4), (), (4, 8), (10, 100), (10 * MEGABYTE, 100 * MEGABYTE),
    ),
    Preset(
        "medium", 3, 3, 40_000_000, (2,), 512 * MEGABYTE, 100 * MEGABYTE, 200 * MEGABYTE, "0.1",
        QUERIES, (1, 5, 10), (1, 2, 4), (5, 10, 20), (10, 100, 1000),
        (10 * MEGABYTE, 100 * MEGABYTE, 500 * MEGABYTE),
    ),
    Preset(
        "full", 5, 5, 250_000_000, (1, 2, 4), 2048 * MEGABYTE, 1500 * MEGABYTE, 1000 * MEGABYTE,
        os.environ.get("SCALE", "1"), QUERIES, (1, 5, 10, 25, 50), (1, 2, 4, 8, 16, 32),
        (10, 50, 200, 2000), (10, 100, 1000, 10_000),
        (10 * MEGABYTE, 100 * MEGABYTE, 1000 * MEGABYTE, 4000 * MEGABYTE),
    ),
)  # fmt: skip


def _chosen() -> Preset:
    name = os.environ.get("PRESET", "short")
    known = {each.name: each for each in _PRESETS}
    if name not in known:
        raise SystemExit(f"PRESET={name}: must be one of {', '.join(known)}.")
    chosen = known[name]
    if os.environ.get("ROUNDS"):
        rounds = int(os.environ["ROUNDS"])
        chosen = replace(chosen, rounds=rounds, long_rounds=rounds)
    for field in ("hosts", "runs", "steps"):
        if os.environ.get(field.upper()):
            counts = tuple(map(int, os.environ[field.upper()].split(",")))
            chosen = replace(chosen, **{field: counts})  # type: ignore[arg-type]
    return chosen


PRESET = _chosen()
