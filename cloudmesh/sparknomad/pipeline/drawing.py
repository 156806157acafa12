"""A pipeline as a picture: Mermaid's text, or SVG. Pure."""

from __future__ import annotations

import graphlib
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

__all__ = ["mermaid", "svg", "tree"]

_WIDTH, _HEIGHT, _GAP_X, _GAP_Y = 180, 44, 70, 22
_COLOURS = {
    "succeeded": "#2e7d32",
    "failed": "#c62828",
    "running": "#1565c0",
    "cancelled": "#6d4c41",
    "skipped": "#757575",
}
_MARKS = {
    "succeeded": "+",
    "failed": "!",
    "running": ">",
    "cancelled": "x",
    "skipped": "-",
    "waiting": ".",
}


def mermaid(edges: Mapping[str, Sequence[str]], states: Mapping[str, str] | None = None) -> str:
    """A graph in Mermaid's language.

    Args:
        edges: for each step those that it waits for.
        states: of the steps, where they are run.
    """
    ids = {name: f"s{number}" for number, name in enumerate(edges)}
    lines = ["graph LR"]
    for name, key in ids.items():
        text = name.replace('"', "#quot;")
        lines.append(f'  {key}["{text}"]')
    lines += [f"  {ids[other]} --> {ids[name]}" for name in edges for other in edges[name]]
    for name, state in (states or {}).items():
        if state in _COLOURS and name in ids:
            lines.append(f"  style {ids[name]} stroke:{_COLOURS[state]},stroke-width:2px")
    return "\n".join(lines) + "\n"


def _columns(edges: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """The steps by how many others stand before them at most."""
    depth: dict[str, int] = {}
    for name in graphlib.TopologicalSorter(edges).static_order():
        depth[name] = max((depth[other] + 1 for other in edges[name]), default=0)
    columns: list[list[str]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for name in edges:
        columns[depth[name]].append(name)
    return columns


def svg(edges: Mapping[str, Sequence[str]], states: Mapping[str, str] | None = None) -> str:
    """A picture of its own, with a title for each step; see `mermaid`."""
    columns, known = _columns(edges), states or {}
    places = {
        name: (20 + x * (_WIDTH + _GAP_X), 20 + y * (_HEIGHT + _GAP_Y))
        for x, column in enumerate(columns)
        for y, name in enumerate(column)
    }
    width = 40 + len(columns) * (_WIDTH + _GAP_X) - _GAP_X
    height = 40 + max(map(len, columns), default=0) * (_HEIGHT + _GAP_Y) - _GAP_Y
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="sans-serif" font-size="13" role="img">',
        '<defs><marker id="end" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" '
        'markerHeight="8" orient="auto"><path d="M0 0 8 4 0 8z" fill="#555"/></marker></defs>',
    ]
    for name, others in edges.items():
        for other in others:
            (x0, y0), (x1, y1) = places[other], places[name]
            begin, end = (x0 + _WIDTH, y0 + _HEIGHT / 2), (x1, y1 + _HEIGHT / 2)
            middle = (begin[0] + end[0]) / 2
            parts.append(
                f'<path d="M{begin[0]} {begin[1]} C{middle} {begin[1]} {middle} {end[1]} '
                f'{end[0]} {end[1]}" fill="none" stroke="#555" marker-end="url(#end)"/>'
            )
    for name, (x, y) in places.items():
        state = known.get(name, "")
        title = escape(f"{name}: {state}" if state else name)
        shown = escape(name if len(name) <= 24 else name[:23] + "…")
        parts.append(
            f'<g><title>{title}</title><rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" '
            f'rx="6" fill="#fff" stroke="{_COLOURS.get(state, "#888")}" stroke-width="2"/>'
            f'<text x="{x + _WIDTH / 2}" y="{y + _HEIGHT / 2 + 5}" text-anchor="middle" '
            f'fill="#111">{shown}</text></g>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def tree(edges: Mapping[str, Sequence[str]], states: Mapping[str, str]) -> list[str]:
    """A line for each step, farther right the more stand before it."""
    lines = []
    for depth, column in enumerate(_columns(edges)):
        for name in column:
            state = states.get(name, "waiting")
            lines.append(f"{'  ' * depth}{_MARKS.get(state, '?')} {name}: {state}")
    return lines
