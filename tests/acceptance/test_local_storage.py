"""Jobs whose storage is a parameter, on the embedded cluster with real object stores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from acceptance.conftest import Command, ended
from acceptance.words import KINDS, Lab, Stores

pytestmark = [pytest.mark.spark, pytest.mark.servers, pytest.mark.slow]


@pytest.fixture(scope="module")
def lab(cache: Path, tmp_path_factory: pytest.TempPathFactory, stores: Stores) -> Iterator[Lab]:
    with ended(Command(tmp_path_factory.mktemp("local storage"), cache)) as command:
        made = Lab(command, stores)
        made.prepare()
        yield made


# Each kind is read once and written once.
@pytest.mark.parametrize(("source", "target"), list(zip(KINDS, KINDS[1:] + KINDS[:1], strict=True)))
def test_the_embedded_cluster_reads_and_writes_every_storage(
    lab: Lab, source: str, target: str
) -> None:
    lab.count_between(source, target)
