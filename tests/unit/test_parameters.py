"""A job's parameters, from assignments to the program's arguments."""

from __future__ import annotations

import contextlib
import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudmesh.sparknomad.errors import ParameterError, SpecError
from cloudmesh.sparknomad.job.parameters import (
    LARGEST_PARAMETERS,
    bind,
    check_job,
    parse_assignments,
    render,
)
from cloudmesh.sparknomad.specfile import build_spec
from cloudmesh.sparknomad.specs import JobSpec

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)))


def job(arguments: list[str] | None = None, **parameters: dict[str, Any]) -> JobSpec:
    data = {"job": "j", "program": "p.py", "parameters": parameters, "arguments": arguments or []}
    return build_spec(JobSpec, data)


def value_of(given_value: Any, **parameter: Any) -> Any:
    return bind(job(x=parameter), {"x": given_value})["x"]


def test_the_value_is_everything_after_the_first_equals_sign() -> None:
    assert parse_assignments(["a=b=c", "b=", "c= x "]) == {"a": "b=c", "b": "", "c": " x "}


@pytest.mark.parametrize("assignments", [["a"], ["=b"], [""], ["a=1", "a=2"]])
def test_what_is_no_assignment_is_refused(assignments: list[str]) -> None:
    with pytest.raises(ParameterError, match="--param"):
        parse_assignments(assignments)


@given(st.dictionaries(st.text(st.characters(exclude_characters="="), min_size=1), texts))
def test_assignments_round_trip(values: dict[str, str]) -> None:
    assert parse_assignments(f"{name}={value}" for name, value in values.items()) == values


@pytest.mark.parametrize(
    ("kind", "given_value", "bound"),
    [
        ("string", "", ""),
        ("string", 5, "5"),
        ("string", True, "true"),
        ("integer", "-12", -12),
        ("integer", " +7 ", 7),
        ("integer", 3, 3),
        ("number", "1e3", 1000.0),
        ("number", 2, 2.0),
        ("boolean", "Yes", True),
        ("boolean", "off", False),
        ("boolean", 1, True),
        ("boolean", False, False),
        ("uri", "s3://bucket/a b", "s3://bucket/a b"),
        ("uri", "aws:books/", "aws:books/"),
        ("uri", "./here", "./here"),
        ("date", "2024-02-29", "2024-02-29"),
        ("date", datetime.date(2024, 1, 2), "2024-01-02"),
    ],
)
def test_values_of_each_type(kind: str, given_value: Any, bound: Any) -> None:
    assert value_of(given_value, type=kind) == bound


@pytest.mark.parametrize(
    ("kind", "given_value", "told"),
    [
        ("string", "a\0b", "NUL"),
        ("string", ["a"], "must be a text"),
        ("integer", "1.5", "whole number"),
        ("integer", True, "whole number"),
        ("integer", "", "whole number"),
        ("number", "many", "must be a number"),
        ("number", "nan", "finite"),
        ("number", "-inf", "finite"),
        ("number", True, "must be a number"),
        ("number", None, ""),
        ("boolean", "maybe", "true or false"),
        ("boolean", 2, "true or false"),
        ("uri", " ", "URL"),
        ("uri", "a\0b", "NUL"),
        ("date", "2023-02-29", "YYYY-MM-DD"),
        ("date", "yesterday", "YYYY-MM-DD"),
    ],
)
def test_values_that_do_not_fit_their_type(kind: str, given_value: Any, told: str) -> None:
    if given_value is None:
        assert bind(job(x={"type": kind}), {"x": None}) == {}
        return
    with pytest.raises(ParameterError, match=f"parameter x: .*{told}"):
        value_of(given_value, type=kind)


