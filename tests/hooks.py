"""An address that a pipeline's end is told to, as the user's own server would be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

from threaded import threaded

__all__ = ["hook"]


@contextmanager
def hook(*codes: int) -> Iterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    """Answers with these codes, one after the other, then with 200; what it was sent."""
    got: list[tuple[dict[str, str], bytes]] = []
    left = list(codes)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append((dict(self.headers), body))
            self.send_response(left.pop(0) if left else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *words: object) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Handler) as made, threaded(made):
        yield f"http://127.0.0.1:{made.server_address[1]}/hook", got
