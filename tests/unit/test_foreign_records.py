"""A provider leaves clusters of others alone, also when the store that tells them apart is lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cloudmesh.sparknomad.cluster.local.daemons import LocalCluster
from cloudmesh.sparknomad.cluster.local.provider import LocalProvider
from cloudmesh.sparknomad.cluster.nomad.provider import NomadProvider
from cloudmesh.sparknomad.cluster.nomad.record import NomadCluster
from cloudmesh.sparknomad.cluster.provider import ClusterProvider, ProviderContext
from cloudmesh.sparknomad.errors import ConflictError

RECORDS = {
    "local": {"runtime": {}, "cores": 1, "master": None, "workers": []},
    "nomad": {"data": "/d", "binary": "nomad", "token": "t"},
}
PROVIDERS: dict[str, type[ClusterProvider]] = {"local": LocalProvider, "nomad": NomadProvider}


@pytest.mark.parametrize(("ours", "theirs"), [("local", "nomad"), ("nomad", "local")])
def test_what_another_provider_has_noted_is_not_ours(
    tmp_path: Path, ours: str, theirs: str
) -> None:
    provider = PROVIDERS[ours](ProviderContext(tmp_path, tmp_path / "cache", print))
    directory = provider._directory("theirs")
    directory.mkdir()
    (directory / "cluster.json").write_text(json.dumps(RECORDS[theirs]))
    (directory / "ca-key.pem").write_text("of value")
    assert list(provider.leftovers("theirs")) == []
    reader = LocalCluster if ours == "local" else NomadCluster
    with pytest.raises(ConflictError, match="of another provider"):
        reader.read(directory)
    with pytest.raises(ConflictError):
        provider.destroy("theirs", timeout=5)
    assert (directory / "ca-key.pem").exists()
