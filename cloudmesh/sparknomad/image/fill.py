"""What is in the layers that are made of files of this machine."""

from __future__ import annotations

import os
import re
import shutil
import time
import zipfile
from pathlib import Path

from cloudmesh.sparknomad.image.layers import MTIME
from cloudmesh.sparknomad.image.recipe import (
    INCLUSTER,
    class_path_manifest,
    incluster_files,
    is_cut,
)
from cloudmesh.sparknomad.specs import Variant

__all__ = ["fill_code", "fill_connectors", "fill_spark"]


# Janino compiles the code that Spark generates: it is on the way of every query.
_SIGNED = ("janino-", "commons-compiler-", "azure-storage-", "azure-keyvault-core-")
_SIGNATURE = re.compile(r"META-INF/[^/]+\.(SF|RSA|DSA|EC)")


def _kept_jars(home: Path, variant: Variant, machine: str) -> list[Path]:
    jars = sorted((home / "jars").glob("*.jar"))
    return [jar for jar in jars if not is_cut(jar.name, variant, machine)]


def fill_spark(tree: Path, home: Path, variant: Variant, machine: str) -> None:
    """Spark itself, below ``opt/spark``.

    Args:
        tree: the layer's files.
        home: the Spark home to copy.
        variant: which jars are kept.
        machine: such as ``x86_64``.
    """
    target = tree / "opt/spark"
    (target / "conf").mkdir(parents=True)
    (target / "lib").mkdir()
    for jar in _kept_jars(home, variant, machine):
        _copy_jar(jar, target / "lib" / jar.name)
    for name in ("bin", "sbin", "python", "licenses"):
        shutil.copytree(home / name, target / name, copy_function=os.link)
    for name in ("LICENSE", "NOTICE"):
        if (home / name).exists():  # the source distribution of Spark 3.5 has neither
            shutil.copyfile(home / name, target / name)
    _unzip_python(target / "python" / "lib")


def _copy_jar(jar: Path, target: Path) -> None:
    """Copy a jar, without its signature: Java puts no class of a signed jar into an archive."""
    if not jar.name.startswith(_SIGNED):
        os.link(jar, target)
        return
    with zipfile.ZipFile(jar) as source, zipfile.ZipFile(target, "w") as sink:
        for entry in source.infolist():
            if not _SIGNATURE.fullmatch(entry.filename):
                sink.writestr(entry, source.read(entry))


def _unzip_python(library: Path) -> None:
    """Put directories where Spark looks for its zipped Python code.

    Python keeps no compiled form of what it imports from a zip: each worker would compile
    PySpark anew. A directory of the same name serves as well, and has its compiled form.
    """
    (library / "pyspark.zip").unlink()
    (library / "pyspark.zip").symlink_to("..")
    zipped = next(library.glob("py4j-*.zip"))
    with zipfile.ZipFile(zipped) as archive:
        unzipped = library / "py4j"
        archive.extractall(unzipped)
    zipped.unlink()
    unzipped.rename(zipped)


def fill_connectors(
    tree: Path, connectors: Path, home: Path, variant: Variant, machine: str
) -> None:
    """The connectors beside Spark's jars, and the one jar that names all in their order."""
    target = tree / "opt/spark"
    (target / "lib").mkdir(parents=True)
    (target / "jars").mkdir()
    added = sorted(connectors.glob("*.jar"))
    for jar in added:
        _copy_jar(jar, target / "lib" / jar.name)
    names = [jar.name for jar in (*_kept_jars(home, variant, machine), *added)]
    with zipfile.ZipFile(target / "jars" / "classpath.jar", "w") as archive:
        stamp = time.gmtime(MTIME)
        entry = zipfile.ZipInfo("META-INF/MANIFEST.MF", stamp[:6])
        archive.writestr(entry, class_path_manifest(names))


def fill_code(tree: Path, agent: Path) -> None:
    """What sparknomad runs inside a cluster.

    Args:
        tree: the layer's files.
        agent: the jar of the transfer agent.
    """
    target = tree / INCLUSTER
    target.mkdir(parents=True)
    for path in incluster_files():
        shutil.copyfile(path, target / path.name)
        (target / path.name).chmod(0o644 if path.suffix else 0o755)
    shutil.copyfile(agent, target / agent.name)
    (target / agent.name).chmod(0o644)
