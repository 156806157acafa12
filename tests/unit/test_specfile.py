"""Reading specs: what is accepted, and what is said about each kind of error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cloudmesh.sparknomad.errors import NotFoundError, SpecError
from cloudmesh.sparknomad.specfile import read_spec
from cloudmesh.sparknomad.specs import (
    ClusterSpec,
    ImageSpec,
    JobSpec,
    ParameterType,
    Startup,
    TaskDriver,
    Variant,
)

JOB = "job: j\nprogram: p.py\n"


def read(tmp_path: Path, kind: type[Any], text: str) -> Any:
    path = tmp_path / "spec.yaml"
    path.write_text(text, "utf-8")
    return read_spec(kind, path)


def errors(tmp_path: Path, kind: type[Any], text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        read(tmp_path, kind, text)
    return caught.value.message.replace(str(tmp_path / "spec.yaml"), "FILE").splitlines()


def test_a_whole_cluster(tmp_path: Path) -> None:
    text = (
        "cluster: rack\nprovider: nomad\nworkers: 3\ncores: 4\nmemory: 8g\nimage: big\n"
        "driver: exec\nconf: {spark.worker.cleanup.enabled: true, spark.x: 5}\n"
    )
    spec = read(tmp_path, ClusterSpec, text)
    assert (spec.workers, spec.memory, spec.driver) == (3, 8 * 1024**3, TaskDriver.EXEC)
    assert spec.conf == {"spark.worker.cleanup.enabled": "true", "spark.x": "5"}


def test_a_whole_image(tmp_path: Path) -> None:
    text = "image: ml\nspark: 3.5\nbase: debian:12-slim\nrequirements: [pandas]\nvariant: full\n"
    spec = read(tmp_path, ImageSpec, text)
    assert (spec.spark, spec.variant, spec.requirements) == ("3.5", Variant.FULL, ("pandas",))


def test_a_whole_job(tmp_path: Path) -> None:
    text = JOB.replace("p.py", "p.jar") + (
        "class: org.Main\ntimeout: 1h\nstartup: fast\narguments: [--n, '{n}', 5, true]\n"
        "parameters:\n  n: {type: integer, default: 3, minimum: 1}\n"
        "resources: {driver: {memory: 2g}, executors: {count: 2, cores: 2}}\n"
        "dependencies: {python: [a.zip], files: [b.txt]}\nretries: {program: 2}\n"
    )
    spec = read(tmp_path, JobSpec, text)
    assert spec.main_class == "org.Main"
    assert spec.timeout == 3600
    assert spec.startup is Startup.FAST
    assert spec.arguments == ("--n", "{n}", "5", "true")
    assert spec.parameters["n"].type is ParameterType.INTEGER
    assert (spec.resources.executors.count, spec.retries.program) == (2, 2)


def test_an_empty_mapping_is_the_default_cluster(tmp_path: Path) -> None:
    assert read(tmp_path, ClusterSpec, "{}") == ClusterSpec()


@pytest.mark.parametrize(
    ("kind", "text", "told"),
    [
        (
            ClusterSpec,
            "cluster: c\n\nworkers: 0",
            "FILE:3: workers: 0: .*greater than or equal to 1",
        ),
        (ClusterSpec, "cores: two", "FILE:1: cores: 'two': .*integer"),
        (ClusterSpec, "cores: 1.0", "FILE:1: cores: 1.0: .*integer"),
        (ClusterSpec, "workers: true", "FILE:1: workers: True: .*integer"),
        (ClusterSpec, "memory: 4q", "FILE:1: memory: '4q': .*such as 512m or 4g"),
        (ClusterSpec, "driver: dokcer", "'auto', 'docker', 'exec' or 'raw_exec'.*mean 'docker'"),
        (ClusterSpec, "worker: 2", "FILE:1: worker: unknown field; did you mean 'workers'"),
        (ClusterSpec, "zzz: 2", "unknown field; known fields: cluster, provider, workers"),
        (ClusterSpec, "cluster: A b", "FILE:1: cluster: 'A b': a name has 1 to 40 lower-case"),
        (ClusterSpec, f"cluster: {'a' * 41}", "a name has 1 to 40"),
        (ClusterSpec, "cluster: -a", "a name has 1 to 40"),
        (ClusterSpec, "cluster: null", "FILE:1: cluster: None: .*string"),
        (ClusterSpec, "conf:\n  hadoop.x: 1", "FILE:2: conf.hadoop.x: .*spark"),
        (ClusterSpec, "conf:\n  spark.x: [1]", r"FILE:2: conf.spark.x: \[1\]: .*string"),
        (ImageSpec, "spark: '2.4'", "FILE:1: spark: '2.4': .*4"),
        (ImageSpec, "variant: slin", "'slim' or 'full'; did you mean 'slim'"),
        (ImageSpec, "base: 'a b'", "FILE:1: base: 'a b'"),
        (ImageSpec, "requirements: [a, '']", "FILE:1: requirements.1: ''"),
        (JobSpec, "job: j", "FILE:1: program: missing; this field is required"),
        (JobSpec, "job: j\nprogram: ''", "FILE:2: program: ''"),
        (JobSpec, JOB + "timeout: soon", "FILE:3: timeout: 'soon': .*such as 90s"),
        (JobSpec, JOB + "arguments:\n- a\n- null", "FILE:5: arguments.1: None"),
        (JobSpec, JOB + "retries: {program: -1}", "FILE:3: retries.program: -1"),
        (JobSpec, JOB + "retries: 5", "FILE:3: retries: 5"),
        (
            JobSpec,
            JOB + "resources:\n  executors:\n    core: 2",
            "FILE:5: resources.executors.core: unknown field; did you mean 'cores'",
        ),
        (
            JobSpec,
            JOB + "parameters:\n  n: {tipe: integer}",
            "FILE:4: parameters.n.tipe: unknown field; did you mean 'type'",
        ),
        (
            JobSpec,
            JOB + "parameters:\n  n:\n    type: intger",
            "FILE:5: parameters.n.type: 'intger': .*did you mean 'integer'",
        ),
        (JobSpec, JOB + "parameters:\n  1n: {}", "FILE:4: parameters.1n: "),
        (JobSpec, JOB + "parameters:\n  1: {}", "FILE:4: parameters.1: "),
        (JobSpec, JOB + "1: x", "FILE:3: 1: "),
    ],
)
def test_an_error_names_file_line_field_value_and_remedy(
    tmp_path: Path, kind: type[Any], text: str, told: str
) -> None:
    import re

    lines = errors(tmp_path, kind, text)
    assert len(lines) == 1
    assert re.search(told, lines[0])


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    lines = errors(tmp_path, ClusterSpec, "workers: 0\ncores: x\ndriver: y\nfoo: 1\n")
    assert [line.split(": ")[:2] for line in lines] == [
        ["FILE:1", "workers"],
        ["FILE:2", "cores"],
        ["FILE:3", "driver"],
        ["FILE:4", "foo"],
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("cores: 1\ncores: 2\n", ["FILE:2: cores: given twice"]),
        ("conf:\n  spark.a: 1\n  spark.a: 1\n", ["FILE:3: spark.a: given twice"]),
        (
            "cores: 1\ncores: 1\ncores: 1\n",
            ["FILE:2: cores: given twice", "FILE:3: cores: given twice"],
        ),
    ],
)
def test_a_field_given_twice_is_refused(tmp_path: Path, text: str, told: list[str]) -> None:
    assert errors(tmp_path, ClusterSpec, text) == told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "holds nothing"),
        ("- 1", "holds a list"),
        ("word", "holds a text"),
        ("5", "holds a int"),
    ],
)
def test_what_is_no_mapping_is_refused(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(SpecError, match=told) as caught:
        read(tmp_path, ImageSpec, text)
    assert "Known fields: image, spark, base" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("cluster: {", "FILE:1: not YAML"),
        ("cluster: c\n\tcores: 1", "FILE:2: not YAML"),
        ("cluster: !!python/name:os.system x", "FILE:1: not YAML"),
        ("a: 1\n---\nb: 2", "FILE:2: not YAML"),
        ("cluster: 2013-13-01", "FILE: not YAML: month must be in 1..12"),
        ("cluster: *nobody", "FILE:1: not YAML: found undefined alias"),
        ("? [a]\n: 1", "FILE:1: not YAML: found unhashable key"),
        ("cluster: \x01", "FILE: not YAML"),
    ],
)
def test_what_is_no_yaml_is_refused(tmp_path: Path, text: str, told: str) -> None:
    assert errors(tmp_path, ClusterSpec, text)[0].startswith(told)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("arguments: &a [*a]", id="recursive alias"),
        pytest.param("conf: &a {spark.x: *a}", id="alias of a mapping within itself"),
        pytest.param("parameters: {p: {default: &a [*a]}}", id="recursive default"),
        pytest.param("parameters: {p: {default: [1]}}", id="list as default"),
        pytest.param("parameters: {p: {default: !!binary aGk=}}", id="bytes as default"),
        pytest.param("description: " + "[" * 3000, id="3000 brackets"),
        pytest.param("timeout: [1]", id="timeout a list"),
        pytest.param("timeout: {a: 1}", id="timeout a mapping"),
        pytest.param(f"timeout: {'9' * 400}", id="timeout of 400 digits"),
        pytest.param(f"resources: {{driver: {{memory: {'9' * 400}}}}}", id="memory of 400 digits"),
        pytest.param("description: !!timestamp x", id="wrong timestamp tag"),
        pytest.param("description: !!bool x", id="wrong bool tag"),
    ],
)
def test_odd_input_is_refused_with_a_spec_error(tmp_path: Path, text: str) -> None:
    errors(tmp_path, JobSpec, JOB + text)


def test_an_alias_may_be_used_often(tmp_path: Path) -> None:
    spec = read(tmp_path, JobSpec, JOB + "conf: &c {spark.a: 1}\narguments: &l [a]\n")
    lines = ["x0: &x0 [a, a]"] + [f"x{i}: &x{i} [*x{i - 1}, *x{i - 1}]" for i in range(1, 40)]
    assert spec.conf == {"spark.a": "1"}
    assert len(errors(tmp_path, JobSpec, "\n".join(lines))) == 42


def test_no_file_and_no_text_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="nothere"):
        read_spec(JobSpec, tmp_path / "nothere.yaml")
    with pytest.raises(SpecError, match="can't be read"):
        read_spec(JobSpec, tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(SpecError, match="can't be read"):
        read_spec(JobSpec, tmp_path / "binary.yaml")


def test_a_long_value_is_cut_in_the_message(tmp_path: Path) -> None:
    (line,) = errors(tmp_path, ClusterSpec, f"cores: {'x' * 500}")
    assert len(line) < 200
