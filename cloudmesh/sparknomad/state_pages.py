"""A page of a list of runs."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from cloudmesh.sparknomad.errors import NotFoundError

__all__ = ["as_text", "page"]

_NEWEST_FIRST = "ORDER BY submitted DESC, run DESC"
"""Of two runs that were sent at once, always the same one comes first."""


def as_text(value: str) -> str:
    """What SQLite takes: bytes of a command line that are no UTF-8 are escaped."""
    return value.encode("utf-8", "backslashreplace").decode("utf-8")


def page(
    connection: sqlite3.Connection,
    table: str,
    wanted: Mapping[str, Sequence[str]],
    *,
    limit: int | None,
    after: str | None,
) -> Sequence[Mapping[str, Any]]:
    """The rows of some runs, the newest first.

    Args:
        connection: to the store.
        table: of the runs, one of our own.
        wanted: which values a column may have, by the names of our own columns.
        limit: at most so many.
        after: the run before the first of them.

    Raises:
        NotFoundError: if there is no run `after`.
    """
    where = [f"{column} IN ({','.join('?' * len(given))})" for column, given in wanted.items()]
    values: list[str | float] = [as_text(each) for given in wanted.values() for each in given]
    if after is not None:
        condition, begin = _behind(connection, table, as_text(after))
        where.append(condition)
        values += begin
    clause = f"WHERE {' AND '.join(where)}" if where else ""
    return connection.execute(
        # Our own names, and question marks.
        f"SELECT * FROM {table} {clause} {_NEWEST_FIRST} LIMIT ?",  # nosec B608
        (*values, -1 if limit is None else limit),
    ).fetchall()


def _behind(connection: sqlite3.Connection, table: str, run: str) -> tuple[str, tuple[float, str]]:
    """The condition for what comes after a run when the newest come first."""
    query = f"SELECT submitted FROM {table} WHERE run = ?"  # nosec B608: our own name
    found = connection.execute(query, (run,)).fetchone()
    if found is None:
        raise NotFoundError(
            f"There is no run {run!r} after which others could be listed.",
            hint="Give the last one of the list before.",
        )
    return "(submitted, run) < (?, ?)", (found[0], run)
