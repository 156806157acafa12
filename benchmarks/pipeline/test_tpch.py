"""TPC-H from an object store, against local PySpark and DuckDB on the same tables on the disk."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from presets import PRESET
from stores import Server
from tool import Tool

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from acceptance.test_tpch import VALUES, assert_equal, expected, ordered

pytestmark = pytest.mark.nomad
ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "tpch"


@dataclass(frozen=True)
class Lab:
    tool: Tool
    tables: Path

    def ours(self, query: str) -> None:
        place = f"near:answers/{query}/"
        words = ("job", "run", str(EXAMPLE / "tpch.yaml"), "--param", f"query={query}")
        more = ("--param", "tables=near:tables/", "--param", f"output={place}", "--stage=always")
        self.tool("sparknomad", *words, *more)

    def answer(self, query: str) -> list[tuple[Any, ...]]:
        target = self.tool.home / "answers" / query
        self.tool("sparknomad", "storage", "get", f"near:answers/{query}/", f"{target}/")
        return ordered(f"SELECT * FROM '{target}/*.parquet'")

    def local(self, query: str) -> None:
        """Stock Spark on this machine alone, without a cluster."""
        spark = next(self.tool.cache.glob("spark-4.1*"))
        target = self.tool.home / "local" / query
        shutil.rmtree(target, ignore_errors=True)
        words = [spark / "bin/spark-submit", "--master=local[2]", "--driver-memory=2g"]
        words += [f"--files={EXAMPLE}/q{query}.sql", str(EXAMPLE / "tpch.py")]
        words += [f"--query={query}", f"--tables={self.tables}", f"--output={target}"]
        words += [f"--{name}={value}" for name, value in VALUES.items()]
        environment = {**self.tool.environment, "PYSPARK_PYTHON": sys.executable}
        subprocess.run(words, env=environment, cwd=self.tool.home, check=True, capture_output=True)

    def duckdb(self, query: str) -> None:
        """In a process of its own, as the others."""
        program = (
            "import sys; sys.path[:0] = [sys.argv[1]]\n"
            "from pathlib import Path\n"
            "from acceptance.test_tpch import expected\n"
            "expected(sys.argv[2], Path(sys.argv[3]))\n"
        )
        words = [sys.executable, "-c", program, str(ROOT / "tests"), query, str(self.tables)]
        subprocess.run(words, check=True, capture_output=True)


@pytest.fixture(scope="module")
def tpch(lab: tuple[Tool, Server], tmp_path_factory: pytest.TempPathFactory) -> Lab:
    tables = tmp_path_factory.mktemp("tables")
    program = Path(sysconfig.get_path("scripts"), "tpchgen-cli")
    words = [program, "parquet", "-s", PRESET.scale, f"--output-dir={tables}"]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    tool, _ = lab
    tool("sparknomad", "storage", "put", f"{tables}/", "near:tables/")
    return Lab(tool, tables)


@pytest.mark.parametrize("query", PRESET.queries)
def test_a_query(tpch: Lab, query: str, compare: Callable[..., None]) -> None:
    tpch.ours(query)  # so that its tables are staged: what is measured is the work itself
    assert_equal(tpch.answer(query), expected(query, tpch.tables))
    compare(
        f"TPC-H query {query}, scale factor {PRESET.scale}",
        "none: a yardstick",
        PRESET.rounds,
        ours=lambda: tpch.ours(query),
        pyspark=lambda: tpch.local(query),
        duckdb=lambda: tpch.duckdb(query),
    )
