"""What stands before the application: limits, health, metrics, and the log of who did what."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from cloudmesh.sparknomad.service.identity import CALLER
from cloudmesh.sparknomad.service.store import ServiceStore, Token

__all__ = ["Guard", "Limits"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_CALLERS_KEPT = 10_000
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
]


_WEB = {
    "/": ("index.html", b"text/html; charset=utf-8"),
    "/style.css": ("style.css", b"text/css; charset=utf-8"),
    "/app.js": ("app.js", b"text/javascript; charset=utf-8"),
    "/api.js": ("api.js", b"text/javascript; charset=utf-8"),
    "/parts.js": ("parts.js", b"text/javascript; charset=utf-8"),
}
_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    b"img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True)
class Limits:
    """Of requests.

    Attributes:
        body: bytes of a body.
        rate: requests a second of one caller, over a while.
        burst: requests of one caller at once.
    """

    body: int = 8 * 1024 * 1024
    rate: float = 500.0
    burst: int = 1000


@dataclass
class _Bucket:
    left: float
    at: float


@dataclass
class _Metrics:
    requests: dict[tuple[str, int], int] = field(default_factory=dict)
    seconds: float = 0.0

    def count(self, method: str, status: int, seconds: float) -> None:
        key = (method, status)
        self.requests[key] = self.requests.get(key, 0) + 1
        self.seconds += seconds

    def text(self, store: ServiceStore) -> str:
        """Prometheus' text format."""
        lines = [
            "# HELP sparknomad_requests_total Requests that were answered.",
            "# TYPE sparknomad_requests_total counter",
        ]
        lines += [
            f'sparknomad_requests_total{{method="{method}",status="{status}"}} {count}'
            for (method, status), count in sorted(self.requests.items())
        ]
        lines += [
            "# HELP sparknomad_request_seconds_total Time that was spent on them.",
            "# TYPE sparknomad_request_seconds_total counter",
            f"sparknomad_request_seconds_total {self.seconds:.6f}",
            "# HELP sparknomad_operations_unfinished Operations that go on.",
            "# TYPE sparknomad_operations_unfinished gauge",
            f"sparknomad_operations_unfinished {len(store.unfinished())}",
        ]
        return "\n".join(lines) + "\n"


class Guard:
    """An ASGI application before another one.

    Args:
        app: the other.
        store: knows the callers.
        limits: of requests.
        audit: a file to which each request that changes something is appended.
        methods: tells those of a path.
    """

    def __init__(
        self,
        app: Any,
        store: ServiceStore,
        limits: Limits,
        audit: Path,
        methods: Callable[[str], list[str]] = lambda path: [],
    ) -> None:
        self._methods = methods
        self._app = app
        self._store = store
        self._limits = limits
        self._audit = audit
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._metrics = _Metrics()
        self._writing = threading.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["path"] in ("/health", "/ready", "/metrics"):
            await self._own(scope, send)
            return
        if scope["path"] in _WEB and scope["method"] in ("GET", "HEAD"):
            await self._page(scope, send)
            return
        begun, status = time.monotonic(), 0
        token = self._token(scope)
        CALLER.set(token)

        async def sending(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
                if status == 405:
                    allow = ", ".join(self._methods(scope["path"])).encode()
                    kept = [each for each in message["headers"] if each[0].lower() != b"allow"]
                    message["headers"] = [*kept, (b"allow", allow)]
            await send(message)

        refused = self._refusal(scope, token)
        try:
            if refused:
                await _plain(sending, *refused)
            else:
                await self._app(scope, self._limited(receive), sending)
        except _TooLargeError:
            if not status:
                await _plain(sending, 413, "The body is too large.")
        finally:
            self._metrics.count(scope["method"], status, time.monotonic() - begun)
            if scope["method"] != "GET":
                self._note(scope, token, status)

    async def _own(self, scope: Scope, send: Send) -> None:
        if scope["path"] == "/metrics":
            if self._token(scope) is None:
                await _plain(send, 401, "A token is needed.")
                return
            text = self._metrics.text(self._store)
            await _answer(send, 200, text.encode(), b"text/plain; version=0.0.4")
            return
        await _answer(send, 200, b'{"status": "ok"}\n', b"application/json")

    @staticmethod
    async def _page(scope: Scope, send: Send) -> None:
        """A part of the web page, which holds nothing that needs a token."""
        name, kind = _WEB[scope["path"]]
        content = (files("cloudmesh.sparknomad.service") / "web" / name).read_bytes()
        body = b"" if scope["method"] == "HEAD" else content
        policy = (b"content-security-policy", _POLICY)
        await _answer(send, 200, body, kind, [*_HEADERS, policy])

    def _token(self, scope: Scope) -> Token | None:
        for name, value in scope["headers"]:
            if name == b"authorization" and value[:7].lower() == b"bearer ":
                return self._store.find_token(value[7:].decode("latin-1").strip())
        return None

    def _refusal(self, scope: Scope, token: Token | None) -> tuple[int, str] | None:
        caller = token.name if token else str((scope.get("client") or ("?",))[0])
        if not self._may_go_on(caller):
            return 429, "Too many requests; try again in a second."
        for name, value in scope["headers"]:
            too_large = not value.isdigit() or int(value) > self._limits.body
            if name == b"content-length" and too_large:
                return 413, f"The body is too large: at most {self._limits.body:,} bytes."
        return None

    def _may_go_on(self, caller: str) -> bool:
        """A token bucket for each caller."""
        now = time.monotonic()
        bucket = self._buckets.setdefault(caller, _Bucket(float(self._limits.burst), now))
        self._buckets.move_to_end(caller)
        if len(self._buckets) > _CALLERS_KEPT:
            self._buckets.popitem(last=False)
        bucket.left = min(
            float(self._limits.burst), bucket.left + (now - bucket.at) * self._limits.rate
        )
        bucket.at = now
        if bucket.left < 1:
            return False
        bucket.left -= 1
        return True

    def _limited(self, receive: Receive) -> Receive:
        got = 0

        async def receiving() -> MutableMapping[str, Any]:
            nonlocal got
            message = await receive()
            got += len(message.get("body") or b"")
            if got > self._limits.body:
                raise _TooLargeError
            return message

        return receiving

    def _note(self, scope: Scope, token: Token | None, status: int) -> None:
        line = {
            "time": round(time.time(), 3),
            "by": token.name if token else None,
            "role": token.role if token else None,
            "from": (scope.get("client") or (None,))[0],
            "method": scope["method"],
            "path": scope["path"],
            "status": status,
        }
        with self._writing:
            descriptor = os.open(self._audit, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(descriptor, "a", encoding="utf-8") as log:
                log.write(json.dumps(line) + "\n")


class _TooLargeError(Exception):
    """A body without a length goes on for too long."""


async def _plain(send: Send, status: int, detail: str) -> None:
    problem = {"type": "about:blank", "title": "Refused", "status": status, "detail": detail}
    await _answer(send, status, json.dumps(problem).encode(), b"application/problem+json")


async def _answer(
    send: Send,
    status: int,
    body: bytes,
    kind: bytes,
    more: Sequence[tuple[bytes, bytes]] = (),
) -> None:
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode()), *more]
    if status == 429:
        headers.append((b"retry-after", b"1"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
