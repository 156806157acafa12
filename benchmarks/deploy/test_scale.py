"""Scaling against ``nomad job scale``, both until Spark's master has the workers."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from collections.abc import Callable

import pytest
from presets import PRESET
from tool import Tool

pytestmark = pytest.mark.nomad


def test_scaling(tool: Tool, compare: Callable[..., None]) -> None:
    tool("sparknomad", "cluster", "deploy", "--driver=exec", "--workers=1", "--quiet")
    place = tool.home / ".cloudmesh/sparknomad/clusters/default/cluster.json"
    record = json.loads(place.read_text())
    pages = json.loads(tool("sparknomad", "cluster", "ui", "--output=json"))

    def alive() -> int:
        url = f"{pages['Spark master UI']}/json/"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return int(json.load(answer)["aliveworkers"])

    def wait(count: int) -> None:
        give_up = time.monotonic() + 120
        while alive() != count:
            assert time.monotonic() < give_up
            time.sleep(0.1)

    def ours() -> None:
        tool("sparknomad", "cluster", "scale", "default", "2", "--quiet")
        wait(2)

    def plain() -> None:
        subprocess.run(
            [record["binary"], "job", "scale", "-detach", "spark-worker", "worker", "2"],
            env={
                "PATH": tool.environment["PATH"],
                "HOME": str(tool.home),
                "NOMAD_ADDR": f"http://127.0.0.1:{record['ports']['http']}",
                "NOMAD_TOKEN": record["token"],
            },
            check=True,
            capture_output=True,
        )
        wait(2)

    def back(side: Callable[[], None]) -> Callable[[], None]:
        def measured() -> None:
            side()
            tool("sparknomad", "cluster", "scale", "default", "1", "--quiet")
            wait(1)

        return measured

    # The way back to one worker is the same for both.
    compare(
        "scale from 1 worker to 2 and back",
        "at most 1.1 of nomad job scale, both back by cluster scale",
        PRESET.rounds,
        ours=back(ours),
        plain=back(plain),
    )
