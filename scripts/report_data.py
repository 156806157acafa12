"""Tables and figures of the report, made of the JSON that ``benchmarks/results`` holds.

A table stands in ``report.md`` between ``<!-- table: KIND FILE | NAME | NAME -->`` and
``<!-- end -->``; a figure's image is followed by ``<!-- figure: KIND FILE | NAME | NAME -->``.
KIND is ``compared``, ``growth``, ``values`` or ``model``; the names are those of results in FILE.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import model

__all__ = ["Asked", "ReportError", "figures", "fill", "figure_data", "table"]

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
TABLE = re.compile(r"<!-- table: (?P<asked>[^>]+?) -->\n(?P<body>.*?)<!-- end -->", re.DOTALL)
FIGURE = re.compile(r"!\[[^]]*\]\((?P<place>[^)]+)\)[^\n]*\n+<!-- figure: (?P<asked>[^>]+?) -->")


class ReportError(Exception):
    """Something in the report is not as its sources are."""


@dataclass(frozen=True)
class Asked:
    """What a table or a figure shows.

    Attributes:
        kind: ``compared``, ``growth``, ``values`` or ``model``.
        file: in ``benchmarks/results``.
        names: of results, in order.
    """

    kind: str
    file: str
    names: tuple[str, ...]

    @classmethod
    def read(cls, text: str) -> Asked:
        """Read it from a comment."""
        first, *names = (part.strip() for part in text.split("|"))
        kind, _, file = first.partition(" ")
        return cls(kind, file.strip(), tuple(names))

    def results(self) -> list[dict[str, Any]]:
        """The results that are named.

        Raises:
            ReportError: if the file or a name is not there.
        """
        path = RESULTS / self.file
        if not path.is_file():
            raise ReportError(f"{self.file}: there is no such file in benchmarks/results")
        known = {each["name"]: each for each in json.loads(path.read_text("utf-8"))["results"]}
        missing = [name for name in self.names if name not in known]
        if missing or not self.names:
            wanted = missing[0] if missing else "nothing"
            raise ReportError(f"{self.file}: no result {wanted!r}; there are {', '.join(known)}")
        return [known[name] for name in self.names]


def table(asked: Asked) -> str:
    """A table in Markdown."""
    if asked.kind == "model":
        return model.table([model.line(each) for each in asked.results()])
    rows = {"compared": _compared, "growth": _growth, "values": _values}
    if asked.kind not in rows:
        raise ReportError(f"{asked.kind!r}: a table is of model, {', '.join(rows)}")
    header, *lines = rows[asked.kind](asked.results())
    rule = ["---"] * len(header)
    return "".join(f"| {' | '.join(row)} |\n" for row in (header, rule, *lines))


def _compared(results: Sequence[dict[str, Any]]) -> list[list[str]]:
    lines = [["what", "ours, s", "other, s", "ratio", "95% interval", "samples", "goal"]]
    for each in results:
        first, second, *_ = each["medians"]
        low, high = each.get("ratio_interval") or ("", "")
        samples = each["samples"]
        lines.append(
            [
                each["name"],
                _number(each["medians"][first]),
                f"{_number(each['medians'][second])} ({second})",
                f"{each['ratio']:.2f}",
                f"{low:.2f} to {high:.2f}" if samples[first] > 1 and low != "" else "-",
                f"{samples[first]} and {samples[second]}",
                each["goal"],
            ]
        )
    return lines


def _growth(results: Sequence[dict[str, Any]]) -> list[list[str]]:
    lines = [["what", "work", "seconds", "exponent"]]
    for each in results:
        works = ", ".join(f"{work:g}" for work, _ in each["points"])
        seconds = ", ".join(_number(second) for _, second in each["points"])
        slope = each["exponent"]
        shown = "-" if slope is None else f"{slope:.2f}"
        lines.append([each["name"], f"{works} {each['unit']}", seconds, shown])
    return lines


def _values(results: Sequence[dict[str, Any]]) -> list[list[str]]:
    lines = [["what", "value"]]
    for each in results:
        for key, value in each.items():
            if key != "name" and not (isinstance(value, list | dict) and not value):
                lines.append([f"{each['name']}: {key.replace('_', ' ')}", _shown(value)])
    return lines


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_shown(each)}" for key, each in value.items())
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    return _number(value) if isinstance(value, float) else str(value)


def _number(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def fill(text: str) -> str:
    """The report with its tables as the results say."""

    def made(found: re.Match[str]) -> str:
        body = table(Asked.read(found["asked"]))
        return f"<!-- table: {found['asked']} -->\n\n{body}\n<!-- end -->"

    return TABLE.sub(made, text)


def figures(text: str) -> dict[str, Asked]:
    """What the report's figures show, by their files."""
    return {found["place"]: Asked.read(found["asked"]) for found in FIGURE.finditer(text)}


def figure_data(asked: Asked) -> list[dict[str, Any]]:
    """The numbers that a figure shows: what is drawn, and what is kept in its file."""
    if asked.kind == "compared":
        keys = ("name", "ratio", "ratio_interval")
    elif asked.kind == "growth":
        keys = ("name", "unit", "points", "exponent")
    else:
        raise ReportError(f"{asked.kind!r}: a figure is of compared or growth")
    return [{key: each.get(key) for key in keys} for each in asked.results()]
