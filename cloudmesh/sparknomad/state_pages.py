"""Where a page of a list of runs begins."""

from __future__ import annotations

import sqlite3

from cloudmesh.sparknomad.errors import NotFoundError

__all__ = ["NEWEST_FIRST", "behind"]

NEWEST_FIRST = "ORDER BY submitted DESC, run DESC"
"""Of two runs that were sent at once, always the same one comes first."""


def behind(connection: sqlite3.Connection, table: str, run: str) -> tuple[str, tuple[float, str]]:
    """The condition for what comes after a run when the newest come first.

    Args:
        connection: to the store.
        table: of the runs, one of our own.
        run: the last one of the page before.

    Raises:
        NotFoundError: if the run is not known.
    """
    query = f"SELECT submitted FROM {table} WHERE run = ?"  # nosec B608: our own name
    found = connection.execute(query, (run,)).fetchone()
    if found is None:
        raise NotFoundError(
            f"There is no run {run!r} after which others could be listed.",
            hint="Give the last one of the list before.",
        )
    return "(submitted, run) < (?, ?)", (found[0], run)
