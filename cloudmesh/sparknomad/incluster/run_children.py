"""The processes of a run: started, read to their end, and ended with all that they started."""

from __future__ import annotations

import collections
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from cloudmesh.sparknomad.incluster.run_attempt import explain, is_frame
else:
    from run_attempt import explain, is_frame

__all__ = ["Child", "Children", "Output"]

_TAIL_LINES = 40
_BLOCK = 64 * 1024
_PATIENCE_SECONDS = 1
_READ_SECONDS = 5
_KILL_SECONDS = 5
_PR_SET_PDEATHSIG = 1
_NOISE = b"WARNING: Using incubator modules: jdk.incubator.vector"


class Output:
    """The files ``stdout`` and ``stderr`` of a run.

    A disk that is full costs output, but neither stops the program nor this process.

    Args:
        directory: of the run.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.tail: collections.deque[str] = collections.deque(maxlen=_TAIL_LINES)
        self.problem = ""

    def say(self, message: str) -> None:
        """Add a message of our own to the program's standard error."""
        line = f"sparknomad: {message}\n".encode("utf-8", "backslashreplace")
        with contextlib.closing(_Sink(self, "stderr", 2)) as sink:
            sink.write(line)


class _Sink:
    """One of the two files, kept open; and our own stream, for who looks at the task itself."""

    def __init__(self, output: Output, name: str, descriptor: int) -> None:
        self._output = output
        self._path = output.directory / name
        self._descriptor = descriptor
        self._file: int | None = None

    def write(self, data: bytes) -> None:
        try:
            if self._file is None:
                self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            left = data
            while left:
                left = left[os.write(self._file, left) :]
        except OSError as error:
            self._output.problem = explain(error)
        with contextlib.suppress(OSError):
            os.write(self._descriptor, data)

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


class Child:
    """A started program that leads a group of its own.

    Args:
        command: the program with its arguments.
        output: where its output goes.
        stdin: as for `subprocess.Popen`.
        directory: its working directory.
        environment: all of it.
    """

    def __init__(
        self,
        command: list[str],
        output: Output,
        *,
        stdin: int,
        directory: Path,
        environment: dict[str, str],
    ) -> None:
        self._tail = output.tail
        self._closed = False
        with warnings.catch_warnings():
            # Of forking beside threads: the new process does nothing before it becomes another.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.process = subprocess.Popen(
                command,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=directory,
                env=environment,
                start_new_session=True,
                preexec_fn=_ends_with_us(),
            )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._readers = [
            self._reader(self.process.stdout, _blocks, _Sink(output, "stdout", 1)),
            self._reader(self.process.stderr, self._lines, _Sink(output, "stderr", 2)),
        ]

    def _reader(
        self, pipe: IO[bytes], parts: Callable[[IO[bytes]], Iterable[bytes]], sink: _Sink
    ) -> threading.Thread:
        def copy() -> None:
            # The pipe is closed by its only reader: else its number could be another file's.
            with pipe, contextlib.closing(sink):
                for part in parts(pipe):
                    if not self._closed:
                        sink.write(part)

        reader = threading.Thread(target=copy, daemon=True)
        reader.start()
        return reader

    def _lines(self, pipe: IO[bytes]) -> Iterator[bytes]:
        while line := pipe.readline(_BLOCK):
            if not line.startswith(_NOISE) and not self._closed:
                text = line.decode("utf-8", "replace").strip()
                # A trace of Java's is longer than the tail: what happened stands above it.
                if not is_frame(text):
                    self._tail.append(text)
                yield line

    def poll(self) -> int | None:
        """The exit code, or minus the signal; ``None`` while it runs."""
        return self.process.poll()

    def signal(self, number: int) -> None:
        """Signal it with all of its group, also after it has ended itself."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, number)

    def wait(self, seconds: float) -> None:
        """Wait for its end, but not longer."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(max(0.0, seconds))

    def close_input(self) -> None:
        """Let it see the end of its standard input."""
        if self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()

    def read(self, give_up: float) -> None:
        """Wait until its output was read to the end, or this moment of the monotonic clock."""
        for reader in self._readers:
            reader.join(max(0.0, give_up - time.monotonic()))

    def close(self) -> None:
        """Drop what something that could not be ended may still write."""
        self._closed = True
        self.close_input()


class Children:
    """All processes of a run.

    Args:
        output: where their output goes.
        marks: variables that together only this run's processes have.
    """

    def __init__(self, output: Output, marks: dict[str, str]) -> None:
        self._output = output
        self._marks = marks
        self.running: list[Child] = []

    def start(
        self, command: list[str], *, stdin: int, directory: Path, environment: dict[str, str]
    ) -> Child:
        """Start a program."""
        child = Child(
            command,
            self._output,
            stdin=stdin,
            directory=directory,
            environment={**environment, **self._marks},
        )
        self.running.append(child)
        return child

    def finish(self, grace: float) -> None:
        """After the program's end: read what was written, then end what it has left."""
        give_up = time.monotonic() + _PATIENCE_SECONDS
        for child in self.running:
            if child.poll() is not None:
                child.read(give_up)
        self.stop(grace)

    def stop(self, grace: float) -> None:
        """End everything, also what has left its group, and read what was written.

        Args:
            grace: seconds between asking and killing.
        """
        if not self.running:
            return
        for child in self.running:
            child.signal(signal.SIGTERM)
        give_up = time.monotonic() + grace
        for child in self.running:
            child.wait(give_up - time.monotonic())
            child.signal(signal.SIGKILL)
            child.wait(_KILL_SECONDS)
        self.sweep()
        give_up = time.monotonic() + _READ_SECONDS
        for child in self.running:
            child.read(give_up)
            child.close()
        self.running.clear()

    def sweep(self) -> None:
        """Kill what carries this run's marks: daemons, and what a killed driver has left."""
        for _ in range(3):
            found = list(_marked(self._marks))
            for number in found:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(number, signal.SIGKILL)
            if not found:
                return


def _blocks(pipe: IO[bytes]) -> Iterator[bytes]:
    while block := os.read(pipe.fileno(), _BLOCK):
        yield block


def _marked(marks: dict[str, str]) -> Iterator[int]:
    """Processes with these variables; none where the system does not tell."""
    wanted = {f"{name}={value}".encode("utf-8", "surrogateescape") for name, value in marks.items()}
    with contextlib.suppress(OSError):
        for entry in os.listdir("/proc"):
            if entry.isdigit() and int(entry) != os.getpid():
                with contextlib.suppress(OSError):
                    if wanted <= set(Path("/proc", entry, "environ").read_bytes().split(b"\0")):
                        yield int(entry)


def _ends_with_us() -> Callable[[], None] | None:
    """For a new process: Linux kills it when this process was killed.

    A program that nobody supervises would go on beside its own retry.
    """
    if sys.platform != "linux":
        return None
    parent = os.getpid()
    control = ctypes.CDLL(None, use_errno=True).prctl

    def mark() -> None:
        control(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return mark
