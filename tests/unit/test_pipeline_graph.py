"""Pipelines: what is wrong is told with its line, values go from step to step, pictures."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import yaml

from cloudmesh.sparknomad.errors import NotFoundError, ParameterError, SpecError
from cloudmesh.sparknomad.pipeline.drawing import mermaid, svg, tree
from cloudmesh.sparknomad.pipeline.graph import Step, bind_pipeline, expand, order
from cloudmesh.sparknomad.pipeline.pipelines import job_finder, read_pipeline
from cloudmesh.sparknomad.spec_pipelines import PipelineSpec
from cloudmesh.sparknomad.specfile import build_spec, spec_to_dict
from cloudmesh.sparknomad.specs import JobSpec

COPY = {
    "job": "copy",
    "program": "copy.py",
    "parameters": {
        "input": {"type": "uri", "required": True},
        "output": {"type": "uri", "write": "direct"},
        "year": {"type": "integer", "default": 2013, "minimum": 1900},
    },
    "arguments": ["--input", "{input}", "--output", "{output}", "--year", "{year}"],
}
ETL: dict[str, Any] = {
    "pipeline": "etl",
    "parameters": {"input": {"type": "uri", "required": True}, "year": {"type": "integer"}},
    "steps": {
        "report": {"job": "copy", "parameters": {"input": "{steps.clean.output}"}},
        "clean": {
            "job": "copy",
            "parameters": {"input": "{input}", "output": "cluster:{run}/clean/", "year": "{year}"},
        },
        "tell": {
            "job": "copy",
            "parameters": {"input": "x:y"},
            "after": ["report"],
            "when": "failed",
        },
    },
}


def find(job: str) -> JobSpec:
    if job != "copy":
        raise NotFoundError(f"There is no job {job!r}; defined: copy.")
    return build_spec(JobSpec, COPY)


def write(tmp_path: Path, **changes: Any) -> Path:
    path = tmp_path / "etl.yaml"
    path.write_text(yaml.safe_dump({**ETL, **changes}, sort_keys=False))
    return path


def steps_of(document: dict[str, Any], values: dict[str, Any]) -> dict[str, Step]:
    spec = build_spec(PipelineSpec, document)
    found = expand(spec, bind_pipeline(spec, values), "run-1", job_finder(find))
    return {step.name: step for step in found}


# order and values


def test_the_order_follows_from_the_data(tmp_path: Path) -> None:
    spec = read_pipeline(write(tmp_path), find)
    assert order(spec) == {"report": ("clean",), "clean": (), "tell": ("report",)}
    steps = steps_of(ETL, {"input": "aws:raw/", "year": "2014"})
    assert list(steps) == ["clean", "report", "tell"]
    assert steps["clean"].values == {
        "input": "aws:raw/",
        "output": "cluster:run-1/clean/",
        "year": 2014,
    }
    assert steps["report"].values["input"] == "cluster:run-1/clean/"
    assert steps["report"].needs == ("clean",)


def test_a_value_that_is_not_given_is_the_jobs_default() -> None:
    assert steps_of(ETL, {"input": "a:b"})["clean"].values["year"] == 2013


def test_a_matrix_is_one_step_for_each_combination() -> None:
    document = {
        "pipeline": "grid",
        "steps": {
            "make": {
                "job": "copy",
                "matrix": {"year": [2013, 2014], "kind": ["a", "b"]},
                "parameters": {"input": "x:{kind}", "output": "x:{kind}-{year}", "year": "{year}"},
            },
            "use": {
                "job": "copy",
                "matrix": {"year": [2013, 2014], "kind": ["a", "b"]},
                "parameters": {"input": "{steps.make.output}"},
            },
            "all": {"job": "copy", "parameters": {"input": "x:/"}, "after": ["make"]},
        },
    }
    steps = steps_of(document, {})
    assert len(steps) == 9
    one = steps["use[year=2014,kind=b]"]
    assert one.values["input"] == "x:b-2014" and one.needs == ("make[year=2014,kind=b]",)
    assert steps["make[year=2014,kind=b]"].values["year"] == 2014
    assert len(steps["all"].needs) == 4


def test_a_spec_can_be_written_and_read_again(tmp_path: Path) -> None:
    spec = read_pipeline(write(tmp_path), find)
    assert build_spec(PipelineSpec, spec_to_dict(spec)) == spec


# what is wrong


def copying(first: dict[str, Any], second: dict[str, Any] | None = None, **more: Any) -> Any:
    """A step ``a`` that copies, perhaps with more fields, and perhaps a step ``b``."""
    steps = {"a": {"job": "copy", "parameters": first, **more}}
    return {**steps, "b": {"job": "copy", "parameters": second}} if second else steps


@pytest.mark.parametrize(
    ("steps", "line", "told"),
    [
        ({"a": {"job": "cpoy"}}, "job: cpoy", "steps.a.job: There is no job 'cpoy'"),
        ({"a": {"job": "copy"}}, "a:", "steps.a.parameters: input: missing"),
        (copying({"inptu": "x"}), "inptu: x", "did you mean 'input'"),
        (copying({"input": "{yaer}"}), "input: '{yaer}'", "did you mean 'year'"),
        (copying({"input": "{steps.b.output}"}), "{steps.b.output}", "no step 'b'"),
        (
            copying({"input": "{steps.b.output}"}, {"input": "{steps.a.output}"}),
            ":",
            "a cycle",
        ),
        (
            copying({"input": "x:y"}, {"input": "{steps.a.outptu}"}),
            "outptu",
            "did you mean 'output'",
        ),
        (copying({"input": "x:y"}, after=["z"]), "after:", "no step 'z'"),
        (copying({"input": "{"}), "input: '{'", "a single '{'"),
        (copying({"input": "x"}, matrix={"year": [1]}), "year:", "has a parameter of this name"),
        (
            copying({"input": "x"}, {"input": "{steps.a.input}"}, matrix={"n": [1, 2]}),
            "{steps.a.input}",
            "is run once for each of its matrix",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_line(
    tmp_path: Path, steps: dict[str, Any], line: str, told: str
) -> None:
    path = write(tmp_path, parameters={"year": {"type": "integer"}}, steps=steps)
    with pytest.raises(SpecError) as caught:
        read_pipeline(path, find)
    said = next(each for each in caught.value.message.splitlines() if told in each)
    number = int(said.split("etl.yaml:")[1].split(":")[0])
    assert line in path.read_text().splitlines()[number - 1]


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    steps = {"a": {"job": "nope"}, "b": {"job": "copy", "after": ["c"]}}
    with pytest.raises(SpecError) as caught:
        read_pipeline(write(tmp_path, steps=steps), find)
    assert len(caught.value.message.splitlines()) == 3


def test_two_writers_of_one_place_are_told() -> None:
    step = {"job": "copy", "parameters": {"input": "x:y", "output": "x:out/"}}
    with pytest.raises(SpecError, match="steps a and b both write to x:out"):
        steps_of({"pipeline": "p", "steps": {"a": step, "b": step}}, {})


def test_values_that_do_not_fit_are_told_by_step() -> None:
    with pytest.raises(ParameterError, match=r"step clean: parameter year: 12: must be at least"):
        steps_of(ETL, {"input": "a:b", "year": "12"})
    with pytest.raises(ParameterError, match="parameter input: missing"):
        steps_of(ETL, {})
    with pytest.raises(ParameterError, match="the pipeline has no parameter 'yaer'"):
        steps_of(ETL, {"input": "a:b", "yaer": "2013"})


def test_too_many_steps_are_told(tmp_path: Path) -> None:
    step = {
        "job": "copy",
        "matrix": {"a": list(range(60)), "b": list(range(60))},
        "parameters": {"input": "x:y"},
    }
    with pytest.raises(SpecError, match="3,600 steps"):
        read_pipeline(write(tmp_path, steps={"a": step}), find)


# pictures

EDGES = {"b<1>": ("a",), "a": (), "c": ("a", "b<1>")}


def test_more_steps_than_memory_holds_are_told_at_once(tmp_path: Path) -> None:
    matrix = "{" + ", ".join(f"v{number}: [1, 2, 3, 4, 5, 6, 7, 8]" for number in range(20)) + "}"
    path = tmp_path / "many.yaml"
    (tmp_path / "p.py").write_text("")
    path.write_text(f"pipeline: many\nsteps:\n  a: {{job: p.py, matrix: {matrix}}}\n")
    with pytest.raises(SpecError, match=f"{8**20:,} steps with all their matrices"):
        read_pipeline(path, lambda name: JobSpec(name, "p.py"))


def test_a_graph_in_mermaids_language() -> None:
    text = mermaid(EDGES, {"a": "succeeded"})
    assert text.startswith("graph LR\n") and 's0["b<1>"]' in text
    assert "s1 --> s0" in text and "s0 --> s2" in text and "style s1 stroke" in text


def test_a_graph_as_svg_is_whole_and_names_every_step() -> None:
    root = ET.fromstring(svg(EDGES, {"a": "failed"}))
    titles = [each.text for each in root.iter("{http://www.w3.org/2000/svg}title")]
    assert titles == ["a: failed", "b<1>", "c"]
    assert len(list(root.iter("{http://www.w3.org/2000/svg}rect"))) == 3


def test_a_tree_has_a_line_for_each_step() -> None:
    assert tree(EDGES, {"a": "succeeded"}) == [
        "+ a: succeeded",
        "  . b<1>: waiting",
        "    . c: waiting",
    ]
