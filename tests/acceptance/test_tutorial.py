"""The tutorial as a newcomer follows it: its own files and commands, on the embedded cluster."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from acceptance.conftest import Command, ended

pytestmark = pytest.mark.spark

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.fixture
def newcomer(cache: Path, tmp_path: Path) -> Iterator[Command]:
    with ended(Command(tmp_path, cache)) as command:
        yield command


def sections() -> dict[str, str]:
    """The tutorial's sections by their numbers."""
    text = (ROOT / "docs/tutorial.md").read_text("utf-8")
    return {part[0]: part for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]}


def files(section: str) -> Iterator[tuple[str, str]]:
    """The files that a section lets one write: each follows its name."""
    for found in re.finditer(r"`([a-z.]+)`:\n\n```\w+\n(.*?)^```$", section, re.DOTALL | re.M):
        yield found[1], found[2]


def test_the_tutorial(newcomer: Command) -> None:
    parts = sections()
    run: list[str] = []
    for number in "2345":
        for name, content in files(parts[number]):
            (newcomer.home / name).write_text(content)
        for language, text in FENCE.findall(parts[number]):
            if language == "sh":
                for line in text.splitlines():
                    words = [_known(word, run) for word in shlex.split(line)[2:]]
                    newcomer.ok(*words)
                    run = run or _runs(newcomer)
            if language == "console":
                _console(newcomer, text)
    # Those of section 3 that were right, and the program of section 2.
    assert len(_runs(newcomer)) == 3


def _known(word: str, run: list[str]) -> str:
    """A word as a reader would type it: in the clone, with an id of a run that there is."""
    if word == "RUN":
        return run[0]
    return word.replace("$PWD", str(ROOT)).replace("examples/", f"{ROOT}/examples/")


def _runs(command: Command) -> list[str]:
    listed = command.ok("job", "runs", "--output=json").json()
    return [each["run"] for each in listed]


def _console(command: Command, text: str) -> None:
    """Each command has to print what stands below it."""
    calls = re.split(r"^\$ cms sparknomad ", text, flags=re.MULTILINE)[1:]
    for call in calls:
        line, _, wanted = call.partition("\n")
        done = command(*shlex.split(line))
        if wanted.startswith("error: "):
            assert done.code == 2 and wanted.strip() in done.err, (line, done)
        else:
            assert done.code == 0 and done.out == wanted, (line, done)
