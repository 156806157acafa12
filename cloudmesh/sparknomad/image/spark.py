"""Spark on a host: PyPI's pyspark unpacked as a Spark home, and the connectors by Ivy.

PyPI's source distribution holds the whole of Spark; unpacking it takes seconds, where
``pip install`` would build a wheel of half a gigabyte first. The connectors come through the
Ivy that Spark brings, so that neither Maven nor the name of a registry is needed.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path, PurePosixPath

from cloudmesh.sparknomad.errors import DownloadError
from cloudmesh.sparknomad.image.lines import Line
from cloudmesh.sparknomad.image.packages import pip
from cloudmesh.sparknomad.incluster import truststore
from cloudmesh.sparknomad.processes import published

__all__ = ["fetch_connectors", "fetch_spark", "retrieve"]

Say = Callable[[str], None]

# Where the parts of the source distribution go in a Spark home.
_LAYOUT = {"deps/jars": "jars", "deps/bin": "bin", "deps/sbin": "sbin", "pyspark": "python/pyspark"}
_PYTHON_ZIPS = re.compile(r"lib/(pyspark|py4j-[\w.]+-src)\.zip")
_LICENSES = re.compile(r"(deps/licenses/.*|LICENSE|NOTICE)")


def fetch_spark(line: Line, cache: Path, say: Say) -> Path:
    """The Spark home of a line, fetched from PyPI if the cache has it not.

    Raises:
        DownloadError: if it can't be fetched, or is not what is pinned.
    """
    target = cache / f"spark-{line.spark}"
    with published(target) as partial:
        if partial is not None:
            say(f"fetching pyspark {line.spark} from PyPI (about 450 MB) into {cache}")
            with tempfile.TemporaryDirectory(dir=cache) as scratch:
                pinned = Path(scratch) / "requirements.txt"
                pinned.write_text(f"pyspark=={line.spark} --hash=sha256:{line.sha256}\n")
                arguments = ["download", "--quiet", "--no-deps", "--no-binary", ":all:"]
                pip([*arguments, "--require-hashes", "-d", scratch, "-r", str(pinned)])
                say("unpacking it")
                _unpack(Path(scratch) / f"pyspark-{line.spark}.tar.gz", partial)
    return target


def _unpack(archive: Path, target: Path) -> None:
    with tarfile.open(archive, "r|gz") as stream:
        for member in stream:
            place = _place(PurePosixPath(member.name))
            if place is None or not member.isfile():
                continue
            source = stream.extractfile(member)
            assert source is not None
            path = target / place
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as sink:
                shutil.copyfileobj(source, sink, 1024 * 1024)
            path.chmod(0o755 if member.mode & 0o100 else 0o644)


def _place(name: PurePosixPath) -> PurePosixPath | None:
    """Where a member of the source distribution goes, or ``None`` if it is left out."""
    inside = PurePosixPath(*name.parts[1:])
    for source, target in _LAYOUT.items():
        if inside.is_relative_to(source):
            return target / inside.relative_to(source)
    text = str(inside)
    if _PYTHON_ZIPS.fullmatch(text):
        return PurePosixPath("python") / text
    if _LICENSES.fullmatch(text):
        return PurePosixPath(text.removeprefix("deps/"))
    return None


def fetch_connectors(line: Line, cache: Path, java_home: Path, say: Say) -> Path:
    """The directory with the connector jars of a line, without those that Spark has itself.

    Raises:
        DownloadError: with Ivy's own words, if they can't be fetched.
    """
    spark_home = fetch_spark(line, cache, say)
    pins = (files("cloudmesh.sparknomad.image") / "ivy" / f"spark-{line.name}.xml").read_bytes()
    target = cache / f"connectors-{line.spark}-{hashlib.sha256(pins).hexdigest()[:8]}"
    with published(target) as partial:
        if partial is not None:
            say(f"fetching the storage connectors of Spark {line.name} by Ivy (about 100 MB)")
            retrieve(f"spark-{line.name}", cache, java_home, spark_home, partial)
            _drop_known(partial, spark_home / "jars")
    return target


def retrieve(module: str, cache: Path, java_home: Path, spark_home: Path, target: Path) -> None:
    """Let Spark's own Ivy fetch the jars that are pinned in ``ivy/MODULE.xml``.

    Args:
        module: the name of the file with the pins.
        cache: where Ivy keeps what it has fetched.
        java_home: runs Ivy.
        spark_home: has Ivy.
        target: the directory that the jars go to.

    Raises:
        DownloadError: with Ivy's own words, if they can't be fetched.
    """
    ivy = next((spark_home / "jars").glob("ivy-*.jar"))
    pins = Path(str(files("cloudmesh.sparknomad.image") / "ivy"))
    command = [
        str(java_home / "bin" / "java"),
        *_trust(cache, java_home),
        "-jar",
        str(ivy),
        "-settings",
        str(pins / "settings.xml"),
        "-cache",
        str(cache / "ivy"),
        "-ivy",
        str(pins / f"{module}.xml"),
        "-confs",
        "default",
        "-retrieve",
        f"{target}/[artifact]-[revision](-[classifier]).[ext]",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        problems = [line for line in done.stdout.splitlines() if "::" in line or "ERROR" in line]
        raise DownloadError(
            f"Ivy could not fetch the jars of {module}:\n  " + "\n  ".join(problems[-8:]),
            hint="Check the network and Java's proxy settings (JAVA_TOOL_OPTIONS); run it again.",
        )


def _trust(cache: Path, java_home: Path) -> list[str]:
    """Let a Java of ours trust what this machine trusts; the system's does by itself."""
    bundle = truststore.system_bundle()
    if bundle is None or not java_home.is_relative_to(cache):
        return []
    store = cache / "trusted.jks"
    partial = cache / f".trusted.{os.getpid()}"
    partial.write_bytes(truststore.java_key_store(bundle.read_bytes()))
    partial.replace(store)
    return truststore.options(str(store))


def _base_name(jar: Path) -> str:
    return re.sub(r"-(hadoop3-)?\d[\w.]*(-\w+)?$", "", jar.stem)


def _drop_known(connectors: Path, jars: Path) -> None:
    known = {_base_name(jar) for jar in jars.rglob("*.jar")}
    for jar in connectors.glob("*.jar"):
        if _base_name(jar) in known:
            jar.unlink()
