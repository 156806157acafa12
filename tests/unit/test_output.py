"""Answers on standard output."""

from __future__ import annotations

import io
import json
import sys
import time
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cloudmesh.sparknomad.errors import InputError
from cloudmesh.sparknomad.output import Output, to_plain, when


class Color(Enum):
    RED = "red"


@dataclass(frozen=True)
class Thing:
    name: str
    color: Color = Color.RED
    path: Path = Path("/p")
    parts: tuple[Any, ...] = ()
    numbers: dict[Any, Any] = field(default_factory=dict)
    missing: int | None = None


THINGS = [Thing("é one"), Thing("two", parts=(Thing("inner"),), numbers={1: 1.5})]
COLUMNS = {"NAME": lambda thing: thing.name, "COLOR": lambda thing: thing.color}
Capture = pytest.CaptureFixture[str]


def test_everything_becomes_what_json_knows() -> None:
    assert to_plain(THINGS[1]) == {
        "name": "two",
        "color": "red",
        "path": "/p",
        "parts": [
            {
                "name": "inner",
                "color": "red",
                "path": "/p",
                "parts": [],
                "numbers": {},
                "missing": None,
            }
        ],
        "numbers": {"1": 1.5},
        "missing": None,
    }


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_plain_data_stays_as_it_is(value: Any) -> None:
    assert to_plain(value) == value


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_json_and_yaml_hold_the_same(form: str, capsys: Capture) -> None:
    Output(form).rows(THINGS, COLUMNS, empty="none")
    read = json.loads if form == "json" else yaml.safe_load
    told = capsys.readouterr()
    assert read(told.out) == to_plain(THINGS)
    assert "é" in told.out
    assert told.err == ""


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_an_empty_list_is_an_empty_array(form: str, capsys: Capture) -> None:
    Output(form).rows([], COLUMNS, empty="none")
    assert capsys.readouterr() == ("[]\n", "")


def test_a_table_has_aligned_columns(capsys: Capture) -> None:
    Output("table").rows(THINGS, COLUMNS, empty="none")
    assert capsys.readouterr().out == "NAME   COLOR\né one  red\ntwo    red\n"


def test_an_empty_table_says_so_beside_the_data(capsys: Capture) -> None:
    Output("table").rows([], COLUMNS, empty="none yet")
    assert capsys.readouterr() == ("", "none yet\n")


def test_cells_of_a_table_are_for_people(capsys: Capture) -> None:
    columns = {"A": lambda v: v[0], "B": lambda v: v[1], "C": lambda v: v[2]}
    Output("table").rows([(None, True, "")], columns, empty="")
    assert capsys.readouterr().out.splitlines()[1] == "-  yes"


def test_a_record_has_a_line_for_each_field_that_has_a_value(capsys: Capture) -> None:
    Output("table").record(None, {"name": "x", "none": None, "empty": "", "zero": 0, "no": False})
    assert capsys.readouterr().out == "name  x\nzero  0\nno    no\n"


def test_a_record_as_json_is_the_whole_value(capsys: Capture) -> None:
    Output("json").record(THINGS[0], {"name": "x"})
    assert json.loads(capsys.readouterr().out) == to_plain(THINGS[0])


def test_a_record_without_any_value_is_empty(capsys: Capture) -> None:
    Output("table").record({}, {})
    assert capsys.readouterr() == ("", "nothing to show\n")


def test_a_table_has_one_line_for_each_value(capsys: Capture) -> None:
    Output("table").rows([Thing("two\nlines")], COLUMNS, empty="")
    assert capsys.readouterr().out == "NAME       COLOR\ntwo⏎lines  red\n"


def test_a_cell_can_not_move_the_cursor(capsys: Capture) -> None:
    Output("table").record(None, {"name": "a\x1b[2Jb\tc\x9b"})
    assert capsys.readouterr().out == "name  a\\x1b[2Jb\\x09c\\x9b\n"


def test_an_output_that_is_no_unicode_gets_what_it_can_hold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for form, told in (("table", "n  \\xe9\\u65e5"), ("json", '"\\u00e9\\u65e5"')):
        buffer = io.BytesIO()
        monkeypatch.setattr("sys.stdout", io.TextIOWrapper(buffer, "ascii"))
        Output(form).record({"n": "é日"}, {"n": "é日"})
        sys.stdout.flush()
        assert told in buffer.getvalue().decode("ascii")


def test_a_next_line_character_survives_yaml(capsys: Capture) -> None:
    Output("yaml").data({"a": "x\x85y"})
    assert yaml.safe_load(capsys.readouterr().out) == {"a": "x\x85y"}


def test_a_value_with_an_undecodable_byte_is_written_as_yaml(capsys: Capture) -> None:
    Output("yaml").data({"name": "a\udcff"})
    assert "name" in capsys.readouterr().out


@pytest.mark.parametrize("form", ["table", "json"])
def test_a_value_with_an_undecodable_byte_is_written_somehow(form: str, capsys: Capture) -> None:
    Output(form).record({"name": "a\udcff"}, {"name": "a\udcff"})
    assert "name" in capsys.readouterr().out


@pytest.mark.parametrize("form", ["", "JSON", "xml"])
def test_another_format_is_refused(form: str) -> None:
    with pytest.raises(InputError, match="one of table, json, yaml"):
        Output(form)


def test_points_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    assert when(0) == "1970-01-01 00:00:00"
    assert when(None) == "-"
    monkeypatch.undo()
    time.tzset()
