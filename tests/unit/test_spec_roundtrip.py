"""Specs as plain data, YAML and JSON Schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudmesh.sparknomad.errors import SpecError
from cloudmesh.sparknomad.specfile import (
    build_spec,
    json_schema,
    read_spec,
    spec_from_json,
    spec_to_dict,
)
from cloudmesh.sparknomad.specs import ClusterSpec, ImageSpec, JobSpec

names = st.from_regex(r"[a-z0-9]([a-z0-9._-]{0,38}[a-z0-9])?", fullmatch=True)
sizes = st.one_of(
    st.integers(1, 2**50),
    st.builds(lambda n, u: f"{n}{u}", st.integers(1, 999), st.sampled_from("kmgt")),
)
scalars = st.one_of(st.text(), st.integers(), st.booleans(), st.floats(allow_nan=False))
counts = st.integers(1, 10_000)
conf = st.dictionaries(
    st.from_regex(r"spark\.[A-Za-z.:=_-]{1,20}", fullmatch=True), scalars, max_size=4
)
parameters = st.dictionaries(
    st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,10}", fullmatch=True),
    st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["string", "integer", "number", "boolean", "uri", "date"]),
            "required": st.booleans(),
            "default": scalars,
            "minimum": st.integers(),
            "pattern": st.text(),
            "choices": st.lists(scalars, max_size=3),
            "description": st.text(),
        },
    ),
    max_size=4,
)
clusters = st.fixed_dictionaries(
    {},
    optional={
        "cluster": names,
        "workers": st.integers(1, 1000),
        "cores": counts,
        "memory": sizes,
        "driver": st.sampled_from(["auto", "docker", "exec", "raw_exec"]),
        "conf": conf,
    },
)
images = st.fixed_dictionaries(
    {},
    optional={
        "image": names,
        "spark": st.sampled_from(["4.1", "3.5", 4.1, 3.5]),
        "base": st.from_regex(r"[a-zA-Z0-9][a-z0-9./:@-]{0,20}", fullmatch=True),
        "requirements": st.lists(st.text(min_size=1), max_size=3),
        "variant": st.sampled_from(["slim", "full"]),
    },
)
jobs = st.fixed_dictionaries(
    {"job": names, "program": st.text(min_size=1)},
    optional={
        "class": st.text(),
        "parameters": parameters,
        "arguments": st.lists(scalars, max_size=4),
        "conf": conf,
        "resources": st.fixed_dictionaries(
            {"executors": st.fixed_dictionaries({}, optional={"count": counts, "memory": sizes})}
        ),
        "dependencies": st.fixed_dictionaries({"files": st.lists(st.text(), max_size=2)}),
        "retries": st.fixed_dictionaries({"program": st.integers(0, 100)}),
        "timeout": st.one_of(st.none(), st.floats(0.001, 1e8), st.sampled_from(["90s", "1h30m"])),
        "startup": st.sampled_from(["fast", "balanced", "throughput"]),
    },
)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("specs") / "spec.yaml"


def assert_round_trips(kind: type[Any], data: dict[str, Any], file: Path) -> None:
    spec = build_spec(kind, data)
    plain = spec_to_dict(spec)
    assert build_spec(kind, plain) == spec
    assert spec_from_json(kind, json.dumps(plain)) == spec
    for given_or_plain in (data, plain):
        file.write_text(yaml.safe_dump(given_or_plain), "utf-8")
        assert read_spec(kind, file) == spec


@given(clusters)
@settings(max_examples=60)
def test_any_cluster_round_trips(file: Path, data: dict[str, Any]) -> None:
    assert_round_trips(ClusterSpec, data, file)


@given(images)
@settings(max_examples=60)
def test_any_image_round_trips(file: Path, data: dict[str, Any]) -> None:
    assert_round_trips(ImageSpec, data, file)


@given(jobs)
@settings(max_examples=80)
def test_any_job_round_trips(file: Path, data: dict[str, Any]) -> None:
    assert_round_trips(JobSpec, data, file)


def test_a_job_with_a_date_round_trips(file: Path) -> None:
    file.write_text("job: j\nprogram: p\nparameters: {d: {type: date, default: 2020-01-31}}")
    spec = read_spec(JobSpec, file)
    assert build_spec(JobSpec, spec_to_dict(spec)) == spec


@given(clusters)
def test_the_schema_accepts_any_cluster_that_the_reader_accepts(data: dict[str, Any]) -> None:
    build_spec(ClusterSpec, data)
    jsonschema.validate(data, json_schema(ClusterSpec))


@given(jobs)
@settings(max_examples=60)
def test_the_schema_accepts_any_job_that_the_reader_accepts(data: dict[str, Any]) -> None:
    build_spec(JobSpec, data)
    jsonschema.validate(data, json_schema(JobSpec))


@given(images)
def test_the_schema_accepts_what_is_written_of_any_image(data: dict[str, Any]) -> None:
    jsonschema.validate(spec_to_dict(build_spec(ImageSpec, data)), json_schema(ImageSpec))


@pytest.mark.parametrize("kind", [ClusterSpec, ImageSpec, JobSpec])
def test_the_schemas_are_valid_and_strict(kind: type[Any]) -> None:
    schema = json_schema(kind)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["additionalProperties"] is False
    assert all(
        part["additionalProperties"] is False
        for part in schema.get("$defs", {}).values()
        if part["type"] == "object"
    )


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        (ClusterSpec, {"workers": 0}),
        (ClusterSpec, {"memory": "4q"}),
        (ClusterSpec, {"cluster": "A"}),
        (ClusterSpec, {"worker": 1}),
        (ClusterSpec, {"driver": "podman"}),
        (JobSpec, {"job": "j"}),
        (JobSpec, {"job": "j", "program": "p", "retries": {"program": -1}}),
        (JobSpec, {"job": "j", "program": "p", "arguments": "text"}),
    ],
)
def test_schema_and_reader_refuse_the_same(kind: type[Any], data: dict[str, Any]) -> None:
    with pytest.raises(SpecError):
        build_spec(kind, data)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, json_schema(kind))


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        pytest.param(JobSpec, {"job": "j", "program": "p", "main_class": "M"}, id="main_class"),
        pytest.param(ClusterSpec, {"memory": 1.5}, id="a fraction of bytes"),
    ],
)
def test_the_reader_accepts_no_more_than_the_schema(kind: type[Any], data: dict[str, Any]) -> None:
    with pytest.raises(SpecError):
        build_spec(kind, data)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, json_schema(kind))


def test_a_whole_number_with_a_point_is_a_size_for_both() -> None:
    assert build_spec(ClusterSpec, {"memory": 1048576.0}).memory == 1048576
    jsonschema.validate({"memory": 1048576.0}, json_schema(ClusterSpec))


def test_the_name_of_python_is_no_field_of_yaml(file: Path) -> None:
    file.write_text("job: j\nprogram: p.jar\nmain_class: M\n")
    with pytest.raises(SpecError, match=r":3: main_class: unknown field; did you mean 'class'"):
        read_spec(JobSpec, file)
    made = JobSpec(job="j", program="p.jar", main_class="M")
    assert spec_to_dict(made)["class"] == "M"
    assert "main_class" not in spec_to_dict(made)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        pytest.param(ClusterSpec, {"conf": {"hadoop.x": "1"}}, id="a key of conf"),
        pytest.param(ImageSpec, {"spark": "2.4"}, id="an unknown line of Spark"),
        pytest.param(JobSpec, {"job": "j", "program": "p", "parameters": {"1": {}}}, id="a name"),
    ],
)
def test_the_schema_knows_the_patterns(kind: type[Any], data: dict[str, Any]) -> None:
    with pytest.raises(SpecError):
        build_spec(kind, data)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, json_schema(kind))
