"""Which Nomad is used: the configured one, that of ``PATH``, the cached, or one installed."""

from __future__ import annotations

import fcntl
import inspect
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cloudmesh.sparknomad.cluster.nomad import binary, gobuild, release
from cloudmesh.sparknomad.configuration import Configuration
from cloudmesh.sparknomad.errors import (
    ConflictError,
    DependencyError,
    DownloadError,
    SparknomadError,
)

VERSION = binary.VERSION
SIGNATURES = {
    release: inspect.signature(release.install),
    gobuild: inspect.signature(gobuild.install),
}
NONE = Configuration()


def nomad(path: Path, version: str = VERSION, *, runs: bool = True, mode: int = 0o755) -> Path:
    """Write something that says it is Nomad."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho 'Nomad v{version}'\n" if runs else "#!/bin/sh\nexit 3\n")
    path.chmod(mode)
    return path


class Place:
    """A cache, a directory on ``PATH``, and what was said and installed."""

    def __init__(self, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.base, self.cache, self.path = base, base / "cache", base / "path"
        self.path.mkdir()
        self.said: list[str] = []
        self.asked: list[str] = []
        self._monkeypatch = monkeypatch
        monkeypatch.setenv("PATH", str(self.path))
        self.installers()

    @property
    def cached(self) -> Path:
        return self.cache / f"nomad-{VERSION}" / "nomad"

    def installers(self, fetched: object = None, built: object = None) -> None:
        """What the two installers do: an error to raise, or the version to install."""
        for module, name, result in ((release, "release", fetched), (gobuild, "build", built)):
            install = self._installer(SIGNATURES[module], name, result)
            self._monkeypatch.setattr(module, "install", install)

    def _installer(
        self, signature: inspect.Signature, name: str, result: object
    ) -> Callable[..., None]:
        def install(*args: object) -> None:
            bound = signature.bind(*args).arguments
            assert bound["version"] == VERSION
            assert bound["cache"] == self.cache
            self.asked.append(name)
            if isinstance(result, BaseException):
                (bound["target"] / "nomad").write_text("half")
                raise result
            if isinstance(result, str):
                nomad(bound["target"] / "nomad", result)

        return install

    def find(self, configured: str = "") -> Path:
        return binary.find_nomad(Configuration(nomad=configured), self.cache, self.said.append)

    def check_nothing(self) -> None:
        left = [path.name for path in self.cache.iterdir()]
        assert not [name for name in left if not name.endswith(".lock")]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path, monkeypatch)


# The version of a binary


@pytest.mark.parametrize(
    ("output", "version"),
    [
        ("Nomad v1.10.0", (1, 10, 0)),
        ("Nomad v1.9.7+ent\nBuildDate 2025", (1, 9, 7)),
        ("Nomad v1.10.0-dev (abc)", (1, 10, 0)),
        ("Consul v1.20.0", None),
        ("", None),
    ],
)
def test_the_version_is_read(tmp_path: Path, output: str, version: tuple[int, ...] | None) -> None:
    path = tmp_path / "nomad"
    path.write_text(f"#!/bin/sh\necho '{output}'\n")
    path.chmod(0o755)
    assert binary.nomad_version(path) == version


@pytest.mark.parametrize("content", ["#!/bin/sh\nprintf '\\377\\376'\n", "", "\x7fELF", "#!/no\n"])
def test_what_does_not_run_has_no_version(tmp_path: Path, content: str) -> None:
    path = tmp_path / "nomad"
    path.write_text(content)
    path.chmod(0o755)
    assert binary.nomad_version(path) is None


def test_a_program_that_reads_its_input_does_not_hang(tmp_path: Path) -> None:
    path = tmp_path / "nomad"
    path.write_text("#!/bin/sh\nread line\n")
    path.chmod(0o755)
    assert binary.nomad_version(path) is None


def test_a_name_is_not_looked_up_on_path(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    nomad(place.path / "nomad")
    assert binary.nomad_version(Path("nomad")) is None


# The order


def test_the_configured_one_is_first(place: Place) -> None:
    nomad(place.path / "nomad")
    nomad(place.cached)
    mine = nomad(place.base / "mine", "1.8.0")
    assert place.find(str(mine)) == mine
    assert place.said == place.asked == []


@pytest.mark.parametrize("configured", ["~/mine", "mine"])
def test_the_configured_one_may_be_relative(
    place: Place, monkeypatch: pytest.MonkeyPatch, configured: str
) -> None:
    monkeypatch.setenv("HOME", str(place.base))
    monkeypatch.chdir(place.base)
    mine = nomad(place.base / "mine")
    assert place.find(configured) == mine


def test_path_is_before_the_cache(place: Place) -> None:
    found = nomad(place.path / "nomad", "1.9.7")
    nomad(place.cached)
    assert place.find() == found
    assert place.said == place.asked == []


def test_a_relative_path_gives_an_absolute_answer(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = nomad(place.path / "nomad")
    monkeypatch.chdir(place.base)
    monkeypatch.setenv("PATH", "path")
    assert place.find() == found


def test_the_cache_is_before_any_installation(place: Place) -> None:
    nomad(place.cached)
    assert place.find() == place.cached
    assert place.said == place.asked == []


def test_the_release_is_before_the_build(place: Place) -> None:
    place.installers(VERSION, VERSION)
    assert place.find() == place.cached
    assert binary.nomad_version(place.cached) == (1, 10, 0)
    assert place.asked == ["release"]
    assert place.said == [
        f"no Nomad to use on PATH or in the cache; installing Nomad {VERSION} into {place.cache}"
    ]


def test_the_build_comes_last_and_the_reason_is_said(place: Place) -> None:
    place.installers(DownloadError("no network"), VERSION)
    assert place.find() == place.cached
    assert binary.nomad_version(place.cached) == (1, 10, 0)
    assert place.asked == ["release", "build"]
    assert place.said[-1] == "the official release did not serve: no network"


def test_nothing_is_asked_for_where_it_is_only_looked_for(place: Place) -> None:
    place.installers(VERSION, VERSION)
    assert binary.present_nomad(NONE, place.cache, place.said.append) is None
    assert place.said == place.asked == []
    assert not place.cache.exists()


# What does not serve


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (lambda path: None, "it is not there"),
        (lambda path: path.mkdir(), "it is a directory"),
        (lambda path: nomad(path, mode=0o644), "it is not executable"),
        (lambda path: nomad(path, runs=False), "it is no Nomad that runs here"),
        (lambda path: nomad(path, "1.7.7"), "it is 1.7.7"),
        (lambda path: nomad(path, "0.12.0"), "it is 0.12.0"),
    ],
)
def test_a_configured_one_that_does_not_serve_is_an_error(
    place: Place, make: Callable[[Path], object], fault: str
) -> None:
    nomad(place.path / "nomad")
    mine = place.base / "mine"
    make(mine)
    with pytest.raises(DependencyError) as caught:
        place.find(str(mine))
    assert caught.value.message == (
        f"cloudmesh.sparknomad.nomad: '{mine}': {fault}; needed is Nomad 1.8 or newer."
    )
    assert "drop the setting" in caught.value.hint
    assert place.asked == []


@pytest.mark.parametrize("configured", ["~nobody-has-this-name/nomad", "no\0mad"])
def test_a_configured_path_that_is_none_is_an_error(place: Place, configured: str) -> None:
    with pytest.raises(DependencyError, match=r"^cloudmesh\.sparknomad\.nomad: .* is not there"):
        place.find(configured)


def test_one_on_path_that_is_too_old_is_skipped_and_that_is_said(place: Place) -> None:
    old = nomad(place.path / "nomad", "1.7.7")
    nomad(place.cached)
    assert place.find() == place.cached
    assert place.said == [f"Nomad of PATH ({old}) is 1.7.7; needed is 1.8 or newer"]


@pytest.mark.parametrize("version", ["1.8.0", "1.10.0", "2.0.0"])
def test_one_on_path_that_is_new_enough_is_used(place: Place, version: str) -> None:
    assert nomad(place.path / "nomad", version) == place.find()


@pytest.mark.parametrize("content", ["", "#!/bin/sh\nexit 3\n", "#!/bin/sh\necho Nomad v1.7.0\n"])
def test_a_broken_cache_is_replaced(place: Place, content: str) -> None:
    nomad(place.cached).write_text(content)
    place.installers(VERSION)
    assert place.find() == place.cached
    assert binary.nomad_version(place.cached) == (1, 10, 0)
    assert f"Nomad of cache ({place.cached}) is" in place.said[0]
    assert place.asked == ["release"]


def test_an_emptied_cache_is_filled_again(place: Place) -> None:
    place.cached.parent.mkdir(parents=True)
    place.installers(VERSION)
    assert place.find() == place.cached
    assert binary.nomad_version(place.cached) == (1, 10, 0)


def test_a_broken_cache_is_replaced_by_one_command_at_a_time(place: Place) -> None:
    nomad(place.cached, runs=False)
    place.installers(VERSION)
    with (place.cache / f".nomad-{VERSION}.repair").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(ConflictError, match="is changing the cached Nomad now"):
            place.find()
    assert place.find() == place.cached


def test_what_was_installed_and_does_not_run_does_not_serve(place: Place) -> None:
    place.installers("1.0.0", None)
    with pytest.raises(DependencyError) as caught:
        place.find()
    assert caught.value.message == (
        f"Nomad {VERSION} could not be installed:\n"
        "  the official release: is 1.0.0\n"
        "  the build from source: is not there"
    )
    assert place.said[-2:] == [
        "the official release did not serve: is 1.0.0",
        "the build from source did not serve: is not there",
    ]
    place.check_nothing()


def test_if_nothing_serves_all_reasons_are_told(place: Place) -> None:
    place.installers(DownloadError("no network"), DependencyError("no Go"))
    with pytest.raises(DependencyError) as caught:
        place.find()
    assert caught.value.message.splitlines()[1:] == [
        "  the official release: no network",
        "  the build from source: no Go",
    ]
    assert "put it on PATH, or name it in cloudmesh.yaml" in caught.value.hint
    assert place.asked == ["release", "build"]
    place.check_nothing()


def test_a_cache_that_can_not_be_written_is_an_error_of_ours(place: Place) -> None:
    place.cache.write_text("a file")
    with pytest.raises(DependencyError, match=f"can't be installed into {place.cache}: ") as caught:
        place.find()
    assert "SPARKNOMAD_CACHE" in caught.value.hint


@pytest.mark.parametrize("which", ["release", "build"])
def test_an_interruption_ends_it_and_leaves_nothing(place: Place, which: str) -> None:
    first: BaseException = SparknomadError("no")
    if which == "release":
        first = KeyboardInterrupt()
    place.installers(first, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        place.find()
    assert place.asked[-1] == which
    place.check_nothing()
    place.installers(VERSION)
    assert place.find() == place.cached


def test_a_killed_installation_is_no_hindrance(place: Place) -> None:
    partial = place.cache / f".nomad-{VERSION}.partial"
    (partial / ".build-x").mkdir(parents=True)
    (partial / "nomad").write_text("half")
    place.installers(VERSION)
    assert place.find() == place.cached
    assert os.listdir(place.cached.parent) == ["nomad"]
    assert not partial.exists()
