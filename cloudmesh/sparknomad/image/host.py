"""The runtime of host processes: Spark and Java in directories of this machine."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from cloudmesh.sparknomad.image.agent import build_agent
from cloudmesh.sparknomad.image.java import find_java
from cloudmesh.sparknomad.image.lines import DEFAULT_LINE, find_line
from cloudmesh.sparknomad.image.spark import fetch_connectors, fetch_spark
from cloudmesh.sparknomad.model import HostRuntime

__all__ = ["host_agent", "host_connectors", "host_runtime"]


def host_connectors(
    cache: Path, say: Callable[[str], None], java: str = "", line: str = DEFAULT_LINE
) -> Path:
    """Find or fetch the connectors of the clouds' storages; see `host_runtime`.

    Returns:
        The directory with their jars.
    """
    pinned = find_line(line)
    fetch_spark(pinned, cache, say)
    return fetch_connectors(pinned, cache, find_java(cache, say, configured=java), say)


def host_agent(
    cache: Path, say: Callable[[str], None], java: str = "", line: str = DEFAULT_LINE
) -> Path:
    """Find or compile the transfer agent; see `host_runtime`.

    Returns:
        Its jar.
    """
    return build_agent(find_line(line), cache, find_java(cache, say, configured=java), say)


def host_runtime(
    cache: Path, say: Callable[[str], None], java: str = "", line: str = DEFAULT_LINE
) -> HostRuntime:
    """Find or fetch what the embedded provider runs.

    Args:
        cache: where what is fetched is kept.
        say: told what is fetched.
        java: a Java home of the user's choice.
        line: the Spark line.

    Raises:
        DependencyError: if there is no Java.
        DownloadError: if Spark can't be fetched.
    """
    pinned = find_line(line)
    java_home = find_java(cache, say, configured=java)
    return HostRuntime(
        pinned.spark, fetch_spark(pinned, cache, say), java_home, Path(sys.executable)
    )
