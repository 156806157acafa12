"""What an agent that was stopped, or killed, leaves behind: found, ended and proven gone.

Nothing is touched that does not carry this cluster's own marks: the ids of its allocations,
or its data directory.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from cloudmesh.sparknomad.incluster.own_process import start_time
from cloudmesh.sparknomad.processes import ProcessRef

__all__ = ["Sweep", "allocation_ids"]

_T = TypeVar("_T")
_ROUNDS = 100
_CGROUPS = Path("/sys/fs/cgroup")


def allocation_ids(data: Path) -> list[str]:
    """The ids of all allocations that a data directory holds."""
    alloc = data / "alloc"
    try:
        return sorted(path.name for path in alloc.iterdir() if len(path.name) == 36)
    except OSError:
        return []


class Sweep:
    """The traces of one cluster on this machine.

    Args:
        data: its agent's data directory.
        allocations: the ids of its allocations.
        docker: whether its tasks are containers.
        sockets: the directory of the sockets of its agent's helpers, or ``None``.
    """

    def __init__(
        self,
        data: Path,
        allocations: Sequence[str],
        *,
        docker: bool,
        sockets: Path | None = None,
    ) -> None:
        self.data = data
        self.sockets = sockets
        self.allocations = frozenset(allocations)
        self.docker = docker

    def run(self) -> bool:
        """End and remove all traces; what can't be removed is told by `leftovers`.

        Returns:
            Whether nothing was seen any more at the end.
        """
        self._remove_containers()
        clean = [
            _until_none(self.processes, _kill_all, pause=0.02),
            _until_none(self.mounts, _unmount, pause=0),
            _until_none(self.control_groups, _remove_groups, pause=0.02),
        ]
        if self.sockets:
            shutil.rmtree(self.sockets, ignore_errors=True)
        # Chroot trees of tasks have tens of thousands of links: this takes half of rmtree's time.
        subprocess.run(["rm", "-rf", "--", str(self.data)], capture_output=True, check=False)
        return all(clean) and not self._directories() and not self.containers()

    def leftovers(self) -> list[str]:
        """What is still there, each for a person."""
        left = [f"process {process.pid}" for process in self.processes()]
        left += [f"container {container}" for container in self.containers()]
        left += [f"mount {mount}" for mount in self.mounts()]
        left += [f"control group {group}" for group in self.control_groups()]
        return left + [f"directory {place}" for place in self._directories()]

    def _directories(self) -> list[Path]:
        return [place for place in (self.data, self.sockets) if place and place.exists()]

    # containers

    def containers(self) -> list[str]:
        """The ids of Docker's containers of our allocations, also of those that have ended."""
        if not self.docker:
            return []
        label = "com.hashicorp.nomad.alloc_id"
        template = f'{{{{.ID}}}} {{{{.Label "{label}"}}}}'
        command = ["docker", "ps", "--all", "--filter", f"label={label}", "--format", template]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        pairs = [line.split() for line in done.stdout.splitlines()]
        return [pair[0] for pair in pairs if len(pair) == 2 and pair[1] in self.allocations]

    def _remove_containers(self) -> None:
        found = self.containers()
        if found:
            command = ["docker", "rm", "--force", "--volumes", *found]
            subprocess.run(command, capture_output=True, check=False)

    # processes

    def processes(self) -> list[ProcessRef]:
        """The agent, its executors and log collectors, and the tasks."""
        import psutil

        found = []
        for pid in psutil.pids():
            if pid in (1, os.getpid()):
                continue
            with contextlib.suppress(psutil.Error, OSError):
                if self._is_ours(pid):
                    found.append(ProcessRef(pid, start_time(pid)))
        return [process for process in found if process.alive]

    def _is_ours(self, pid: int) -> bool:
        place = Path("/proc") / str(pid)
        groups = (place / "cgroup").read_text("utf-8")
        if any(f"/{identity}." in groups for identity in self.allocations):
            return True
        environment = (place / "environ").read_bytes()
        for variable in environment.split(b"\0"):
            name, _, value = variable.partition(b"=")
            if name == b"NOMAD_ALLOC_ID" and value.decode() in self.allocations:
                return True
        mark = f"{self.data}/"
        words = (place / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
        if "nomad" not in Path(words[0] or "-").name:
            return False
        if any(mark in word or f"{self.data.parent}/agent.json" in word for word in words):
            return True
        return any(mark in target for target in _open_files(place))

    # mounts

    def mounts(self) -> list[str]:
        """What is mounted below the data directory."""
        mark = f"{self.data}/"
        lines = Path("/proc/self/mounts").read_text("utf-8", "replace").splitlines()
        targets = [_unescape(line.split(" ")[1]) for line in lines]
        return [target for target in targets if target.startswith(mark)]

    # control groups

    def control_groups(self) -> list[Path]:
        """The control groups of our allocations, in every hierarchy."""
        found = []
        for parent in (*_CGROUPS.glob("*/nomad"), *_CGROUPS.glob("nomad.slice/*")):
            with contextlib.suppress(OSError):
                for group in parent.iterdir():
                    if group.is_dir() and group.name[:36] in self.allocations:
                        found.append(group)
        return found


def _until_none(
    find: Callable[[], Sequence[_T]], end: Callable[[Sequence[_T]], None], *, pause: float
) -> bool:
    """Look and end what is found, again and again; whether nothing is found any more."""
    for _ in range(_ROUNDS):
        found = find()
        if not found:
            return True
        end(found)
        time.sleep(pause)
    return not find()


def _kill_all(processes: Sequence[ProcessRef]) -> None:
    for process in processes:
        _kill(process)


def _unmount(mounts: Sequence[str]) -> None:
    command = ["umount", "-l", *sorted(mounts, key=len, reverse=True)]
    subprocess.run(command, capture_output=True, check=False)


def _kill(process: ProcessRef) -> None:
    if process.alive and process.pid > 1:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process.pid, 9)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(process.pid, os.WNOHANG)


def _open_files(place: Path) -> Iterator[str]:
    with contextlib.suppress(OSError):
        for descriptor in (place / "fd").iterdir():
            with contextlib.suppress(OSError):
                yield str(descriptor.readlink())


def _unescape(target: str) -> str:
    """Undo the octal escapes that the kernel writes for blanks in mount points."""
    return target.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")


def _remove_groups(groups: Sequence[Path]) -> None:
    for group in groups:
        for directory, _, _ in os.walk(group, topdown=False):
            with contextlib.suppress(OSError):
                Path(directory).rmdir()
