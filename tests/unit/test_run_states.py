"""What Nomad's word of a run means, when the host of its driver is gone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cloudmesh.sparknomad.cluster.nomad.runs import run_status
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

    def job(self, child: str) -> dict[str, Any]:
        return {"ID": child, "Stop": False}

    def allocations(self, child: str) -> list[dict[str, Any]]:
        del child
        return [self.told]

    def read_json(self, *place: str) -> None:
        del place


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
