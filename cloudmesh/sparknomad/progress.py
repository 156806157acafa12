"""Progress on standard error: lines with the time since the command began."""

from __future__ import annotations

import os
import sys
import time

from cloudmesh.sparknomad.units import format_duration

__all__ = ["Progress"]

_WIDTH = 24


class Progress:
    """Writes progress lines, and on a terminal below them what each host is doing.

    Args:
        quiet: write nothing.
    """

    def __init__(self, *, quiet: bool) -> None:
        self.quiet = quiet
        self._begun = time.monotonic()
        self._states: dict[str, str] = {}
        self._drawn = 0

    def say(self, message: str) -> None:
        """Write one line; a broken standard error is no reason to fail."""
        elapsed = format_duration(time.monotonic() - self._begun)
        prefix = f"[{elapsed:>6}] "
        if self._is_terminal:
            prefix = f"\033[2m{prefix}\033[0m"
        self._write(self._erased() + f"{prefix}{message}\n" + self._table())

    def show(self, subject: str, state: str) -> None:
        """Show what a host is doing now, where somebody watches.

        Args:
            subject: the host; an empty one ends the table, which then stays as it is.
            state: what it does.
        """
        if not self._is_terminal or self.quiet:
            return
        if not subject:
            self._states, self._drawn = {}, 0
            return
        self._states[subject] = state
        self._write(self._erased() + self._table())

    @property
    def _is_terminal(self) -> bool:
        return sys.stderr is not None and sys.stderr.isatty()

    def _erased(self) -> str:
        return f"\033[{self._drawn}A\033[J" if self._drawn else ""

    def _table(self) -> str:
        """The hosts, a line each; on a small terminal those that were changed last."""
        if not self._states:
            return ""
        size = os.get_terminal_size(sys.stderr.fileno())
        rows = list(self._states.items())
        most, width = max(1, (size.lines or 24) - 2), (size.columns or 80) - 1
        lines = [f"  {name:<{_WIDTH}} {state}"[:width] for name, state in rows[-most:]]
        self._drawn = len(lines)
        return "".join(f"{line}\n" for line in lines)

    def _write(self, text: str) -> None:
        stream = sys.stderr
        if self.quiet or stream is None:
            return
        try:
            print(text, end="", file=stream, flush=True)
        except (OSError, ValueError):
            self.quiet = True
