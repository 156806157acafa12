"""The local store: names, specs and the history of runs, in SQLite.

The provider is the truth about what runs; this store remembers what was asked and the last
that was heard. Every write is one transaction; 20 commands at once are safe (WAL and a busy
timeout). It holds no secrets.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from cloudmesh.sparknomad.errors import ConflictError, NotFoundError, SparknomadError
from cloudmesh.sparknomad.model import (
    ClusterRecord,
    ClusterState,
    RunRecord,
    RunState,
    RunStatus,
)
from cloudmesh.sparknomad.specs import ClusterSpec, JobSpec
from cloudmesh.sparknomad.state_pages import as_text, page
from cloudmesh.sparknomad.state_rows import cluster_of, run_of

__all__ = ["SCHEMA_VERSION", "Store", "as_text"]

_BUSY_SECONDS = 60

# One entry a version; an entry is never edited after a release, only followed by another.
_MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE clusters (
            name TEXT PRIMARY KEY, provider TEXT NOT NULL, spec TEXT NOT NULL,
            state TEXT NOT NULL, created REAL NOT NULL, updated REAL NOT NULL)""",
        """CREATE TABLE jobs (
            name TEXT PRIMARY KEY, spec TEXT NOT NULL, created REAL NOT NULL)""",
        """CREATE TABLE runs (
            run TEXT PRIMARY KEY, job TEXT NOT NULL, cluster TEXT NOT NULL,
            state TEXT NOT NULL, submitted REAL NOT NULL, parameters TEXT NOT NULL,
            reason TEXT NOT NULL DEFAULT '', exit_code INTEGER, started REAL, finished REAL,
            attempts INTEGER NOT NULL DEFAULT 0, handle TEXT NOT NULL DEFAULT '',
            report TEXT NOT NULL DEFAULT '{}')""",
        "CREATE INDEX runs_by_time ON runs (submitted DESC)",
        "CREATE INDEX runs_by_job ON runs (job, submitted DESC)",
        "CREATE INDEX runs_by_state ON runs (state, submitted DESC)",
    ),
    (
        "ALTER TABLE runs DROP COLUMN handle",
        "ALTER TABLE runs ADD COLUMN outputs TEXT NOT NULL DEFAULT '{}'",
    ),
    ("ALTER TABLE runs ADD COLUMN site TEXT NOT NULL DEFAULT ''",),
    (
        """CREATE TABLE pipelines (
            name TEXT PRIMARY KEY, spec TEXT NOT NULL, created REAL NOT NULL)""",
        """CREATE TABLE pipeline_runs (
            run TEXT PRIMARY KEY, pipeline TEXT NOT NULL, cluster TEXT NOT NULL,
            state TEXT NOT NULL, submitted REAL NOT NULL, record TEXT NOT NULL,
            spec TEXT NOT NULL, plan TEXT NOT NULL)""",
        "CREATE INDEX pipeline_runs_by_time ON pipeline_runs (submitted DESC)",
    ),
    (
        """CREATE TABLE schedules (
            schedule TEXT PRIMARY KEY, cluster TEXT NOT NULL, submitted REAL NOT NULL,
            record TEXT NOT NULL, spec TEXT NOT NULL, plan TEXT NOT NULL)""",
    ),
)
SCHEMA_VERSION = len(_MIGRATIONS)

_RUN_COLUMNS = (
    "run, job, cluster, state, submitted, parameters, reason, exit_code, started, finished, "
    "attempts, outputs, site, report"
)


