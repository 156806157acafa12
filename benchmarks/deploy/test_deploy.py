"""Deploy and destroy against the same Nomad and HCL, by hand with the plain ``nomad`` command."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from by_hand import ByHand
from conftest import Comparison
from presets import PRESET
from tool import Tool

pytestmark = pytest.mark.nomad

GOAL = "at most 1.1 of the plain nomad command"


def _deploy(tool: Tool) -> None:
    tool("sparknomad", "cluster", "deploy", "--driver=exec", "--quiet")


def _destroy(tool: Tool) -> None:
    tool("sparknomad", "cluster", "destroy", "--quiet")


@pytest.fixture
def record(tool: Tool) -> dict[str, Any]:
    """What the tool notes of such a cluster: the same is then made by hand."""
    _deploy(tool)
    place = tool.home / ".cloudmesh/sparknomad/clusters/default/cluster.json"
    noted: dict[str, Any] = json.loads(place.read_text())
    _destroy(tool)
    return noted


def _alternate(
    tool: Tool,
    record: dict[str, Any],
    directory: Path,
    rounds: int,
    names: tuple[str, str],
    before: Callable[[], None],
) -> list[dict[str, Any]]:
    deploy, destroy = (Comparison(name, GOAL) for name in names)
    for number in range(rounds):
        hand = ByHand(record, directory / f"hand-{number}")
        hand.directory.mkdir(parents=True)
        sides = [
            ("ours", lambda: _deploy(tool), lambda: _destroy(tool)),
            ("plain", hand.deploy, hand.destroy),
        ]
        for name, begin, end in sides if number % 2 == 0 else reversed(sides):
            before()
            deploy.measure(name, begin)
            destroy.measure(name, end)
        hand.clean()
    for comparison in (deploy, destroy):
        comparison.seconds = {name: comparison.seconds[name] for name in ("ours", "plain")}
    return [deploy.summary(), destroy.summary()]


def test_deploy_and_destroy(
    tool: Tool, record: dict[str, Any], tmp_path: Path, results: list[dict[str, Any]]
) -> None:
    """Warm: Nomad, Java and Spark have just been read. Cold: as after the machine's start."""
    names = ("cluster deploy", "cluster destroy")
    results += _alternate(tool, record, tmp_path / "warm", PRESET.rounds, names, lambda: None)
    names = ("cluster deploy, cold", "cluster destroy, cold")
    cold = _alternate(tool, record, tmp_path / "cold", PRESET.long_rounds, names, _forget_files)
    results.append(cold[0])


def _forget_files() -> None:
    """Let the kernel drop its page cache, entries and inodes (proc_sys_vm(5)); needs root."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3\n")
