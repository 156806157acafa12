"""A reverse proxy on this machine that spoils some of the answers of a web server."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from threaded import threaded

__all__ = ["Answer", "Faulty", "Request", "faulty"]

_HOST = "127.0.0.1"
_BLOCK = 64 * 1024
_HOP = ("connection", "keep-alive", "transfer-encoding", "proxy-connection")
_SECONDS = 30


@dataclass(frozen=True)
class Request:
    """What a client asks: method, path with query, and how many were asked before."""

    method: str
    path: str
    number: int


@dataclass(frozen=True)
class Answer:
    """How an answer is spoilt.

    Attributes:
        status: is answered in the place of the server, if not 0.
        body: of that answer.
        cut: bytes of the server's answer after which the connection is reset.
        stall: seconds before anything is answered.
    """

    status: int = 0
    body: str = ""
    cut: int | None = None
    stall: float = 0.0


@dataclass
class Faulty:
    """A running proxy.

    Attributes:
        endpoint: where its clients connect.
        spoil: says how a request's answer is spoilt, if it is.
        asked: every request.
        spoilt: those whose answer was.
    """

    endpoint: str
    spoil: Callable[[Request], Answer | None] = lambda request: None
    asked: list[Request] = field(default_factory=list)
    spoilt: list[Request] = field(default_factory=list)


@contextmanager
def faulty(
    target: str, address: str = _HOST, listening: socket.socket | None = None
) -> Iterator[Faulty]:
    """Stand before a server.

    Args:
        target: its ``http://host:port``.
        address: of this machine's, where clients connect.
        listening: a socket that listens already, perhaps in another network.
    """
    host, _, port = target.removeprefix("http://").partition(":")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *words: object) -> None:
            return

        def answer(self) -> None:
            body = self.body()
            with guard:
                request = Request(self.command, self.path, len(proxy.asked))
                proxy.asked.append(request)
                spoilt = proxy.spoil(request)
                if spoilt is not None:
                    proxy.spoilt.append(request)
            if spoilt is not None and spoilt.stall:
                time.sleep(spoilt.stall)
            if spoilt is not None and spoilt.status:
                self.refuse(spoilt)
                return
            self.forward(body, None if spoilt is None else spoilt.cut)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer  # noqa: N815 - http.server's names

        def body(self) -> bytes:
            """What came with the request; clients send it in chunks where it is encrypted."""
            if "chunked" not in self.headers.get("Transfer-Encoding", ""):
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return b"".join(parts)

        def refuse(self, spoilt: Answer) -> None:
            content = b"" if self.command == "HEAD" else spoilt.body.encode()
            self.send_response(spoilt.status)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Content-Type", "application/xml")
            self.end_headers()
            self.wfile.write(content)

        def forward(self, body: bytes, cut: int | None) -> None:
            connection = HTTPConnection(host, int(port), timeout=_SECONDS)
            try:
                connection.putrequest(
                    self.command, self.path, skip_host=True, skip_accept_encoding=True
                )
                for name, value in self.headers.items():
                    if name.lower() not in _HOP:
                        connection.putheader(name, value)
                if body and "Content-Length" not in self.headers:
                    connection.putheader("Content-Length", str(len(body)))
                connection.endheaders(body or None)
                answer = connection.getresponse()
                self.send_response_only(answer.status, answer.reason)
                for name, value in answer.getheaders():
                    if name.lower() not in _HOP:
                        self.send_header(name, value)
                if self.command != "HEAD" and answer.getheader("Content-Length") is None:
                    self.send_header("Connection", "close")
                    self.close_connection = True
                self.end_headers()
                sent = 0
                while block := answer.read(_BLOCK):
                    if cut is not None and sent + len(block) > cut:
                        self.wfile.write(block[: cut - sent])
                        self.reset()
                        return
                    self.wfile.write(block)
                    sent += len(block)
            except (OSError, HTTPException):
                self.close_connection = True
            finally:
                connection.close()

        def reset(self) -> None:
            self.wfile.flush()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()

        def finish(self) -> None:
            try:
                super().finish()
            except OSError:  # it was reset
                return

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, request: object, client_address: object) -> None:
            return

    guard = threading.Lock()
    with Server((address, 0), Handler, bind_and_activate=listening is None) as server:
        if listening is not None:
            server.socket.close()
            server.socket = listening
        host_name, number = server.socket.getsockname()
        proxy = Faulty(f"http://{host_name}:{number}")
        with threaded(server):
            yield proxy
