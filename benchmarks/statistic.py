"""Medians, ratios with their intervals, and how time grows with work."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Sequence

__all__ = ["exponent", "ratio_interval"]

_RESAMPLES = 4000
_SEED = 185
_PART = 0.025


def ratio_interval(ours: Sequence[float], other: Sequence[float]) -> tuple[float, float]:
    """The 95% percentile bootstrap interval of the ratio of two medians.

    Args:
        ours: seconds.
        other: seconds.

    Returns:
        Its lower and upper end. Few samples make it wide, or, with one sample, nothing.
    """
    dice = random.Random(_SEED)
    ratios = sorted(
        statistics.median(dice.choices(ours, k=len(ours)))
        / statistics.median(dice.choices(other, k=len(other)))
        for _ in range(_RESAMPLES)
    )
    return ratios[int(_RESAMPLES * _PART)], ratios[int(_RESAMPLES * (1 - _PART)) - 1]


def exponent(points: Sequence[tuple[float, float]]) -> float | None:
    """The exponent of time against work, by least squares of their logarithms.

    Args:
        points: work and seconds, both above 0.

    Returns:
        1 is linear, 0 flat; ``None`` with fewer than three points.
    """
    if len(points) < 3:
        return None
    logs = [(math.log(work), math.log(seconds)) for work, seconds in points]
    return statistics.linear_regression([x for x, _ in logs], [y for _, y in logs]).slope
