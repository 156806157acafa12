"""The in-memory provider keeps the contract."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from conformance.suite import HOSTILE, Harness, ProviderConformance

from cloudmesh.sparknomad.cluster.memory import MemoryProvider
from cloudmesh.sparknomad.cluster.provider import ProviderContext
from cloudmesh.sparknomad.specs import ClusterSpec


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    directory = tmp_path_factory.mktemp("memory")
    provider = MemoryProvider(ProviderContext(directory, directory, print))
    spec = ClusterSpec(cluster="here", provider="memory")
    provider.deploy(spec, None, timeout=10)
    yield Harness(provider, spec, None, spark=False)
    provider.destroy("here", timeout=10)


class TestMemory(ProviderConformance):
    def arguments(self, harness: Harness) -> tuple[str, ...]:
        # A plain process takes 128 KiB in one argument.
        return tuple(argument for argument in HOSTILE if len(argument) < 100_000)
