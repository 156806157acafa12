"""The queries of ``examples/tpch`` over real clouds' servers: Spark's answers are DuckDB's."""

from __future__ import annotations

import datetime
import decimal
import subprocess
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from acceptance.conftest import Command, ended
from servers import Server

from cloudmesh.sparknomad.model import ImageRecord

pytestmark = pytest.mark.nomad

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "tpch"
QUERIES = ("1", "3", "6", "9", "18")
TABLES = ("customer", "lineitem", "nation", "orders", "part", "partsupp", "supplier")
# The specification's substitution parameters for validation, and the job's defaults.
VALUES = {
    "delta": "90",
    "segment": "BUILDING",
    "date": "1995-03-15",
    "year": "1994",
    "discount": "0.06",
    "quantity": "24",
    "color": "green",
    "large": "300",
}
SMALL, WHOLE = "0.01", "1"


@dataclass(frozen=True)
class Lab:
    """A cluster with a profile for each cloud, and TPC-H's tables on this machine."""

    command: Command
    environment: dict[str, str]
    data: Path

    def ok(self, *words: str) -> str:
        done = self.command(*words, **self.environment)
        assert done.code == 0, f"{words}: {done}"
        return done.out

    def tables(self, scale: str) -> Path:
        """The tables of a scale factor, made when they are needed first."""
        place = self.data / scale
        if not place.is_dir():
            program = Path(sysconfig.get_path("scripts"), "tpchgen-cli")
            words = [program, "parquet", "-s", scale, f"--output-dir={place}"]
            subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        return place

    def upload(self, scale: str, cloud: str) -> Path:
        """Bring the tables there; what is there already is not sent again."""
        tables = self.tables(scale)
        self.ok("storage", "put", f"{tables}/", f"{cloud}:{scale}/")
        return tables

    def answer(self, query: str, cloud: str, scale: str) -> list[tuple[Any, ...]]:
        """Let the cluster answer a query, and fetch the answer."""
        words = ("job", "run", str(EXAMPLE / "tpch.yaml"), "--param", f"query={query}")
        place = f"{cloud}:answers/{scale}/{query}/"
        self.ok(*words, "--param", f"tables={cloud}:{scale}/", "--param", f"output={place}")
        target = self.command.home / "answers" / cloud / scale / query
        self.ok("storage", "get", place, f"{target}/")
        return ordered(f"SELECT * FROM '{target}/*.parquet'")


@pytest.fixture(scope="module")
def lab(
    root: None,
    image: ImageRecord,
    cache: Path,
    tmp_path_factory: pytest.TempPathFactory,
    s3_server: Server,
    gcs_server: Server,
    azure_server: Server,
    swift_server: Server,
) -> Iterator[Lab]:
    environment = {
        "AWS_ACCESS_KEY_ID": s3_server.access_key,
        "AWS_SECRET_ACCESS_KEY": s3_server.secret_key,
        "EC2_ACCESS_KEY": swift_server.access_key,
        "EC2_SECRET_KEY": swift_server.secret_key,
        "AZURE_STORAGE_KEY": azure_server.secret_key,
    }
    azure = "abfs://lab@devstoreaccount1.dfs.core.windows.net/tpch/"
    profiles = {
        "aws": ("s3://lab/tpch/", s3_server, "environment"),
        "stack": ("swift://stack/tpch/", swift_server, "environment"),
        "azure": (azure, azure_server, "environment"),
        "google": ("gs://lab/tpch/", gcs_server, "none"),
    }
    with ended(Command(tmp_path_factory.mktemp("tpch home"), cache)) as command:
        made = Lab(command, environment, tmp_path_factory.mktemp("tpch"))
        made.ok("cluster", "deploy", "--driver=exec")
        for name, (url, server, source) in profiles.items():
            endpoint = server.endpoint.removesuffix("/devstoreaccount1")
            words = ("storage", "profile", "add", name, f"--url={url}", f"--endpoint={endpoint}")
            made.ok(*words, f"--credentials={source}")
        yield made


def ordered(sql: str, tables: Path | None = None) -> list[tuple[Any, ...]]:
    import duckdb

    with duckdb.connect() as connection:
        for table in TABLES if tables else ():
            connection.execute(f"CREATE VIEW {table} AS SELECT * FROM '{tables}/{table}.parquet'")
        return connection.execute(sql).fetchall()


def expected(query: str, tables: Path) -> list[tuple[Any, ...]]:
    return ordered((EXAMPLE / f"q{query}.sql").read_text().format(**VALUES), tables)


def assert_equal(rows: list[tuple[Any, ...]], others: list[tuple[Any, ...]]) -> None:
    """Exact, but for averages: the two engines add doubles up in different orders."""
    assert len(rows) == len(others) > 0
    for row, other in zip(rows, others, strict=True):
        for value, wanted in zip(row, other, strict=True):
            if isinstance(wanted, float):
                assert value == pytest.approx(wanted, rel=1e-9)
            elif isinstance(wanted, decimal.Decimal):
                assert decimal.Decimal(value) == wanted
            else:
                assert isinstance(wanted, str | int | datetime.date)
                assert value == wanted


# A join with a subquery; the others take minutes.
@pytest.mark.parametrize(
    "query", [q if q == "18" else pytest.param(q, marks=pytest.mark.slow) for q in QUERIES]
)
def test_spark_answers_as_duckdb_does(lab: Lab, query: str) -> None:
    tables = lab.upload(SMALL, "aws")
    assert_equal(lab.answer(query, "aws", SMALL), expected(query, tables))


@pytest.mark.slow
@pytest.mark.parametrize("cloud", ["aws", "google", "azure", "stack"])
def test_a_gigabyte_in_any_cloud_gives_the_same_answers(lab: Lab, cloud: str) -> None:
    tables = lab.upload(WHOLE, cloud)
    for query in QUERIES:
        assert_equal(lab.answer(query, cloud, WHOLE), expected(query, tables))
