"""A model of clusters that this machine can't hold; not a measurement.

It goes on from what was measured: a straight line through time against work, with what each host
or run adds, and beside it the rate at which Nomad's scheduler has been seen to place tasks. What
comes first at some size is what would break first. ``scripts/report_data.py`` puts it into the
report.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Line", "line", "table"]

SIZES = (100, 1000)
NOMAD_TASKS_A_SECOND = 1500
"""https://www.hashicorp.com/c2m: three servers, 2 million containers on 6,100 hosts."""

TASKS = {"hosts": 3, "runs": 1, "steps": 1}
"""Tasks that Nomad places: worker, DataNode and the host's share of the rest; a driver."""


@dataclass(frozen=True)
class Line:
    """Seconds as a straight line of the work."""

    name: str
    unit: str
    fixed: float
    each: float
    most: float

    def at(self, work: float) -> float:
        """Seconds for some work, as far as the line goes on."""
        return self.fixed + self.each * work


def line(result: dict[str, Any]) -> Line:
    """The least-squares line through what was measured."""
    works, seconds = zip(*result["points"], strict=True)
    fitted = statistics.linear_regression(works, seconds)
    fixed, each = max(0.0, fitted.intercept), max(0.0, fitted.slope)
    return Line(result["name"], result["unit"], fixed, each, max(works))


def table(found: Sequence[Line]) -> str:
    """The model as a table in Markdown."""
    header = ["what", "measured up to", "fixed, s", "each, s"]
    header += [f"model: {size}, s" for size in SIZES] + [f"Nomad's part at {SIZES[-1]}, s"]
    rows = [header, ["---"] * len(header)]
    for one in found:
        nomad = TASKS[one.unit] * SIZES[-1] / NOMAD_TASKS_A_SECOND
        rows.append(
            [
                one.name,
                f"{one.most:g} {one.unit}",
                f"{one.fixed:.3g}",
                f"{one.each:.3g}",
                *(f"{one.at(size):.0f}" for size in SIZES),
                f"{nomad:.2g}",
            ]
        )
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
