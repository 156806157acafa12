"""Progress on standard error: lines with the time since the command began."""

from __future__ import annotations

import sys
import time

from cloudmesh.sparknomad.units import format_duration

__all__ = ["Progress"]


class Progress:
    """Writes progress lines.

    Args:
        quiet: write nothing.
    """

    def __init__(self, *, quiet: bool) -> None:
        self.quiet = quiet
        self._begun = time.monotonic()

    def say(self, message: str) -> None:
        """Write one line; a broken standard error is no reason to fail."""
        stream = sys.stderr
        if self.quiet or stream is None:
            return
        elapsed = format_duration(time.monotonic() - self._begun)
        prefix = f"[{elapsed:>6}] "
        try:
            if stream.isatty():
                prefix = f"\033[2m{prefix}\033[0m"
            print(f"{prefix}{message}", file=stream, flush=True)
        except (OSError, ValueError):
            self.quiet = True
