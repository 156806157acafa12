"""Providers by name, imported only when they are asked for."""

from __future__ import annotations

import difflib
from importlib.metadata import EntryPoint, entry_points

from cloudmesh.sparknomad.cluster.provider import ClusterProvider, ProviderContext
from cloudmesh.sparknomad.errors import DependencyError, SpecError

__all__ = ["ENTRY_POINTS", "make_provider", "provider_names"]

ENTRY_POINTS = "sparknomad.providers"

_BUILT_IN = {
    "nomad": "cloudmesh.sparknomad.cluster.nomad.provider:NomadProvider",
    "local": "cloudmesh.sparknomad.cluster.local.provider:LocalProvider",
    "memory": "cloudmesh.sparknomad.cluster.memory:MemoryProvider",
}


def _targets() -> dict[str, str]:
    added = {entry.name: entry.value for entry in entry_points(group=ENTRY_POINTS)}
    return {**added, **_BUILT_IN}


def provider_names() -> list[str]:
    """The names that a cluster's ``provider`` may have."""
    return sorted(_targets())


def make_provider(name: str, context: ProviderContext) -> ClusterProvider:
    """Make the provider of a name.

    Raises:
        SpecError: if no provider has this name.
        DependencyError: if its package can't be imported.
    """
    targets = _targets()
    if name not in targets:
        near = difflib.get_close_matches(name, targets, n=1)
        remedy = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(targets))}"
        raise SpecError(
            f"provider: {name!r}: unknown provider; {remedy}",
            hint=f"A package adds one by the entry-point group {ENTRY_POINTS!r}.",
        )
    return _load(name, targets[name])(context)


def _load(name: str, target: str) -> type[ClusterProvider]:
    try:
        made = EntryPoint(name, target, ENTRY_POINTS).load()
    except ImportError as error:
        raise DependencyError(
            f"Provider {name!r} ({target}) can't be imported: {error}.",
            hint=f"Install the missing package: pip install {error.name or target.split(':')[0]}",
        ) from error
    except Exception as error:
        # Whatever a package of somebody else raises while it is imported.
        raise DependencyError(
            f"Provider {name!r} ({target}) can't be loaded: {type(error).__name__}: {error}.",
            hint=f"Update or remove the package that adds {name!r}.",
        ) from error
    if not (isinstance(made, type) and issubclass(made, ClusterProvider)):
        raise DependencyError(f"Provider {name!r}: {target} is no ClusterProvider.")
    missing = sorted(getattr(made, "__abstractmethods__", ()))
    if missing:
        raise DependencyError(f"Provider {name!r}: {target} lacks {', '.join(missing)}.")
    return made
