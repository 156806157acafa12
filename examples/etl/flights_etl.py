"""The steps of an ETL over flights: ``clean``, ``carriers``, ``routes`` and ``summary``."""

import argparse

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

parser = argparse.ArgumentParser()
parser.add_argument("step", choices=("clean", "carriers", "routes", "summary"))
parser.add_argument("--input", required=True)
parser.add_argument("--other")
parser.add_argument("--output", required=True)
parser.add_argument("--year", type=int, default=2013)
options = parser.parse_args()

spark = SparkSession.builder.appName(f"etl {options.step}").getOrCreate()


def clean():
    """Flights of the year that departed, with only what the other steps need."""
    flights = spark.read.csv(options.input, header=True, inferSchema=True, nullValue="NA")
    kept = flights.where((F.col("year") == options.year) & F.col("dep_delay").isNotNull())
    return kept.select("month", "carrier", "origin", "dest", "dep_delay", "distance")


def carriers():
    """How late each carrier is."""
    flights = spark.read.parquet(options.input)
    return flights.groupBy("carrier").agg(
        F.count("*").alias("flights"), F.round(F.avg("dep_delay"), 2).alias("delay")
    )


def routes():
    """How late each route is, and who flies it most."""
    flights = spark.read.parquet(options.input)
    by_carrier = flights.groupBy("origin", "dest", "carrier").agg(F.count("*").alias("n"))
    most = by_carrier.groupBy("origin", "dest").agg(F.max_by("carrier", "n").alias("carrier"))
    delays = flights.groupBy("origin", "dest").agg(F.round(F.avg("dep_delay"), 2).alias("delay"))
    return delays.join(most, ["origin", "dest"])


def summary():
    """For each carrier its delay, and on how many routes it is the first."""
    first = spark.read.parquet(options.other).groupBy("carrier").agg(F.count("*").alias("routes"))
    return spark.read.parquet(options.input).join(first, "carrier", "left").orderBy("carrier")


table = {"clean": clean, "carriers": carriers, "routes": routes, "summary": summary}[options.step]()
if options.step == "summary":
    table = table.coalesce(1)
table.write.mode("overwrite").parquet(options.output)
if options.step == "summary":
    for row in spark.read.parquet(options.output).orderBy("carrier").collect():
        print(f"{row['carrier']:3}{row['flights']:>8,}{row['delay']:>8}{row['routes'] or 0:>5}")
spark.stop()
