"""The transfer agent: our few Java classes, compiled against the Spark that they run in.

Eclipse's compiler is one jar that needs no Java development kit: any Java that runs Spark will
do. Ivy fetches it as it does the connectors.
"""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
import time
import zipfile
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from cloudmesh.sparknomad.errors import ImageError
from cloudmesh.sparknomad.image.layers import MTIME
from cloudmesh.sparknomad.image.lines import Line
from cloudmesh.sparknomad.image.spark import fetch_connectors, fetch_spark, retrieve
from cloudmesh.sparknomad.processes import published

__all__ = ["AGENT", "agent_sources", "build_agent", "sources_digest"]

AGENT = "transfer.jar"
"""The name of the jar with the compiled classes."""

_RELEASE = "17"
_COMPILER = "build"


def agent_sources() -> list[Path]:
    """The Java sources."""
    directory = Path(str(files("cloudmesh.sparknomad.incluster"))) / "java" / "sparknomad"
    return sorted(directory.glob("*.java"))


def sources_digest() -> str:
    """The digest of the sources, and of what compiles them."""
    digest = hashlib.sha256(_RELEASE.encode())
    pins = Path(str(files("cloudmesh.sparknomad.image"))) / "ivy" / f"{_COMPILER}.xml"
    for path in (pins, *agent_sources()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def build_agent(line: Line, cache: Path, java_home: Path, say: Callable[[str], None]) -> Path:
    """The jar of the transfer agent for a line, compiled if the cache has it not.

    Raises:
        DownloadError: if the compiler can't be fetched.
        ImageError: with the compiler's words, if the sources do not fit this Spark.
    """
    target = cache / f"agent-{line.spark}-{sources_digest()[:16]}"
    with published(target) as partial:
        if partial is not None:
            say(f"compiling the transfer agent for Spark {line.name}")
            with tempfile.TemporaryDirectory(dir=cache) as scratch:
                _compile(line, cache, java_home, say, Path(scratch))
                _pack(Path(scratch) / "classes", partial / AGENT)
    return target / AGENT


def _compile(
    line: Line, cache: Path, java_home: Path, say: Callable[[str], None], scratch: Path
) -> None:
    homes = (fetch_spark(line, cache, say) / "jars", fetch_connectors(line, cache, java_home, say))
    retrieve(_COMPILER, cache, java_home, fetch_spark(line, cache, say), scratch)
    compiler = next(scratch.glob("ecj-*.jar"))
    jars = [str(jar) for home in homes for jar in sorted(home.glob("*.jar"))]
    arguments = scratch / "arguments"
    arguments.write_text("\n".join(f'"{jar}"' for jar in ["-cp", ":".join(jars)]), "utf-8")
    done = subprocess.run(
        [
            str(java_home / "bin" / "java"),
            *("-jar", str(compiler), f"-{_RELEASE}", "-proc:none", "-nowarn", "-encoding", "UTF-8"),
            *(f"@{arguments}", "-d", str(scratch / "classes")),
            *map(str, agent_sources()),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ImageError(
            f"The transfer agent does not compile for Spark {line.spark}:\n{done.stderr[-2000:]}"
        )


def _pack(classes: Path, target: Path) -> None:
    """Write a jar that depends on nothing but the classes."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as jar:
        for path in sorted(classes.rglob("*.class")):
            entry = zipfile.ZipInfo(path.relative_to(classes).as_posix(), time.gmtime(MTIME)[:6])
            jar.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)
