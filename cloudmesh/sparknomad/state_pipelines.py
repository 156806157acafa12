"""The part of the local store that holds pipelines and the history of their runs."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from cloudmesh.sparknomad.errors import NotFoundError
from cloudmesh.sparknomad.incluster.pipeline import PipelineState, StepState
from cloudmesh.sparknomad.model import RunState
from cloudmesh.sparknomad.spec_pipelines import PipelineSpec
from cloudmesh.sparknomad.state import Store
from cloudmesh.sparknomad.state_pages import as_text, page

__all__ = ["PipelineRecord", "PipelineStore", "RunOfStep", "StepReport"]


_REMEMBERED = 50
"""Runs of a pipeline among which a step is looked for that did the same."""


@dataclass(frozen=True)
class RunOfStep:
    """A run that may be sent for a step.

    Attributes:
        run: its id.
        step: the step's name.
        job: that it runs.
        site: of the cluster, or empty.
        parameters: of the job.
        fingerprint: equal to that of a run that does the same to the same, or empty.
    """

    run: str
    step: str
    job: str
    site: str
    parameters: Mapping[str, Any]
    fingerprint: str = ""


@dataclass(frozen=True)
class PipelineRecord:
    """A pipeline's run, as the local store knows it.

    Attributes:
        run: its id.
        pipeline: that it is a run of.
        cluster: where it runs.
        state: where it stands, as a run's.
        submitted: seconds since the epoch when it was sent.
        parameters: of the pipeline.
        reason: for a person.
        finished: seconds since the epoch when it ended, or ``None``.
        steps: where each step stands.
        edges: for each step those that it waits for.
        site: of the cluster where the pipeline itself runs, or empty.
        times: how often it was sent: once, and again for each time it was resumed.
    """

    run: str
    pipeline: str
    cluster: str
    state: RunState
    submitted: float
    parameters: Mapping[str, Any]
    reason: str = ""
    finished: float | None = None
    steps: tuple[StepState, ...] = ()
    edges: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    site: str = ""
    times: int = 1


@dataclass(frozen=True)
class StepReport:
    """What one step of a pipeline's run took.

    Attributes:
        step: its name.
        state: where it stands.
        run: the last run that was sent for it, or empty.
        attempts: how many were sent.
        waited: seconds between the end of what it waited for and the start of its first run.
        worked: seconds from then until it ended.
        input_bytes: that its tasks read.
        output_bytes: that its tasks wrote.
        reason: for a person.
    """

    step: str
    state: str
    run: str
    attempts: int
    waited: float | None
    worked: float | None
    input_bytes: int = 0
    output_bytes: int = 0
    reason: str = ""


class PipelineStore:
    """Reads and writes pipelines in the store's file.

    Args:
        store: the file.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    # definitions

    def put(self, spec: PipelineSpec) -> None:
        """Define a pipeline, or change its definition."""
        from cloudmesh.sparknomad.specfile import spec_to_dict

        with self._store.transaction() as connection:
            connection.execute(
                """INSERT INTO pipelines VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE
                SET spec = excluded.spec""",
                (spec.pipeline, json.dumps(spec_to_dict(spec)), time.time()),
            )

    def find(self, name: str) -> PipelineSpec:
        """A defined pipeline by its name.

        Raises:
            NotFoundError: if there is none.
        """
        from cloudmesh.sparknomad.specfile import spec_from_json

        with self._store.connection() as connection:
            sql = "SELECT spec FROM pipelines WHERE name = ?"
            row = connection.execute(sql, (as_text(name),)).fetchone()
        if row is None:
            known = ", ".join(spec.pipeline for spec in self.all()) or "none"
            raise NotFoundError(
                f"There is no pipeline {name!r}; defined: {known}.",
                hint="Define it (`pipeline define FILE`), or give its file instead.",
            )
        return spec_from_json(PipelineSpec, row["spec"])

    def all(self) -> list[PipelineSpec]:
        """All defined pipelines, by name."""
        from cloudmesh.sparknomad.specfile import spec_from_json

        with self._store.connection() as connection:
            rows = connection.execute("SELECT spec FROM pipelines ORDER BY name").fetchall()
        return [spec_from_json(PipelineSpec, row["spec"]) for row in rows]

    def remove(self, name: str) -> None:
        """Remove a definition; its runs stay in the history."""
        self.find(name)
        with self._store.transaction() as connection:
            connection.execute("DELETE FROM pipelines WHERE name = ?", (as_text(name),))

    # runs

    def add(
        self, record: PipelineRecord, spec: PipelineSpec, runs: Sequence[RunOfStep]
    ) -> PipelineRecord:
        """Remember a run before it is sent, or once more before it is resumed."""
        from cloudmesh.sparknomad.specfile import spec_to_dict

        with self._store.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO pipeline_runs VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    record.run,
                    record.pipeline,
                    record.cluster,
                    record.state.value,
                    record.submitted,
                    json.dumps(_plain(record)),
                    json.dumps(spec_to_dict(spec)),
                    json.dumps([asdict(each) for each in runs]),
                ),
            )
        return record

    def update(self, record: PipelineRecord, state: PipelineState) -> PipelineRecord:
        """Remember where a run stands."""
        updated = replace(
            record,
            state=RunState(state.state),
            reason=state.reason,
            finished=state.finished,
            steps=state.steps,
        )
        if updated != record:
            with self._store.transaction() as connection:
                connection.execute(
                    "UPDATE pipeline_runs SET state = ?, record = ? WHERE run = ?",
                    (updated.state.value, json.dumps(_plain(updated)), record.run),
                )
        return updated

    def run(self, run: str) -> PipelineRecord:
        """One run of a pipeline.

        Raises:
            NotFoundError: if there is none.
        """
        return self._record(self._row(run))

    def spec_of(self, run: str) -> PipelineSpec:
        """What a run was sent as."""
        from cloudmesh.sparknomad.specfile import spec_from_json

        return spec_from_json(PipelineSpec, self._row(run)["spec"])

    def runs_of(self, run: str) -> dict[str, RunOfStep]:
        """The runs that may be, or were, sent for a pipeline's run, by their ids."""
        listed = json.loads(self._row(run)["plan"])
        return {each["run"]: RunOfStep(**each) for each in listed}

    def launched(self, schedule: str) -> list[str]:
        """The runs that a schedule has launched, the newest first."""
        with self._store.connection() as connection:
            rows = connection.execute(
                "SELECT run FROM pipeline_runs WHERE substr(run, 1, ?) = ? ORDER BY submitted DESC",
                (len(schedule) + 1, f"{schedule}-"),
            ).fetchall()
        return [row["run"] for row in rows]

    def reusable(self, pipeline: str, cluster: str) -> dict[str, RunOfStep]:
        """The runs of steps that have succeeded in a cluster, by their fingerprints."""
        found: dict[str, RunOfStep] = {}
        for record in self.runs(pipeline=pipeline, limit=_REMEMBERED):
            if record.cluster != cluster:
                continue
            runs = self.runs_of(record.run)
            for step in record.steps:
                run = runs.get(step.runs[-1]) if step.runs else None
                if run and run.fingerprint and step.state == "succeeded":
                    found.setdefault(run.fingerprint, run)
        return found

    def _row(self, run: str) -> Mapping[str, Any]:
        with self._store.connection() as connection:
            sql = "SELECT * FROM pipeline_runs WHERE run = ?"
            row: Mapping[str, Any] | None = connection.execute(sql, (as_text(run),)).fetchone()
        if row is None:
            raise NotFoundError(
                f"There is no run {run!r} of a pipeline.",
                hint="`cms sparknomad pipeline runs` lists them.",
            )
        return row

    def runs(
        self, *, pipeline: str | None = None, limit: int | None = None, after: str | None = None
    ) -> list[PipelineRecord]:
        """Runs of pipelines, the newest first.

        Args:
            pipeline: only of this one.
            limit: at most so many.
            after: the run before the first of them.

        Raises:
            NotFoundError: if there is no run `after`.
        """
        wanted = {"pipeline": [pipeline]} if pipeline is not None else {}
        with self._store.connection() as connection:
            rows = page(connection, "pipeline_runs", wanted, limit=limit, after=after)
        return [self._record(row) for row in rows]

    @staticmethod
    def _record(row: Mapping[str, Any]) -> PipelineRecord:
        document = json.loads(row["record"])
        steps = tuple(StepState(**{**s, "runs": tuple(s["runs"])}) for s in document["steps"])
        edges = {name: tuple(others) for name, others in document["edges"].items()}
        state = RunState(document["state"])
        return PipelineRecord(**{**document, "steps": steps, "edges": edges, "state": state})


def _plain(record: PipelineRecord) -> dict[str, Any]:
    return {**asdict(record), "state": record.state.value}
