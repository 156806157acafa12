"""The REST service against what a fuzzer makes of its contract: schemathesis, with all checks."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from acceptance.conftest import Command
from acceptance.test_service import Service, serving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

CASES = 5_000
# What a schema can't say of a value is refused with 400, and what is not there with 404.
SETTINGS = """[checks]
positive_data_acceptance.expected-statuses = [
  "2xx", "400", "401", "403", "404", "409", "413", "424", "429", "502", "503"
]
"""
CONFIGURATION = """cloudmesh:
  sparknomad:
    nomad: /nonexistent/nomad
    java: /nonexistent/java
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service on which no cluster or image can come up: the fuzzer asks for many."""
    home = tmp_path_factory.mktemp("fuzzed home")
    (home / ".cloudmesh").mkdir()
    (home / ".cloudmesh/cloudmesh.yaml").write_text(CONFIGURATION)
    programs = home / "bin"
    programs.mkdir()
    (programs / "python3").symlink_to(sys.executable)

    class Bare(Command):
        @property
        def environment(self) -> dict[str, str]:
            return {**super().environment, "PATH": str(programs)}

    with serving(Bare(home, home / "cache")) as made:
        yield made


def fuzz(service: Service, role: str, count: int, directory: Path) -> str:
    settings = directory / "schemathesis.toml"
    settings.write_text(SETTINGS)
    contract = files("cloudmesh.sparknomad.service") / "openapi.yaml"
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")),
            *("--config-file", str(settings), "run", str(contract), "--url", service.url),
            *("-H", f"Authorization: Bearer {service.tokens[role]}"),
            # These end when what they tell of ends.
            *("--exclude-operation-id", "job_logs", "--exclude-operation-id", "operation_events"),
            *("--checks", "all", "--continue-on-failure", "--request-timeout", "60"),
            *("-n", str(count), "--suppress-health-check", "all"),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=directory,
    )
    assert done.returncode == 0, done.stdout[-8000:]
    return done.stdout


def test_no_case_is_answered_otherwise_than_the_contract_says(
    service: Service, tmp_path: Path
) -> None:
    told = fuzz(service, "operator", 150, tmp_path)
    found = re.search(r"([\d,]+) generated", told)
    assert found and int(found[1].replace(",", "")) >= CASES, told[-800:]


def test_a_reader_changes_nothing_whatever_it_sends(service: Service, tmp_path: Path) -> None:
    def seen() -> list[Any]:
        paths = ("/clusters", "/images", "/jobs", "/runs", "/pipelines", "/pipeline-runs")
        return [service("GET", path).json() for path in paths]

    before = seen()
    fuzz(service, "reader", 30, tmp_path)
    assert seen() == before
    log = service.command.home / ".cloudmesh/sparknomad/service/audit.jsonl"
    mine = [each for each in map(json.loads, log.read_text().splitlines())
            if (each["by"] or "").startswith("reader-")]  # fmt: skip
    assert mine
    assert [each for each in mine if each["status"] < 400] == []
