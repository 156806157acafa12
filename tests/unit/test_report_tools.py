"""The report's tools: tables and figures are what their JSON says; what is wrong is told."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "benchmarks")]

import benchmark_compare  # noqa: E402
import make_report  # noqa: E402
import report_data  # noqa: E402
import statistic  # noqa: E402

RESULTS: list[dict[str, Any]] = [
    {
        "name": "deploy",
        "goal": "at most 1.1",
        "medians": {"ours": 2.0, "plain": 4.0},
        "samples": {"ours": 3, "plain": 3},
        "ratio": 0.5,
        "ratio_interval": [0.4, 0.6],
    },
    {
        "name": "hosts",
        "unit": "hosts",
        "points": [[1, 10.0], [2, 12.0], [4, 16.0]],
        "exponent": 0.3,
    },
    {"name": "load", "errors": 0, "p99": 0.1234, "kinds": []},
]


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "a.json").write_text(json.dumps({"results": RESULTS}))
    monkeypatch.setattr(report_data, "RESULTS", tmp_path)
    return tmp_path


def test_a_table_is_what_its_json_says(results: Path) -> None:
    asked = "<!-- table: compared a.json | deploy -->\n\nold\n<!-- end -->\n"
    made = report_data.fill(asked)
    assert "| deploy | 2 | 4 (plain) | 0.50 | 0.40 to 0.60 | 3 and 3 | at most 1.1 |" in made
    assert report_data.fill(made) == made
    assert report_data.fill(made.replace("0.50", "0.49")) == made
    grown = report_data.table(report_data.Asked.read("growth a.json | hosts"))
    assert "| hosts | 1, 2, 4 hosts | 10, 12, 16 | 0.30 |" in grown
    values = report_data.table(report_data.Asked.read("values a.json | load"))
    assert "| load: p99 | 0.123 |" in values and "kinds" not in values
    modelled = report_data.table(report_data.Asked.read("model a.json | hosts"))
    assert "| hosts | 4 hosts | 8 | 2 | 208 | 2008 | 2 |" in modelled


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("compared b.json | deploy", "b.json: there is no such file"),
        ("compared a.json | destroy", "no result 'destroy'; there are deploy"),
        ("compared a.json", "no result 'nothing'"),
        ("pie a.json | deploy", "'pie': a table is of"),
    ],
)
def test_a_table_of_nothing_is_refused(results: Path, asked: str, told: str) -> None:
    with pytest.raises(report_data.ReportError, match=told):
        report_data.table(report_data.Asked.read(asked))


def test_a_figure_keeps_the_numbers_that_it_shows(results: Path, tmp_path: Path) -> None:
    for asked in ("compared a.json | deploy", "growth a.json | hosts"):
        wanted = report_data.Asked.read(asked)
        path = tmp_path / "figure.svg"
        make_report.draw(wanted, path)
        assert make_report.drawn(path) == json.loads(json.dumps(report_data.figure_data(wanted)))
        assert path.read_text().startswith("<?xml")


def test_keys_that_are_missing_or_unused_are_told() -> None:
    text = "Borg [@verma2015borg] and others [see @one2020; @two2021]. Mail me@example.org."
    bib = "@article{verma2015borg,\n}\n@misc{two2021,\n}\n@misc{three2022,\n}\n"
    assert make_report.wrong_citations(text, bib) == [
        "cited, but not in report.bib: one2020",
        "in report.bib, but never cited: three2022",
    ]


def test_dead_links_are_told() -> None:
    page = '<h1 id="a">x</h1><a href="#a"></a><a href="#b"></a><a href="README.md"></a>'
    page += '<a href="docs/none.md"></a><a href="https://example.org/#c"></a>'
    assert make_report.dead_links(page) == [
        "a link to a part that is not there: #b",
        "a link to a file that is not there: docs/none.md",
    ]


def test_growth_has_an_exponent_and_a_ratio_its_interval() -> None:
    assert statistic.exponent([(1, 2.0), (2, 4.0), (4, 8.0)]) == pytest.approx(1)
    assert statistic.exponent([(1, 3.0), (10, 3.0), (100, 3.0)]) == pytest.approx(0)
    assert statistic.exponent([(1, 2.0), (2, 4.0)]) is None
    low, high = statistic.ratio_interval([1.0, 1.1, 0.9], [2.0, 2.2, 1.8])
    assert 0.4 < low <= 0.5 <= high < 0.62
    assert statistic.ratio_interval([1.0], [2.0]) == (0.5, 0.5)


def test_what_became_slower_is_told_apart_from_noise() -> None:
    def run(ratio: float, low: float, high: float) -> dict[str, Any]:
        return {"results": [{"name": "deploy", "ratio": ratio, "ratio_interval": [low, high]}]}

    before = run(0.9, 0.8, 1.0)
    assert benchmark_compare.compare(before, run(1.3, 1.2, 1.4))[1] == 1
    assert benchmark_compare.compare(before, run(1.3, 0.95, 1.6))[1] == 0
    assert benchmark_compare.compare(before, run(0.92, 0.85, 0.99))[1] == 0
    lines, _ = benchmark_compare.compare(before, run(0.5, 0.4, 0.6))
    assert "faster" in lines[0]
