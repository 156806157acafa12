"""Schedules of pipelines: which are refused, when they launch, and what a launch is made of."""

from __future__ import annotations

import base64
import json
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudmesh.sparknomad.errors import InputError
from cloudmesh.sparknomad.incluster.pipeline import Attempt, Plan, PlannedStep
from cloudmesh.sparknomad.incluster.pipeline_launch import launch_id, launched, renewing
from cloudmesh.sparknomad.pipeline.schedules import check_schedule, next_launch

BERLIN = "Europe/Berlin"


def at(*when: int, zone: str = BERLIN) -> float:
    return datetime(*when, tzinfo=ZoneInfo(zone)).timestamp()  # type: ignore[arg-type]


def test_a_schedule_is_of_its_time_zone() -> None:
    assert next_launch("0 3 * * *", BERLIN, at(2026, 7, 1)) == at(2026, 7, 1, 3)
    assert next_launch("0 3 * * *", "UTC", at(2026, 7, 1)) == at(2026, 7, 1, 3, zone="UTC")
    assert next_launch("30 8 * * 1-5", BERLIN, at(2026, 11, 27, 9)) == at(2026, 11, 30, 8, 30)


@pytest.mark.parametrize(
    ("crontab", "zone", "overlap", "told"),
    [
        ("0 3 * *", "UTC", "skip", "must have five fields"),
        ("@daily", "UTC", "skip", "must have five fields"),
        ("61 3 * * *", "UTC", "skip", "'61 3"),
        ("0 0 30 2 *", "UTC", "skip", "'0 0 30 2"),
        ("0 3 * * *", "Europe/Berlim", "skip", "'Europe/Berlim'"),
        ("0 3 * * *", "../etc/passwd", "skip", "time zone '../etc/passwd'"),
        ("0 3 * * *", "", "skip", "time zone ''"),
        ("0 3 * * *", "UTC", "queue", "must be one of skip, allow"),
    ],
)
def test_what_is_no_schedule_is_refused(crontab: str, zone: str, overlap: str, told: str) -> None:
    with pytest.raises(InputError) as error:
        check_schedule(crontab, zone, overlap)
    assert told in error.value.message


def test_a_wrong_zone_gets_the_nearest() -> None:
    with pytest.raises(InputError) as error:
        check_schedule("0 3 * * *", "Europe/Berlim", "skip")
    assert "Did you mean Europe/Berlin?" in error.value.hint


def pattern(run: str, attempts: tuple[str, ...], output: str) -> Plan:
    def sent(attempt: str) -> Attempt:
        payload = {"run": attempt, "arguments": ["--output", output], "submitted": 1.0}
        encoded = base64.b64encode(json.dumps(payload).encode()).decode()
        meta = {"run": attempt, "credentials": "sparknomad/scheduled/0/1"}
        return Attempt(attempt, {"job": "run-x", "payload": encoded, "meta": meta})

    step = PlannedStep("a", (), "succeeded", tuple(map(sent, attempts)))
    return Plan(run, (step,), 8, 60.0, 1.0, "", "", 5.0, (f"/sparknomad/etl/{run}/a",))


NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,8}-[0-9]{8}-[0-9]{6}-[a-z0-9]{6}", fullmatch=True)


@given(st.lists(NAMES, min_size=2, max_size=4, unique=True), st.integers(1, 2**33))
def test_every_id_of_a_launch_is_its_own(names: list[str], launch: int) -> None:
    run, *attempts = names
    made = launched(pattern(run, tuple(attempts), f'cluster:etl/{run}/"ä"'), launch)
    assert made.run == launch_id(run, launch)
    assert made.begun == launch
    assert made.kept == (f"/sparknomad/etl/{made.run}/a",)
    (step,) = made.steps
    for attempt, before in zip(step.attempts, attempts, strict=True):
        payload = json.loads(base64.b64decode(attempt.send["payload"]))
        assert attempt.run == payload["run"] == launch_id(before, launch)
        assert attempt.send["meta"]["run"] == attempt.run
        assert payload["arguments"][1] == f'cluster:etl/{made.run}/"ä"'
        assert payload["submitted"] == launch
        assert attempt.send["meta"]["credentials"] == "sparknomad/scheduled/0/1"
        assert attempt.send["job"] == "run-x"


def test_a_launch_begun_anew_is_the_same() -> None:
    plan = pattern("p-1", ("a-1", "a-2"), "x")
    assert launched(plan, 7) == launched(plan, 7) != launched(plan, 8)


def test_ids_in_parameters_are_renewed_and_other_values_stay() -> None:
    renew = renewing(["p-1"], 7)
    assert renew({"output": "cluster:p-1/x", "year": 2013, "all": ["p-1", None]}) == {
        "output": "cluster:p-1-7/x",
        "year": 2013,
        "all": ["p-1-7", None],
    }
