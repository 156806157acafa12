"""What a host tells of itself, and whether that serves. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Facts", "problems", "read_facts"]

_NEEDED_TOOLS = ("tar", "gzip", "mount", "sha256sum")
_SKEW_SECONDS = 5.0


@dataclass(frozen=True)
class Facts:
    """A host as it is.

    Attributes:
        time: its clock, in seconds since the epoch.
        kernel: such as ``Linux``.
        machine: such as ``x86_64``.
        address: by which it was reached.
        cores: that it has.
        memory: in bytes.
        disk: free bytes where the cluster's files go.
        systemd: whether that runs there.
        docker: whether a Docker daemon answers.
        tools: programs that it has.
        interfaces: the network interface of each address.
        listening: the TCP ports that are taken.
        cluster: the id of the cluster of this name that is there, or empty.
        nomad: the SHA-256 of the Nomad that is there, or empty.
        images: the ids of the images that are unpacked there.
        foreign: names in the cluster's directory that ours would take, and another has.
    """

    time: float
    kernel: str
    machine: str
    address: str
    cores: int
    memory: int
    disk: int
    systemd: bool
    docker: bool
    tools: frozenset[str]
    interfaces: dict[str, str]
    listening: frozenset[int]
    cluster: str
    nomad: str
    images: frozenset[str]
    foreign: tuple[str, ...] = ()


def read_facts(told: str) -> Facts:
    """Read what ``facts.sh`` wrote.

    Raises:
        ValueError: if that is something else.
    """
    values: dict[str, list[str]] = {}
    for line in told.splitlines():
        name, separator, value = line.partition("=")
        if separator:
            values.setdefault(name, []).append(value)

    def one(name: str, default: str = "") -> str:
        return values.get(name, [default])[-1]

    pairs = [value.split(" ", 1) for value in values.get("interface", ())]
    return Facts(
        time=float(one("time").rstrip("N") or "0"),
        kernel=one("kernel"),
        machine=one("machine"),
        address=one("address"),
        cores=int(one("cores", "1") or 1),
        memory=int(one("memory_kb", "0") or 0) * 1024,
        disk=int(one("disk_kb", "0") or 0) * 1024,
        systemd=one("systemd") == "1",
        docker=one("docker") == "1",
        tools=frozenset(values.get("tool", ())),
        interfaces={pair[0]: pair[1] for pair in pairs if len(pair) == 2},
        listening=frozenset(_port(value) for value in values.get("listening", ())),
        cluster=one("cluster"),
        nomad=one("nomad"),
        images=frozenset(values.get("image", ())),
        foreign=tuple(values.get("foreign", ())),
    )


def _port(place: str) -> int:
    return int(place.rpartition(":")[2], 16)


def problems(
    facts: Facts,
    *,
    machine: str,
    cluster_id: str,
    ports: Sequence[int],
    needed_disk: int,
    skew: float,
) -> list[str]:
    """Why a host can't be part of a cluster; empty if it can.

    Args:
        facts: of the host.
        machine: that Nomad and the image were made for.
        cluster_id: of our cluster.
        ports: that its agent wants.
        needed_disk: bytes.
        skew: how far its clock is off, in seconds.
    """
    found = []
    if facts.kernel != "Linux":
        found.append(f"it runs {facts.kernel}, not Linux")
    if facts.machine != machine:
        found.append(f"it is an {facts.machine}; Nomad and the image are here for {machine}")
    missing = [tool for tool in _NEEDED_TOOLS if tool not in facts.tools]
    if missing:
        found.append(f"{', '.join(missing)} is missing; install it")
    if not facts.systemd and "setsid" not in facts.tools:
        found.append("it has neither systemd nor setsid; install util-linux")
    if facts.disk < needed_disk:
        free, needed = facts.disk // 1024**2, needed_disk // 1024**2
        found.append(f"its disk has {free} MB free; {needed} MB are needed")
    if abs(skew) > _SKEW_SECONDS:
        found.append(f"its clock is {skew:+.1f} s off; let it synchronize (chrony, timesyncd)")
    if facts.cluster and facts.cluster != cluster_id:
        found.append(
            "a cluster of this name was deployed there from elsewhere; destroy it from there, "
            "or choose another name"
        )
    if facts.foreign:
        found.append(
            f"in directory: there is {', '.join(facts.foreign)} of another program; give one of "
            "the cluster's own"
        )
    taken = [port for port in ports if port in facts.listening]
    if taken and facts.cluster != cluster_id:
        found.append(f"port {taken[0]} is taken there")
    if not _is_address(facts.address):
        found.append(f"its address is not known ({facts.address!r}); give address: in the spec")
    elif ":" in facts.address:
        found.append(
            f"its address {facts.address} is one of IPv6; give an IPv4 address: in the spec"
        )
    return found


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
