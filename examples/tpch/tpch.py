"""Answer one query of TPC-H over its tables as Parquet.

The queries are those of the specification (https://www.tpc.org/tpch/), in the SQL that Spark
and DuckDB share; the names in braces are its substitution parameters.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from pyspark import SparkFiles
from pyspark.sql import SparkSession

QUERIES = ("1", "3", "6", "9", "18")
TABLES = (
    "customer",
    "lineitem",
    "nation",
    "orders",
    "part",
    "partsupp",
    "supplier",
)
PARAMETERS = ("delta", "segment", "date", "year", "discount", "quantity", "color", "large")


def main() -> None:
    """Run the query, write its answer, show its first rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--query", choices=QUERIES, required=True)
    parser.add_argument("--tables", required=True)
    parser.add_argument("--output", required=True)
    for name in PARAMETERS:
        parser.add_argument(f"--{name}", required=True)
    given = vars(parser.parse_args())
    spark = SparkSession.builder.getOrCreate()
    text = Path(SparkFiles.get(f"q{given['query']}.sql")).read_text("utf-8")
    query = text.format(**{name: given[name] for name in PARAMETERS})
    for table in TABLES:
        if table in query:
            place = f"{given['tables'].rstrip('/')}/{table}.parquet"
            spark.read.parquet(place).createOrReplaceTempView(table)
    spark.sql(query).coalesce(1).write.mode("overwrite").parquet(given["output"])
    spark.read.parquet(given["output"]).show(10, truncate=False)
    spark.stop()


if __name__ == "__main__":
    main()
