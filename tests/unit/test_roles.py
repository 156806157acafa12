"""What roles are given, before Nomad judges it."""

from __future__ import annotations

import pytest

from cloudmesh.sparknomad.cluster.nomad import roles
from cloudmesh.sparknomad.errors import InputError


@pytest.mark.parametrize("role", ["submitter", "reader"])
def test_no_role_but_the_operators_gets_more_than_it_needs(role: str) -> None:
    rules = roles.policy_rules(role, "team")
    for word in ("submit-job", "alloc-exec", "alloc-node-exec", "sentinel", "csi", "write\"\n",
                 'agent {', 'operator {', 'policy = "write"', '"*"', "scale"):  # fmt: skip
        assert word not in rules, word
    assert 'namespace "team"' in rules and "@" not in rules


def test_a_reader_touches_no_variable_and_sends_nothing() -> None:
    rules = roles.policy_rules("reader", "team")
    assert "variables" not in rules and "dispatch" not in rules and "lifecycle" not in rules


def test_a_submitter_writes_credentials_and_reads_none() -> None:
    rules = roles.policy_rules("submitter", "team")
    assert 'path "sparknomad/credentials/*" { capabilities = ["write", "destroy"] }' in rules


def test_a_submitter_writes_keys_of_webhooks_and_reads_none() -> None:
    rules = roles.policy_rules("submitter", "team")
    assert 'path "sparknomad/pipelines/*" { capabilities = ["write"] }' in rules


def test_tasks_see_that_they_are_to_end_and_tell_no_other_task_so() -> None:
    rules = roles.ended_rules("team")
    assert 'path "sparknomad/ended/*" { capabilities = ["read", "destroy"] }' in rules
    assert 'namespace "team"' in rules and rules.count("namespace") == 1


@pytest.mark.parametrize("namespace", ["default", "team"])
def test_what_runs_a_pipeline_sends_runs_in_its_own_namespace_only(namespace: str) -> None:
    rules = roles.pipeline_rules(namespace)
    allowed = [block.split('"')[1] for block in rules.split("namespace ")[1:]
               if "dispatch-job" in block]  # fmt: skip
    assert allowed == [namespace] and "submit-job" not in rules


def test_tasks_of_runs_read_only_their_own_directory() -> None:
    rules = roles.run_rules("team", "sparknomad/credentials/abc")
    assert 'path "sparknomad/credentials/abc/*"' in rules and "dispatch" not in rules


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ({"Type": "management"}, ("management", "*")),
        ({"Policies": ["sparknomad-reader-a-b"]}, ("reader", "a-b")),
        ({"Policies": ["sparknomad-submitter"]}, ("submitter", "")),
        ({"Policies": ["other"]}, ("", "")),
        ({"Policies": None}, ("", "")),
    ],
)
def test_the_role_of_a_token(token: dict[str, object], expected: tuple[str, str]) -> None:
    assert roles.role_of(token) == expected


@pytest.mark.parametrize("namespace", ["", "A", "-a", "a-", "a" * 41, 'a" { }', "a b", "*"])
def test_names_of_namespaces_that_could_mean_more_are_refused(namespace: str) -> None:
    with pytest.raises(InputError):
        roles.check("reader", namespace)


def test_the_clusters_own_namespace_is_for_readers_only() -> None:
    roles.check("reader", "default")
    for role in ("submitter", "operator"):
        with pytest.raises(InputError):
            roles.check(role, "default")
