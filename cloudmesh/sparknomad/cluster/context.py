"""What a provider is given to work with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cloudmesh.sparknomad.configuration import Configuration

__all__ = ["ProviderContext"]


@dataclass(frozen=True)
class ProviderContext:
    """What a provider is given to work with.

    Attributes:
        clusters: the directory that holds one directory for each cluster.
        cache: for what can be fetched again.
        say: shows one line of progress to the user.
        configuration: what the user has set for all commands.
        accept_host_key: asked about a host's unknown key, with its name and fingerprint.
        is_gone: whether a host is proven not to exist any more, by the labels that it has.
        show: shows what a host is doing now, where somebody watches.
        power_off: the command by which a host ends itself, by the labels that it has; empty if it
            is to stay on.
    """

    clusters: Path
    cache: Path
    say: Callable[[str], None]
    configuration: Configuration = field(default_factory=Configuration)
    accept_host_key: Callable[[str, str], bool] = lambda name, fingerprint: False
    is_gone: Callable[[Mapping[str, str]], bool] = lambda labels: False
    show: Callable[[str, str], None] = lambda subject, state: None
    power_off: Callable[[Mapping[str, str]], str] = lambda labels: ""
