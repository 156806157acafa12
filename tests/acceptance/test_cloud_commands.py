"""Machines of a cloud by the real command line, on EC2's API as moto serves it."""

from __future__ import annotations

import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from acceptance.conftest import Command, Done
from clouds import Ec2, ec2

pytestmark = pytest.mark.servers
REGIONS = ("us-east-1", "eu-west-1")


@dataclass(frozen=True)
class Clouds:
    """Two regions of one cloud, and the command of somebody who uses them."""

    server: Ec2
    command: Command

    def __call__(self, *words: str) -> Done:
        return self.command("compute", *words, AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b")

    def ok(self, *words: str) -> Done:
        done = self(*words)
        assert done.code == 0, f"{words}: {done}"
        return done

    def there(self) -> list[dict[str, Any]]:
        """What is there in both regions, asked of the API itself."""
        return [machine for region in REGIONS for machine in self.server.machines(region)]

    def begin(self, *words: str) -> subprocess.Popen[bytes]:
        """Begin a command that is going to be interrupted."""
        keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
        return subprocess.Popen(
            self.command.words("compute", *words),
            env={**self.command.environment, **keys},
            cwd=self.command.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ec2]:
    with ec2(tmp_path_factory.mktemp("moto")) as made:
        yield made


@pytest.fixture
def clouds(server: Ec2, tmp_path: Path, cache: Path) -> Iterator[Clouds]:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    section = {
        "east": server.compute("us-east-1", key),
        "west": server.compute("eu-west-1", key),
        "rack": {"kind": "ssh", "hosts": ["rack[01-02]"]},
    }
    (tmp_path / ".cloudmesh").mkdir()
    text = yaml.safe_dump({"cloudmesh": {"sparknomad": {"compute": section}}})
    (tmp_path / ".cloudmesh" / "cloudmesh.yaml").write_text(text)
    made = Clouds(server, Command(tmp_path, cache))
    yield made
    server.reset()


def until(happened: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < give_up, "it did not happen within 60 s"
        time.sleep(0.02)


def killed_in_the_middle(clouds: Clouds, process: subprocess.Popen[bytes], region: str) -> int:
    until(lambda: bool(clouds.server.machines(region)))
    process.send_signal(signal.SIGKILL)
    return process.wait(20)


def settled(clouds: Clouds) -> list[dict[str, Any]]:
    """What is there when the API has done what it was asked for last, by clients that are gone."""
    seen = [clouds.there()]

    def steady() -> bool:
        time.sleep(1)
        seen.append(clouds.there())
        return seen[-1] == seen[-2]

    until(steady)
    return seen[-1]


def tags(machine: dict[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in machine["Tags"]}


def test_a_killed_create_in_two_regions_is_found_and_ended(clouds: Clouds) -> None:
    begun = [
        clouds.begin("create", "one", "--compute=east", "--count=10"),
        clouds.begin("create", "two", "--compute=west", "--count=10"),
    ]
    with ThreadPoolExecutor(2) as pool:
        codes = list(
            pool.map(
                lambda pair: killed_in_the_middle(clouds, *pair), zip(begun, REGIONS, strict=True)
            )
        )
    assert codes == [-signal.SIGKILL] * 2, "it was over before it was killed"
    there = settled(clouds)
    assert all(tags(machine)["sparknomad-group"] in ("one", "two") for machine in there)
    assert all("sparknomad-creator" in tags(machine) for machine in there)

    found = clouds.ok("orphans", "--output=json").json()
    assert {each["machine"]["id"] for each in found} == {each["InstanceId"] for each in there}
    assert {each["reason"] for each in found} == {
        "group 'one' was not created to its end",
        "group 'two' was not created to its end",
    }
    home = clouds.command.home / ".cloudmesh/sparknomad/compute"
    assert stat.S_IMODE((home / "one.json").stat().st_mode) == 0o600

    # One is completed, the other given up.
    clouds.ok("create", "one", "--count=10")
    assert len(clouds.server.machines("us-east-1")) == 10
    left = clouds.ok("orphans", "--output=json").json()
    assert {each["machine"]["group"] for each in left} == {"two"}
    clouds.ok("orphans", "--destroy")
    assert clouds.server.machines("eu-west-1") == []
    clouds.ok("destroy", "one")
    assert clouds.there() == []
    assert clouds.ok("orphans", "--output=json").json() == []
    assert not list(home.glob("*.json"))


@pytest.mark.slow
def test_ctrl_c_forgets_nothing_and_the_same_command_goes_on(clouds: Clouds) -> None:
    process = clouds.begin("create", "one", "--compute=east", "--count=40")
    until(lambda: bool(clouds.server.machines("us-east-1")))
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    begun = len(clouds.there())
    made = clouds.ok("create", "one", "--count=40", "--output=json").json()
    assert len(made) == len(clouds.there()) == 40 > begun
    process = clouds.begin("destroy", "one")
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    process.wait(30)
    ended = clouds.ok("destroy", "one", "--output=json").json()
    assert (ended["group"], ended["state"]) == ("one", "destroyed")
    assert clouds.there() == []


@pytest.mark.slow
def test_two_commands_at_once_make_one_group(clouds: Clouds) -> None:
    begun = [clouds.begin("create", "one", "--compute=east", "--count=3") for _ in range(2)]
    codes = sorted(process.wait(60) for process in begun)
    assert codes in ([0, 1], [0, 0])
    assert len(clouds.there()) == 3


def test_the_commands_from_end_to_end(clouds: Clouds) -> None:
    plan = clouds.ok("create", "one", "--compute=east", "--count=2", "--dry-run").out
    assert "Would create 2 machines for group 'one'" in plan
    assert clouds.there() == []
    created = clouds.ok("create", "one", "--compute=east", "--count=2", "--size=m5.large")
    assert created.out.splitlines()[0].split()[:4] == ["MACHINE", "GROUP", "COMPUTE", "STATE"]
    listed = clouds.ok("list", "east", "--output=json").json()
    assert {(each["state"], each["size"]) for each in listed} == {("running", "m5.large")}
    offers = clouds.ok("offers", "east", "--cores=4", "--memory=8g", "--output=json").json()
    prices = [each["price"] for each in offers if each["price"] is not None]
    assert prices[0] > 0 and prices == sorted(prices)
    gone = clouds.ok("destroy", "one", "--output=json").json()
    assert gone["found"] and set(gone["ended"]) == {each["id"] for each in listed}
    again = clouds.ok("destroy", "one", "--output=json").json()
    assert (again["found"], again["ended"]) == (False, [])


def test_missing_credentials_are_told(clouds: Clouds) -> None:
    done = clouds.command("compute", "list", "east")
    assert done.code == 1
    assert "Compute 'east': environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)" in done.err
