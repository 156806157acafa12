"""Sizes and durations as people write them: ``4g``, ``90s``, ``1h30m``."""

from __future__ import annotations

import re
from fractions import Fraction

__all__ = [
    "format_bytes",
    "format_duration",
    "format_size",
    "parse_duration",
    "parse_size",
    "spark_size",
]

_SIZE = re.compile(r"\s*([0-9]{1,40}(?:\.[0-9]{1,40})?)\s*([kmgt]?)(?:i?b)?\s*", re.IGNORECASE)
_FACTOR = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)", re.IGNORECASE)
_DURATION = re.compile(r"\s*(?:(?:\d+(?:\.\d+)?)\s*(?:ms|s|m|h|d)\s*)+", re.IGNORECASE)
_LARGEST_DAYS = 36500
_LARGEST_SIZE = 2**63 - 1


def parse_size(text: str | float) -> int:
    """Read a size as Spark does: binary units, a bare number is bytes.

    Args:
        text: such as ``512m``, ``4g``, ``1.5 GiB`` or ``1048576``.

    Returns:
        The size in bytes.

    Raises:
        ValueError: if it is not a size above zero and below 8 EiB.
    """
    if isinstance(text, float) and text.is_integer():
        text = int(text)
    plain = isinstance(text, str | int) and not isinstance(text, bool)
    match = _SIZE.fullmatch(str(text)) if plain else None
    size = int(Fraction(match[1]) * _FACTOR[match[2].lower()]) if match else 0
    if not 0 < size <= _LARGEST_SIZE:
        raise ValueError(f"{text!r} is not a size; write a number and a unit, such as 512m or 4g")
    return size


def format_size(size: int) -> str:
    """Write a size in bytes exactly and shortly, so that `parse_size` reads it back."""
    for unit in ("t", "g", "m", "k"):
        if size and size % _FACTOR[unit] == 0:
            return f"{size // _FACTOR[unit]}{unit}"
    return str(size)


def format_bytes(size: float) -> str:
    """Write a number of bytes for a person, in decimal units: ``512 B``, ``1.5 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(size) < 999.5:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"


def spark_size(size: int) -> str:
    """Write a size in bytes as Spark's memory settings want it: whole MiB, ``1024m``."""
    return f"{max(1, size // 1024**2)}m"


def parse_duration(text: str | float) -> float:
    """Read a duration: ``90s``, ``1h30m``, ``250ms``; a bare number is seconds.

    Returns:
        The duration in seconds.

    Raises:
        ValueError: if it is not a duration above zero and below 100 years.
    """
    seconds = 0.0 if isinstance(text, bool) else _seconds(text)
    if not 0 < seconds <= _LARGEST_DAYS * _SECONDS["d"]:
        raise ValueError(f"{text!r} is not a duration; write such as 90s, 15m or 1h30m")
    return seconds


def _seconds(text: str | float) -> float:
    try:
        return float(text)
    except (TypeError, OverflowError):
        return 0.0
    except ValueError:
        parts = _DURATION_PART.findall(str(text)) if _DURATION.fullmatch(str(text)) else []
        return sum(float(number) * _SECONDS[unit.lower()] for number, unit in parts)


def format_duration(seconds: float) -> str:
    """Write a duration for a person: ``0.4s``, ``12s``, ``3m05s``, ``1h02m``."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m"
