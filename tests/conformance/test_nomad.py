"""The Nomad provider keeps the contract, on a real Nomad with each of its task drivers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from conformance.suite import SECONDS, Harness, ProviderConformance

from cloudmesh.sparknomad.cluster.nomad.provider import NomadProvider
from cloudmesh.sparknomad.cluster.nomad.record import NomadCluster
from cloudmesh.sparknomad.cluster.provider import ProviderContext
from cloudmesh.sparknomad.image.builder import Images
from cloudmesh.sparknomad.model import ImageRecord
from cloudmesh.sparknomad.specs import ClusterSpec, TaskDriver

pytestmark = pytest.mark.nomad


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(TaskDriver.DOCKER, marks=pytest.mark.docker),
        TaskDriver.EXEC,
        pytest.param(TaskDriver.RAW_EXEC, marks=pytest.mark.slow),
    ],
    ids=lambda driver: driver.value,
)
def harness(
    request: pytest.FixtureRequest,
    image: ImageRecord,
    cache: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Harness]:
    driver: TaskDriver = request.param
    request.getfixturevalue("docker_host" if driver is TaskDriver.DOCKER else "root")
    directory = tmp_path_factory.mktemp("with a blank")
    provider = NomadProvider(ProviderContext(directory, cache, print))
    spec = ClusterSpec(cluster=driver.value.replace("_", "-"), driver=driver)
    runtime = Images(cache, print).runtime("default", driver)
    try:
        provider.deploy(spec, runtime, timeout=SECONDS)
        yield Harness(provider, spec, runtime)
    finally:
        made = NomadCluster.read(directory / spec.cluster)
        provider.destroy(spec.cluster, timeout=SECONDS)
        provider.destroy("short-lived", timeout=SECONDS)
        assert made is None or not Path(made.sockets).exists()


class TestNomad(ProviderConformance):
    """On a real Nomad, with each of its task drivers."""
