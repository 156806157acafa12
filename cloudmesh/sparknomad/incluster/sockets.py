"""Which ports of this host a server may have."""

from __future__ import annotations

import itertools
import random
import socket

__all__ = ["SERVER_PORTS", "free_ports"]

SERVER_PORTS = (10_000, 20_000)
"""Below those that Linux gives to outgoing connections (ip_local_port_range, from 32,768)."""


def free_ports(count: int, host: str, among: tuple[int, int] = SERVER_PORTS) -> list[int]:
    """Ports on which nothing listens now, neither by TCP nor by UDP, all different.

    They are drawn at random, so that hardly anything takes one before its server starts.

    Args:
        count: how many; it may be fewer that are free.
        host: the address to listen on.
        among: the first, and the one after the last.
    """
    low, high = among
    drawn = random.sample(range(low, high), high - low)
    return list(itertools.islice((port for port in drawn if _is_free(port, host)), count))


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
