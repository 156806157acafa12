"""Jobs from names, files and programs."""

from __future__ import annotations

import contextlib
import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudmesh.sparknomad.errors import InputError, NotFoundError, SpecError
from cloudmesh.sparknomad.job.jobs import (
    is_path,
    make_submission,
    new_run_id,
    program_job,
    read_job,
    resolve_job,
)
from cloudmesh.sparknomad.job.parameters import render
from cloudmesh.sparknomad.specfile import build_spec
from cloudmesh.sparknomad.specs import NAME_PATTERN, JobSpec

JOB = "job: j\nprogram: p.py\ntimeout: 90s\nparameters: {n: {type: integer}}\narguments: ['{n}']\n"


def nothing(name: str) -> JobSpec:
    raise NotFoundError(name)


def test_run_ids_are_unique_and_usable_as_names_of_files_and_hosts() -> None:
    ids = {new_run_id("j" * 40) for _ in range(2000)}
    assert len(ids) == 2000
    assert all(re.fullmatch(r"j{40}-\d{8}-\d{6}-[a-z0-9]{6}", run) for run in ids)
    assert max(map(len, ids)) <= 63


@pytest.mark.parametrize("word", ["a/b", "x.yaml", "x.yml", "x.py", "x.jar", "./j"])
def test_paths_are_known_by_slash_or_suffix(word: str) -> None:
    assert is_path(word)


@pytest.mark.parametrize("word", ["wordcount", "v1.2", "a-b_c"])
def test_names_are_no_paths(word: str) -> None:
    assert not is_path(word)


def test_paths_in_a_job_file_are_relative_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "jobs"
    folder.mkdir()
    text = "dependencies: {python: [lib/a.zip], jars: [/abs/b.jar], files: [../c.txt]}\n"
    (folder / "j.yaml").write_text(JOB + text)
    monkeypatch.chdir(tmp_path)
    spec = read_job(Path("jobs/j.yaml"))
    assert spec.program == str(folder / "p.py")
    assert spec.dependencies.python == (str(folder / "lib/a.zip"),)
    assert spec.dependencies.jars == ("/abs/b.jar",)
    assert Path(spec.dependencies.files[0]).resolve() == tmp_path / "c.txt"


def test_a_job_file_that_contradicts_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "j.yaml").write_text(JOB + "class: M\n")
    with pytest.raises(SpecError, match="a Python program has no main class"):
        read_job(tmp_path / "j.yaml")


def test_a_program_is_called_with_options_of_its_values() -> None:
    spec = program_job(Path("Word Count.v2.py"), {"input": "a b", "empty": "", "n": "-1"})
    assert spec.job == "word-count.v2"
    assert render(spec, {}) == ("--input", "a b", "--empty", "", "--n", "-1")


@pytest.mark.parametrize("stem", ["x" * 60, "é", "...", "A--", "-_-", "a" * 39 + "-b", "UPPER"])
def test_any_file_name_gives_a_valid_job_name(stem: str) -> None:
    assert re.fullmatch(NAME_PATTERN, program_job(Path(f"{stem}.py"), {}).job)


# Text that is no path: such is drawn as well, from the words of the code itself.
PLAIN = st.text().filter(lambda text: not text.startswith(("./", "../")))


@given(st.dictionaries(st.from_regex(r"[a-z-]+", fullmatch=True), PLAIN))
def test_values_of_a_program_pass_through_whatever_braces_they_have(values: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as empty, contextlib.chdir(empty):
        spec = program_job(Path("p.py"), values)
        expected = tuple(part for name, value in values.items() for part in (f"--{name}", value))
        assert make_submission(spec, values, "r", None).arguments == expected


def test_braces_in_a_name_pass_through_as_well() -> None:
    values = {"{x}": "1", "x": "2"}
    spec = program_job(Path("p.py"), values)
    assert make_submission(spec, values, "r", None).arguments == ("--{x}", "1", "--x", "2")


def test_a_defined_job_is_found_by_its_name() -> None:
    spec = build_spec(JobSpec, {"job": "j", "program": "p.py", "parameters": {"n": {}}})
    assert resolve_job("j", {"n": "1"}, lambda name: spec) == (spec, {"n": "1"})
    with pytest.raises(NotFoundError):
        resolve_job("j", {}, nothing)


def test_a_job_file_and_a_program_are_found_by_their_path(tmp_path: Path) -> None:
    (tmp_path / "j.yaml").write_text(JOB)
    spec, bound = resolve_job(str(tmp_path / "j.yaml"), {"n": "5"}, nothing)
    assert (spec.job, bound) == ("j", {"n": 5})
    spec, bound = resolve_job(str(tmp_path / "p.py"), {"n": "5"}, nothing)
    assert (spec.arguments, bound) == (("--n", "5"), {"n": "5"})


def test_other_files_are_no_jobs() -> None:
    with pytest.raises(InputError, match=r"'a/b\.txt' is no job"):
        resolve_job("a/b.txt", {}, nothing)


@pytest.mark.parametrize(("given_timeout", "expected"), [(None, 90.0), (5.0, 5.0)])
def test_a_given_timeout_comes_before_the_jobs_own(
    tmp_path: Path, given_timeout: float | None, expected: float
) -> None:
    (tmp_path / "j.yaml").write_text(JOB)
    submission = make_submission(read_job(tmp_path / "j.yaml"), {"n": 1}, "r-1", given_timeout)
    assert (submission.run, submission.timeout, submission.arguments) == ("r-1", expected, ("1",))
