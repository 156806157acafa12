"""Jobs through `job run` against stock ``spark-submit`` of the same Spark on the same workers."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from presets import PRESET
from stores import Server
from tool import Tool

from cloudmesh.sparknomad.image.sandbox import NamespaceSandbox

pytestmark = pytest.mark.nomad

TRIVIAL = """
from pyspark.sql import SparkSession, functions as F
spark = SparkSession.builder.getOrCreate()
print(spark.sparkContext.parallelize(range(100), 2).map(lambda n: n + 1).sum())
print(spark.range(1000).select(F.sum("id")).first()[0])
spark.stop()
"""

# About a minute of work on two cores: hashing rows in Spark's own generated code.
BUSY = """
from pyspark.sql import SparkSession, functions as F
spark = SparkSession.builder.getOrCreate()
rows = spark.range(0, %d, 1, 2)
print(rows.select(F.sum(F.length(F.sha2(F.col("id").cast("string"), 256)))).first()[0])
spark.stop()
"""


class Cluster:
    """A deployed cluster, and stock ``spark-submit`` in the image that it runs."""

    def __init__(self, tool: Tool) -> None:
        self.tool = tool
        record = tool.home / ".cloudmesh/sparknomad/clusters/default/cluster.json"
        self.record = json.loads(record.read_text())
        self.endpoints = json.loads(tool("sparknomad", "cluster", "ui", "--output=json"))
        self.sandbox = NamespaceSandbox(Path(self.record["rootfs"]))

    def ours(self, program: Path) -> None:
        self.tool("sparknomad", "job", "run", str(program), "--quiet")

    def stock(self, program: Path) -> None:
        """``spark-submit`` with its defaults; only what is needed to be let in is set."""
        with self.sandbox.workspace() as work:
            (work / "local" / "program.py").write_text(program.read_text())
            conf = {
                "spark.authenticate": "true",
                "spark.authenticate.secret": self.record["spark_secret"],
                "spark.network.crypto.enabled": "true",
                "spark.shuffle.readHostLocalDisk": "false",
                "spark.local.dir": "/local",
            }
            properties = work / "local" / "stock.conf"
            properties.write_text("".join(f"{key} {value}\n" for key, value in conf.items()))
            command = ["/opt/spark/bin/spark-submit", "--properties-file", "/local/stock.conf"]
            command += ["--master", self.endpoints["Spark master"], "/local/program.py"]
            scala = "2.13"
            done = subprocess.run(
                self.sandbox.command(work, command, scala),
                env={**self.sandbox.environment(work, scala), "JAVA_HOME": "/opt/java"},
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done


@pytest.fixture
def cluster(lab: tuple[Tool, Server]) -> Cluster:
    return Cluster(lab[0])


def test_a_trivial_job(cluster: Cluster, tmp_path: Path, compare: Callable[..., None]) -> None:
    program = tmp_path / "trivial.py"
    program.write_text(TRIVIAL)
    compare(
        "trivial job, start to exit",
        "at most 0.6 of spark-submit",
        PRESET.rounds,
        ours=lambda: cluster.ours(program),
        stock=lambda: cluster.stock(program),
    )


def test_a_busy_job(cluster: Cluster, tmp_path: Path, compare: Callable[..., None]) -> None:
    program = tmp_path / "busy.py"
    program.write_text(BUSY % PRESET.busy_rows)
    compare(
        "CPU-bound job, start to exit",
        "at most 1.05 of spark-submit",
        min(PRESET.rounds, 3),
        ours=lambda: cluster.ours(program),
        stock=lambda: cluster.stock(program),
    )
