"""Hooks of the documentation's site: files outside of docs/ are named, not linked to."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["on_page_markdown"]

_OUTSIDE = re.compile(
    r"\[([^\]]+)\]\((?:\.\./)+([A-Za-z_.-]+\.md|LICENSE|examples/[^)]*)(#[^)]*)?\)"
)


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Replace links that leave the directory by the name of the file in the source."""

    def named(found: re.Match[str]) -> str:
        text, place = found[1], found[2]
        return text if text == place else f"{text} (`{place}` in the source)"

    return _OUTSIDE.sub(named, markdown)
