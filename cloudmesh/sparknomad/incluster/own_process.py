"""Which process of this machine drives a run: a note in the run's directory.

Whoever starts a driver writes the note, unless there is one; a driver that has the run's lock
puts its own in the place. So the note names the driver that supervises the run, also when it was
started twice because who started it first was killed before the note.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

__all__ = ["NOTE", "is_process", "note_process", "start_time"]

NOTE = "process.json"
_EPOCH = 1e9
_TICK_SECONDS, _CLOCK_SECONDS = 0.05, 2.0


def start_time(pid: int) -> float:
    """When a process was started; 0 if it is none, or has ended.

    Returns:
        Seconds since the machine's boot: they stay the same when its clock is set.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return 0.0
    fields = text.rpartition(")")[2].split()  # proc(5): the third field is the first of these
    if not fields or fields[0] in ("Z", "X"):
        return 0.0
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")


def is_process(pid: int, started: float) -> bool:
    """Whether a process runs, and is the one that was noted.

    Args:
        pid: its number, which may be another's by now.
        started: what `start_time` said of it; a note of former versions tells seconds since the
            epoch.
    """
    now = start_time(pid)
    if not now:
        return False
    if started < _EPOCH:
        return abs(now - started) < _TICK_SECONDS
    lines = Path("/proc/stat").read_text("utf-8").splitlines()
    boot = next(int(line.split()[1]) for line in lines if line.startswith("btime "))
    return abs(boot + now - started) < _CLOCK_SECONDS


def note_process(directory: Path, pid: int, *, replace: bool) -> None:
    """Write the note.

    Args:
        directory: of the run.
        pid: of its driver.
        replace: whether one that is there gives way.
    """
    made = directory / f".{NOTE}.{os.getpid()}"
    text = json.dumps({"pid": pid, "created": start_time(pid)})
    descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    try:
        if replace:
            made.replace(directory / NOTE)
        else:
            with contextlib.suppress(FileExistsError):
                os.link(made, directory / NOTE)
    finally:
        made.unlink(missing_ok=True)
