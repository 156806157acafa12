"""The local store."""

from __future__ import annotations

import dataclasses
import multiprocessing
import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudmesh.sparknomad.errors import ConflictError, NotFoundError, SparknomadError
from cloudmesh.sparknomad.model import ClusterState, RunRecord, RunState, RunStatus
from cloudmesh.sparknomad.specs import ClusterSpec, JobSpec
from cloudmesh.sparknomad.state import SCHEMA_VERSION, Store

PROCESSES = 20
RUNS_EACH = 5
TERMINAL = [state for state in RunState if state.is_terminal]


def record(run: str = "r", **changes: Any) -> RunRecord:
    return RunRecord(
        **{
            "run": run,
            "job": "j",
            "cluster": "c",
            "state": RunState.PENDING,
            "submitted": 1.0,
            "parameters": {},
            **changes,
        }
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "state.db")


def test_a_cluster_comes_back_as_it_was_put(store: Store) -> None:
    spec = ClusterSpec(cluster="c", workers=3, conf={"spark.x": "y"})
    store.put_cluster(spec, ClusterState.DEPLOYING)
    found = store.find_cluster("c")
    assert found is not None
    assert (found.spec, found.state, found.provider) == (spec, ClusterState.DEPLOYING, "nomad")


def test_a_cluster_put_again_keeps_its_creation(store: Store) -> None:
    store.put_cluster(ClusterSpec(cluster="c"), ClusterState.DEPLOYING)
    first = store.find_cluster("c")
    store.put_cluster(ClusterSpec(cluster="c", workers=9), ClusterState.RUNNING)
    (second,) = store.clusters()
    assert first is not None
    assert (second.created, second.spec.workers) == (first.created, 9)
    assert second.updated >= first.updated


def test_clusters_are_listed_by_name_until_they_are_forgotten(store: Store) -> None:
    for name in ("b", "a"):
        store.put_cluster(ClusterSpec(cluster=name), ClusterState.RUNNING)
    assert [cluster.name for cluster in store.clusters()] == ["a", "b"]
    store.forget_cluster("a")
    store.forget_cluster("a")
    assert store.find_cluster("a") is None


def test_a_job_comes_back_as_it_was_put(store: Store) -> None:
    spec = JobSpec(job="j", program="/p.py", arguments=("{{", "é\n"), timeout=1.5)
    assert store.put_job(spec) is False
    assert store.put_job(spec) is True
    assert store.find_job("j") == spec
    assert store.jobs() == [spec]


def test_a_removed_job_is_gone_and_its_runs_stay(store: Store) -> None:
    store.put_job(JobSpec(job="j", program="p"))
    store.add_run(record())
    store.remove_job("j")
    assert store.find_job("j") is None
    assert len(store.runs(job="j")) == 1
    with pytest.raises(NotFoundError, match="no job 'j'"):
        store.remove_job("j")


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.text(), plain, max_size=4), st.text())
@settings(max_examples=25)
def test_any_run_round_trips(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any], reason: str
) -> None:
    store = Store(tmp_path_factory.mktemp("store") / "state.db")
    wanted = record(
        parameters=values,
        report=values,
        reason=reason,
        exit_code=3,
        started=2.5,
        finished=3.5,
        attempts=2,
        outputs={"o": "/there"},
    )
    store.add_run(wanted)
    assert store.run("r") == wanted


def test_a_run_is_added_once(store: Store) -> None:
    store.add_run(record())
    with pytest.raises(ConflictError, match="run 'r' already"):
        store.add_run(record(job="other"))
    assert store.run("r").job == "j"


def test_an_unknown_run_is_not_found(store: Store) -> None:
    with pytest.raises(NotFoundError, match="no run 'x'"):
        store.run("x")
    with pytest.raises(NotFoundError):
        store.update_run(record("x"), RunStatus("x", RunState.RUNNING))


def test_a_run_whose_name_is_no_text_is_not_found(store: Store) -> None:
    with pytest.raises(NotFoundError):
        store.run("\udcff")


