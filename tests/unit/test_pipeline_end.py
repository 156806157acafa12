"""When a pipeline has ended: who is told, what goes, and what need not be done again."""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from hooks import hook

from cloudmesh.sparknomad.incluster.localfiles import LocalFiles
from cloudmesh.sparknomad.incluster.pipeline import PipelineState, StepState
from cloudmesh.sparknomad.incluster.pipeline_end import (
    SIGNATURE,
    expire,
    message,
    notify,
    sweep,
)
from cloudmesh.sparknomad.pipeline.graph import Step
from cloudmesh.sparknomad.pipeline.reuse import fingerprint
from cloudmesh.sparknomad.spec_pipelines import StepSpec
from cloudmesh.sparknomad.specfile import build_spec
from cloudmesh.sparknomad.specs import JobSpec

STATE = PipelineState(
    "r", "failed", (StepState("a", "failed", ("a-1",), "broken"),), "why", 1.0, 2.0
)


def test_an_end_is_told_signed() -> None:
    with hook(200) as (url, got):
        assert notify(url, "key", message(STATE), lambda seconds: None) == ""
    ((headers, body),) = got
    digest = hmac.new(b"key", body, hashlib.sha256).hexdigest()
    assert headers[SIGNATURE] == f"sha256={digest}"
    told = json.loads(body)
    assert (told["run"], told["state"], told["reason"]) == ("r", "failed", "why")
    assert told["steps"] == [{"step": "a", "state": "failed", "reason": "broken", "runs": ["a-1"]}]


def test_without_a_key_nothing_is_signed() -> None:
    with hook(204) as (url, got):
        assert notify(url, "", b"{}", lambda seconds: None) == ""
    assert SIGNATURE not in got[0][0]


def test_a_server_that_is_busy_is_asked_again_with_longer_pauses() -> None:
    pauses: list[float] = []
    with hook(503, 429, 500, 200) as (url, got):
        assert notify(url, "", b"{}", pauses.append) == ""
    assert len(got) == 4 and pauses == [1, 2, 4]


def test_a_server_that_refuses_is_not_asked_again() -> None:
    with hook(404) as (url, got):
        assert notify(url, "", b"{}", lambda seconds: None) == "it answered 404"
    assert len(got) == 1


def test_a_server_that_is_not_there_is_given_up() -> None:
    pauses: list[float] = []
    assert "refused" in notify("http://127.0.0.1:9/", "", b"{}", pauses.append)
    assert len(pauses) == 6


def test_what_has_outlived_its_time_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cloudmesh.sparknomad.incluster import pipeline_end

    monkeypatch.setattr(pipeline_end, "_EXPIRING", str(tmp_path / "expiring"))
    files = LocalFiles(tmp_path)
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "part").write_text("x")
    expire(files, "r1", (str(tmp_path / "old"),), 100.0)
    expire(files, "r2", (str(tmp_path / "new"),), 300.0)
    assert sweep(files, 200.0) == [str(tmp_path / "old")]
    assert not (tmp_path / "old").exists() and (tmp_path / "new").exists()
    assert sweep(files, 200.0) == []
    assert sweep(files, 300.0) == [str(tmp_path / "new")]
    assert list((tmp_path / "expiring").iterdir()) == []


# what need not be done again


def job(tmp_path: Path, program: str = "print(1)") -> JobSpec:
    path = tmp_path / "copy.py"
    path.write_text(program)
    return build_spec(
        JobSpec,
        {
            "job": "copy",
            "program": str(path),
            "parameters": {
                "input": {"type": "uri"},
                "output": {"type": "uri", "write": "direct"},
                "year": {"type": "integer"},
            },
        },
    )


def step(tmp_path: Path, program: str = "print(1)", **values: Any) -> Step:
    return Step("s", StepSpec("copy.yaml"), job(tmp_path, program), values)


def mark(made: Step, run: str = "run-1", version: str = "v1", **places: str) -> str:
    return fingerprint(made, run, lambda place: version, places)


def test_the_same_to_the_same_has_one_fingerprint(tmp_path: Path) -> None:
    first = mark(step(tmp_path, input="aws:x", output="cluster:run-1/out", year=1))
    again = mark(step(tmp_path, input="aws:x", output="cluster:run-2/out", year=1), "run-2")
    assert first == again


@pytest.mark.parametrize(
    "other",
    [
        {"values": {"year": 2}},
        {"values": {"input": "aws:y"}},
        {"values": {"output": "cluster:elsewhere"}},
        {"version": "v2"},
        {"program": "print(2)"},
    ],
)
def test_what_differs_has_another_fingerprint(tmp_path: Path, other: dict[str, Any]) -> None:
    values = {"input": "aws:x", "output": "cluster:run-1/out", "year": 1}
    first = mark(step(tmp_path, **values))
    changed = step(
        tmp_path, other.get("program", "print(1)"), **{**values, **other.get("values", {})}
    )
    assert mark(changed, version=other.get("version", "v1")) != first


def test_what_another_step_makes_is_told_by_that_step(tmp_path: Path) -> None:
    made = step(tmp_path, input="cluster:run-1/a/", output="x:o")
    asked: list[str] = []

    def version(place: str) -> str:
        asked.append(place)
        return "v"

    one = fingerprint(made, "run-1", version, {"cluster:run-1/a": "print of a"})
    assert asked == []
    assert one != fingerprint(made, "run-1", version, {"cluster:run-1/a": "another"})
