"""A server of Python's own that answers in a thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import BaseServer

__all__ = ["threaded"]

_POLL_SECONDS = 0.01


@contextmanager
def threaded(server: BaseServer) -> Iterator[None]:
    """Let a server answer within the block. Whoever made it closes it."""
    thread = threading.Thread(target=server.serve_forever, args=(_POLL_SECONDS,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