@pytest.mark.parametrize(
    ("parameter", "good", "bad"),
    [
        ({"type": "integer", "minimum": 1}, "1", "0"),
        ({"type": "integer", "maximum": "9"}, "9", "10"),
        ({"type": "number", "minimum": 0.5}, "0.5", "0.4"),
        ({"type": "date", "minimum": "2024-01-01"}, "2024-01-01", "2023-12-31"),
        ({"type": "date", "maximum": datetime.date(2024, 1, 1)}, "2024-01-01", "2024-01-02"),
        ({"pattern": "[a-z]+"}, "abc", "abc1"),
        ({"pattern": "a|b"}, "b", "bb"),
        ({"pattern": "[a-z]+"}, "abc", "abc\n"),
        ({"type": "choice", "choices": ["red", "green"]}, "red", "gren"),
    ],
)
def test_bounds_patterns_and_choices(parameter: dict[str, Any], good: str, bad: str) -> None:
    assert str(value_of(good, **parameter)) == good
    with pytest.raises(ParameterError, match="must "):
        value_of(bad, **parameter)


@pytest.mark.parametrize("pattern", ["out/{i}", r"\d{4}-{d}", "(x){e<=1}", "[[:alpha:]]", "(?<a"])
def test_a_pattern_that_others_would_read_otherwise_is_refused(pattern: str) -> None:
    document = {"x": {"type": "string", "pattern": pattern}}
    job = build_spec(JobSpec, {"job": "j", "program": "p.py", "parameters": document})
    with pytest.raises(SpecError, match="pattern: "):
        check_job(job)


@pytest.mark.parametrize("pattern", [r"\d{4}-\d{2}", "a{2,}", "a{,3}", r"out/\{i\}", "[a-z]+"])
def test_a_usual_pattern_is_taken(pattern: str) -> None:
    document = {"x": {"type": "string", "pattern": pattern}}
    check_job(build_spec(JobSpec, {"job": "j", "program": "p.py", "parameters": document}))


def test_a_pattern_that_takes_for_ever_is_told() -> None:
    job = build_spec(
        JobSpec,
        {
            "job": "j",
            "program": "p.py",
            "parameters": {"x": {"type": "string", "pattern": "(a|aa)+"}},
        },
    )
    assert bind(job, {"x": "aaa"}) == {"x": "aaa"}
    with pytest.raises(ParameterError, match="the job needs a simpler pattern"):
        bind(job, {"x": "a" * 60 + "!"})


@pytest.mark.parametrize("name", ["etl.py", "etl.yaml", "etl.jar", "etl.yml"])
def test_the_name_of_a_file_is_no_name_of_a_job(name: str) -> None:
    with pytest.raises(SpecError, match="is the name of a file"):
        check_job(JobSpec(name, "p.py"))


def test_a_near_choice_is_proposed() -> None:
    with pytest.raises(ParameterError, match="one of red, green; did you mean 'green'"):
        value_of("gren", type="choice", choices=["red", "green"])


def test_defaults_are_converted_and_missing_ones_left_out() -> None:
    spec = job(
        n={"type": "integer", "default": "5"}, o={}, d={"type": "date", "default": "2024-01-01"}
    )
    assert bind(spec, {}) == {"n": 5, "d": "2024-01-01"}


def test_everything_wrong_is_told_at_once() -> None:
    spec = job(n={"type": "integer"}, must={"required": True}, ok={})
    with pytest.raises(ParameterError) as caught:
        bind(spec, {"n": "x", "okk": "1", "zzzz": "2"})
    assert caught.value.message.splitlines() == [
        "parameter okk: the job has no parameter 'okk'; did you mean 'ok'?",
        "parameter zzzz: the job has no parameter 'zzzz'; it has: n, must, ok",
        "parameter n: 'x': must be a whole number",
        "parameter must: missing; this string is required",
    ]
    assert "job show j" in caught.value.hint


@given(texts)
def test_any_text_passes_through_unchanged(value: str) -> None:
    spec = job(["{x}", "--x={x}", "{{{x}}}"], x={})
    check_job(spec)
    assert render(spec, bind(spec, {"x": value})) == (value, f"--x={value}", "{" + value + "}")


def test_undecodable_bytes_of_the_command_line_pass_through() -> None:
    spec = job(["{x}"], x={})
    assert render(spec, bind(spec, {"x": "a\udcff"})) == ("a\udcff",)


