"""Sizes and durations."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudmesh.sparknomad.units import (
    format_duration,
    format_size,
    parse_duration,
    parse_size,
    spark_size,
)

LARGEST_EXACT = 2**53


@given(st.integers(1, LARGEST_EXACT))
def test_a_formatted_size_reads_back(size: int) -> None:
    assert parse_size(format_size(size)) == size


@given(st.integers(1, 4096), st.sampled_from("kmgtKMGT"), st.sampled_from(["", "b", "B", "iB"]))
def test_units_are_binary(number: int, unit: str, suffix: str) -> None:
    factor = 1024 ** ("kmgt".index(unit.lower()) + 1)
    assert parse_size(f" {number} {unit}{suffix} ") == number * factor


@pytest.mark.parametrize(
    ("text", "size"),
    [("512m", 512 * 1024**2), ("1.5 GiB", 1536 * 1024**2), ("1048576", 1048576), (7, 7)],
)
def test_sizes_as_people_write_them(text: str | int, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "g", "-1g", "0", "0g", "1x", "1 g b", "1,5g", "1e3", "nan", True, False, "4 gg"]
)
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_size(text)


@given(st.text())
def test_any_text_is_a_size_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert parse_size(text) > 0


def test_an_endless_size_is_refused() -> None:
    with pytest.raises(ValueError, match="is not a size"):
        parse_size("9" * 400)


def test_a_size_beyond_two_to_the_53_is_exact() -> None:
    assert parse_size(format_size(LARGEST_EXACT + 1)) == LARGEST_EXACT + 1


@pytest.mark.parametrize(("size", "text"), [(1, "1m"), (1024**3, "1024m"), (3 * 1024**2, "3m")])
def test_spark_gets_whole_mebibytes(size: int, text: str) -> None:
    assert spark_size(size) == text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("1h30m", 5400),
        ("250ms", 0.25),
        ("15", 15),
        (2.5, 2.5),
        ("1d", 86400),
        (" 1H 5M ", 3900),
        ("1.5m", 90),
    ],
)
def test_durations_as_people_write_them(text: str | float, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "0", "-5", "-5s", "inf", "nan", "1x", "h", "5 s later", True, "36501d", "1e99"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


@given(st.text())
def test_any_text_is_a_duration_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert parse_duration(text) > 0


@pytest.mark.parametrize("value", [[1], {"a": 1}, 10**400])
def test_what_yaml_can_hold_but_is_no_duration_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(value)


@given(st.floats(0.1, 86400 * 30))
def test_a_formatted_duration_reads_back_within_its_precision(seconds: float) -> None:
    precision = 0.06 if seconds < 10 else 0.51 if seconds < 3599 else 60
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, abs=precision)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0.4s"),
        (12, "12s"),
        (59.6, "1m00s"),
        (185, "3m05s"),
        (3720, "1h02m"),
        (3599.7, "1h00m"),
    ],
)
def test_durations_for_a_person(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
