"""The one way into a cluster's HDFS and pages from outside: HTTPS with a certificate and a token.

``gateway.py`` forwards to the services that Nomad tells in ``local/services.json``. Whoever
connects shows a certificate of the cluster's authority, and each request a Nomad token, whose
rights decide what it may do.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

if TYPE_CHECKING or __package__:
    from cloudmesh.sparknomad.incluster.gateway_rights import Rights, plain_query, rights_of
else:
    from gateway_rights import Rights, plain_query, rights_of

__all__ = ["AwayError", "Gateway", "Rights", "main", "rights_of"]

_PAGES = ("spark-master-ui", "spark-history", "hdfs-http")
_HOP = ("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding")
_KEPT_SECONDS, _SECONDS, _BLOCK = 5.0, 60.0, 256 * 1024
_PLACES_KEPT = 10_000
_DIGITS = re.compile("[0-9]{1,18}")
_FORWARDED = frozenset(
    {
        *("accept", "accept-encoding", "accept-language", "content-type", "range", "user-agent"),
        *("if-modified-since", "if-none-match", "x-requested-with"),
    }
)
"""Headers that are sent on; all others stay here."""

_IDENTITIES = ("user.name", "doas", "delegation", "proxyuser")
_DRAINED = 1024 * 1024


class Gateway(ThreadingHTTPServer):
    """The server.

    Args:
        address: host and port to listen at.
        services: tells the addresses of the cluster's services.
        ask: tells what Nomad knows of a token; ``None`` for one that it does not know. Raises
            `AwayError` if Nomad does not tell.
        context: with our certificate, asking for the other side's.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        address: tuple[str, int],
        services: Callable[[], Mapping[str, str]],
        ask: Callable[[str], Mapping[str, Any] | None],
        context: ssl.SSLContext,
    ) -> None:
        super().__init__(address, _Handler)
        self.services = services
        self._ask = ask
        self._context = context
        self._guard = threading.Lock()
        self._known: dict[str, tuple[float, Rights]] = {}
        self._places: dict[tuple[str, str], None] = {}

    def finish_request(self, request: Any, client_address: Any) -> None:
        """In the request's own thread: a slow handshake holds nobody else."""
        request.settimeout(_SECONDS)
        with self._context.wrap_socket(request, server_side=True) as wrapped:
            super().finish_request(wrapped, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever has no certificate, or goes away, is no reason for a traceback."""

    def rights(self, token: str) -> Rights:
        """What a token may do; Nomad is asked about each once in a while."""
        key = hashlib.sha256(token.encode()).hexdigest()
        with self._guard:
            known = self._known.get(key)
        if known and known[0] > time.monotonic():
            return known[1]
        try:
            told = self._ask(token) if token else None
        except AwayError:
            if known and known[1].kind:
                return known[1]
            raise
        rights = rights_of(told) if told else Rights("")
        with self._guard:
            if len(self._known) > 1000:
                self._known.clear()
            self._known[key] = (time.monotonic() + _KEPT_SECONDS, rights)
        return rights

    def note_place(self, place: str, query: str) -> None:
        """Remember a DataNode that the NameNode has sent somebody to, and for whom it asks."""
        with self._guard:
            if len(self._places) > _PLACES_KEPT:
                self._places.clear()
            self._places[place, _name_node(query)] = None

    def is_place(self, place: str, query: str) -> bool:
        """Whether requests may be sent on to there: a DataNode goes where its caller says."""
        with self._guard:
            return (place, _name_node(query)) in self._places


class _Limited:
    """The body of a request, as http.client reads it."""

    def __init__(self, stream: Any, length: int) -> None:
        self._stream = stream
        self._left = length

    def read(self, size: int = _BLOCK) -> bytes:
        data: bytes = self._stream.read(min(size, self._left))
        self._left -= len(data)
        return data


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _SECONDS
    server: Gateway

    def _serve(self) -> None:
        # One length that both ends read alike: else the rest is a request that nobody judges.
        lengths = self.headers.get_all("Content-Length") or []
        if self.headers.get("Transfer-Encoding"):
            self._refuse(411, "tell the length of what you send")
            return
        if len(lengths) > 1 or any(not _DIGITS.fullmatch(each) for each in lengths):
            self._refuse(400, "there has to be one Content-Length, of digits")
            return
        target = self._target()
        if target is None:
            self._refuse(404, "there is no such service")
            return
        place, path, service = target
        try:
            rights = self.server.rights(self.headers.get("X-Nomad-Token", ""))
        except AwayError:
            self._refuse(503, "Nomad does not tell now what this token may do")
            return
        if not rights.allow(self.command, path, service):
            code = 403 if rights.kind else 401
            self._refuse(code, "this token may not do that" if rights.kind else "no valid token")
            return
        try:
            self._forward(place, path)
        except (OSError, http.client.HTTPException) as error:
            self.close_connection = True
            self._refuse(502, f"the service does not answer: {type(error).__name__}")

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve  # noqa: N815

    def _target(self) -> tuple[str, str, str] | None:
        """Where a request goes, by which path there, and to which service."""
        parts = self.path.split("/", 3)
        if self.path.startswith("/webhdfs/v1/"):
            place = self.server.services().get("hdfs-http")
            return (place, _as_spark(self.path), "hdfs-http") if place else None
        if len(parts) == 4 and parts[1] == "to" and parts[3].startswith("webhdfs/v1/"):
            if self.server.is_place(parts[2], urlsplit(self.path).query):
                return parts[2], _as_spark("/" + parts[3]), "hdfs-http"
        elif len(parts) == 4 and parts[1] == "service" and parts[2] in _PAGES:
            place = self.server.services().get(parts[2])
            if place and not _is_webhdfs(parts[3]):
                return place, "/" + parts[3], parts[2]
        return None

    def _forward(self, place: str, path: str) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        headers = {
            name: value for name, value in self.headers.items() if name.lower() in _FORWARDED
        }
        headers["Connection"] = "close"
        if length:
            headers["Content-Length"] = str(length)
        connection = http.client.HTTPConnection(place, timeout=_SECONDS)
        try:
            body = _Limited(self.rfile, length) if length else None
            connection.request(self.command, path, body=body, headers=headers)
            self._answer(connection.getresponse())
        finally:
            connection.close()

    def _answer(self, answer: http.client.HTTPResponse) -> None:
        self.send_response(answer.status)
        length = answer.getheader("Content-Length")
        body = None
        if "noredirect=true" in self.path and answer.status == 200:
            body = self._rewritten(answer.read())
            length = str(len(body))
        for name, value in answer.getheaders():
            lower = name.lower()
            if lower == "location":
                self.send_header(name, self._through(value))
            elif lower not in (*_HOP, "content-length", "set-cookie", "server", "date"):
                self.send_header(name, value)
        if length is None:
            self.close_connection = True
        else:
            self.send_header("Content-Length", length)
        self.end_headers()
        if self.command == "HEAD":
            return
        if body is not None:
            self.wfile.write(body)
            return
        while block := answer.read(_BLOCK):
            self.wfile.write(block)

    def _rewritten(self, body: bytes) -> bytes:
        """WebHDFS tells where to send a file also in JSON."""
        try:
            told = json.loads(body)
        except ValueError:
            return body
        if isinstance(told, dict) and isinstance(told.get("Location"), str):
            told["Location"] = self._through(told["Location"])
            return json.dumps(told).encode()
        return body

    def _through(self, location: str) -> str:
        """The same place, by way of here."""
        parts = urlsplit(location)
        if not parts.netloc:
            return location
        self.server.note_place(parts.netloc, parts.query)
        here = self.headers.get("Host", "")
        path = urlunsplit(("", "", parts.path, parts.query, ""))
        return f"https://{here}/to/{parts.netloc}{path}"

    def _refuse(self, code: int, reason: str) -> None:
        self.close_connection = True
        told = self.headers.get("Content-Length") or "0"
        length = int(told) if _DIGITS.fullmatch(told) else 0
        if 0 < length <= _DRAINED:  # else who sends would be cut off before it hears the answer
            self.rfile.read(length)
        self.send_error(code, reason)

    def log_message(self, format: str, *_: object) -> None:
        """Nobody reads it; it would hold names of files."""


def _as_spark(path: str) -> str:
    """HDFS knows one user, whatever the caller says; it reads names in any case of letters."""
    parts = urlsplit(path)
    told = parse_qsl(parts.query, keep_blank_values=True)
    pairs = [pair for pair in told if pair[0].lower() not in _IDENTITIES]
    query = urlencode([*pairs, ("user.name", "spark")])
    return urlunsplit(("", "", parts.path, query, ""))


def _name_node(query: str) -> str:
    return (plain_query(query) or {}).get("namenoderpcaddress", "")


def _is_webhdfs(path: str) -> bool:
    """Whether a path leads to HDFS's files, however it is written; only one way may."""
    for _ in range(3):
        path = unquote(path)
    return "webhdfs" in path.lower()


class _Socket(http.client.HTTPConnection):
    """HTTP over the socket by which Nomad serves its API to a task."""

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(str(Path(os.environ["NOMAD_SECRETS_DIR"]) / "api.sock"))


class AwayError(Exception):
    """Nomad does not answer now, as while it elects a leader."""


def _ask_nomad(token: str) -> Mapping[str, Any] | None:
    """What Nomad knows of a token; ``None`` if it knows none such.

    Raises:
        AwayError: if it does not tell.
    """
    connection = _Socket("localhost")
    try:
        headers = {"X-Nomad-Token": token}
        connection.request("GET", "/v1/acl/token/self", headers=headers)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status in (403, 404):
            return None
        if answer.status != 200:
            raise AwayError(f"it answers {answer.status}")
        told: dict[str, Any] = json.loads(content)
        return told
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise AwayError(str(error)) from error
    finally:
        connection.close()


def _services() -> Mapping[str, str]:
    local = Path(os.environ["NOMAD_TASK_DIR"]) / "services.json"
    told: dict[str, str] = json.loads(local.read_text("utf-8"))
    return told


def _tls(secrets: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(secrets / "cert.pem", secrets / "key.pem")
    context.load_verify_locations(secrets / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def main() -> None:
    """Serve for ever."""
    address = (os.environ["SPARKNOMAD_HOST"], int(os.environ["NOMAD_PORT_https"]))
    secrets = Path(os.environ["NOMAD_SECRETS_DIR"])
    Gateway(address, _services, _ask_nomad, _tls(secrets)).serve_forever()


if __name__ == "__main__":
    main()
