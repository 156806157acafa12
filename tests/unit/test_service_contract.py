"""The contract of the REST service against the manager and the command line, both ways."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from cloudmesh.sparknomad.client import Remote
from cloudmesh.sparknomad.commands import COMMANDS
from cloudmesh.sparknomad.contract import contract
from cloudmesh.sparknomad.errors import ForbiddenError
from cloudmesh.sparknomad.manager import Sparknomad
from cloudmesh.sparknomad.service.calls import CALLS, Calls
from cloudmesh.sparknomad.service.identity import require
from cloudmesh.sparknomad.service.running import Binding
from cloudmesh.sparknomad.service.store import Token

DOCUMENT = contract()
OWN = {"operation_list", "operation_status", "operation_events"}
NAMED_ELSE = {"storage_profiles": "storage_profile_list"}
"""Verbs that have another name with the manager."""

BODIES = {"cluster_deploy", "image_build", "job_define", "pipeline_define"}
"""Verbs whose body is a spec of its own."""

NOT_A_CALLERS = {"run"}
"""Arguments that the service chooses."""


def operations() -> dict[str, dict[str, Any]]:
    found = {}
    for place in DOCUMENT["paths"].values():
        common = place.get("parameters", [])
        for method in ("get", "put", "post", "delete"):
            if method in place:
                operation = dict(place[method])
                operation["method"] = method
                operation["parameters"] = [*common, *operation.get("parameters", [])]
                found[operation["operationId"]] = operation
    return found


OPERATIONS = operations()


def resolved(place: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in place:
        found: Any = DOCUMENT
        for part in place["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        place = found
    return place


def declared(operation: dict[str, Any]) -> set[str]:
    names = {
        each["name"]
        for each in map(resolved, operation["parameters"])
        if each["in"] in ("path", "query")
    }
    body = operation.get("requestBody")
    if body and operation["operationId"] in BODIES:
        return names | {"body"}
    if body:
        names |= set(resolved(body["content"]["application/json"]["schema"])["properties"])
    return names


def test_every_verb_of_the_service_is_in_the_contract_and_no_other() -> None:
    assert set(OPERATIONS) == CALLS | OWN | {"job_logs"}


@pytest.mark.parametrize("name", sorted(CALLS))
def test_arguments_and_defaults_are_those_of_the_contract(name: str) -> None:
    operation = OPERATIONS[name]
    signature = inspect.signature(getattr(Calls, name))
    taken = {p.name: p for p in signature.parameters.values() if p.name != "self"}
    makes = ("job_run", "pipeline_run", "pipeline_schedule")
    made = {"run"} if operation["method"] == "post" and name in makes else set()
    assert declared(operation) == set(taken) - made
    for each in map(resolved, operation["parameters"]):
        schema = each["schema"]
        if "default" in schema:
            assert taken[each["name"]].default == schema["default"], each["name"]
        if each.get("required"):
            assert taken[each["name"]].default is inspect.Parameter.empty


@pytest.mark.parametrize("name", sorted(CALLS))
def test_the_manager_has_the_verb_and_takes_what_the_service_gives(name: str) -> None:
    verb = getattr(Sparknomad, NAMED_ELSE.get(name, name))
    taken = set(inspect.signature(verb).parameters)
    given = declared(OPERATIONS[name]) - {"body", "name", "job", "pipeline", "limit"}
    assert given <= taken | NOT_A_CALLERS, given - taken


@pytest.mark.parametrize("name", sorted(CALLS | {"job_logs"}))
def test_the_command_line_has_the_verb(name: str) -> None:
    group, _, verb = name.partition("_")
    known = {"storage_profiles": ("storage", "profile")}.get(name, (group, verb))
    assert known in COMMANDS


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_what_changes_something_needs_more_than_a_reader(name: str) -> None:
    operation = OPERATIONS[name]
    if operation["method"] == "get":
        assert operation["x-role"] == "reader"
    else:
        assert operation["x-role"] in ("submitter", "operator")
    if operation.get("x-long"):
        assert "202" in operation["responses"]
    if operation["method"] in ("post", "put"):
        named = [resolved(each)["name"] for each in operation["parameters"]]
        assert "Idempotency-Key" in named
    assert "default" in operation["responses"]


def test_roles_are_ordered() -> None:
    reader, operator = Token("r", "reader", 0.0), Token("o", "operator", 0.0)
    require(reader, "reader", "x")
    require(operator, "submitter", "x")
    with pytest.raises(ForbiddenError, match="needs the role submitter"):
        require(reader, "submitter", "x")


def test_others_are_let_in_only_with_tls_and_a_token(tmp_path: Any) -> None:
    from cloudmesh.sparknomad.errors import InputError

    cert, key = tmp_path / "c", tmp_path / "k"
    cert.touch(), key.touch()
    Binding().check(0)
    Binding("::1").check(0)
    with pytest.raises(InputError, match="TLS is needed"):
        Binding("0.0.0.0").check(1)
    with pytest.raises(InputError, match="a token is needed first"):
        Binding("0.0.0.0", 1, cert, key).check(0)
    Binding("0.0.0.0", 1, cert, key).check(1)
    with pytest.raises(InputError, match="give both"):
        Binding("127.0.0.1", 1, cert, None).check(1)
    with pytest.raises(InputError, match="no such file"):
        Binding("127.0.0.1", 1, cert, tmp_path / "other").check(1)


REMOTE = sorted(
    name for name, member in vars(Remote).items() if callable(member) and not name.startswith("_")
)


def test_the_client_has_every_verb_that_makes_sense_from_afar() -> None:
    left_out = CALLS - set(REMOTE)
    assert left_out == {"pipeline_report", "storage_evict", "storage_profiles", "storage_staged"}


@pytest.mark.parametrize("name", REMOTE)
def test_the_clients_verbs_take_and_give_what_the_managers_do(name: str) -> None:
    here, there = (inspect.signature(getattr(kind, name)) for kind in (Sparknomad, Remote))
    theirs = {p.name: p for p in there.parameters.values()}
    mine = {p.name: p for p in here.parameters.values()}
    assert set(theirs) <= set(mine)
    for parameter in theirs.values():
        own = mine[parameter.name]
        assert parameter.kind == own.kind, parameter
        if own.default is not inspect.Parameter.empty and name != "cluster_deploy":
            assert parameter.default == own.default, parameter
    assert str(there.return_annotation) == str(here.return_annotation)
