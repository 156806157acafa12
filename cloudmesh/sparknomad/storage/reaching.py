"""Whether a storage's server can be reached from this machine: its name, its port, its TLS."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from collections.abc import Callable
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from cloudmesh.sparknomad.storage.authorities import trusting
from cloudmesh.sparknomad.storage.explain import explained
from cloudmesh.sparknomad.storage.profile import StorageProfile
from cloudmesh.sparknomad.storage.storage import Storage

__all__ = ["host_and_port", "refuse_untrusted", "way_to"]

_SECONDS = 10.0
_EARLY_SECONDS = 3.0
_BUNDLES = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")


def host_and_port(url: str) -> str:
    """``host:port`` of a service's URL; empty if it has none of its own."""
    parts = urlsplit(url)
    if not parts.hostname:
        return ""
    return f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


def way_to(storage: Storage) -> list[tuple[str, Callable[[], object]]]:
    """The steps by which the server of a storage is reached, in their order.

    Args:
        storage: an opened one; where its profile names no endpoint, there are no steps.

    Returns:
        The name of each step, and what does it: it raises an error of ours if that fails.
    """
    profile = storage.profile
    proxy = _proxy(storage)
    place = host_and_port(proxy or profile.endpoint)
    if not place:
        return []
    host, _, number = place.rpartition(":")
    port = int(number)
    verb = f"reach {'the proxy ' if proxy else ''}{place} for"

    def step(work: Callable[[], object]) -> Callable[[], object]:
        def run() -> None:
            with explained(profile, verb):
                work()

        return run

    steps = [
        ("resolve", step(lambda: socket.getaddrinfo(host, port))),
        ("reach", step(lambda: socket.create_connection((host, port), _SECONDS).close())),
    ]
    if _greets(storage):
        steps.append(("tls", step(lambda: _handshake(host, port, profile))))
    return steps


def _greets(storage: Storage) -> bool:
    """Whether this machine itself begins to speak TLS with the storage's endpoint."""
    return storage.profile.endpoint.startswith("https:") and not _proxy(storage)


def _proxy(storage: Storage) -> str:
    """The proxy that the environment names for a storage; empty if it names none."""
    parts = urlsplit(storage.profile.endpoint)
    if not storage.takes_proxy or not parts.hostname or proxy_bypass(parts.hostname):
        return ""
    found = getproxies().get(parts.scheme, "")
    return found if "://" in found or not found else f"http://{found}"


def refuse_untrusted(storage: Storage) -> None:
    """Ask a server for its certificate, before a library does.

    The libraries of S3, Swift and Google take a certificate that is not trusted for a fault that
    passes, and try again for up to half a minute. All else is left to them.

    Raises:
        ssl.SSLCertVerificationError: if it is not trusted.
    """
    host, _, port = host_and_port(storage.profile.endpoint).rpartition(":")
    if not host or not _greets(storage):
        return
    try:
        _handshake(host, int(port), storage.profile, _EARLY_SECONDS)
    except ssl.SSLCertVerificationError:
        raise
    except OSError:
        return


def _handshake(host: str, port: int, profile: StorageProfile, seconds: float = _SECONDS) -> None:
    context = _trusting(profile)
    with (
        socket.create_connection((host, port), seconds) as plain,
        context.wrap_socket(plain, server_hostname=host),
    ):
        return


def _trusting(profile: StorageProfile) -> ssl.SSLContext:
    """Trusts all that any of the libraries would: what this refuses, each of them does."""
    if profile.ca:
        return trusting(profile)
    context = ssl.create_default_context()
    bundles = [os.environ[name] for name in _BUNDLES if os.environ.get(name)]
    with contextlib.suppress(ImportError):
        import certifi

        bundles.append(certifi.where())
    for bundle in bundles:
        with contextlib.suppress(OSError):
            context.load_verify_locations(bundle)
    return context
