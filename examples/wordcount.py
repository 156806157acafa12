"""Counts words: ``--input`` a text file or directory, ``--output`` where to write (or print)."""

import argparse

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

parser = argparse.ArgumentParser()
parser.add_argument("--input", required=True)
parser.add_argument("--output")
parser.add_argument("--top", type=int, default=10)
options = parser.parse_args()

spark = SparkSession.builder.getOrCreate()
words = (
    spark.read.text(options.input)
    .select(F.explode(F.split(F.lower("value"), r"\W+")).alias("word"))
    .where("word != ''")
)
counts = words.groupBy("word").count().orderBy(F.desc("count"), "word")
if options.output:
    counts.write.mode("overwrite").csv(options.output, header=True)
for row in counts.take(options.top):
    print(f"{row['count']:6}  {row['word']}")
spark.stop()
