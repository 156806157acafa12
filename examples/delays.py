"""Mean departure delay by carrier and month: ``--input`` CSV of flights, ``--year``."""

import argparse

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

parser = argparse.ArgumentParser()
parser.add_argument("--input", required=True)
parser.add_argument("--output")
parser.add_argument("--year", type=int, default=2013)
options = parser.parse_args()

spark = SparkSession.builder.appName("delays").getOrCreate()
flights = spark.read.csv(options.input, header=True, inferSchema=True, nullValue="NA")
delays = (
    flights.where(F.col("year") == options.year)
    .groupBy("carrier", "month")
    .agg(F.count("*").alias("flights"), F.round(F.avg("dep_delay"), 1).alias("delay"))
)
if options.output:
    delays.orderBy("carrier", "month").write.mode("overwrite").parquet(options.output)

table = delays.groupBy("carrier").pivot("month", range(1, 13)).agg(F.first("delay"))
print(f"mean departure delay in minutes, by carrier and month of {options.year}")
print("carrier" + "".join(f"{month:>7}" for month in range(1, 13)))
for row in table.orderBy("carrier").collect():
    cells = ("-" if value is None else f"{value:.1f}" for value in row[1:])
    print(f"{row['carrier']:7}" + "".join(f"{cell:>7}" for cell in cells))
total = delays.agg(F.sum("flights")).first()[0]
print(f"{total:,} flights")
spark.stop()
