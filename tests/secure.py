"""TLS before a server, with a certificate of an authority of its own."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faulty import Faulty, faulty

from cloudmesh.sparknomad.cluster.nomad.hosts.pki import Authority

__all__ = ["secure", "server_context"]

_HOST = "127.0.0.1"


def server_context(directory: Path, *places: str) -> tuple[ssl.SSLContext, Path]:
    """A server's side of TLS, and the file with the authority that signed its certificate."""
    authority = Authority(directory, "nobody")
    authority.ensure()
    signed = authority.issue("server", "server", places)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(signed.certificate, signed.key)
    return context, authority.certificate


@contextmanager
def secure(target: str, directory: Path) -> Iterator[tuple[str, Path, Faulty]]:
    """Let a server be reached by HTTPS only through this: the URL, the authority, what was asked.

    Args:
        target: the URL of the server.
        directory: for keys and certificates.
    """
    context, authority = server_context(directory, _HOST)
    with socket.create_server((_HOST, 0)) as plain:
        port = plain.getsockname()[1]
        with (
            context.wrap_socket(plain, server_side=True) as listening,
            faulty(target, _HOST, listening) as proxy,
        ):
            yield f"https://{_HOST}:{port}", authority, proxy
