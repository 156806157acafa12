"""What runs a pipeline is killed at ten points: each step still runs exactly once."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml
from acceptance.conftest import Command, controllers, ended

from cloudmesh.sparknomad.model import ImageRecord

pytestmark = [pytest.mark.faults, pytest.mark.nomad, pytest.mark.slow]

POINTS = 10
STEPS = 12
WAIT_SECONDS = 600


@pytest.fixture
def deployed(root: None, image: ImageRecord, cache: Path, tmp_path: Path) -> Iterator[Command]:
    with ended(Command(tmp_path, cache)) as made:
        made.ok("cluster", "deploy", "--driver=exec", "--workers=1")
        yield made


def killed_once(deployed: Command, seconds: float, give_up: float) -> None:
    """End the controller so long after it was there; a new process each time."""
    while not (found := controllers(deployed)):
        assert time.monotonic() < give_up, "it was not started again"
        time.sleep(0.05)
    time.sleep(seconds)
    for process in found:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
            process.wait(10)


def test_each_step_runs_once_though_the_controller_is_killed_at_ten_points(
    deployed: Command, tmp_path: Path
) -> None:
    (tmp_path / "short.py").write_text("import time\ntime.sleep(3)\nprint('done')\n")
    steps = {
        f"s{number}": {"job": "short.py", "after": [f"s{number - 1}"] if number else []}
        for number in range(STEPS)
    }
    path = tmp_path / "chain.yaml"
    path.write_text(yaml.safe_dump({"pipeline": "chain", "steps": steps}, sort_keys=False))
    run = deployed.ok("pipeline", "run", str(path), "--detach").out.strip()
    points = random.Random(6)
    give_up = time.monotonic() + WAIT_SECONDS
    for number in range(POINTS):
        # From the middle of its start to the middle of a step.
        killed_once(deployed, points.uniform(0, 4), give_up)
        told = deployed.ok("pipeline", "status", run, "--output=json").json()
        assert told["finished"] is None, f"it had ended before it was killed {number + 1} times"
    record = deployed.ok(
        "pipeline", "wait", run, f"--timeout={WAIT_SECONDS}s", "--output=json"
    ).json()
    assert record["state"] == "succeeded", record
    sent = [each["runs"] for each in record["steps"]]
    assert [len(runs) for runs in sent] == [1] * STEPS
    known = deployed.ok("job", "runs", "--output=json").json()
    assert sorted(each["run"] for each in known) == sorted(runs[0] for runs in sent)
    assert {each["state"] for each in known} == {"succeeded"}
