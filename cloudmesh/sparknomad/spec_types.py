"""The types of a spec's fields, as YAML, JSON and Python see them."""

from __future__ import annotations

import datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

from cloudmesh.sparknomad.units import format_size, parse_duration, parse_size

__all__ = [
    "CONFIGURATION",
    "Count",
    "Duration",
    "Line",
    "NAME_PATTERN",
    "Name",
    "PARAMETER_PATTERN",
    "Scalar",
    "Size",
    "Text",
    "Workers",
]

CONFIGURATION = ConfigDict(extra="forbid", populate_by_name=True, validate_default=True)
PARAMETER_PATTERN = r"^[A-Za-z_][A-Za-z0-9_-]*$"
NAME_PATTERN = r"^[a-z0-9]([a-z0-9._-]{0,38}[a-z0-9])?$"

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Size = Annotated[
    int,
    BeforeValidator(parse_size),
    PlainSerializer(format_size),
    WithJsonSchema(
        {
            "type": ["string", "integer"],
            "pattern": r"^\s*[0-9]+(\.[0-9]+)?\s*([kmgtKMGT]?)([iI]?[bB])?\s*$",
            "minimum": 1,
            "examples": ["512m", "4g"],
        }
    ),
]
Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    WithJsonSchema({"type": ["string", "number"], "examples": ["90s", "15m", "1h30m"]}),
]


def _text(value: Any) -> Any:
    """YAML reads ``8`` and ``true`` as no strings; Spark's configuration has only strings."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


Text = Annotated[
    str,
    BeforeValidator(_text),
    WithJsonSchema({"type": ["string", "number", "boolean"]}),
]


def _scalar(value: Any) -> Any:
    """YAML reads ``2020-01-31`` as a date; JSON, and so the store, has only its text."""
    if isinstance(value, datetime.date):
        return str(value)
    if value is None or isinstance(value, str | int | float):
        return value
    raise ValueError("must be a text, a number, true, false or a date")


Scalar = Annotated[
    Any,
    BeforeValidator(_scalar),
    WithJsonSchema({"type": ["string", "number", "boolean", "null"]}),
]
Line = Annotated[
    Text,
    Field(pattern=r"^(4\.1|3\.5)$"),
    WithJsonSchema({"type": ["string", "number"], "enum": ["4.1", "3.5", 4.1, 3.5]}),
]
Count = Annotated[int, Field(strict=True, ge=1, le=10_000)]
Workers = Annotated[int, Field(strict=True, ge=1, le=1000)]
