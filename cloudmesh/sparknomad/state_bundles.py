"""What a bundle takes from the store of one machine to that of another."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from cloudmesh.sparknomad.state import Store

__all__ = ["PIPELINE_RUNS", "SCHEDULES", "rows_of", "take_over"]

PIPELINE_RUNS = "pipeline_runs"
SCHEDULES = "schedules"
_COLUMNS = {
    PIPELINE_RUNS: (
        "run", "pipeline", "cluster", "state", "submitted", "record", "spec", "plan",
    ),
    SCHEDULES: ("schedule", "cluster", "submitted", "record", "spec", "plan"),
}  # fmt: skip


def rows_of(store: Store, table: str, cluster: str) -> tuple[dict[str, Any], ...]:
    """The rows of a cluster as plain data, the oldest first."""
    columns = ", ".join(_COLUMNS[table])
    query = f"SELECT {columns} FROM {table} WHERE cluster = ? ORDER BY submitted"  # nosec B608
    with store.connection() as connection:
        rows = connection.execute(query, (cluster,)).fetchall()
    return tuple(dict(zip(_COLUMNS[table], row, strict=True)) for row in rows)


def take_over(store: Store, table: str, rows: Iterable[Mapping[str, Any]], cluster: str) -> None:
    """Keep rows of another machine; what is here already stays.

    Args:
        store: of this machine.
        table: that they are of.
        rows: as `rows_of` has told them.
        cluster: the name that it has here.
    """
    columns = _COLUMNS[table]
    marks = ", ".join("?" * len(columns))
    statement = f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) VALUES ({marks})"  # nosec B608
    with store.transaction() as connection:
        for row in rows:
            record = json.dumps({**json.loads(row["record"]), "cluster": cluster})
            here = {**row, "cluster": cluster, "record": record}
            connection.execute(statement, tuple(here[column] for column in columns))
