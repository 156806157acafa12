"""Where files are kept, and our section of cloudmesh's configuration."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from cloudmesh.sparknomad.configuration import Configuration, read_configuration
from cloudmesh.sparknomad.errors import SpecError
from cloudmesh.sparknomad.paths import Paths


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No variable is set; home and working directory are empty."""
    for name in ("CLOUDMESH_CONFIG_DIR", "SPARKNOMAD_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "user").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


def test_without_settings_everything_is_below_home(bare: Path) -> None:
    paths = Paths.from_environment()
    assert paths.home == bare / "user/.cloudmesh/sparknomad"
    assert paths.cache == bare / "user/.cache/sparknomad"


def test_a_directory_beside_comes_before_home(bare: Path) -> None:
    (bare / "work/.cloudmesh").mkdir()
    assert Paths.from_environment().home == bare / "work/.cloudmesh/sparknomad"


def test_a_file_beside_is_no_configuration_directory(bare: Path) -> None:
    (bare / "work/.cloudmesh").touch()
    assert Paths.from_environment().home == bare / "user/.cloudmesh/sparknomad"


def test_the_variable_comes_before_the_directory_beside(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bare / "work/.cloudmesh").mkdir()
    monkeypatch.setenv("CLOUDMESH_CONFIG_DIR", "~/elsewhere")
    assert Paths.from_environment().home == bare / "user/elsewhere/sparknomad"


def test_a_relative_variable_becomes_absolute(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDMESH_CONFIG_DIR", "here")
    monkeypatch.setenv("SPARKNOMAD_CACHE", "there")
    paths = Paths.from_environment()
    assert (paths.home, paths.cache) == (bare / "work/here/sparknomad", bare / "work/there")


def test_the_cache_has_its_own_variable_and_the_common_one(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(bare / "xdg"))
    assert Paths.from_environment().cache == bare / "xdg/sparknomad"
    monkeypatch.setenv("SPARKNOMAD_CACHE", str(bare / "own"))
    assert Paths.from_environment().cache == bare / "own"


def test_empty_variables_count_as_unset(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUDMESH_CONFIG_DIR", "")
    monkeypatch.setenv("SPARKNOMAD_CACHE", "")
    paths = Paths.from_environment()
    assert paths.home == bare / "user/.cloudmesh/sparknomad"
    assert paths.cache == bare / "user/.cache/sparknomad"


def test_home_is_private_even_if_it_was_not(bare: Path) -> None:
    wide = bare / "user/.cloudmesh/sparknomad"
    wide.mkdir(parents=True, mode=0o755)
    paths = Paths.from_environment()
    assert stat.S_IMODE(paths.home.stat().st_mode) == 0o700
    assert paths.cache.is_dir()


def test_places_within_home(tmp_path: Path) -> None:
    paths = Paths(tmp_path / "sparknomad", tmp_path / "cache")
    assert paths.configuration == tmp_path / "cloudmesh.yaml"
    assert paths.state.parent == paths.home
    assert paths.cluster("c").is_relative_to(paths.home)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "cloudmesh.yaml"


def test_no_file_means_defaults(file: Path) -> None:
    assert read_configuration(file) == Configuration()


@pytest.mark.parametrize(
    "text", ["", "cloudmesh:", "- 1", "other: {a: b}", "cloudmesh: {cloud: {}}", "cloudmesh: 5"]
)
def test_a_file_without_our_section_means_defaults(file: Path, text: str) -> None:
    file.write_text(text)
    assert read_configuration(file) == Configuration()


def test_our_section_is_read_and_other_keys_are_left_alone(file: Path) -> None:
    file.write_text("cloudmesh:\n  sparknomad: {nomad: /n, java: /j, future: 1}\n  other: 2\n")
    assert read_configuration(file) == Configuration(nomad="/n", java="/j")


def test_a_wrong_value_is_named(file: Path) -> None:
    file.write_text("cloudmesh: {sparknomad: {java: 17}}")
    with pytest.raises(SpecError, match=r"cloudmesh\.yaml: cloudmesh\.sparknomad\.java: 17"):
        read_configuration(file)


@pytest.mark.parametrize("content", [b"a: {", b"\xff\xfe\xfa"])
def test_an_unreadable_file_is_named(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(SpecError, match=r"cloudmesh\.yaml(:1)?: can't be read"):
        read_configuration(file)


@pytest.mark.parametrize("section", ["[a]", "text", "5"])
def test_a_section_that_is_no_mapping_is_refused(file: Path, section: str) -> None:
    file.write_text(f"cloudmesh: {{sparknomad: {section}}}")
    with pytest.raises(SpecError):
        read_configuration(file)


def test_an_impossible_date_in_the_file_is_refused(file: Path) -> None:
    file.write_text("when: 2013-13-01")
    with pytest.raises(SpecError):
        read_configuration(file)
