"""What is wrong with a storage is told from this machine, with what to do about it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from acceptance.conftest import Command
from wrongs import Wrong

from cloudmesh.sparknomad.ports import free_ports

pytestmark = pytest.mark.servers

FOLLOWED = ("region", "proxy")
"""boto asks in the right region by itself; Hadoop's proxy is none of this machine's."""


def failed(command: Command, wrong: Wrong, more: Mapping[str, str]) -> list[dict[str, Any]]:
    command.ok("storage", "profile", "add", wrong.name, *wrong.words, "--replace")
    done = command("storage", "check", wrong.name, "--output=json", **wrong.environment, **more)
    steps = [step for step in done.json() if not step["ok"]]
    assert done.code == (1 if steps else 0), done
    return steps


def test_each_fault_is_told_with_what_to_do(
    wrong: dict[str, Wrong], tmp_path: Path, cache: Path
) -> None:
    command = Command(tmp_path, cache)
    for name, each in wrong.items():
        if name in FOLLOWED:
            continue
        (step,) = failed(command, each, {})
        assert re.search(each.hint, step["hint"]), (name, step)
        assert step["seconds"] < 5, (name, step)
        if each.step in ("resolve", "reach", "tls", "write"):
            assert step["step"] == each.step, (name, step)


def test_a_region_is_found(wrong: dict[str, Wrong], tmp_path: Path, cache: Path) -> None:
    assert failed(Command(tmp_path, cache), wrong["region"], {}) == []


def test_a_proxy_that_does_not_answer_is_named(
    wrong: dict[str, Wrong], tmp_path: Path, cache: Path
) -> None:
    command, (port,) = Command(tmp_path, cache), free_ports(1)
    proxy = {"HTTP_PROXY": f"http://127.0.0.1:{port}"}
    (step,) = failed(command, wrong["permission"], proxy)
    assert step["step"] == "reach" and f"the proxy 127.0.0.1:{port}" in step["detail"]
    assert "HTTPS_PROXY and NO_PROXY" in step["hint"]
    (step,) = failed(command, wrong["permission"], {**proxy, "NO_PROXY": "127.0.0.1"})
    assert step["step"] == "write"
