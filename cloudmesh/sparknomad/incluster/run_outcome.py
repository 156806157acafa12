"""The outcome of a run: what is known of it, kept in a file that is always whole."""

from __future__ import annotations

import contextlib
import errno
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

sys.path[:0] = [str(Path(__file__).resolve().parent)]

import report  # noqa: E402

if TYPE_CHECKING:
    from cloudmesh.sparknomad.incluster import run_sites
    from cloudmesh.sparknomad.incluster.run_attempt import Attempt, explain
else:
    import run_sites
    from run_attempt import Attempt, explain

__all__ = [
    "CANCELLED",
    "EXIT_INFRASTRUCTURE",
    "EXIT_TIMEOUT",
    "Outcome",
    "Verdict",
    "abandon",
]

EXIT_INFRASTRUCTURE = 70
EXIT_TIMEOUT = 124
EXIT_CANCELLED = 143
_RESERVE = ".reserve"
_RESERVE_BYTES = 64 * 1024


class Verdict(NamedTuple):
    """How the whole run ended; ``code`` is what the supervisor exits with."""

    state: str
    reason: str
    code: int
    exit_code: int | None = None


CANCELLED = Verdict("cancelled", "cancelled", EXIT_CANCELLED)


class Outcome:
    """What is known of a run.

    Args:
        directory: of the run.
        run: its document.
        retries: the budget of each kind of failure.
    """

    def __init__(self, directory: Path, run: dict[str, Any], retries: dict[str, int]) -> None:
        self.file = directory / "outcome.json"
        self._events = directory / "events"
        self._reserve = directory / _RESERVE
        self._run = run
        self._retries = retries
        self.data = self._read()

    def _read(self) -> dict[str, Any]:
        fresh = {
            "run": self._run["run"],
            "phase": "staging",
            "state": "staging",
            "reason": "",
            "exit_code": None,
            "attempts": [],
            "received": time.time(),
        }
        try:
            return {**fresh, **json.loads(self.file.read_text("utf-8"))}
        except FileNotFoundError:
            return fresh
        except (ValueError, TypeError):
            # Whether the program ran is not known: that counts as a start of it.
            return {**fresh, "phase": "running", "state": "running"}

    @property
    def attempts(self) -> list[dict[str, Any]]:
        """What has been recorded."""
        return list(self.data["attempts"])

    def reserve(self) -> None:
        """Keep a little room, so that a full disk can still be told."""
        with contextlib.suppress(OSError):
            self._reserve.write_bytes(b"\0" * _RESERVE_BYTES)

    def save(self, **changes: Any) -> None:
        """Change it; the file is the old or the new one at every moment."""
        self.data.update(changes)
        try:
            _write(self.file, self.data)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            self._reserve.unlink(missing_ok=True)
            _write(self.file, self.data)

    def record(self, attempt: Attempt, *, launched: bool) -> None:
        """Keep how an attempt ended, before anything else is done.

        Args:
            attempt: how it ended.
            launched: whether the program was started.
        """
        entry = {
            "kind": attempt.kind,
            "reason": attempt.reason,
            "exit_code": attempt.exit_code,
            "launched": launched,
            "finished": time.time(),
        }
        self.save(attempts=[*self.attempts, entry], phase="ended")

    def spent(self) -> tuple[int, int]:
        """How often the last attempt's kind has occurred, and how often it may."""
        kinds = [attempt["kind"] for attempt in self.attempts]
        return kinds.count(kinds[-1]), self._retries[kinds[-1]]

    def verdict(self) -> Verdict | None:
        """What the recorded attempts amount to; ``None`` while another may follow."""
        if not self.attempts:
            return None
        last = self.attempts[-1]
        kind, reason, exit_code = last["kind"], last["reason"], last["exit_code"]
        if kind == "succeeded":
            return Verdict("succeeded", "", 0, 0)
        if kind == "cancelled":
            return CANCELLED
        if kind == "timeout":
            return Verdict("failed", reason, EXIT_TIMEOUT)
        spent, budget = self.spent()
        if spent <= budget:
            return None
        suffix = f" (after {spent} attempts)" if budget else ""
        return Verdict("failed", reason + suffix, exit_code or EXIT_INFRASTRUCTURE, exit_code)

    def finish(
        self, verdict: Verdict, *, lost: str = "", transfers: dict[str, Any] | None = None
    ) -> None:
        """Make it final.

        Args:
            verdict: how the run ended.
            lost: why some of the program's output is not there.
            transfers: what was measured of staged inputs and outputs.
        """
        reason = f"{verdict.reason} (output was lost: {lost})" if lost else verdict.reason
        measured = {**self._timings(), **self._summary(), **(transfers or {})}
        self.save(
            phase="finished",
            state=verdict.state,
            reason=reason,
            exit_code=verdict.exit_code,
            task_exit_code=verdict.code,
            finished=time.time(),
            report={**measured, **run_sites.site_report(self._run, measured)},
        )
        self._reserve.unlink(missing_ok=True)

    def _summary(self) -> dict[str, Any]:
        summary: dict[str, Any] = {}
        with contextlib.suppress(Exception):  # a run does not fail because its report does
            summary = report.summarize_events(self._events)
        return summary

    def _timings(self) -> dict[str, float]:
        now = time.time()
        waited = self.data["received"] - self._run.get("submitted", now)
        uploading = self.data.get("upload_seconds", 0.0)
        computing = now - (self.data.get("started") or now) - uploading
        return {
            "queue_seconds": round(max(0.0, waited), 3),
            "stage_seconds": round(self.data.get("stage_seconds", 0.0), 3),
            "compute_seconds": round(max(0.0, computing), 3),
            "upload_seconds": round(uploading, 3),
        }


def _write(path: Path, document: dict[str, Any]) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(document), "utf-8")
    temporary.chmod(0o644)
    temporary.replace(path)


def abandon(directory: Path, error: Exception) -> None:
    """Say in the outcome that a run could not even be read; a final one stays."""
    file = directory / "outcome.json"
    known: dict[str, Any] = {"run": directory.name, "attempts": []}
    with contextlib.suppress(OSError, ValueError, TypeError):
        known = {**known, **json.loads(file.read_text("utf-8"))}
    if known.get("phase") == "finished":
        return
    document = {
        **known,
        "phase": "finished",
        "state": "failed",
        "reason": f"the run could not be read: {explain(error)}",
        "exit_code": None,
        "task_exit_code": EXIT_INFRASTRUCTURE,
        "finished": time.time(),
    }
    with contextlib.suppress(OSError):
        _write(file, document)
