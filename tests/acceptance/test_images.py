"""Images of the other line and of a user's wishes, built and run for real."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from acceptance.conftest import Command
from acceptance.test_storage_runs import SHARING
from google_account import google
from servers import Server

pytestmark = [pytest.mark.nomad, pytest.mark.slow]
EXAMPLES = Path(__file__).parents[2] / "examples"

LINES = """
import sys
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
assert sys.argv[2].startswith("hdfs://"), sys.argv
print(spark.read.text(sys.argv[2]).count())
spark.stop()
"""

LEARN = """
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.feature import VectorAssembler
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
rows = [(float(x), float(x > 20)) for x in range(40)]
table = VectorAssembler(inputCols=["x"], outputCol="features").transform(
    spark.createDataFrame(rows, ["x", "label"]).repartition(2)
)
model = LogisticRegression(maxIter=50).fit(table)
right = model.transform(table).where("label = prediction").count()
print(f"{right} of 40")
spark.stop()
"""

# Tables of Hive's own form, a metastore in the driver, and one of Hive's functions on the workers.
HIVE = """
from pyspark.sql import SparkSession
spark = SparkSession.builder.enableHiveSupport().getOrCreate()
assert spark.conf.get("spark.sql.catalogImplementation") == "hive"
spark.conf.set("hive.exec.dynamic.partition.mode", "nonstrict")
spark.sql("CREATE TABLE kept (n INT) PARTITIONED BY (word STRING) STORED AS TEXTFILE")
spark.range(40).repartition(4).createOrReplaceTempView("given")
spark.sql("INSERT INTO kept PARTITION (word) SELECT id, if(id < 10, 'be', 'to') FROM given")
spark.sql("CREATE FUNCTION turned AS 'org.apache.hadoop.hive.ql.udf.UDFReverse'")
counted = spark.sql("SELECT turned(word), count(*) FROM kept GROUP BY word ORDER BY word")
for row in counted.collect():
    print(*row)
print([row["partition"] for row in spark.sql("SHOW PARTITIONS kept").collect()])
spark.stop()
"""

# Counts in batches; the second query has what the first has counted from its checkpoint.
ROCKS = """
import sys
from pyspark.sql import SparkSession, functions as F
spark = SparkSession.builder.config(
    "spark.sql.streaming.stateStore.providerClass",
    "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider",
).config("spark.sql.shuffle.partitions", 2).getOrCreate()
place = sys.argv[2]
for turn in range(2):
    spark.range(10 * turn, 10 * turn + 10).repartition(2).write.mode("append").parquet(f"{place}in")
    stream = spark.readStream.schema("id long").parquet(f"{place}in")
    query = (
        stream.groupBy((F.col("id") % 2).alias("odd")).count().writeStream.outputMode("update")
        .foreachBatch(lambda batch, _: print(*map(tuple, batch.orderBy("odd").collect())))
        .option("checkpointLocation", f"{place}checkpoint").trigger(availableNow=True).start()
    )
    query.awaitTermination()
    state = query.lastProgress["stateOperators"][0]
    assert state["customMetrics"]["rocksdbPutCount"] > 0, state
spark.stop()
"""


def test_spark_3_5_is_built_checked_deployed_and_runs_a_job(
    root: None, command: Command, tmp_path: Path, s3_server: Server, gcs_server: Server
) -> None:
    words = tmp_path / "words.txt"
    words.write_text("to be or not to be\n")
    job = ("job", "run", str(EXAMPLES / "wordcount.py"), "--param", f"input={words}")
    try:
        built = command.ok("image", "build", "older", "--spark=3.5", "--output=json").json()
        assert built["versions"]["spark"].startswith("3.5.")
        command.ok("cluster", "deploy", "--image=older", "--driver=exec", "--workers=1")
        assert command.ok(*job).out.splitlines()[0] == "     2  be"
        assert command("image", "remove", "older").code == 1
        runs_over_what_its_agent_has_staged(command, s3_server)
        acts_as_a_service_account(command, gcs_server)
        command.ok("cluster", "destroy")
    finally:
        command("cluster", "destroy", "--force")
        command.ok("image", "remove", "older")


def runs_over_what_its_agent_has_staged(command: Command, server: Server) -> None:
    """One small object, moved by the agent alone, and one that executors move in ranges."""
    profile = ("storage", "profile", "add", "aws", "--url=s3://lab/older/", "--credentials=file")
    (command.home / "keys.yaml").touch(mode=0o600)
    (command.home / "keys.yaml").write_text(
        f"access_key: {server.access_key}\nsecret_key: {server.secret_key}\n"
    )
    place = f"--set=credentials.path={command.home / 'keys.yaml'}"
    command.ok(*profile, f"--endpoint={server.endpoint}", place)
    (command.home / "lines.py").write_text(LINES)
    for name, count in (("small", 3), ("large", 700_000)):
        (command.home / name).write_text(f"{'x' * 99}\n" * count)
        command.ok("storage", "put", name, f"aws:{name}")
        run = ("job", "run", "lines.py", "--param", f"input=aws:{name}", "--stage=always")
        assert command.ok(*run).out.strip() == str(count)


def acts_as_a_service_account(command: Command, server: Server) -> None:
    """With the older of Google's connectors, and a token that ends soon."""
    (command.home / "three").write_text("to be\nor not\nto be\n")
    (command.home / "sharing.py").write_text(SHARING)
    with google(server.endpoint) as account:
        account.life = 20
        key = {"GOOGLE_CREDENTIALS_JSON": json.dumps(account.document)}
        profile = ("storage", "profile", "add", "google", "--url=gs://lab/older/")
        told = (f"--endpoint={account.endpoint}", "--credentials=environment")
        command.ok(*profile, *told, "--set=options.project=test")
        assert command("storage", "put", "three", "google:three", **key).code == 0
        done = command("job", "run", "sharing.py", "--param", "input=google:three", **key)
        assert done.out == "True /opt/sparknomad/transfer.jar\n" * 2, done
        assert not [each for each in account.refused if "statement" in each]


@pytest.mark.parametrize("line", ["4.1", "3.5"])
def test_the_full_variant_learns_keeps_tables_and_counts_streams(
    root: None, command: Command, line: str
) -> None:
    for name, program in (("learn", LEARN), ("hive", HIVE), ("rocks", ROCKS)):
        (command.home / f"{name}.py").write_text(program)
    (command.home / "numpy.txt").write_text("numpy\n")
    whole = (f"--spark={line}", "--variant=full", "--requirements=numpy.txt")
    try:
        command.ok("image", "build", "whole", *whole)
        command.ok("cluster", "deploy", "--image=whole", "--driver=exec", "--workers=2")
        assert command.ok("job", "run", "learn.py").out.strip() == "40 of 40"
        told = command.ok("job", "run", "hive.py").out
        assert told == "eb 10\not 30\n['word=be', 'word=to']\n"
        told = command.ok("job", "run", "rocks.py", "--param", "place=cluster:/stream/").out
        assert told == "(0, 5) (1, 5)\n(0, 10) (1, 10)\n"
        command.ok("cluster", "destroy")
    finally:
        command("cluster", "destroy", "--force")
        command.ok("image", "remove", "whole")
