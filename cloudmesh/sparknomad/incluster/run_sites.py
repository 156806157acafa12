"""What of a run's data crossed between the sites of its cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["site_report"]


def site_report(run: Mapping[str, Any], report: Mapping[str, Any]) -> dict[str, Any]:
    """Measure what came from the storages of other sites, and went there.

    Args:
        run: the run's document: its site, and the sites that its storages are near.
        report: what was measured of it otherwise: sums of Spark's own tasks, and by parameter
            what was staged and uploaded.

    Returns:
        The run's ``site`` with its ``site_reason``; ``crossed_bytes``; and ``crossed``: for each
        storage of another site this site and the bytes, which are ``None`` for one that Spark
        read or wrote itself, as it counts only all of these together. Empty without sites.
    """
    own = run.get("site")
    if not own:
        return {}
    inputs, outputs = report.get("inputs") or {}, report.get("outputs") or {}
    crossed: dict[str, dict[str, Any]] = {}
    total, direct = 0, False
    for name, site in sorted((run.get("sites") or {}).items()):
        if site == own:
            continue
        moved: int | None
        if (inputs.get(name) or {}).get("staged"):
            moved = int(inputs[name].get("fetched_bytes") or 0)
        elif name in outputs:
            moved = int(outputs[name].get("bytes") or 0)
        else:
            moved, direct = None, True
        crossed[name] = {"site": site, "bytes": moved}
        total += moved or 0
    if direct:
        total += _by_spark(inputs, outputs, report)
    return {
        "site": own,
        "site_reason": run.get("site_reason", ""),
        "crossed_bytes": total,
        "crossed": crossed,
    }


def _by_spark(
    inputs: Mapping[str, Any], outputs: Mapping[str, Any], report: Mapping[str, Any]
) -> int:
    """The bytes that Spark moved beside those that it read from, or wrote into, the cluster.

    A staged input that was read twice is counted as read from elsewhere at most as often.
    """
    here = sum(int(each.get("bytes") or 0) for each in inputs.values() if each.get("staged"))
    kept = sum(int(each.get("bytes") or 0) for each in outputs.values())
    read = max(0, int(report.get("input_bytes") or 0) - here)
    written = max(0, int(report.get("output_bytes") or 0) - kept)
    return read + written
