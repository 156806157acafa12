"""The benchmarks' own machinery, by the smallest preset of two of them: real figures, one JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.spark

ROOT = Path(__file__).resolve().parents[2]


def test_a_smoke_run_writes_what_it_has_measured(tmp_path: Path) -> None:
    wanted = ("test_start.py::test_listing_ten_thousand_runs", "test_service_load.py")
    # In a process of pytest-xdist, nothing would be measured.
    outside = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_XDIST")}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            "--override-ini=pythonpath=benchmarks",
            *(f"benchmarks/pipeline/{each}" for each in wanted),
        ],
        cwd=ROOT,
        env={**outside, "PRESET": "smoke", "ROUNDS": "1", "RESULTS": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    (path,) = tmp_path.glob("*.json")
    document = json.loads(path.read_text())
    assert document["preset"] == "smoke" and document["versions"]["commit"]
    listing, load = document["results"]
    assert listing["samples"] == {"ours": 3, "cms": 3, "all_as_json": 3}
    assert 0 < listing["ratio_interval"][0] <= listing["ratio"] <= listing["ratio_interval"][1]
    assert load["errors"] == 0 and load["requests"] > 50 and load["events"] > 0
    told = path.with_suffix(".txt").read_text()
    assert "cpu_cores" in told and "# csv,job runs, 10,000 in the store: ours,ok" in told
