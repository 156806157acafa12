"""What is done when a pipeline has ended: somebody is told, and what is not kept is removed."""

from __future__ import annotations

import hashlib
import hmac
import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

sys.path[:0] = [str(Path(__file__).resolve().parent)]

if TYPE_CHECKING or __package__:
    from cloudmesh.sparknomad.incluster.pipeline import PipelineState
else:
    from pipeline import PipelineState

__all__ = ["SIGNATURE", "expire", "message", "notify", "sweep"]

SIGNATURE = "X-Sparknomad-Signature"
"""The header with ``sha256=`` and the HMAC of the body, in hexadecimal."""

_PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
_SECONDS = 20
_EXPIRING = "/sparknomad/pipelines/expiring"


class Files(Protocol):
    """What is needed of the cluster's storage."""

    def times(self, path: str) -> dict[str, float]: ...
    def read(self, path: str) -> bytes | None: ...
    def write(self, path: str, content: bytes) -> None: ...
    def delete(self, path: str) -> None: ...


def message(state: PipelineState) -> bytes:
    """What is told of an end, as JSON."""
    steps = [
        {"step": step.name, "state": step.state, "reason": step.reason, "runs": list(step.runs)}
        for step in state.steps
    ]
    document = {
        "run": state.run,
        "state": state.state,
        "reason": state.reason,
        "begun": state.begun,
        "finished": state.finished,
        "steps": steps,
    }
    return json.dumps(document).encode()


def notify(url: str, key: str, body: bytes, pause: Callable[[float], None] = time.sleep) -> str:
    """Tell a web server of an end; tried again while it does not answer, or answers 5xx or 429.

    Args:
        url: of the server.
        key: that signs the body, or empty.
        body: is sent.
        pause: waits so many seconds.

    Returns:
        Why it was not told; empty if it was.
    """
    headers = {"Content-Type": "application/json"}
    if key:
        digest = hmac.new(key.encode(), body, hashlib.sha256).hexdigest()
        headers[SIGNATURE] = f"sha256={digest}"
    problem = ""
    for seconds in (*_PAUSES, None):
        try:
            request = urllib.request.Request(url, body, headers, method="POST")
            # The spec takes http and https only.
            with urllib.request.urlopen(request, timeout=_SECONDS):  # nosec B310
                return ""
        except urllib.error.HTTPError as error:
            problem = f"it answered {error.code}"
            error.close()
            if error.code < 500 and error.code != 429:
                return problem
        except (OSError, ValueError) as error:
            problem = str(error)
        if seconds is not None:
            pause(seconds)
    return problem


def expire(files: Files, run: str, paths: tuple[str, ...], at: float) -> None:
    """Note when what a pipeline has written into the cluster may go."""
    document = {"at": at, "paths": list(paths)}
    files.write(f"{_EXPIRING}/{run}.json", json.dumps(document).encode())


def sweep(files: Files, now: float) -> list[str]:
    """Remove what has outlived its time; the paths."""
    removed: list[str] = []
    for name in files.times(_EXPIRING):
        content = files.read(f"{_EXPIRING}/{name}")
        document: dict[str, Any] = json.loads(content) if content else {}
        if document and float(document["at"]) <= now:
            for path in document["paths"]:
                files.delete(path)
                removed.append(path)
            files.delete(f"{_EXPIRING}/{name}")
    return removed
