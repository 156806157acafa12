"""Serves the files of one directory to the other hosts: ``serve.py ADDRESS TOKEN DIRECTORY``.

It tells its port, and ends with its standard input. The files are named by their SHA-256,
which whoever fetches one compares; the token keeps others from reading them.
"""

from __future__ import annotations

import hmac
import os
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import BinaryIO

__all__ = ["main", "make_server"]

_NAME = re.compile(r"/([0-9a-f]{32,64})/([0-9a-f]{64})")


def make_server(address: str, token: str, directory: Path) -> ThreadingHTTPServer:
    """A server of the files in a directory; its port is the system's choice."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 60

        def do_GET(self) -> None:
            match = _NAME.fullmatch(self.path)
            if not match or not hmac.compare_digest(match[1], token):
                self.send_error(404)
                return
            try:
                with (directory / match[2]).open("rb") as stream:
                    self._send(stream)
            except FileNotFoundError:
                self.send_error(404)

        def _send(self, stream: BinaryIO) -> None:
            size = os.fstat(stream.fileno()).st_size
            self.send_response(200)
            self.send_header("Content-Length", str(size))
            self.end_headers()
            self.wfile.flush()
            self.connection.sendfile(stream)

        def log_message(self, format: str, *_: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer((address, 0), Handler)
    server.daemon_threads = True
    return server


def main(argv: list[str]) -> None:
    """Serve until standard input ends."""
    server = make_server(argv[0], argv[1], Path(argv[2]))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1:])