def test_a_lone_surrogate_of_json_or_yaml_is_refused_or_passed() -> None:
    spec = job(["{x}"], x={})
    with contextlib.suppress(ParameterError):
        assert render(spec, bind(spec, {"x": "\ud800"})) == ("\ud800",)


def test_a_number_too_large_for_a_float_is_refused() -> None:
    with pytest.raises(ParameterError, match="must be a"):
        value_of(10**400, type="number")


def test_values_are_written_as_programs_read_them() -> None:
    spec = job(
        ["{b}", "{n}", "{f}", "{{}}", "a{{b}}{n}"],
        b={"type": "boolean"},
        n={"type": "integer"},
        f={"type": "number"},
    )
    bound = bind(spec, {"b": "no", "n": "007", "f": "1.50"})
    assert render(spec, bound) == ("false", "7", "1.5", "{}", "a{b}7")


@pytest.mark.parametrize(
    ("arguments", "rendered"),
    [
        (["--top", "{top}", "end"], ("end",)),
        (["{top}", "end"], ("end",)),
        (["--top={top}"], ("--top=",)),
        (["a", "{top}"], ("a",)),
        (["-t", "{top}", "{top}"], ()),
        (["--verbose", "--top", "{top}"], ("--verbose",)),
        (["--a=b", "{top}"], ("--a=b",)),
        (["--in", "{given}", "{top}"], ("--in", "-v")),
    ],
)
def test_an_option_without_value_is_dropped(
    arguments: list[str], rendered: tuple[str, ...]
) -> None:
    spec = job(arguments, top={}, given={})
    assert render(spec, bind(spec, {"given": "-v"})) == rendered


def test_arguments_have_a_limit_in_bytes() -> None:
    spec = job(["{x}", "é"], x={})
    render(spec, {"x": "a" * (LARGEST_PARAMETERS - 2)})
    with pytest.raises(ParameterError, match="1,048,577 bytes"):
        render(spec, {"x": "a" * (LARGEST_PARAMETERS - 1)})


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["{inptu}"], "no parameter 'inptu'; did you mean 'input'"),
        (["{zzz}"], "it has: input"),
        (["a{"], "a single '{'; write it twice"),
        (["a}"], "a single '}'"),
        (["{a{input}"], "a single '{'"),
        (["{}"], "no parameter ''"),
    ],
)
def test_arguments_that_name_nothing_are_refused(arguments: list[str], told: str) -> None:
    with pytest.raises(SpecError, match=r"job 'j': arguments\.0") as caught:
        check_job(job(arguments, input={}))
    assert told in caught.value.message


@pytest.mark.parametrize(
    ("parameter", "told"),
    [
        ({"minimum": 1}, "only an integer, number or date has one"),
        ({"type": "integer", "pattern": "a"}, "only a string or uri has one"),
        ({"pattern": "["}, "is not a regular expression"),
        ({"type": "choice"}, "a choice, and only a choice"),
        ({"choices": ["a"]}, "a choice, and only a choice"),
        ({"required": True, "default": "a"}, "a required parameter has none"),
        ({"type": "integer", "default": "x"}, "default: 'x': must be a whole number"),
        ({"type": "integer", "minimum": 5, "default": 4}, "default: 4: must be at least 5"),
        ({"type": "date", "maximum": "soon"}, "maximum: 'soon': must be a date"),
        ({"type": "choice", "choices": ["a"], "default": "b"}, "must be one of a"),
    ],
)
def test_contradictions_of_a_parameter_are_refused(parameter: dict[str, Any], told: str) -> None:
    with pytest.raises(SpecError, match=r"job 'j': parameters\.x\.") as caught:
        check_job(job(x=parameter))
    assert told in caught.value.message


def test_a_python_program_has_no_main_class() -> None:
    data = {"job": "j", "program": "p.py", "class": "M"}
    with pytest.raises(SpecError, match="class: 'M'"):
        check_job(build_spec(JobSpec, data))


def test_bounds_that_no_value_fits_are_refused() -> None:
    with pytest.raises(SpecError):
        check_job(job(x={"type": "integer", "minimum": 5, "maximum": 4}))