class Store:
    """Reads and writes one store file, making or migrating it when first opened.

    Args:
        path: the SQLite file; its directory must exist.

    Raises:
        SparknomadError: if the file was written by a newer version, or is no store.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self.connection() as connection:
            self._migrate(connection)

    @contextlib.contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """The file, open for reading."""
        try:
            with contextlib.closing(self._connect()) as connection:
                yield connection
        except (sqlite3.Error, OSError) as error:
            raise SparknomadError(
                f"The store {self.path} can't be used: {error}.",
                hint="Check the disk's space, and that it is a file of this user. If the file is "
                "damaged, move it away: running clusters stay listed by `cluster list` after "
                "the next deploy.",
            ) from error

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None)
        connection.row_factory = sqlite3.Row
        return connection

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """The file, open for writing: all of it, or nothing."""
        with self.connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def _migrate(self, connection: sqlite3.Connection) -> None:
        version = self._version(connection)
        if version == SCHEMA_VERSION:
            return
        self._enter_wal(connection)
        connection.execute("BEGIN IMMEDIATE")
        version = self._version(connection)
        for number, statements in enumerate(_MIGRATIONS[version:], start=version + 1):
            for statement in statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
        connection.execute("COMMIT")
        self.path.chmod(0o600)

    @staticmethod
    def _enter_wal(connection: sqlite3.Connection) -> None:
        """Switch to WAL; SQLite does not honour the busy timeout for this one change."""
        give_up = time.monotonic() + _BUSY_SECONDS
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError:
                if time.monotonic() > give_up:
                    raise
                time.sleep(0.02)

    def _version(self, connection: sqlite3.Connection) -> int:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if version > SCHEMA_VERSION:
            raise SparknomadError(
                f"The store {self.path} has schema version {version}; this sparknomad knows "
                f"{SCHEMA_VERSION}.",
                hint="Install the newer sparknomad that wrote it, or set CLOUDMESH_CONFIG_DIR.",
            )
        return version

    # clusters

    def put_cluster(self, spec: ClusterSpec, state: ClusterState) -> None:
        """Add a cluster, or change its spec and state."""
        from cloudmesh.sparknomad.specfile import spec_to_dict

        now = time.time()
        with self.transaction() as connection:
            connection.execute(
                """INSERT INTO clusters VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE
                SET provider = excluded.provider, spec = excluded.spec, state = excluded.state,
                updated = excluded.updated""",
                (
                    spec.cluster,
                    spec.provider,
                    json.dumps(spec_to_dict(spec)),
                    state.value,
                    now,
                    now,
                ),
            )

    def find_cluster(self, name: str) -> ClusterRecord | None:
        """A cluster by its name, or ``None``."""
        with self.connection() as connection:
            sql = "SELECT * FROM clusters WHERE name = ?"
            row = connection.execute(sql, (as_text(name),)).fetchone()
        return cluster_of(row) if row else None

    def clusters(self) -> list[ClusterRecord]:
        """All clusters, by name."""
        with self.connection() as connection:
            rows = connection.execute("SELECT * FROM clusters ORDER BY name").fetchall()
        return [cluster_of(row) for row in rows]

    def forget_cluster(self, name: str) -> None:
        """Remove a cluster; its provider must have confirmed that it is gone."""
        with self.transaction() as connection:
            connection.execute("DELETE FROM clusters WHERE name = ?", (as_text(name),))

    # jobs

    def put_job(self, spec: JobSpec) -> bool:
        """Define a job, or change its definition.

        Returns:
            Whether a job of this name was there before.
        """
        from cloudmesh.sparknomad.specfile import spec_to_dict

        with self.transaction() as connection:
            found = connection.execute("SELECT 1 FROM jobs WHERE name = ?", (spec.job,)).fetchone()
            connection.execute(
                """INSERT INTO jobs VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE
                SET spec = excluded.spec""",
                (spec.job, json.dumps(spec_to_dict(spec)), time.time()),
            )
        return found is not None

    def find_job(self, name: str) -> JobSpec | None:
        """A defined job by its name, or ``None``."""
        from cloudmesh.sparknomad.specfile import spec_from_json

        with self.connection() as connection:
            sql = "SELECT spec FROM jobs WHERE name = ?"
            row = connection.execute(sql, (as_text(name),)).fetchone()
        return spec_from_json(JobSpec, row["spec"]) if row else None

    def jobs(self) -> list[JobSpec]:
        """All defined jobs, by name."""
        from cloudmesh.sparknomad.specfile import spec_from_json

        with self.connection() as connection:
            rows = connection.execute("SELECT spec FROM jobs ORDER BY name").fetchall()
        return [spec_from_json(JobSpec, row["spec"]) for row in rows]

    def remove_job(self, name: str) -> None:
        """Remove a job's definition; its runs stay in the history.

        Raises:
            NotFoundError: if there is no such job.
        """
        with self.transaction() as connection:
            sql = "DELETE FROM jobs WHERE name = ?"
            if not connection.execute(sql, (as_text(name),)).rowcount:
                raise NotFoundError(
                    f"There is no job {name!r}.",
                    hint="`cms sparknomad job list` lists the defined jobs.",
                )

    # runs

    def add_run(self, record: RunRecord) -> None:
        """Remember a run before it is sent.

        Raises:
            ConflictError: if its id is taken.
        """
        try:
            with self.transaction() as connection:
                connection.execute(
                    # Our own columns.
                    f"INSERT INTO runs ({_RUN_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)",  # nosec B608
                    (
                        record.run,
                        record.job,
                        record.cluster,
                        record.state.value,
                        record.submitted,
                        json.dumps(dict(record.parameters)),
                        as_text(record.reason),
                        record.exit_code,
                        record.started,
                        record.finished,
                        record.attempts,
                        json.dumps(dict(record.outputs)),
                        record.site,
                        json.dumps(dict(record.report)),
                    ),
                )
        except SparknomadError as error:
            if isinstance(error.__cause__, sqlite3.IntegrityError):
                raise ConflictError(f"There is a run {record.run!r} already.") from None
            raise

    def update_run(self, record: RunRecord, status: RunStatus) -> RunRecord:
        """Remember a provider's answer about a run; a terminal state is never left again."""
        updated = replace(
            record,
            state=status.state,
            reason=status.reason,
            exit_code=status.exit_code,
            started=status.started,
            finished=status.finished,
            attempts=status.attempts,
            report=status.report,
        )
        if updated == record:
            return record
        terminal = [state.value for state in RunState if state.is_terminal]
        marks = ",".join("?" * len(terminal))
        with self.transaction() as connection:
            changed = connection.execute(
                f"""UPDATE runs SET state = ?, reason = ?, exit_code = ?, started = ?,
                finished = ?, attempts = ?, report = ?
                WHERE run = ? AND state NOT IN ({marks})""",  # nosec B608 - question marks
                (
                    updated.state.value,
                    as_text(updated.reason),
                    updated.exit_code,
                    updated.started,
                    updated.finished,
                    updated.attempts,
                    json.dumps(dict(updated.report)),
                    updated.run,
                    *terminal,
                ),
            ).rowcount
        return updated if changed else self.run(record.run)

    def run(self, run: str) -> RunRecord:
        """One run.

        Raises:
            NotFoundError: if there is no such run.
        """
        with self.connection() as connection:
            row = connection.execute("SELECT * FROM runs WHERE run = ?", (as_text(run),)).fetchone()
        if row is None:
            raise NotFoundError(
                f"There is no run {run!r}.", hint="`cms sparknomad job runs` lists the runs."
            )
        return run_of(row)

    def reopen_run(self, run: str) -> None:
        """Look again after a run that was thought lost: it is sent once more."""
        with self.transaction() as connection:
            connection.execute(
                "UPDATE runs SET state = ?, reason = '', finished = NULL"
                " WHERE run = ? AND state = ?",
                (RunState.PENDING.value, as_text(run), RunState.LOST.value),
            )

    def runs(
        self,
        *,
        job: str | None = None,
        cluster: str | None = None,
        states: Sequence[RunState] = (),
        limit: int | None = None,
        after: str | None = None,
    ) -> list[RunRecord]:
        """Runs, the newest first.

        Args:
            job: only of this job.
            cluster: only on this cluster.
            states: only in one of these states; all if empty.
            limit: at most so many.
            after: the run before the first of them.

        Raises:
            NotFoundError: if there is no run `after`.
        """
        given = {
            "job": [job] if job is not None else [],
            "cluster": [cluster] if cluster is not None else [],
            "state": [state.value for state in states],
        }
        wanted = {column: values for column, values in given.items() if values}
        with self.connection() as connection:
            rows = page(connection, "runs", wanted, limit=limit, after=after)
        return [run_of(row) for row in rows]
