"""Providers by name, imported only when they are asked for."""

from __future__ import annotations

from cloudmesh.sparknomad.cluster.provider import ClusterProvider, ProviderContext
from cloudmesh.sparknomad.plugins import Plugins

__all__ = ["ENTRY_POINTS", "make_provider", "provider_names"]

ENTRY_POINTS = "sparknomad.providers"

_PROVIDERS = Plugins(
    "provider",
    ENTRY_POINTS,
    ClusterProvider,  # type: ignore[type-abstract]
    {
        "nomad": "cloudmesh.sparknomad.cluster.nomad.provider:NomadProvider",
        "local": "cloudmesh.sparknomad.cluster.local.provider:LocalProvider",
        "memory": "cloudmesh.sparknomad.cluster.memory:MemoryProvider",
    },
)


def provider_names() -> list[str]:
    """The names that a cluster's ``provider`` may have."""
    return _PROVIDERS.names()


def make_provider(name: str, context: ProviderContext) -> ClusterProvider:
    """Make the provider of a name.

    Raises:
        SpecError: if no provider has this name.
        DependencyError: if its package can't be imported.
    """
    return _PROVIDERS.load(name)(context)
