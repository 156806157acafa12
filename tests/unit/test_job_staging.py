"""What of a run goes through its cluster: what the job declares, and what the run asks."""

from __future__ import annotations

from typing import Any

import pytest

from cloudmesh.sparknomad.errors import ParameterError, SpecError
from cloudmesh.sparknomad.job.parameters import check_job
from cloudmesh.sparknomad.job.staging import parse_stage, plan_staging
from cloudmesh.sparknomad.model_storage import RunStaging, RunStorage
from cloudmesh.sparknomad.specfile import build_spec
from cloudmesh.sparknomad.specs import JobSpec

PLACES = {name: f"s3a://b/{name}/" for name in ("read", "plain", "written")}
PARAMETERS: dict[str, Any] = {
    "read": {"type": "uri", "stage": "auto"},
    "plain": {"type": "uri"},
    "written": {"type": "uri", "write": "staged", "exists": "append"},
}


def job(parameters: dict[str, Any]) -> JobSpec:
    return build_spec(JobSpec, {"job": "j", "program": "p.py", "parameters": parameters})


def planned(*options: str, places: dict[str, str] = PLACES) -> tuple[dict[str, str], RunStaging]:
    bound = {name: f"aws:{name}/" for name in places}
    storage = RunStorage(origins={name: f"endpoint|{place}" for name, place in places.items()})
    return plan_staging(job(PARAMETERS), bound, places, storage, parse_stage(options))


def modes(staging: RunStaging) -> dict[str, str]:
    return {each.name: each.mode for each in staging.inputs}


def test_without_options_it_is_as_the_job_says() -> None:
    tokens, staging = planned()
    assert modes(staging) == {"read": "auto"}
    assert set(tokens) == {"read", "written"}
    (output,) = staging.outputs
    assert (output.target, output.shown, output.exists) == (
        "s3a://b/written/",
        "aws:written/",
        "append",
    )
    (read,) = staging.inputs
    assert read.origin == "endpoint|s3a://b/read/" and read.declared


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (["always"], {"read": "always", "plain": "always"}),
        (["never"], {}),
        (["plain=always"], {"read": "auto", "plain": "always"}),
        (["always", "plain=never"], {"read": "always"}),
        (["read=never"], {}),
    ],
)
def test_a_run_has_the_last_word(options: list[str], wanted: dict[str, str]) -> None:
    assert modes(planned(*options)[1]) == wanted


def test_what_is_not_declared_may_be_an_output_and_so_missing() -> None:
    staging = planned("always")[1]
    assert {each.name: each.declared for each in staging.inputs} == {"read": True, "plain": False}
    named = planned("plain=always")[1]
    assert all(each.declared for each in named.inputs)


def test_what_lies_in_the_cluster_is_not_staged() -> None:
    tokens, staging = planned("always", places={"read": "cluster:/inputs/x"})
    assert tokens == {} and staging == RunStaging()


def test_the_web_is_always_staged() -> None:
    web = {"plain": "https://host/x.csv"}
    assert modes(planned(places=web)[1]) == {"plain": "always"}
    for options, places in (
        (["never"], web),
        (["plain=never"], web),
        ([], {"written": "https://host/x"}),
    ):
        with pytest.raises(ParameterError, match="a web server can't be"):
            planned(*options, places=places)


def test_no_token_begins_another() -> None:
    tokens = list(planned("always")[0].values())
    assert not [one for one in tokens for other in tokens if one != other and one in other]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["sometimes"], "must be auto, always, never, or NAME=MODE"),
        (["read=maybe"], "--stage=read=maybe: 'maybe'"),
        (["always", "never"], "given twice"),
        (["nothing=always"], "no parameter 'nothing'.*those with one: read, plain, written"),
        (["written=always"], "declares 'written' as an output"),
    ],
)
def test_what_can_not_be_staged_is_told(options: list[str], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        planned(*options)


@pytest.mark.parametrize(
    ("parameter", "words"),
    [
        ({"type": "string", "stage": "auto"}, "stage: only a uri has one, not a string"),
        ({"type": "date", "write": "direct"}, "write: only a uri has one, not a date"),
        ({"type": "uri", "stage": "auto", "write": "staged"}, "drop one of stage and write"),
        ({"type": "uri", "exists": "append"}, "exists: only with `write: staged`"),
    ],
)
def test_a_job_that_contradicts_itself_is_refused(parameter: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        check_job(job({"x": parameter}))
