"""A job that counts words, and a profile for each kind of storage that it reads and writes."""

from __future__ import annotations

import json
import urllib.request
from dataclasses import dataclass
from typing import Any

from acceptance.conftest import Command, Done
from google_account import Google
from hdfs import Hdfs
from servers import Server

__all__ = ["COUNTED", "KINDS", "Lab", "Stores"]

# Small, but it lists, reads, shuffles, writes, commits and reads back.
PROGRAM = """
import argparse
from pyspark.sql import SparkSession, functions as F
parser = argparse.ArgumentParser()
parser.add_argument("--input")
parser.add_argument("--output")
given = parser.parse_args()
spark = SparkSession.builder.getOrCreate()
words = spark.read.text(given.input).select(F.explode(F.split("value", " ")).alias("word"))
words.groupBy("word").count().repartition(2).write.mode("overwrite").parquet(given.output)
for row in spark.read.parquet(given.output).orderBy("word").collect():
    print(row["word"], row["count"])
spark.stop()
"""
JOB = """
job: words
program: words.py
startup: fast
parameters:
  input: {type: uri, required: true}
  output: {type: uri, required: true}
arguments: ["--input", "{input}", "--output", "{output}"]
"""
TEXT = {"one.txt": "to be or not\nto be\n", "two of them.txt": "be that as it may\n"}
COUNTED = "as 1\nbe 3\nit 1\nmay 1\nnot 1\nor 1\nthat 1\nto 2\n"
KINDS = ("aws", "google", "azure", "stack", "hadoop", "file")


@dataclass(frozen=True)
class Stores:
    """A running server of each kind, and a service account of the one that knows some."""

    s3: Server
    gcs: Server
    account: Google
    azure: Server
    swift: Server
    hdfs: Hdfs


@dataclass(frozen=True)
class Lab:
    """A command with a profile for each kind of storage, each with the texts in ``texts/``."""

    command: Command
    stores: Stores

    @property
    def account(self) -> Google:
        return self.stores.account

    @property
    def environment(self) -> dict[str, str]:
        """The credentials that profiles take from the environment."""
        return {
            "AWS_ACCESS_KEY_ID": self.stores.s3.access_key,
            "AWS_SECRET_ACCESS_KEY": self.stores.s3.secret_key,
            "EC2_ACCESS_KEY": self.stores.swift.access_key,
            "EC2_SECRET_KEY": self.stores.swift.secret_key,
            "AZURE_STORAGE_KEY": self.stores.azure.secret_key,
            "GOOGLE_CREDENTIALS_JSON": json.dumps(self.account.document),
        }

    @property
    def secrets(self) -> tuple[str, ...]:
        """What nobody may see."""
        pem = self.account.document["private_key"].splitlines()
        return (self.stores.s3.secret_key, self.stores.azure.secret_key, pem[5])

    def ok(self, *words: str) -> Done:
        done = self.command(*words, **self.environment)
        assert done.code == 0, f"{words}: {done}"
        return done

    @property
    def cluster(self) -> dict[str, Any]:
        home = self.command.home / ".cloudmesh/sparknomad/clusters/default"
        record: dict[str, Any] = json.loads((home / "cluster.json").read_text())
        return record

    def nomad(self, path: str, method: str = "GET") -> Any:
        record = self.cluster
        request = urllib.request.Request(
            f"http://127.0.0.1:{record['ports']['http']}/v1/{path}",
            headers={"X-Nomad-Token": record["token"]},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)

    def add(self, name: str, url: str, server: Server | Hdfs | Google, *more: str) -> None:
        endpoint = server.endpoint.removesuffix("/devstoreaccount1")
        words = ("storage", "profile", "add", name, f"--url={url}", f"--endpoint={endpoint}")
        self.ok(*words, *more)

    def prepare(self) -> None:
        """Write the job, describe every store, and put the texts there."""
        given, project = "--credentials=environment", "--set=options.project=test"
        azure = "abfs://lab@devstoreaccount1.dfs.core.windows.net/runs/"
        self.add("aws", "s3://lab/runs/", self.stores.s3, given)
        self.add("stack", "swift://stack/runs/", self.stores.swift, given)
        self.add("azure", azure, self.stores.azure, given)
        self.add("google", "gs://lab/runs/", self.account, given, project)
        self.add("public", "gs://lab/runs/", self.stores.gcs, "--credentials=none", project)
        hdfs = self.stores.hdfs
        self.add("hadoop", f"{hdfs.url}runs/", hdfs, "--set=options.user=spark")
        home = self.command.home
        (home / "words.py").write_text(PROGRAM)
        (home / "words.yaml").write_text(JOB)
        texts = home / "texts"
        texts.mkdir()
        for name, text in TEXT.items():
            (texts / name).write_text(text)
        for place in ("aws:", "stack:", "azure:", "google:", "hadoop:"):
            self.ok("storage", "put", "texts", f"{place}texts/")

    def count(self, source: str, target: str, *more: str) -> Done:
        """Run the job; it has to print the right counts."""
        words = ("job", "run", "words.yaml", *more, "--param", f"input={source}", "--param")
        done = self.ok(*words, f"output={target}")
        assert done.out == COUNTED
        return done

    def count_between(self, source: str, target: str, *more: str) -> None:
        """Read one kind of storage and write another, which then has nothing but the result."""
        given = "texts" if source == "file" else f"{source}:texts/"
        place = f"out-{source}" if target == "file" else f"{target}:out/{source}/"
        self.count(given, place, *more)
        listed = self.ok("storage", "list", place, "--recursive", "--output=json").json()
        names = [entry["url"].rpartition("/")[2] for entry in listed]
        assert "_SUCCESS" in names
        assert len([name for name in names if name.endswith(".parquet")]) == 2
        assert not [name for name in names if "temporary" in name or "magic" in name]
