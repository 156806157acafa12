"""Storages that can't be used, each for one reason: profiles whose check has to say which.

Where a server refuses for that reason by itself, it is the server that does: SeaweedFS knows
wrong keys and users who may only read, OpenStack Swift insists on its region and on the time.
"""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from faulty import Answer, faulty
from secure import server_context
from servers import Server, make_bucket, swift
from threaded import threaded

from cloudmesh.sparknomad.ports import free_ports

__all__ = ["Wrong", "fake_clock", "wrongs"]

_HOST = "127.0.0.1"
_LIBRARY = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")


@dataclass(frozen=True)
class Wrong:
    """A profile on which one thing is wrong.

    Attributes:
        name: of the profile: what is wrong.
        words: of ``storage profile add`` beside the name.
        hint: what has to be said about it, as a regular expression.
        step: at which it is found from a worker; empty for whichever.
        environment: with its credentials.
    """

    name: str
    words: tuple[str, ...]
    hint: str
    step: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


def fake_clock(minutes: int) -> dict[str, str]:
    """What gives a process a clock that is wrong by so many minutes; empty if that can't be."""
    if not _LIBRARY.exists():
        return {}
    return {"LD_PRELOAD": str(_LIBRARY), "FAKETIME": f"{minutes:+d}m", "FAKETIME_DONT_RESET": "1"}


def _keys(name: str, key: str, secret: str) -> tuple[tuple[str, ...], dict[str, str]]:
    prefix = f"WRONG_{name.upper().replace('-', '_')}"
    words = (
        "--credentials=environment",
        f"--set=credentials.variables.access_key={prefix}_KEY",
        f"--set=credentials.variables.secret_key={prefix}_SECRET",
    )
    return words, {f"{prefix}_KEY": key, f"{prefix}_SECRET": secret}


def _wrong(
    name: str, url: str, endpoint: str, keys: tuple[str, str], hint: str, step: str, *more: str
) -> Wrong:
    words, environment = _keys(name, *keys)
    given = (f"--url={url}", f"--endpoint={endpoint}", *words, *more)
    return Wrong(name, given, hint, step, environment)


@contextmanager
def _untrusted(directory: Path) -> Iterator[str]:
    """A server whose certificate is of an authority that nobody knows."""
    context, _ = server_context(directory)

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            return

    with Quiet((_HOST, 0), BaseHTTPRequestHandler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        with threaded(server):
            yield f"https://{_HOST}:{server.server_port}"


@contextmanager
def wrongs(directory: Path, s3: Server, stack: Server) -> Iterator[list[Wrong]]:
    """The profiles, with what they name.

    Each has a bucket of its own: Hadoop keeps settings by the bucket's name, and those of
    different ones go together in one run.

    Args:
        directory: for files.
        s3: a SeaweedFS.
        stack: a Swift.
    """
    good, reader = (s3.access_key, s3.secret_key), (s3.reader_key, s3.reader_secret)
    tested = (stack.access_key, stack.secret_key)
    for bucket in ("wrong-key", "wrong-secret", "read-only", "walled"):
        make_bucket(s3, bucket)
    make_bucket(stack, "elsewhere")
    (closed,) = free_ports(1)
    with ExitStack() as open_ones:
        secure = open_ones.enter_context(_untrusted(directory / "authority"))
        wall = open_ones.enter_context(faulty(s3.endpoint))
        wall.spoil = lambda request: Answer(403, _WALL)
        skewed = open_ones.enter_context(faulty(s3.endpoint))
        skewed.spoil = lambda request: Answer(403, _SKEWED)
        made = [
            _wrong(
                "region",
                "swift://elsewhere/x/",
                stack.endpoint,
                tested,
                "in another region; set the profile's region to us-east-1",
                "list",
                "--region=eu-west-1",
            ),
            _wrong(
                "name",
                "s3://nameless/x/",
                "http://storage.example.invalid:9000",
                good,
                "name can't be resolved; mend the profile's endpoint, or DNS",
                "resolve",
            ),
            _wrong(
                "port",
                "s3://closed/x/",
                f"http://{_HOST}:{closed}",
                good,
                "Nothing answers at the endpoint; mend the profile's endpoint",
                "reach",
            ),
            _wrong(
                "ca",
                "s3://untrusted/x/",
                secure,
                good,
                "certificate is not trusted|does not trust the server's certificate",
                "tls",
            ),
            _wrong(
                "plain",
                "s3://plain/x/",
                s3.endpoint.replace("http:", "https:"),
                good,
                "speaks no TLS at this port",
                "tls",
            ),
            _wrong(
                "proxy",
                "s3://proxied/x/",
                s3.endpoint,
                good,
                "A proxy stands in between, and lets nothing through",
                "reach",
                f"--set=options.fs.s3a.bucket.proxied.proxy.host={_HOST}",
                f"--set=options.fs.s3a.bucket.proxied.proxy.port={closed}",
            ),
            _wrong(
                "skew",
                "s3://skewed/x/",
                skewed.endpoint,
                good,
                "clock of this host differs",
                "list",
            ),
            _wrong(
                "bucket",
                "s3://no-such-bucket/x/",
                s3.endpoint,
                good,
                "no such bucket or container; make it, or mend the profile's URL",
                "list",
            ),
            _wrong(
                "key",
                "s3://wrong-key/x/",
                s3.endpoint,
                ("nobody", s3.secret_key),
                "access key is not known there",
                "list",
            ),
            _wrong(
                "secret",
                "s3://wrong-secret/x/",
                s3.endpoint,
                (s3.access_key, "wrong"),
                "secret key is wrong",
                "list",
            ),
            _wrong(
                "permission",
                "s3://read-only/x/",
                s3.endpoint,
                reader,
                "credentials do not allow it",
                "write",
            ),
            _wrong(
                "wall",
                "s3://walled/x/",
                wall.endpoint,
                good,
                "What answers is not the storage: a proxy or a firewall",
                "list",
            ),
        ]
        clock = fake_clock(-20)
        if clock:
            late = open_ones.enter_context(swift(directory / "late", clock))
            _make_container(late, "late")
            keys = (late.access_key, late.secret_key)
            # Hadoop's client sees the difference in the answer, and signs by the server's clock.
            made.append(_wrong("clock", "swift://late/x/", late.endpoint, keys, "clock", "works"))
        yield made


def _make_container(stack: Server, name: str) -> None:
    """By Swift's own requests, which have no signature that a clock could spoil."""
    user = {"X-Auth-User": stack.access_key, "X-Auth-Key": stack.secret_key}
    request = urllib.request.Request(stack.auth_url, headers=user)
    with urllib.request.urlopen(request, timeout=30) as answer:
        place, token = answer.headers["X-Storage-Url"], answer.headers["X-Auth-Token"]
    headers = {"X-Auth-Token": token}
    made = urllib.request.Request(f"{place}/{name}", method="PUT", headers=headers)
    urllib.request.urlopen(made, timeout=30).close()


_SKEWED = (
    "<Error><Code>RequestTimeTooSkewed</Code><Message>The difference between the request time "
    "and the current time is too large.</Message></Error>"
)
_WALL = "<html><head><title>Access blocked</title></head><body>Blocked by policy.</body></html>"