def test_runs_are_filtered_and_the_newest_comes_first(store: Store) -> None:
    for number in range(6):
        store.add_run(
            record(
                f"r{number}",
                submitted=float(number),
                job=f"j{number % 2}",
                cluster=f"c{number % 3}",
                state=RunState.FAILED if number > 3 else RunState.PENDING,
            )
        )
    assert [run.run for run in store.runs(limit=2)] == ["r5", "r4"]
    assert [run.run for run in store.runs(job="j0")] == ["r4", "r2", "r0"]
    assert [run.run for run in store.runs(cluster="c0", states=[RunState.PENDING])] == ["r3", "r0"]
    assert store.runs(states=TERMINAL, limit=1, job="j0")[0].run == "r4"
    assert store.runs(limit=0) == []


@pytest.mark.parametrize("terminal", TERMINAL)
def test_a_terminal_state_is_never_left(store: Store, terminal: RunState) -> None:
    pending = record()
    store.add_run(pending)
    ended = store.update_run(pending, RunStatus("r", terminal, "first", exit_code=1))
    assert ended.state is terminal
    for later in RunState:
        for basis in (pending, ended):
            assert store.update_run(basis, RunStatus("r", later, "second")) == ended
    assert store.run("r") == ended


def test_an_update_keeps_what_was_asked(store: Store) -> None:
    pending = record(parameters={"a": 1}, outputs={"o": "/there"})
    store.add_run(pending)
    updated = store.update_run(
        store.run("r"), RunStatus("r", RunState.RUNNING, started=5.0, attempts=1, report={"x": 1})
    )
    assert updated == store.run("r")
    assert (updated.parameters, updated.report) == ({"a": 1}, {"x": 1})
    assert updated.outputs == {"o": "/there"}


def _write_much(path: Path, number: int, together: Any) -> None:
    together.wait()
    store = Store(path)
    store.put_cluster(ClusterSpec(cluster=f"c{number}"), ClusterState.RUNNING)
    store.put_job(JobSpec(job=f"j{number}", program="p"))
    for count in range(RUNS_EACH):
        pending = record(f"r{number}-{count}")
        store.add_run(pending)
        store.update_run(pending, RunStatus(pending.run, RunState.SUCCEEDED))


def test_twenty_processes_at_the_first_creation_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    together = context.Barrier(PROCESSES)
    path = tmp_path / "state.db"
    workers = [
        context.Process(target=_write_much, args=(path, number, together))
        for number in range(PROCESSES)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * PROCESSES
    store = Store(path)
    assert len(store.clusters()) == len(store.jobs()) == PROCESSES
    assert len(store.runs(states=[RunState.SUCCEEDED])) == PROCESSES * RUNS_EACH


def test_opening_leaves_the_current_schema_version_in_a_private_file(store: Store) -> None:
    with sqlite3.connect(store.path) as connection:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
    connection.close()
    assert (version, mode) == (SCHEMA_VERSION, "wal")
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600


def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    (tmp_path / "state.db").touch()
    assert Store(tmp_path / "state.db").runs() == []


def test_opening_again_changes_nothing(store: Store) -> None:
    store.add_run(record())
    assert Store(store.path).runs() == store.runs()


def test_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(SparknomadError, match=f"schema version {SCHEMA_VERSION + 1}") as caught:
        Store(path)
    assert "newer sparknomad" in caught.value.hint
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"this is no database at all" * 100, b"SQLite format 3\0bad"])
def test_a_damaged_file_is_an_error_with_a_hint(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(content)
    with pytest.raises(SparknomadError, match="can't be used") as caught:
        Store(path)
    assert "move it away" in caught.value.hint


def test_a_directory_in_place_of_the_file_is_an_error_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(SparknomadError, match="can't be used"):
        Store(tmp_path)


def test_a_migration_that_fails_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cloudmesh.sparknomad import state

    path = tmp_path / "state.db"
    monkeypatch.setattr(state, "_MIGRATIONS", (("CREATE TABLE jobs (a)", "CREATE TABLE jobs (a)"),))
    with pytest.raises(SparknomadError, match="can't be used"):
        Store(path)
    monkeypatch.undo()
    assert Store(path).jobs() == []


def test_an_exception_within_a_transaction_undoes_it(store: Store) -> None:
    with pytest.raises(TypeError):
        store.add_run(dataclasses.replace(record(), parameters={"a": object()}))
    assert store.runs() == []
