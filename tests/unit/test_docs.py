"""Every block of code in the documentation is well-formed, and names what there is.

The tutorial's are run as well, by ``tests/acceptance/test_tutorial.py``; each other page with
such blocks says that they are not.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import docopt
import pytest
import yaml

from cloudmesh.sparknomad.compute.spec import ComputeSpec
from cloudmesh.sparknomad.spec_pipelines import PipelineSpec
from cloudmesh.sparknomad.specfile import build_spec
from cloudmesh.sparknomad.specs import ClusterSpec, ImageSpec, JobSpec
from cloudmesh.sparknomad.usage import MANUAL

ROOT = Path(__file__).resolve().parents[2]
GENERATED = "docs/reference"
RUN = "docs/tutorial.md"
MARK = "<!-- code: checked by tests/unit/test_docs.py, not run -->"
SPECS = {
    "cluster": ClusterSpec,
    "image": ImageSpec,
    "job": JobSpec,
    "pipeline": PipelineSpec,
    "compute": ComputeSpec,
}


@dataclass(frozen=True)
class Block:
    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [path for path in found if not path.is_relative_to(ROOT / GENERATED)]


def blocks() -> Iterator[Block]:
    for path in pages():
        text = path.read_text("utf-8")
        for found in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
            line = text.count("\n", 0, found.start()) + 1
            yield Block(str(path.relative_to(ROOT)), line, found[1], found[2])


def commands(block: Block) -> Iterator[list[str]]:
    """The words of each call of the command in a block of shell."""
    lines = block.text.replace("\\\n", " ").splitlines()
    if block.language == "console":
        lines = [line[2:] for line in lines if line.startswith("$ ")]
    for line in lines:
        for part in re.split(r"&&|[|;>](?= )", line):
            words = shlex.split(part.replace("…", "x=y"), comments=True)
            if words[:2] == ["cms", "sparknomad"]:
                yield words[2:]


def of(*languages: str) -> list[Block]:
    return [block for block in blocks() if block.language in languages]


@pytest.mark.parametrize("block", of("sh", "console"), ids=str)
def test_commands_are_as_the_manual_says(block: Block) -> None:
    manual = MANUAL.replace("[options]", "[--output=FORMAT] [--quiet]")
    for words in commands(block):
        if "--" in words:
            words = words[: words.index("--") + 2]
        try:
            docopt.docopt(manual, argv=words, help=False)
        except docopt.DocoptExit:
            pytest.fail(f"{block}: cms sparknomad {shlex.join(words)}")


@pytest.mark.parametrize("block", of("yaml"), ids=str)
def test_specs_are_valid(block: Block) -> None:
    for document in yaml.safe_load_all(block.text):
        kind = next(iter(document))
        if kind in SPECS and isinstance(document[kind], str):
            build_spec(SPECS[kind], document, origin=str(block))


@pytest.mark.parametrize("block", of("python"), ids=str)
def test_programs_are_python(block: Block) -> None:
    compile(block.text, str(block), "exec")


def test_blocks_that_are_not_run_are_marked() -> None:
    for path in pages():
        text = path.read_text("utf-8")
        has = re.search(r"^```(sh|console|python|yaml)$", text, re.MULTILINE)
        wanted = bool(has) and str(path.relative_to(ROOT)) != RUN
        assert (MARK in text) == wanted, path
