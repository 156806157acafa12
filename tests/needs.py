"""What a test can not do without."""

from __future__ import annotations

import os

import pytest

__all__ = ["require"]


def require(condition: object, what: str) -> None:
    """Skip where a program is missing; in continuous integration that is a failure."""
    if condition:
        return
    if os.environ.get("CI"):
        pytest.fail(f"continuous integration should have {what}")
    pytest.skip(f"needs {what}")
