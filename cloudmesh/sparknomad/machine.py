"""What this machine has of what sparknomad needs: looked at, and set up."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cloudmesh.sparknomad.cluster.nomad.binary import (
    VERSION,
    find_nomad,
    nomad_version,
    present_nomad,
)
from cloudmesh.sparknomad.configuration import Configuration
from cloudmesh.sparknomad.errors import SparknomadError
from cloudmesh.sparknomad.image import docker
from cloudmesh.sparknomad.image.java import find_java, java_version, present_java
from cloudmesh.sparknomad.image.lines import DEFAULT_LINE, find_line
from cloudmesh.sparknomad.image.spark import fetch_spark
from cloudmesh.sparknomad.namespaces import namespace_problem
from cloudmesh.sparknomad.paths import Paths

__all__ = ["Check", "SetupStep", "doctor", "setup"]

_FREE_BYTES = 6_000_000_000
_MEMORY_BYTES = 6 * 1024**3
Say = Callable[[str], None]


@dataclass(frozen=True)
class SetupStep:
    """One program that sparknomad needs.

    Attributes:
        program: its name.
        version: what is there, or what would be installed.
        state: ``found``, ``installed`` or ``would be installed``.
        where: its path.
    """

    program: str
    version: str
    state: str
    where: str


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what.
        result: ``ok``, ``missing``, or ``optional`` for what can be done without.
        found: what is there.
        remedy: what to do about it; empty when it is fine.
    """

    name: str
    result: str
    found: str
    remedy: str = ""


def setup(
    paths: Paths, configuration: Configuration, say: Say, *, dry_run: bool
) -> list[SetupStep]:
    """Find or install Nomad, Java and Spark.

    Args:
        paths: where the cache is.
        configuration: the user's own choices.
        say: shows progress.
        dry_run: only tell what would be done.

    Raises:
        DependencyError: if something can't be installed; the rest is kept.
    """
    return [
        _setup_java(paths, configuration, say, dry_run),
        _setup_spark(paths, say, dry_run),
        _setup_nomad(paths, configuration, say, dry_run),
    ]


def _setup_java(paths: Paths, configuration: Configuration, say: Say, dry_run: bool) -> SetupStep:
    home = present_java(paths.cache, say, configured=configuration.java)
    if home is not None:
        return SetupStep("Java", str(java_version(home)), "found", str(home))
    if dry_run:
        return SetupStep("Java", "17", "would be installed", f"{paths.cache} (from PyPI)")
    home = find_java(paths.cache, say, configured=configuration.java)
    return SetupStep("Java", str(java_version(home)), "installed", str(home))


def _setup_spark(paths: Paths, say: Say, dry_run: bool) -> SetupStep:
    line = find_line(DEFAULT_LINE)
    home = paths.cache / f"spark-{line.spark}"
    if home.is_dir():
        return SetupStep("Spark", line.spark, "found", str(home))
    if dry_run:
        return SetupStep("Spark", line.spark, "would be installed", f"{home} (from PyPI)")
    return SetupStep("Spark", line.spark, "installed", str(fetch_spark(line, paths.cache, say)))


def _setup_nomad(paths: Paths, configuration: Configuration, say: Say, dry_run: bool) -> SetupStep:
    path = present_nomad(configuration, paths.cache, say)
    state = "found"
    if path is None:
        if dry_run:
            where = f"{paths.cache} (official release, else built by Go)"
            return SetupStep("Nomad", VERSION, "would be installed", where)
        path, state = find_nomad(configuration, paths.cache, say), "installed"
    version = ".".join(str(part) for part in nomad_version(path) or ())
    return SetupStep("Nomad", version, state, str(path))


def doctor(paths: Paths, configuration: Configuration) -> list[Check]:
    """Look at this machine; changes nothing.

    Returns:
        The checks; ``missing`` ones keep both providers from working.
    """
    return list(_checks(paths, configuration))


def _checks(paths: Paths, configuration: Configuration) -> Iterator[Check]:
    yield Check("Python", "ok", platform.python_version())
    yield _system_check()
    yield _java_check(paths, configuration)
    line = find_line(DEFAULT_LINE)
    spark = paths.cache / f"spark-{line.spark}"
    later = "`cms sparknomad setup` fetches it; else the first run does"
    yield (
        Check("Spark", "ok", f"{line.spark} in {spark}")
        if spark.is_dir()
        else Check("Spark", "optional", "not fetched yet", later)
    )
    yield _nomad_check(paths, configuration)
    yield _docker_check()
    yield _tool_check("mmdebstrap", "image build", "apt-get install mmdebstrap")
    problem = namespace_problem()
    hint = "without Docker, the nomad provider needs it; local does not" if problem else ""
    yield Check("root", "optional" if problem else "ok", problem or "yes", hint)
    yield _memory_check()
    yield _disk_check(paths.cache)


def _system_check() -> Check:
    found = f"{platform.system()} {platform.machine()}"
    fits = platform.system() == "Linux" and platform.machine() in ("x86_64", "aarch64")
    remedy = "" if fits else "the nomad provider runs on Linux, x86_64 or aarch64"
    return Check("system", "ok" if fits else "optional", found, remedy)


def _java_check(paths: Paths, configuration: Configuration) -> Check:
    told: list[str] = []
    try:
        home = present_java(paths.cache, told.append, configured=configuration.java)
    except SparknomadError as error:
        return Check("Java", "missing", error.message, error.hint)
    if home is not None:
        return Check("Java", "ok", f"{java_version(home)} in {home}")
    remedy = "`cms sparknomad setup` installs PyPI's; else the first run does"
    return Check("Java", "optional", "; ".join(told) or "none", remedy)


def _nomad_check(paths: Paths, configuration: Configuration) -> Check:
    told: list[str] = []
    try:
        path = present_nomad(configuration, paths.cache, told.append)
    except SparknomadError as error:
        return Check("Nomad", "missing", error.message, error.hint)
    if path is None:
        remedy = "`cms sparknomad setup` installs it; else the first deploy does"
        return Check("Nomad", "optional", "; ".join(told) or "none", remedy)
    version = ".".join(str(part) for part in nomad_version(path) or ())
    return Check("Nomad", "ok", f"{version} in {path}")


def _docker_check() -> Check:
    problem = docker.daemon_problem()
    if not problem:
        return Check("Docker", "ok", "a daemon answers")
    remedy = "not needed as root: the exec driver runs the same image"
    return Check("Docker", "optional", problem, remedy)


def _tool_check(program: str, needed_by: str, install: str) -> Check:
    path = shutil.which(program)
    if path:
        return Check(program, "ok", path)
    return Check(program, "optional", "not installed", f"`{needed_by}` needs it: {install}")


def _memory_check() -> Check:
    import psutil

    total = int(psutil.virtual_memory().total)
    found = f"{total / 1024**3:.1f} GiB"
    if total >= _MEMORY_BYTES:
        return Check("memory", "ok", found)
    return Check("memory", "optional", found, "deploy with --workers=1 --memory=1g")


def _disk_check(directory: Path) -> Check:
    free = shutil.disk_usage(directory).free
    found = f"{free / 1e9:.0f} GB free in {directory}"
    if free >= _FREE_BYTES:
        return Check("disk", "ok", found)
    wanted = f"{_FREE_BYTES / 1e9:.0f} GB are needed; make room, or set SPARKNOMAD_CACHE"
    return Check("disk", "missing", found, wanted)
