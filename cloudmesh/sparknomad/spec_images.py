"""What a user writes of images."""

from __future__ import annotations

from enum import Enum
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from cloudmesh.sparknomad.spec_types import CONFIGURATION, Line, Name

__all__ = ["ImageSpec", "Variant"]


class Variant(Enum):
    """How much of Spark an image holds."""

    SLIM = "slim"
    FULL = "full"


@dataclass(frozen=True, config=CONFIGURATION)
class ImageSpec:
    """The standalone Spark runtime.

    Attributes:
        image: its name.
        spark: the line: ``4.1`` or ``3.5``; each is a pinned, tested set.
        base: ``debian``, bootstrapped from Debian's packages, or the name of a Docker image.
        requirements: Python requirements, as pip reads them.
        variant: ``slim``, or ``full`` with ML, GraphX, Hive, RocksDB, Kubernetes and YARN.
    """

    image: Name = "default"
    spark: Line = "4.1"
    base: Annotated[str, Field(pattern=r"^[a-zA-Z0-9][\w./:@-]*$")] = "debian"
    requirements: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    variant: Variant = Variant.SLIM
