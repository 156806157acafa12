"""A driver that was killed for memory is told from one that was killed by somebody."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cloudmesh.sparknomad.incluster.run_attempt import near_memory_limit


def test_a_child_that_filled_the_limit_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOMAD_MEMORY_LIMIT", raising=False)
    assert not near_memory_limit()
    monkeypatch.setenv("NOMAD_MEMORY_LIMIT", "1000000")
    assert not near_memory_limit()
    monkeypatch.setenv("NOMAD_MEMORY_LIMIT", "1")
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    assert near_memory_limit()
