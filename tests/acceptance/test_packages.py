"""What is built from this tree works where it is installed, and others can add to it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from acceptance.conftest import Command

ROOT = Path(__file__).parents[2]


def run(*words: str, cwd: Path) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what belongs to the package, so that building leaves nothing here."""
    copy = tmp_path_factory.mktemp("tree")
    shutil.copytree(
        ROOT / "cloudmesh", copy / "cloudmesh", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, copy / name)
    return copy


def test_the_wheel_and_the_sdist_hold_everything_that_is_read_at_run_time(
    tree: Path, tmp_path: Path
) -> None:
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path), ".", cwd=tree)
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        names = set(wheel.namelist())
    package = tree / "cloudmesh" / "sparknomad"
    needed = {
        str(path.relative_to(tree))
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert needed <= names
    assert "cloudmesh/__init__.py" not in names
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as sdist:
        inside = {name.split("/", 1)[-1] for name in sdist.getnames()}
    assert needed <= inside


def test_an_installed_wheel_answers_through_cms(tree: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    run(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"),
        *("--no-build-isolation", "--target", str(site), str(tree)),
        cwd=tmp_path,
    )
    done = subprocess.run(
        [sys.executable, "-m", "cloudmesh.sparknomad.cli"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={"PYTHONPATH": str(site), "HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done
    assert (site / "cloudmesh/sparknomad/cluster/nomad/jobs/run.nomad.hcl").exists()


def test_a_package_adds_a_provider_by_its_entry_point(command: Command, tmp_path: Path) -> None:
    source, site = tmp_path / "source", tmp_path / "site"
    shutil.copytree(ROOT / "tests" / "example_provider", source)
    run(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"),
        *("--no-build-isolation", "--target", str(site), str(source)),
        cwd=tmp_path,
    )
    plan = command(
        *("cluster", "deploy", "there", "--provider=example", "--dry-run", "--workers=7"),
        PYTHONPATH=str(site),
    )
    assert "ask the example for 7 workers" in plan.out, plan
    assert command("cluster", "deploy", "there", "--provider=example", "--dry-run").code == 2
