"""From nothing to a job on machines of a cloud, and to nothing again.

The cloud is one of namespaces (`example_compute`), joined by its entry point as a third party's
would be: create, boot with user data, log in, deploy, run, destroy.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from acceptance.conftest import Command, ended
from lab import Lab, lab
from needs import require

from cloudmesh.sparknomad.model import ImageRecord

pytestmark = [pytest.mark.nomad, pytest.mark.slow]
TESTS = Path(__file__).parents[1]
EXAMPLES = TESTS.parent / "examples"


@dataclass(frozen=True, kw_only=True)
class CloudCommand(Command):
    """A command that has the example package installed."""

    site: Path

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, "PYTHONPATH": f"{self.site}:{TESTS}"}


@dataclass(frozen=True)
class Cloud:
    """A cloud in a lab, and the command of its user."""

    lab: Lab
    command: CloudCommand

    def spec(self, **changes: Any) -> str:
        path = self.command.home / "cloud.yaml"
        fields = {"cluster": "default", "workers": 2, "memory": "1g", "driver": "exec"}
        path.write_text(yaml.safe_dump({**fields, **changes}))
        return f"--spec={path}"

    @property
    def machines(self) -> list[str]:
        """What the cloud itself has."""
        return [path.stem for path in (self.lab.directory / "machines").glob("*.json")]

    @property
    def running(self) -> list[str]:
        """Those that are on, as their user's command sees them."""
        listed = self.command.ok("compute", "list", "there", "--output=json").json()
        return [each["id"] for each in listed if each["state"] == "running"]


@pytest.fixture
def cloud(
    root: None,
    image: ImageRecord,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Cloud]:
    for program in ("sshd", "ip", "nsenter", "iptables"):
        require(shutil.which(program) or Path("/usr/sbin", program).exists(), program)
    source, site, home = tmp_path / "source", tmp_path / "site", tmp_path / "home"
    shutil.copytree(TESTS / "example_compute", source)
    install = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps")
    subprocess.run(
        [*install, "--no-build-isolation", "--target", str(site), str(source)], check=True
    )
    monkeypatch.syspath_prepend(str(site))
    from example_compute import remove_all

    for directory in (home / ".cloudmesh", tmp_path / "hosts"):
        directory.mkdir(parents=True)
    with lab(tmp_path / "hosts") as hosts:
        section = {
            "kind": "lab",
            "user": "root",
            "size": "small",
            "image": "this",
            "settle": "0.1s",
            # The first process of a host is its SSH server, and takes the host with it.
            "power_off": "kill 1",
            "key": str(hosts.key),
            "options": {
                "directory": str(hosts.directory),
                "prefix": hosts.prefix,
                "subnet": hosts.subnet,
            },
        }
        text = yaml.safe_dump({"cloudmesh": {"sparknomad": {"compute": {"there": section}}}})
        (home / ".cloudmesh" / "cloudmesh.yaml").write_text(text)
        try:
            with ended(CloudCommand(home, cache, site=site)) as command:
                yield Cloud(hosts, command)
        finally:
            remove_all(hosts)
            sys.modules.pop("example_compute", None)


def test_from_nothing_to_a_job_and_to_nothing_again(cloud: Cloud) -> None:
    hosts = [{"compute": "farm", "cloud": "there", "count": 3, "labels": {"rack": "a"}}]
    spec = cloud.spec(hosts=hosts)
    plan = cloud.command.ok("cluster", "deploy", spec, "--dry-run").out
    assert "farm-3: check it" in plan and cloud.machines == []

    cloud.command.ok("cluster", "deploy", spec)
    listed = cloud.command.ok("compute", "list", "there", "--output=json").json()
    assert sorted(each["id"] for each in listed) == sorted(cloud.machines)
    assert len(listed) == 3 and {each["group"] for each in listed} == {"farm"}
    status = cloud.command.ok("cluster", "status", "--output=json").json()
    parts = [part["name"] for part in status["components"] if part["kind"] == "host"]
    assert sorted(parts) == sorted(each["private"] for each in listed)

    words = cloud.command.home / "words.txt"
    words.write_text("to be or not to be\n")
    done = cloud.command.ok("job", "run", str(EXAMPLES / "wordcount.py"), f"--param=input={words}")
    assert done.out.splitlines()[0] == "     2  be"

    refused = cloud.command("compute", "destroy", "farm")
    assert refused.code == 1 and "has the hosts of cluster 'default'" in refused.err
    assert cloud.command.ok("compute", "orphans", "--output=json").json() == []
    cloud.command.ok("cluster", "destroy", "default")
    assert len(cloud.machines) == 3
    cloud.command.ok("compute", "destroy", "farm")
    assert cloud.machines == []


def test_machines_end_when_their_cluster_is_idle_and_a_run_creates_others(cloud: Cloud) -> None:
    hosts = [{"compute": "farm", "cloud": "there", "count": 2}]
    cloud.command.ok("cluster", "deploy", cloud.spec(hosts=hosts, workers=2, idle="20s"))
    first = set(cloud.machines)
    begun = time.monotonic()
    while cloud.running:
        if time.monotonic() - begun > 420:
            pytest.fail(str(cloud.command("cluster", "status")))
        time.sleep(1)
    print(f"off {time.monotonic() - begun:.0f} s after the deploy")
    status = cloud.command.ok("cluster", "status", "--output=json").json()
    assert status["state"] == "stopped"
    assert "its machines have ended: nothing was run for 20s" in status["reason"]

    words = cloud.command.home / "words.txt"
    words.write_text("to be or not to be\n")
    done = cloud.command.ok("job", "run", str(EXAMPLES / "wordcount.py"), f"--param=input={words}")
    assert done.out.splitlines()[0] == "     2  be"
    assert "its machines have ended; others are created" in done.err
    assert len(cloud.machines) == 2 and not first & set(cloud.machines)
    # A deploy of the cluster as it runs changes none of them.
    cloud.command.ok("cluster", "deploy", cloud.spec(hosts=hosts, workers=2, idle="10m"))
    assert not first & set(cloud.machines) and len(cloud.running) == 2
    cloud.command.ok("cluster", "destroy", "default")
    assert len(cloud.running) == 2
    cloud.command.ok("compute", "destroy", "farm")
    assert cloud.machines == []


def test_a_cluster_whose_machines_are_gone_can_be_destroyed(cloud: Cloud) -> None:
    cloud.command.ok("compute", "create", "farm", "--compute=there")
    spec = cloud.spec(hosts=[{"compute": "farm"}], workers=1)
    cloud.command.ok("cluster", "deploy", spec)
    cloud.command.ok("compute", "destroy", "farm", "--force")
    assert cloud.machines == []
    cloud.command.ok("cluster", "destroy", "default", "--force")
    assert cloud.command.ok("cluster", "list", "--output=json").json() == []
