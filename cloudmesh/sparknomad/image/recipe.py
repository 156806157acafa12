"""What an image is made of: its layers in order, and how it is started. Pure."""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from cloudmesh.sparknomad.image.agent import sources_digest
from cloudmesh.sparknomad.image.layers import key_of
from cloudmesh.sparknomad.image.lines import Line, find_line
from cloudmesh.sparknomad.specs import ImageSpec, Variant

__all__ = [
    "INCLUSTER",
    "Recipe",
    "class_path_manifest",
    "incluster_files",
    "is_cut",
    "make_recipe",
]

_FORM = 4
"""Raised when layers of the same sources would be filled in another way (see `fill`)."""

INCLUSTER = "opt/sparknomad"
"""Where our own code lies in an image."""

# Jars that the slim variant leaves out, by what they are for. (jakarta.xml.bind-api 2 of
# Spark 3.5 is javax.xml.bind under another name: WebHDFS needs it.)
_CUT: Mapping[str, str] = {
    "Kubernetes": "kubernetes-* spark-kubernetes_* vertx-* zjsonpatch-*",
    "YARN and Mesos": "spark-yarn_* hadoop-yarn-* spark-mesos_* mesos-*",
    "Scala's shell": "scala-compiler-* jline-* spark-repl_* java-diff-utils-* scalap_*",
    "ML and GraphX": (
        "spark-mllib_* spark-mllib-local_* spark-graphx_* breeze_* breeze-macros_* spire_* "
        "spire-macros_* spire-util_* spire-platform_* cats-kernel_* algebra_* JTransforms-* "
        "JLargeArrays-* arpack* lapack-* blas-* netlib-* pmml-model-* jakarta.xml.bind-api-[!2]* "
        "jaxb-runtime-* jaxb-core-* istack-*"
    ),
    "Hive": (
        "hive-beeline-* hive-cli-* hive-common-* hive-exec-* hive-jdbc-* hive-llap-* "
        "hive-metastore-* hive-serde-* hive-service-rpc-* hive-shims-* hive-vector-* "
        "spark-hive_* spark-hive-thriftserver_* datanucleus-* derby* libfb303-* libthrift-* "
        "javax.jdo-* jdo-api-* HikariCP-* bonecp-* antlr-runtime-3* ST4-* stringtemplate-* "
        "opencsv-* super-csv-* jpam-* json-1.8* commons-dbcp-* commons-pool-* javolution-* "
        "jta-* transaction-api-* stax-api-*"
    ),
    "RocksDB": "rocksdbjni-*",
}
# Spark's own Hadoop stands before HDFS's minicluster, which has some of its classes too.
_OFTEN = (
    "spark-", "scala-library", "hadoop-client-api", "hadoop-client-runtime",
    "hadoop-client-minicluster", "parquet-", "jackson-", "log4j-", "jersey-", "janino",
    "commons-compiler", "sdk-core", "regions", "s3-", "gcs-connector", "hadoop-aws",
    "netty-common", "netty-transport", "netty-buffer", "httpclient",
)  # fmt: skip
_PATTERNS = tuple(pattern for patterns in _CUT.values() for pattern in patterns.split())
_FOREIGN = ("osx", "windows", "riscv64")


def is_cut(jar: str, variant: Variant, machine: str) -> bool:
    """Whether a variant leaves a jar out; native code of other systems always is.

    Args:
        jar: its file name.
        variant: of the image.
        machine: such as ``x86_64``, as Python's ``platform.machine()`` names it.
    """
    if jar.startswith("netty-"):
        other = "aarch_64" if machine == "x86_64" else "x86_64"
        if "codec-native-quic" in jar or any(name in jar for name in (*_FOREIGN, other)):
            return True
    return variant is Variant.SLIM and any(fnmatch.fnmatch(jar, p) for p in _PATTERNS)


def class_path_manifest(jars: Iterable[str]) -> bytes:
    """The manifest of ``jars/classpath.jar``, which names all jars in one fixed order.

    Java expands ``jars/*`` in the order of the file system, which differs between machines,
    while a shared archive wants the order that it was made with. Java looks for a class in one
    jar after the other, so those from which most are loaded come first: looking for them was
    most of the time to load classes that no archive has.
    """
    ordered = sorted(jars, key=_rank)
    line = ("Class-Path: " + " ".join(f"../lib/{jar}" for jar in ordered)).encode()
    # A manifest's line has at most 72 bytes; the next begins with a blank.
    folded = [line[:72], *(b" " + line[i : i + 71] for i in range(72, len(line), 71))]
    return b"Manifest-Version: 1.0\r\n" + b"\r\n".join(folded) + b"\r\n\r\n"


def _rank(jar: str) -> tuple[int, str]:
    found = (rank for rank, begin in enumerate(_OFTEN) if jar.startswith(begin))
    return next(found, len(_OFTEN)), jar


@dataclass(frozen=True)
class Recipe:
    """An image before it is built.

    Attributes:
        spec: what was asked.
        line: its pinned versions.
        keys: of the layers that do not depend on the base, by name.
        image_id: the digest of all of it.
        base_id: of the Docker image that it is based on.
    """

    spec: ImageSpec
    line: Line
    keys: Mapping[str, str]
    image_id: str
    base_id: str = ""

    @property
    def tag(self) -> str:
        """The image's name in Docker."""
        return f"sparknomad/{self.spec.image}:{self.image_id[:12]}"


def make_recipe(spec: ImageSpec, machine: str, base_id: str = "") -> Recipe:
    """Work out what an image is made of.

    Args:
        spec: the image.
        machine: such as ``x86_64``.
        base_id: of the Docker image that it is based on, or of how Debian is bootstrapped.
    """
    line = find_line(spec.spark)
    pins = files("cloudmesh.sparknomad.image") / "ivy" / f"spark-{line.name}.xml"
    spark = key_of("spark", _FORM, line.spark, line.sha256, spec.variant.value, machine, _PATTERNS)
    connectors = key_of("connectors", _FORM, line.spark, pins.read_text("utf-8"), spark)
    keys = {
        "spark": spark,
        "connectors": connectors,
        "archive": key_of(
            "archive",
            spec.base,
            base_id,
            connectors,
            _code("java_options.py"),
            _code("warm.py"),
            _code("sockets.py"),
            _code("check_job.py"),
        ),
        "sparknomad": key_of(
            "sparknomad",
            *(_code("*.py"), _code("*.properties"), _code("enter")),
            *(sources_digest(), line.spark, pins.read_text("utf-8")),
        ),
        "requirements": key_of("requirements", sorted(spec.requirements), line.name, machine),
    }
    identity = key_of(spec.image, spec.base, base_id, machine, keys)
    return Recipe(spec, line, keys, identity, base_id)


def incluster_files() -> list[Path]:
    """Our own code that goes into an image."""
    directory = Path(str(files("cloudmesh.sparknomad.incluster")))
    return sorted(p for p in directory.iterdir() if p.is_file() and not p.name.startswith("__"))


def _code(pattern: str) -> str:
    digest = hashlib.sha256()
    for path in incluster_files():
        if fnmatch.fnmatch(path.name, pattern):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
