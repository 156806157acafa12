"""One start of a run's program, with the Java machine that a Python one needs beside it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path[:0] = [str(Path(__file__).resolve().parent)]

import java_files  # noqa: E402
import sparkconf  # noqa: E402

if TYPE_CHECKING:
    from cloudmesh.sparknomad.incluster import run_children, run_private
    from cloudmesh.sparknomad.incluster.run_attempt import End
else:
    import run_children
    import run_private
    from run_attempt import End

__all__ = ["Program"]

_JAVA_DIED_SECONDS = 10
_GATEWAY_END_SECONDS = 60


class Program:
    """A program that is started once.

    Args:
        path: of it; a ``.jar`` is Java's, everything else Python's.
        definition: the job.
        cluster: where it runs.
        directory: of the run.
        scratch: a directory of this start's own.
        children: the run's processes.
        pause: waits, and raises what ends the run.
    """

    def __init__(
        self,
        path: Path,
        definition: dict[str, Any],
        cluster: dict[str, Any],
        directory: Path,
        scratch: Path,
        children: run_children.Children,
        pause: Callable[[float], None],
    ) -> None:
        self.path = path
        self.definition = definition
        self.cluster = cluster
        self.directory = directory
        self.scratch = scratch
        self.children = children
        self.pause = pause
        self._java: run_children.Child | None = None
        self._program: run_children.Child | None = None
        self._arguments = scratch / "arguments.json"
        scratch.mkdir(mode=0o700)

    @property
    def _is_java(self) -> bool:
        return self.path.suffix == ".jar"

    def begin(self) -> None:
        """Start what does not need the arguments: Java and Python's libraries take seconds."""
        if self._is_java:
            return
        gateway = run_private.private_directory(self.cluster, self.scratch) / "gateway"
        self._java = self._start(
            self._command(["pyspark-shell"]),
            stdin=subprocess.PIPE,
            _PYSPARK_DRIVER_CONN_INFO_PATH=str(gateway),
        )
        launcher = Path(__file__).with_name("launcher.py")
        words = [str(launcher), str(self.path), str(self._arguments), str(gateway)]
        self._program = self._start([self.cluster["python"], *words])

    def launch(self, arguments: Sequence[str]) -> None:
        """Let it run with these arguments."""
        if self._is_java:
            main_class = self.definition["class"]
            named = ["--class", main_class] if main_class else []
            self._program = self._start(self._command([*named, str(self.path), *arguments]))
            return
        if self._program is None:
            self.begin()
        partial = self._arguments.with_suffix(".part")
        java_files.write_private(partial, json.dumps(list(arguments)))
        partial.replace(self._arguments)  # the launcher waits for it

    def wait(self) -> End:
        """Wait for the program; for a Python one also see whether its Java machine died."""
        program, java = self._program, self._java
        assert program is not None
        died: float | None = None
        while (code := program.poll()) is None:
            if died is None and java is not None and java.poll() is not None:
                died = time.monotonic()
            if died is not None and time.monotonic() - died > _JAVA_DIED_SECONDS:
                program.signal(signal.SIGKILL)
            self.pause(0.02)
        return End(code, java.poll() if java is not None and died is not None else None)

    def end_gateway(self, stopped: Callable[[], bool]) -> None:
        """Let Java end after the program; Spark's gateway does when its standard input does."""
        java = self._java
        if java is None:
            return
        java.close_input()
        give_up = time.monotonic() + _GATEWAY_END_SECONDS
        while java.poll() is None and time.monotonic() < give_up and not stopped():
            java.wait(0.05)

    def _command(self, extra: list[str]) -> list[str]:
        java = sparkconf.java_command(self.definition, self.cluster, self.directory, self.scratch)
        listed = self.scratch / "java.args"
        java_files.write_private(listed, java_files.argument_file([*java, *extra]))
        return [f"{self.cluster['java_home']}/bin/java", f"@{listed}"]

    def _start(
        self, command: list[str], *, stdin: int = subprocess.DEVNULL, **extra: str
    ) -> run_children.Child:
        environment = sparkconf.environment(self.definition, self.cluster, self.directory)
        return self.children.start(
            command,
            stdin=stdin,
            directory=self.directory / "work",
            environment={**environment, **extra},
        )
