"""Images of the other line and of a user's wishes, built and run for real."""

from __future__ import annotations

from pathlib import Path

import pytest
from acceptance.conftest import Command

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.nomad
@pytest.mark.slow
def test_spark_3_5_is_built_checked_deployed_and_runs_a_job(
    root: None, command: Command, tmp_path: Path
) -> None:
    words = tmp_path / "words.txt"
    words.write_text("to be or not to be\n")
    job = ("job", "run", str(EXAMPLES / "wordcount.py"), "--param", f"input={words}")
    try:
        built = command.ok("image", "build", "older", "--spark=3.5", "--output=json").json()
        assert built["versions"]["spark"].startswith("3.5.")
        command.ok("cluster", "deploy", "--image=older", "--driver=exec", "--workers=1")
        assert command.ok(*job).out.splitlines()[0] == "     2  be"
        assert command("image", "remove", "older").code == 1
        command.ok("cluster", "destroy")
    finally:
        command("cluster", "destroy", "--force")
        command.ok("image", "remove", "older")
