"""Answers on standard output: tables for people, JSON and YAML for programs."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
import time
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from cloudmesh.sparknomad.errors import InputError

__all__ = ["FORMATS", "Output", "to_plain", "when"]

FORMATS = ("table", "json", "yaml")

# One cell is one line, and can't move the cursor of who reads it.
_BREAK = re.compile(r"\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_YAML_BREAKS = re.compile(r"[\x85\u2028\u2029\ufeff]")


def to_plain(value: Any) -> Any:
    """Turn dataclasses, enums and paths into what JSON knows."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


class Output:
    """Writes answers in one format.

    Args:
        format: ``table``, ``json`` or ``yaml``.

    Raises:
        InputError: for another format.
    """

    def __init__(self, format: str) -> None:
        if format not in FORMATS:
            raise InputError(f"--output={format}: must be one of {', '.join(FORMATS)}.")
        self.format = format

    @property
    def is_table(self) -> bool:
        """Whether a person reads it."""
        return self.format == "table"

    def data(self, value: Any) -> None:
        """Write one value as JSON or YAML."""
        plain = to_plain(value)
        if self.format == "yaml":
            text = _yaml(plain)
        else:
            text = json.dumps(plain, indent=2, ensure_ascii=False) + "\n"
            if not _is_writable(text):
                text = json.dumps(plain, indent=2) + "\n"
        sys.stdout.write(text)

    def rows(self, values: Sequence[Any], columns: Mapping[str, Any], *, empty: str) -> None:
        """Write a list: an array, or a table with one line each.

        Args:
            values: what is listed.
            columns: by heading, a function from a value to its cell.
            empty: said on standard error when a table would be empty.
        """
        if not self.is_table:
            self.data(list(values))
        elif not values:
            print(empty, file=sys.stderr)
        else:
            cells = [[_cell(get(value)) for get in columns.values()] for value in values]
            _write_columns([list(columns), *cells])

    def record(
        self, value: Any, shown: Mapping[str, Any], *, empty: str = "nothing to show"
    ) -> None:
        """Write one thing: an object, or its fields a line each.

        Args:
            value: the thing.
            shown: by name, what a table shows of it; what has no value is left out.
            empty: said on standard error when a table would be empty.
        """
        if not self.is_table:
            self.data(value)
            return
        lines = [[name, _cell(item)] for name, item in shown.items() if item not in (None, "")]
        if lines:
            _write_columns(lines)
        else:
            print(empty, file=sys.stderr)


def _yaml(plain: Any) -> str:
    import yaml

    text: str = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
    if _YAML_BREAKS.search(text) or not _is_writable(text):
        # PyYAML writes these line breaks as they are, and reads them back as blanks.
        text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=False)
    return text


def _encoding() -> str:
    return getattr(sys.stdout, "encoding", None) or "utf-8"


def _is_writable(text: str) -> bool:
    try:
        text.encode(_encoding())
    except UnicodeEncodeError:
        return False
    return True


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value.value) if isinstance(value, Enum) else str(value)
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", _BREAK.sub("⏎", text))


def _write_columns(lines: Sequence[Sequence[str]]) -> None:
    """Write a table; what the output can't hold is escaped."""
    encoding = _encoding()
    sys.stdout.write(_columns(lines).encode(encoding, "backslashreplace").decode(encoding))


def _columns(lines: Sequence[Sequence[str]]) -> str:
    """Align columns by two spaces, the last one ragged: easy to read, and to cut by awk."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]) - 1)]
    text = []
    for line in lines:
        padded = [cell.ljust(width) for cell, width in zip(line, widths, strict=False)]
        text.append("  ".join([*padded, line[-1]]).rstrip())
    return "\n".join(text) + "\n"


def when(seconds: float | None) -> str:
    """A point in time for a person, in local time."""
    if seconds is None:
        return "-"
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
