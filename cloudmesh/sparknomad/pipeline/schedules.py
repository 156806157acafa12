"""When a schedule launches its pipeline. Pure."""

from __future__ import annotations

import difflib
from datetime import UTC, datetime

from cloudmesh.sparknomad.errors import InputError

__all__ = ["OVERLAPS", "check_schedule", "next_launch"]

OVERLAPS = ("skip", "allow")
"""What happens when a pipeline is due while its last launch still runs."""


def check_schedule(crontab: str, time_zone: str, overlap: str) -> None:
    """Refuse a schedule that is none.

    Raises:
        InputError: with what is wrong, and what is allowed.
    """
    from zoneinfo import ZoneInfo, available_timezones

    if overlap not in OVERLAPS:
        raise InputError(f"overlap: {overlap!r}: must be one of {', '.join(OVERLAPS)}.")
    try:
        ZoneInfo(time_zone)
    except (OSError, ValueError, KeyError) as error:  # ZoneInfoNotFoundError is a KeyError
        raise _no_zone(time_zone, available_timezones()) from error
    if next_launch(crontab, time_zone, datetime.now(UTC).timestamp()) is None:
        raise InputError(f"schedule: {crontab!r}: there is no such time.")


def _no_zone(name: str, known: set[str]) -> InputError:
    near = difflib.get_close_matches(name, sorted(known), 1, 0.5)
    meant = f"Did you mean {near[0]}?" if near else "Such as UTC or Europe/Berlin."
    return InputError(f"time zone {name!r}: there is none of this name.", hint=meant)


def next_launch(crontab: str, time_zone: str, after: float) -> float | None:
    """When a schedule launches its pipeline next.

    Args:
        crontab: five fields.
        time_zone: of these times.
        after: seconds since the epoch.

    Returns:
        Seconds since the epoch, or ``None`` if there is no such time.

    Raises:
        InputError: if it is no schedule.
    """
    from zoneinfo import ZoneInfo

    from cronsim import CronSim, CronSimError

    if len(crontab.split()) != 5:
        raise InputError(
            f"schedule: {crontab!r}: must have five fields: minute, hour, day of the month, "
            "month, day of the week.",
            hint="'0 3 * * *' is every day at three, '*/15 * * * 1-5' each quarter of an hour "
            "on working days.",
        )
    try:
        times = CronSim(crontab, datetime.fromtimestamp(after, ZoneInfo(time_zone)))
        return next(times).timestamp()
    except CronSimError as error:
        raise InputError(f"schedule: {crontab!r}: {error}.") from error
    except StopIteration:
        return None
