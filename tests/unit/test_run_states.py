"""What Nomad's word of a run means, when the host of its driver is gone."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from cloudmesh.sparknomad.cluster.nomad.runs import run_status
from cloudmesh.sparknomad.errors import ClusterError
from cloudmesh.sparknomad.incluster import pipeline, run_private
from cloudmesh.sparknomad.incluster.allocations import ended_well
from cloudmesh.sparknomad.incluster.pipeline_run import NomadBackend
from cloudmesh.sparknomad.model import RunState


def allocation(status: str = "complete", code: str | None = "0", **more: Any) -> dict[str, Any]:
    ends = [] if code is None else [{"Type": "Terminated", "Details": {"exit_code": code}}]
    events = [{"Type": "Started", "Details": {}}, *ends]
    task = {"State": "dead", "Failed": code not in ("0", None), "Events": events}
    return {
        "ID": "a", "ClientStatus": status, "CreateIndex": 1, "TaskStates": {"driver": task},
        "ClientDescription": "All tasks have completed", "ModifyTime": 5e9, **more,
    }  # fmt: skip


WELL = [allocation()]
ILL = [
    allocation("failed", "1"),
    allocation("lost", None),
    allocation("complete", None),
    allocation("running", "0"),
    allocation("complete", "143"),
    {"ClientStatus": "complete", "TaskStates": None},
]


@pytest.mark.parametrize(("told", "well"), [*((a, True) for a in WELL), *((a, False) for a in ILL)])
def test_what_has_ended_well(told: dict[str, Any], well: bool) -> None:
    assert ended_well(told, "driver") is well


class Away:
    """A Nomad whose client with the run's files is off."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.told = told
        self.stopped = ""

    def job(self, child: str) -> dict[str, Any]:
        return {"ID": child, "Stop": False}

    def allocations(self, child: str) -> list[dict[str, Any]]:
        del child
        return [self.told]

    def read_json(self, *place: str) -> None:
        del place

    def stop(self, child: str) -> None:
        self.stopped = child


@pytest.mark.parametrize(
    ("told", "state"),
    [
        (allocation(), RunState.SUCCEEDED),
        (allocation("failed", "1"), RunState.FAILED),
        (allocation("lost", None), RunState.LOST),
        (allocation(DesiredStatus="stop", code="143"), RunState.CANCELLED),
    ],
)
def test_a_run_that_has_succeeded_stays_so(told: dict[str, Any], state: RunState) -> None:
    status = run_status(Away(told), "run", "child")  # type: ignore[arg-type]
    assert status.state is state
    if state is RunState.SUCCEEDED:
        assert status.exit_code == 0 and "host that ran the driver is away" in status.reason


@pytest.mark.parametrize(
    ("told", "state"), [(allocation(), "succeeded"), (allocation("failed", "1"), "failed")]
)
def test_a_step_that_has_succeeded_is_not_run_again(
    monkeypatch: pytest.MonkeyPatch, told: dict[str, Any], state: str
) -> None:
    def ask(address: str, secrets: Path, path: str) -> Any:
        del address, secrets
        if "/client/fs/" in path:
            return None  # Nomad can't reach the host
        return [told] if "/allocations" in path else {"Stop": False}

    monkeypatch.setattr(run_private, "ask_nomad", ask)
    monkeypatch.setenv("NOMAD_NAMESPACE", "default")
    backend = NomadBackend("h:1", Path("/"), {"run": "child"})
    seen = backend.look(["run"])["run"]
    assert seen and seen.state == state


@pytest.mark.parametrize(
    ("status", "content", "for_ever"),
    [
        (500, b'Specified job "run-x" is stopped', True),
        (404, b"job not found", True),
        (400, b"missing required dispatch metadata", True),
        (403, b"Permission denied", True),
        (429, b"too many requests", False),
        (500, b"No cluster leader", False),
        (502, b"", False),
    ],
)
def test_what_nomad_refuses_for_ever_is_told_from_what_it_refuses_now(
    monkeypatch: pytest.MonkeyPatch, status: int, content: bytes, for_ever: bool
) -> None:
    monkeypatch.setattr(run_private, "_request", lambda *given: (status, content))
    monkeypatch.setenv("NOMAD_NAMESPACE", "default")
    backend = NomadBackend("h:1", Path("/"))
    attempt = pipeline.Attempt("run", {"job": "j", "payload": "", "meta": {}})
    with pytest.raises(pipeline.RefusedError if for_ever else OSError):
        backend.send(attempt)


def silent(seconds: float) -> dict[str, Any]:
    return allocation(
        "unknown", None, DesiredStatus="run", ModifyTime=(time.time() - seconds) * 1e9
    )


@pytest.mark.parametrize(("seconds", "state"), [(10, RunState.RUNNING), (600, RunState.LOST)])
def test_a_run_is_lost_when_its_host_has_been_silent_for_long(
    seconds: float, state: RunState
) -> None:
    nomad = Away(silent(seconds))
    status = run_status(nomad, "run", "child")  # type: ignore[arg-type]
    assert status.state is state
    assert "the host that" in status.reason
    # What is told to be lost does not begin again when its host is back.
    assert nomad.stopped == ("child" if state is RunState.LOST else "")


def test_who_may_not_stop_a_lost_run_leaves_word_for_it() -> None:
    class Theirs(Away):
        kept = ""

        def stop(self, child: str) -> None:
            raise ClusterError(f"403 for {child}")

        def put_variable(self, path: str, items: dict[str, str]) -> None:
            assert items
            self.kept = path

    nomad = Theirs(silent(600))
    assert run_status(nomad, "run", "child").state is RunState.LOST  # type: ignore[arg-type]
    assert nomad.kept == run_private.ended_path("child")


@pytest.mark.parametrize(("seconds", "state"), [(10, "running"), (600, "lost")])
def test_a_step_is_lost_when_its_host_has_been_silent_for_long(
    monkeypatch: pytest.MonkeyPatch, seconds: float, state: str
) -> None:
    told, sent = silent(seconds), []

    def ask(address: str, secrets: Path, path: str) -> Any:
        del address, secrets
        return None if "/client/fs/" in path else [told]

    monkeypatch.setattr(run_private, "ask_nomad", ask)
    monkeypatch.setattr(run_private, "tell_nomad", lambda *given: sent.append(given[2]) or {})
    monkeypatch.setenv("NOMAD_NAMESPACE", "default")
    backend = NomadBackend("h:1", Path("/"), {"run": "child"})
    for _ in range(2):
        seen = backend.look(["run"])["run"]
        assert seen and seen.state == state
    # Its driver, should it begin anew when the host is back, finds word that it is to end.
    word = f"/v1/var/{run_private.ended_path('child')}?namespace=default"
    assert sent == ([word] if state == "lost" else [])
