"""The program of ``image check``: SQL, Parquet, a Python function and every connector.

Called with a directory to write to and the classes to load; prints one JSON object.
"""

from __future__ import annotations

import json
import platform
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import LongType


class _Bucket(BaseHTTPRequestHandler):
    """Enough of S3 for one object to be listed and read."""

    protocol_version = "HTTP/1.1"
    text = b"one\ntwo\n"
    listing = (
        b'<?xml version="1.0"?><ListBucketResult><Name>warm</Name><Prefix></Prefix>'
        b"<KeyCount>1</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>"
        b'<Contents><Key>x.txt</Key><ETag>"0"</ETag><Size>8</Size>'
        b"<LastModified>2024-01-01T00:00:00.000Z</LastModified></Contents></ListBucketResult>"
    )

    empty = (
        b'<?xml version="1.0"?><ListBucketResult><Name>warm</Name><Prefix>x.txt/</Prefix>'
        b"<KeyCount>0</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>"
        b"</ListBucketResult>"
    )

    def log_message(self, format: str, *words: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """List the bucket, or send the object."""
        content = self.text
        if "list-type=2" in self.path:
            below = "prefix=x.txt%2F" in self.path
            content = self.empty if below else self.listing
        self.send_response(200)
        self.send_header("ETag", '"0"')
        self.send_header("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    do_HEAD = do_GET  # noqa: N815


def read_bucket(spark: SparkSession) -> None:
    """Read an object by S3A: its thousands of classes come into the archive so."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Bucket) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        conf = spark.sparkContext._jsc.hadoopConfiguration()
        prefix = "fs.s3a.bucket.warm."
        provider = "org.apache.hadoop.fs.s3a.SimpleAWSCredentialsProvider"
        values = {
            "endpoint": f"http://127.0.0.1:{server.server_port}",
            "endpoint.region": "us-east-1",
            "path.style.access": "true",
            "connection.ssl.enabled": "false",
            "access.key": "warm",
            "secret.key": "warm",
            "aws.credentials.provider": provider,
        }
        for key, value in values.items():
            conf.set(prefix + key, value)
        count = spark.read.text("s3a://warm/x.txt").count()
        server.shutdown()
    if count != 2:
        raise SystemExit(f"an object of two lines has {count}")


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
    if any(name.endswith("S3AFileSystem") for name in classes):
        read_bucket(spark)
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
