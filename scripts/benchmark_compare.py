"""Show what two runs of the benchmarks have in common, and what became slower.

``benchmark_compare.py [OLD NEW]``: files of ``benchmarks/results``; the last two if not given.
Ratios to the bare tool are compared, not seconds: machines differ. Ends with 1 if something that
both measured is slower by more than a tenth, and the intervals of the two ratios do not meet.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parents[1] / "benchmarks" / "results"
_WORSE = 1.1


def compare(old: dict[str, Any], new: dict[str, Any]) -> tuple[list[str], int]:
    """Lines for a person, and how many results became slower."""
    before = {each["name"]: each for each in old["results"]}
    lines, slower = [], 0
    for each in new["results"]:
        former = before.get(each["name"])
        if former is None or "ratio" not in each or "ratio" not in former:
            continue
        apart = _low(each) > _high(former)
        worse = each["ratio"] > former["ratio"] * _WORSE and apart
        slower += worse
        mark = "SLOWER" if worse else "faster" if _high(each) < _low(former) else ""
        lines.append(f"{former['ratio']:>8.2f} {each['ratio']:>8.2f}  {mark:<7} {each['name']}")
    return lines, slower


def _low(each: dict[str, Any]) -> float:
    return float((each.get("ratio_interval") or [each["ratio"]])[0])


def _high(each: dict[str, Any]) -> float:
    return float((each.get("ratio_interval") or [each["ratio"]])[-1])


def main(words: list[str]) -> int:
    """Entry point; see the module's docstring."""
    paths = [Path(word) for word in words] or sorted(RESULTS.glob("*.json"))[-2:]
    if len(paths) != 2:
        print("error: give two files: OLD NEW", file=sys.stderr)
        return 2
    old, new = (
        json.loads((path if path.is_file() else RESULTS / path).read_text("utf-8"))
        for path in paths
    )
    print(f"ratios to the bare tools: {paths[0].name}, {paths[1].name}")
    lines, slower = compare(old, new)
    print("\n".join(lines) or "nothing that both have measured")
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
