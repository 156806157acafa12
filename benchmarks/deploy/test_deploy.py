"""Deploy and destroy against the same Nomad and HCL, by hand with the plain ``nomad`` command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from by_hand import ByHand
from conftest import Comparison
from presets import PRESET
from tool import Tool

pytestmark = pytest.mark.nomad


def test_deploy_and_destroy(tool: Tool, tmp_path: Path, results: list[dict[str, Any]]) -> None:
    home = tool.home / ".cloudmesh/sparknomad/clusters/default/cluster.json"
    tool("sparknomad", "cluster", "deploy", "--driver=exec", "--quiet")
    record = json.loads(home.read_text())
    tool("sparknomad", "cluster", "destroy", "--quiet")
    deploy = Comparison("cluster deploy", "at most 1.1 of the plain nomad command")
    destroy = Comparison("cluster destroy", "at most 1.1 of the plain nomad command")
    for number in range(PRESET.rounds):
        hand = ByHand(record, tmp_path / f"hand-{number}")
        hand.directory.mkdir()
        sides = [
            (
                "ours",
                lambda: tool("sparknomad", "cluster", "deploy", "--driver=exec", "--quiet"),
                lambda: tool("sparknomad", "cluster", "destroy", "--quiet"),
            ),
            ("plain", hand.deploy, hand.destroy),
        ]
        for name, begin, end in sides if number % 2 == 0 else reversed(sides):
            deploy.alternate(1, **{name: begin})
            destroy.alternate(1, **{name: end})
        hand.clean()
    for comparison in (deploy, destroy):
        comparison.seconds = {name: comparison.seconds[name] for name in ("ours", "plain")}
        results.append(comparison.summary())
