"""Asking a cluster's own servers: no proxy of the environment may stand between."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

__all__ = ["get_json"]


def get_json(url: str, timeout: float) -> Any:
    """The JSON that a server answers.

    Args:
        url: of the page.
        timeout: seconds for each step of the request.

    Raises:
        OSError: if it does not answer, or refuses.
        ValueError: if it answers something else than JSON.
    """
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=timeout) as answer:
        return json.load(answer)
