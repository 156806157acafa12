"""The embedded provider keeps the contract, on real Spark."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from conformance.suite import SECONDS, Harness, ProviderConformance

from cloudmesh.sparknomad.cluster.local.provider import LocalProvider
from cloudmesh.sparknomad.cluster.provider import ProviderContext
from cloudmesh.sparknomad.image.host import host_runtime
from cloudmesh.sparknomad.specs import ClusterSpec

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def harness(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    directory = tmp_path_factory.mktemp("a directory with blanks")
    provider = LocalProvider(ProviderContext(directory, cache, print))
    spec = ClusterSpec(cluster="embedded", provider="local")
    runtime = host_runtime(cache, print)
    try:
        provider.deploy(spec, runtime, timeout=SECONDS)
        yield Harness(provider, spec, runtime)
    finally:
        provider.destroy("embedded", timeout=SECONDS)
        provider.destroy("short-lived", timeout=SECONDS)


class TestLocal(ProviderConformance):
    """On real Spark, as plain processes."""
