"""Ports of this machine."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from cloudmesh.sparknomad import ports as ports_module
from cloudmesh.sparknomad.errors import ConflictError
from cloudmesh.sparknomad.ports import free_block, free_ports, is_listening


def test_free_ports_are_distinct_and_free() -> None:
    ports = free_ports(50)
    assert len(set(ports)) == 50
    for port in ports[:3]:
        with socket.create_server(("127.0.0.1", port)):
            assert is_listening(port)
        assert not is_listening(port)


def test_a_port_that_is_taken_by_udp_is_not_free(monkeypatch: pytest.MonkeyPatch) -> None:
    (port,) = free_ports(1)
    monkeypatch.setattr(ports_module, "_SERVER_PORTS", (port, port + 1))
    assert free_ports(1) == [port]
    with socket.socket(type=socket.SOCK_DGRAM) as taker:
        taker.bind(("127.0.0.1", port))
        with pytest.raises(ConflictError, match=f"0 of 1 ports are free between {port}"):
            free_ports(1)


def test_no_port_is_one_that_an_outgoing_connection_may_be_given() -> None:
    low, _ = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    if int(low) < 32_768:
        pytest.skip(f"net.ipv4.ip_local_port_range begins at {low} here")
    assert max(free_ports(50)) < int(low)


def test_no_ports_are_an_empty_list() -> None:
    assert free_ports(0) == []


def test_a_block_of_ports_has_none_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        low = port - port % 10
        start = free_block(10, low, low + 30)
        assert start in (low + 10, low + 20)
