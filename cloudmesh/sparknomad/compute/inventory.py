"""From a spec's entries to single hosts. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from cloudmesh.sparknomad.errors import SpecError
from cloudmesh.sparknomad.spec_hosts import HostSpec, Role

__all__ = ["Host", "expand", "named_hosts", "names_of", "roles", "without"]


@dataclass(frozen=True)
class Host:
    """One machine.

    Attributes:
        name: as SSH knows it; unique in its cluster.
        address: by which the others reach it; empty until it has been asked.
        user: to log in as; empty for the user's own configuration.
        port: of its SSH server; 0 for the user's own configuration.
        key: a file with a private key, or empty.
        jump: a host to log in by, or empty.
        host_key: its public key, or empty.
        server: whether it keeps Nomad's state.
        worker: whether it runs tasks.
        labels: for Nomad.
        site: that it is part of, or empty.
    """

    name: str
    address: str = ""
    user: str = ""
    port: int = 0
    key: str = ""
    jump: str = ""
    host_key: str = ""
    server: bool = False
    worker: bool = True
    labels: Mapping[str, str] = field(default_factory=dict)
    site: str = ""


def expand(specs: Sequence[HostSpec], servers: int, kept: Collection[str] = ()) -> list[Host]:
    """All hosts of a cluster, with what runs on them.

    Args:
        specs: the entries; ``rack[01-16]`` stands for sixteen hosts.
        servers: how many keep Nomad's state.
        kept: the names of hosts that keep it already, and go on doing so if they may.

    Raises:
        SpecError: if a range can't be read, a host stands there twice, or roles don't fit.
    """
    wanted = [spec.role for spec in specs for _ in _hosts(spec)]
    return roles(named_hosts(specs), wanted, servers, kept)


def named_hosts(specs: Sequence[HostSpec]) -> list[Host]:
    """All hosts that some entries stand for.

    Raises:
        SpecError: if a range can't be read, or a host stands there twice.
    """
    found = [host for spec in specs for host in _hosts(spec)]
    names = [host.name for host in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SpecError(f"hosts: {', '.join(twice)}: named twice")
    return found


def names_of(text: str) -> list[str]:
    """The hosts that a name or a range stands for.

    Raises:
        SpecError: if the range can't be read.
    """
    return _range("host", text)


def without(specs: Sequence[HostSpec], names: Collection[str]) -> tuple[HostSpec, ...]:
    """A spec's entries without some hosts; a range that held one becomes single hosts."""
    found: list[HostSpec] = []
    for spec in specs:
        hosts = _hosts(spec)
        left = [host for host in hosts if host.name not in names]
        if len(left) == len(hosts):
            found.append(spec)
        else:
            found += [replace(spec, host=host.name, address=host.address or None) for host in left]
    return tuple(found)


def _hosts(spec: HostSpec) -> list[Host]:
    if not spec.host:
        raise SpecError(f"hosts: compute: {spec.compute!r}: its machines were not asked for")
    names = _range("host", spec.host)
    addresses = _range("address", spec.address) if spec.address else [""] * len(names)
    if len(addresses) != len(names):
        raise SpecError(
            f"hosts: {spec.host}: address: {spec.address!r} stands for {len(addresses)}, "
            f"but there are {len(names)} hosts"
        )
    return [
        Host(
            name=name,
            address=address,
            user=spec.user or "",
            port=spec.port or 0,
            key=spec.key or "",
            jump=spec.jump or "",
            host_key=spec.host_key or "",
            labels=dict(spec.labels),
            site=spec.site or "",
        )
        for name, address in zip(names, addresses, strict=True)
    ]


def _range(field_name: str, text: str) -> list[str]:
    from cloudmesh.common.parameter import Parameter

    try:
        names: list[str] = Parameter.expand(text)
    except Exception as error:  # hostlist's own, and what it meets in odd texts
        raise SpecError(f"hosts: {field_name}: {text!r}: no such range: {error}") from error
    if not names or any("[" in name or "]" in name for name in names):
        raise SpecError(f"hosts: {field_name}: {text!r}: no such range; write rack[01-16]")
    return names


def roles(
    hosts: Sequence[Host], wanted: Sequence[Role], servers: int, kept: Collection[str] = ()
) -> list[Host]:
    """Choose the servers: those that are marked so, else those that are, else the first.

    Raises:
        SpecError: if there are not enough hosts for them, or none is left for tasks.
    """
    marked = [host for host, role in zip(hosts, wanted, strict=True) if role is Role.SERVER]
    free = [host for host, role in zip(hosts, wanted, strict=True) if role is Role.ANY]
    free.sort(key=lambda host: host.name not in kept)
    chosen = {host.name for host in (marked or free)[:servers]}
    if len(marked) > servers or len(chosen) < servers:
        there = f"{len(marked)} with role: server" if marked else f"{len(free)} that may be one"
        raise SpecError(f"servers: {servers}: among {len(hosts)} hosts there are {there}")
    made = [
        replace(host, server=host.name in chosen, worker=role is not Role.SERVER)
        for host, role in zip(hosts, wanted, strict=True)
    ]
    if not any(host.worker for host in made):
        raise SpecError("hosts: role: all are servers; none is left to run tasks")
    return made
