"""How deploying and destroying grow with the number of hosts: namespaces of this machine."""

from __future__ import annotations

import functools
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from bare_script import BareScript, Login
from conftest import Comparison, Growth
from presets import PRESET
from tool import Tool

from cloudmesh.sparknomad.cluster.nomad.record import NomadCluster
from cloudmesh.sparknomad.image.builder import Images
from cloudmesh.sparknomad.packing import pack
from cloudmesh.sparknomad.specs import TaskDriver

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from lab import Lab, lab

pytestmark = pytest.mark.nomad


def _spec(name: str, hosts: Lab, *, server: bool = False) -> dict[str, Any]:
    """A cluster of these hosts; the first may do nothing but keep Nomad's state."""
    entries: list[dict[str, str]] = [dict(host.entry) for host in hosts.hosts]
    if server:
        entries[0]["role"] = "server"
    workers = len(entries) - server
    sizes = {"workers": workers, "memory": "512m", "driver": "exec"}
    return {"cluster": name, **sizes, "hosts": entries}


def _measured(tool: Tool, directory: Path, count: int) -> tuple[float, float, float]:
    """Seconds of a first deploy, of one that finds all done, and of a destroy."""
    directory.mkdir()
    with lab(directory, count) as hosts:
        path = tool.home / f"rack{count}.yaml"
        path.write_text(yaml.safe_dump(_spec(f"rack{count}", hosts)))
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


@pytest.mark.skipif(not PRESET.hosts, reason="this preset has no HOSTS: give HOSTS=1,2,4")
def test_clusters_on_hosts(tool: Tool, tmp_path: Path, growth: Growth) -> None:
    with (
        growth("deploy on hosts", "hosts") as deploys,
        growth("deploy again on hosts", "hosts") as again,
        growth("destroy on hosts", "hosts") as destroys,
    ):
        for count in PRESET.hosts:
            seconds = _measured(tool, tmp_path / f"lab{count}", count)
            for points, each in zip((deploys, again, destroys), seconds, strict=True):
                points.append((count, each))


def test_deploy_against_a_bare_script(
    tool: Tool, tmp_path: Path, results: list[dict[str, Any]]
) -> None:
    """One server and three clients, from nothing; each round on new hosts."""
    comparison = Comparison("deploy on 4 hosts", "at most 1.15 of a bare script with ssh and scp")
    place = tool.home / ".cloudmesh/sparknomad/clusters/rack"
    path = tool.home / "rack.yaml"
    for number in range(PRESET.long_rounds):
        place_of_hosts = tmp_path / f"bare{number}"
        place_of_hosts.mkdir()
        with lab(place_of_hosts, 4) as hosts:
            path.write_text(yaml.safe_dump(_spec("rack", hosts, server=True)))
            words = ("sparknomad", "cluster", "deploy", f"--spec={path}", "--quiet")
            comparison.measure("ours", functools.partial(tool, *words))
            kept = tmp_path / f"kept{number}"
            shutil.copytree(place, kept)
            tool("sparknomad", "cluster", "destroy", "rack", "--quiet")
            script = _bare(tool, kept, Login(hosts.key))
            comparison.measure("script", script.deploy)
            # Removed by the tool, which finds the cluster by what is noted of it.
            shutil.copytree(kept, place)
            tool("sparknomad", "cluster", "destroy", "rack", "--force", "--quiet")
    results.append(comparison.summary())


def _bare(tool: Tool, directory: Path, login: Login) -> BareScript:
    cluster = NomadCluster.read(directory)
    assert cluster
    layers = Images(tool.cache, print).runtime("default", TaskDriver.EXEC, packed=True).layers
    nomad = pack("Nomad", Path(cluster.binary), "bare-nomad", tool.home / "packed")
    return BareScript(cluster, directory, login, [nomad, *layers])
