"""The part of the local store that holds the schedules of pipelines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from cloudmesh.sparknomad.errors import NotFoundError
from cloudmesh.sparknomad.spec_pipelines import PipelineSpec
from cloudmesh.sparknomad.state import Store
from cloudmesh.sparknomad.state_pages import as_text
from cloudmesh.sparknomad.state_pipelines import RunOfStep

__all__ = ["ScheduleRecord", "ScheduleStore"]


@dataclass(frozen=True)
class ScheduleRecord:
    """A schedule of a pipeline.

    Attributes:
        schedule: its id.
        pipeline: that it runs.
        cluster: where.
        crontab: when, in five fields.
        time_zone: of these times.
        overlap: whether one is launched while the last one still runs: ``allow`` or ``skip``.
        submitted: seconds since the epoch when it was made.
        parameters: of the pipeline.
        site: of the cluster where the pipeline itself runs, or empty.
        edges: for each step those that it waits for.
        next: seconds since the epoch of the next launch, or ``None`` for never.
        last: the run of the last launch, or empty.
    """

    schedule: str
    pipeline: str
    cluster: str
    crontab: str
    time_zone: str
    overlap: str
    submitted: float
    parameters: Mapping[str, Any]
    site: str = ""
    edges: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    next: float | None = None
    last: str = ""


class ScheduleStore:
    """Reads and writes schedules in the store's file.

    Args:
        store: the file.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, record: ScheduleRecord, spec: PipelineSpec, runs: Sequence[RunOfStep]) -> None:
        """Remember a schedule before it is sent.

        Args:
            record: the schedule.
            spec: the pipeline as it is now.
            runs: the patterns of its steps' runs.
        """
        from cloudmesh.sparknomad.specfile import spec_to_dict

        with self._store.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO schedules VALUES (?, ?, ?, ?, ?, ?)",
                (
                    record.schedule,
                    record.cluster,
                    record.submitted,
                    json.dumps(asdict(record)),
                    json.dumps(spec_to_dict(spec)),
                    json.dumps([asdict(each) for each in runs]),
                ),
            )

    def all(self) -> list[ScheduleRecord]:
        """All schedules, the newest first."""
        with self._store.connection() as connection:
            sql = "SELECT record FROM schedules ORDER BY submitted DESC"
            rows = connection.execute(sql).fetchall()
        return [_record(row["record"]) for row in rows]

    def find(self, schedule: str) -> tuple[ScheduleRecord, PipelineSpec, list[RunOfStep]]:
        """A schedule with its pipeline and the patterns of its steps' runs.

        Raises:
            NotFoundError: if there is none.
        """
        from cloudmesh.sparknomad.specfile import spec_from_json

        with self._store.connection() as connection:
            sql = "SELECT * FROM schedules WHERE schedule = ?"
            row = connection.execute(sql, (as_text(schedule),)).fetchone()
        if row is None:
            raise NotFoundError(
                f"There is no schedule {schedule!r}.",
                hint="`cms sparknomad pipeline schedules` lists them.",
            )
        runs = [RunOfStep(**each) for each in json.loads(row["plan"])]
        return _record(row["record"]), spec_from_json(PipelineSpec, row["spec"]), runs

    def remove(self, schedule: str) -> None:
        """Forget a schedule; the runs that it has launched stay in the history."""
        with self._store.transaction() as connection:
            sql = "DELETE FROM schedules WHERE schedule = ?"
            connection.execute(sql, (as_text(schedule),))


def _record(text: str) -> ScheduleRecord:
    document = json.loads(text)
    edges = {name: tuple(others) for name, others in document["edges"].items()}
    return ScheduleRecord(**{**document, "edges": edges})
