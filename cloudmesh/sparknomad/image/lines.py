"""The Spark lines that are pinned and tested: every version of one is tried with the others.

The connectors and HDFS of a line are pinned, complete with what they need, in
``ivy/spark-LINE.xml``: nothing is resolved at build time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cloudmesh.sparknomad.errors import SpecError

__all__ = ["DEFAULT_LINE", "LINES", "Line", "find_line"]

DEFAULT_LINE = "4.1"


@dataclass(frozen=True)
class Line:
    """A pinned set.

    Attributes:
        name: as in ``spark: "4.1"``.
        spark: version of PyPI's pyspark.
        sha256: of its source distribution.
        scala: the Scala binary version.
        hadoop: version of the bundled Hadoop, its connectors and HDFS.
    """

    name: str
    spark: str
    sha256: str
    scala: str
    hadoop: str


LINES: Mapping[str, Line] = {
    "4.1": Line(
        "4.1",
        "4.1.4",
        "bcbd5e18690cf79d438e97210ad06fb8d451a251bb77becc2b0418868d2acd73",
        "2.13",
        "3.4.2",
    ),
    "3.5": Line(
        "3.5",
        "3.5.9",
        "ea27adc39ddac9413b8951e45aa748cbed6c785971b81386efc41938f6243d93",
        "2.12",
        "3.3.4",
    ),
}


def find_line(name: str) -> Line:
    """The line of a name.

    Raises:
        SpecError: if there is none.
    """
    try:
        return LINES[name]
    except KeyError:
        known = ", ".join(sorted(LINES))
        raise SpecError(f"spark: {name!r}: no such line; known: {known}") from None
