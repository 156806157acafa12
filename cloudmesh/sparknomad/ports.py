"""Ports of this machine: which are free, and on which somebody listens."""

from __future__ import annotations

import itertools
import random
import socket

from cloudmesh.sparknomad.errors import ConflictError

__all__ = ["free_block", "free_ports", "is_listening"]

_SERVER_PORTS = (10_000, 20_000)


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """Ports on which nothing listens now, neither by TCP nor by UDP, all different.

    They lie below those that Linux gives to outgoing connections (ip_local_port_range, from
    32,768), and are drawn at random, so that hardly anything takes one before its server starts.

    Raises:
        ConflictError: if there are not so many.
    """
    low, high = _SERVER_PORTS
    drawn = random.sample(range(low, high), high - low)
    ports = list(itertools.islice((port for port in drawn if _is_free(port, host)), count))
    if len(ports) < count:
        raise ConflictError(
            f"Only {len(ports)} of {count} ports are free between {low} and {high} of {host}.",
            hint="See what listens there: ss -ltnup",
        )
    return ports


def _is_free(port: int, host: str) -> bool:
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        # A connection that has just ended is no server.
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tcp.bind((host, port))
            udp.bind((host, port))
        except OSError:
            return False
    return True


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
