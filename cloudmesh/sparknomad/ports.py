"""Ports of this machine: which are free, and on which somebody listens."""

from __future__ import annotations

import random
import socket

from cloudmesh.sparknomad.errors import ConflictError
from cloudmesh.sparknomad.incluster import sockets

__all__ = ["free_block", "free_ports", "is_listening"]

_SERVER_PORTS = sockets.SERVER_PORTS


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """Ports on which nothing listens now, neither by TCP nor by UDP, all different.

    Raises:
        ConflictError: if there are not so many.
    """
    ports = sockets.free_ports(count, host, _SERVER_PORTS)
    if len(ports) < count:
        low, high = _SERVER_PORTS
        raise ConflictError(
            f"Only {len(ports)} of {count} ports are free between {low} and {high} of {host}.",
            hint="See what listens there: ss -ltnup",
        )
    return ports


def free_block(size: int, low: int = 20_000, high: int = 32_000) -> int:
    """The first of so many ports in a row on which nothing listens now.

    Args:
        size: how many.
        low: where ports begin that servers are given.
        high: where they end.
    """
    import psutil

    taken = {
        connection.laddr.port
        for connection in psutil.net_connections(kind="tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr
    }
    blocks = list(range(low, high - size + 1, size))
    random.shuffle(blocks)  # another command may be choosing now
    return min(blocks, key=lambda start: len(taken & set(range(start, start + size))))


def is_listening(port: int, host: str = "127.0.0.1") -> bool:
    """Whether somebody accepts connections there."""
    with socket.socket() as probe:
        probe.settimeout(2)
        return probe.connect_ex((host, port)) == 0
