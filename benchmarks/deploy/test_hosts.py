"""How deploying and destroying grow with the number of hosts: namespaces of this machine."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from presets import PRESET
from tool import Tool

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from lab import lab

pytestmark = pytest.mark.nomad


def _measured(tool: Tool, directory: Path, count: int) -> tuple[float, float, float]:
    """Seconds of a first deploy, of one that finds all done, and of a destroy."""
    directory.mkdir()
    with lab(directory, count) as hosts:
        document = {
            "cluster": f"rack{count}",
            "workers": count,
            "memory": "512m",
            "driver": "exec",
            "hosts": [host.entry for host in hosts.hosts],
        }
        path = tool.home / f"rack{count}.yaml"
        path.write_text(yaml.safe_dump(document))
        seconds = []
        for words in (
            ("deploy", f"--spec={path}"),
            ("deploy", f"--spec={path}"),
            ("destroy", f"rack{count}"),
        ):
            begun = time.perf_counter()
            tool("sparknomad", "cluster", *words, "--quiet")
            seconds.append(time.perf_counter() - begun)
    first, again, destroy = seconds
    return first, again, destroy


def test_clusters_on_hosts(tool: Tool, tmp_path: Path, growth: Callable[..., None]) -> None:
    found = {count: _measured(tool, tmp_path / f"lab{count}", count) for count in PRESET.hosts}
    names = ("deploy on hosts", "deploy again on hosts", "destroy on hosts")
    for index, name in enumerate(names):
        growth(name, "hosts", [(count, seconds[index]) for count, seconds in found.items()])
