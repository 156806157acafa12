"""A job as it goes to a cluster."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from cloudmesh.sparknomad.cluster.definition import (
    Definition,
    build_definition,
    hash_file,
    run_document,
)
from cloudmesh.sparknomad.cluster.nomad import uploads
from cloudmesh.sparknomad.errors import InputError, NotFoundError
from cloudmesh.sparknomad.model import Submission
from cloudmesh.sparknomad.specfile import build_spec
from cloudmesh.sparknomad.specs import JobSpec


def tree(directory: Path, **contents: str) -> Path:
    directory.mkdir(parents=True)
    files = {"p.py": "print()", "lib.zip": "zip", "data.txt": "data", "a.jar": "jar", **contents}
    for name, content in files.items():
        (directory / name).write_text(content)
    return directory


def define(directory: Path, **changes: Any) -> Definition:
    data = {
        "job": "j",
        "program": str(directory / "p.py"),
        "dependencies": {
            "python": [str(directory / "lib.zip")],
            "jars": [str(directory / "a.jar")],
            "files": [str(directory / "data.txt")],
        },
        **changes,
    }
    return build_definition(build_spec(JobSpec, data))


def test_the_same_content_has_the_same_digest_whatever_its_path(tmp_path: Path) -> None:
    one, two = define(tree(tmp_path / "one")), define(tree(tmp_path / "deep/two"))
    assert one.digest == two.digest
    assert one.document == two.document
    assert [a.path for a in one.artifacts] != [a.path for a in two.artifacts]


@pytest.mark.parametrize("name", ["p.py", "lib.zip", "a.jar", "data.txt"])
def test_a_changed_file_changes_the_digest(tmp_path: Path, name: str) -> None:
    folder = tree(tmp_path / "one")
    before = define(folder).digest
    (folder / name).write_text("changed")
    assert define(folder).digest != before


@pytest.mark.parametrize(
    "changes",
    [
        {"conf": {"spark.x": "y"}},
        {"retries": {"program": 1}},
        {"startup": "fast"},
        {"job": "k"},
        {"resources": {"executors": {"count": 1}}},
    ],
)
def test_a_changed_field_changes_the_digest(tmp_path: Path, changes: dict[str, Any]) -> None:
    folder = tree(tmp_path / "one")
    assert define(folder).digest != define(folder, **changes).digest


@pytest.mark.parametrize(
    "changes", [{"description": "d"}, {"timeout": "5m"}, {"parameters": {"x": {}}}]
)
def test_what_a_run_carries_itself_does_not_change_the_digest(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    folder = tree(tmp_path / "one")
    assert define(folder).digest == define(folder, **changes).digest


def test_the_order_of_the_configuration_does_not_matter(tmp_path: Path) -> None:
    folder = tree(tmp_path / "one")
    orders = ({"spark.a": "1", "spark.b": "2"}, {"spark.b": "2", "spark.a": "1"})
    assert len({define(folder, conf=conf).digest for conf in orders}) == 1


def test_artifacts_are_named_by_their_content(tmp_path: Path) -> None:
    made = define(tree(tmp_path / "one"))
    assert {artifact.name: artifact.sha256 for artifact in made.artifacts} == {
        name: hashlib.sha256(content).hexdigest()
        for name, content in {
            "p.py": b"print()",
            "lib.zip": b"zip",
            "a.jar": b"jar",
            "data.txt": b"data",
        }.items()
    }
    assert made.document["program"]["sha256"] == hash_file(tmp_path / "one/p.py")
    assert json.loads(json.dumps(made.document)) == made.document


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    one, two = tree(tmp_path / "one"), tree(tmp_path / "two", **{"data.txt": "other"})
    files = [str(one / "data.txt"), str(two / "data.txt")]
    with pytest.raises(InputError, match=r"would both be 'data\.txt'"):
        define(one, dependencies={"files": files})


def test_one_file_may_be_named_twice(tmp_path: Path) -> None:
    one, two = tree(tmp_path / "one"), tree(tmp_path / "two")
    files = [str(one / "data.txt"), str(two / "data.txt")]
    assert len(define(one, dependencies={"files": files}).document["files"]) == 2


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"program": "no.py"}, "program"),
        ({"dependencies": {"python": ["no.zip"]}}, "dependencies.python"),
        ({"dependencies": {"jars": ["no.jar"]}}, "dependencies.jars"),
        ({"dependencies": {"files": ["no"]}}, "dependencies.files"),
    ],
)
def test_a_missing_file_is_named_with_its_field(
    tmp_path: Path, changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(NotFoundError, match=f"^{field}: .*no file of this name"):
        define(tree(tmp_path / "one"), **changes)


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="there is a directory") as caught:
        define(tree(tmp_path / "one"), dependencies={"files": [str(tmp_path)]})
    assert ".zip" in caught.value.hint


@pytest.mark.parametrize(
    ("field", "allowed"), [("python", ".py, .zip, .whl, .egg"), ("jars", ".jar")]
)
def test_a_wrong_suffix_is_refused(tmp_path: Path, field: str, allowed: str) -> None:
    folder = tree(tmp_path / "one")
    with pytest.raises(InputError, match=f"must end in {allowed}"):
        define(folder, dependencies={field: [str(folder / "data.txt")]})
    with pytest.raises(InputError, match=r"program: .* must end in \.py, \.jar"):
        define(folder, program=str(folder / "data.txt"))


@pytest.mark.parametrize("name", ["a,b.txt", 'a"b.txt', "a\nb.txt", "a\\b.txt"])
def test_names_that_spark_would_split_are_refused(tmp_path: Path, name: str) -> None:
    folder = tree(tmp_path / "one", **{name: "x"})
    with pytest.raises(InputError, match="a comma, quote or line break"):
        define(folder, dependencies={"files": [str(folder / name)]})


def test_a_run_document_is_json() -> None:
    job = build_spec(JobSpec, {"job": "j", "program": "p.py"})
    document = run_document(Submission("r", job, ("a", "é"), 5.0, queue_timeout=9.0), 1.0)
    assert json.loads(json.dumps(document)) == document
    assert document["arguments"] == ["a", "é"]
    assert (document["timeout"], document["queue_timeout"]) == (5.0, 9.0)


def test_a_schedule_takes_only_what_nomad_takes_whole(tmp_path: Path) -> None:
    job = build_spec(JobSpec, {"job": "j", "program": "p.py"})
    nowhere: Any = None  # a run that is refused brings nothing to HDFS
    small, large = (Submission("r", job, ("x" * size,), None) for size in (10, 20_000))
    assert b'"arguments": ["xxx' in uploads.payload(nowhere, tmp_path, small, whole=True)
    with pytest.raises(InputError, match="too large for a schedule"):
        uploads.payload(nowhere, tmp_path, large, whole=True)
    assert not list(tmp_path.iterdir())
