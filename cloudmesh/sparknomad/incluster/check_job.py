"""The program of ``image check``: SQL, Parquet, a Python function and every connector.

Called with a directory to write to and the classes to load; prints one JSON object.
"""

from __future__ import annotations

import json
import platform
import sys

from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import LongType


def main(directory: str, classes: list[str]) -> None:
    """Run the check; an exception fails it."""
    spark = SparkSession.builder.getOrCreate()
    path = f"file://{directory}/numbers"
    numbers = spark.range(1000).withColumn("group", F.col("id") % 7)
    numbers.write.mode("overwrite").partitionBy("group").parquet(path)
    double = F.udf(lambda value: value * 2, LongType())
    spark.read.parquet(path).createOrReplaceTempView("numbers")
    rows = spark.sql("SELECT `group`, count(*) AS n, sum(id) AS s FROM numbers GROUP BY `group`")
    total = rows.select(F.sum(double("s"))).first()[0]
    expected = 2 * sum(range(1000))
    if total != expected:
        raise SystemExit(f"SQL over Parquet gave {total}, not {expected}")
    java = spark._jvm
    loader = java.Thread.currentThread().getContextClassLoader()
    for name in classes:
        java.java.lang.Class.forName(name, True, loader)
    versions = {
        "spark": spark.version,
        "hadoop": java.org.apache.hadoop.util.VersionInfo.getVersion(),
        "java": java.System.getProperty("java.version"),
        "python": platform.python_version(),
        "connectors": " ".join(name.rsplit(".", 1)[1] for name in classes),
    }
    spark.stop()
    print(json.dumps(versions))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
