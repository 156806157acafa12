"""Which process of this machine drives a run: a note in the run's directory.

Whoever starts a driver writes the note, unless there is one; a driver that has the run's lock
puts its own in the place. So the note names the driver that supervises the run, also when it was
started twice because who started it first was killed before the note.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path

__all__ = ["NOTE", "note_process", "start_time"]

NOTE = "process.json"


def start_time(pid: int) -> float:
    """When a process was started, in seconds since the epoch; 0 if it is none, or has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8")
        lines = Path("/proc/stat").read_text("utf-8").splitlines()
        boot = next(line for line in lines if line.startswith("btime "))
    except (OSError, StopIteration):
        return 0.0
    fields = text.rpartition(")")[2].split()  # proc(5): the third field is the first of these
    if fields[0] in ("Z", "X"):
        return 0.0
    return int(boot.split()[1]) + int(fields[19]) / os.sysconf("SC_CLK_TCK")


def note_process(directory: Path, pid: int, *, replace: bool) -> None:
    """Write the note.

    Args:
        directory: of the run.
        pid: of its driver.
        replace: whether one that is there gives way.
    """
    made = directory / f".{NOTE}.{os.getpid()}"
    text = json.dumps({"pid": pid, "created": start_time(pid) or time.time()})
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
