"""Processes that outlive the command that started them."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from cloudmesh.sparknomad.errors import ConflictError
from cloudmesh.sparknomad.incluster.own_process import is_process, start_time
from cloudmesh.sparknomad.waiting import Deadline

if TYPE_CHECKING:
    import psutil

__all__ = [
    "ProcessRef",
    "exclusive",
    "locked",
    "published",
    "scratch",
    "spawn_detached",
    "stop",
    "unpublish",
    "write_private",
]

_INTERVAL_SECONDS = 0.02
_KILL_SECONDS = 10


@dataclass(frozen=True)
class ProcessRef:
    """A process of this machine, never mixed up with a later one of the same number.

    Attributes:
        pid: its number.
        created: when it was started, as `start_time` tells it.
    """

    pid: int
    created: float

    @property
    def alive(self) -> bool:
        """Whether this very process still runs (a zombie does not)."""
        return self.pid > 1 and is_process(self.pid, self.created)


def spawn_detached(
    command: Sequence[str],
    *,
    log: Path,
    environment: Mapping[str, str],
    directory: Path,
    stdout: Path | None = None,
) -> ProcessRef:
    """Start a process in a session of its own, with its output in files.

    Args:
        command: program and arguments.
        log: receives standard error, and standard output too unless `stdout` is given.
        environment: the whole environment.
        directory: the working directory.
        stdout: receives standard output.
    """
    with contextlib.ExitStack() as stack:
        errors = stack.enter_context(log.open("ab"))
        output = stack.enter_context(stdout.open("ab")) if stdout else errors
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            cwd=directory,
            env=dict(environment),
            start_new_session=True,
            close_fds=True,
        )
    created = start_time(process.pid)
    # The process is meant to outlive this object; Popen would warn that it still runs.
    process.returncode = 0
    return ProcessRef(process.pid, created)


def stop(process: ProcessRef, *, grace: float) -> None:
    """End a process with its descendants and its whole session: ask it, wait, then kill.

    Args:
        process: nothing happens if it does not run any more.
        grace: seconds between asking and killing.
    """
    import psutil

    leader = _find(process)
    if leader is None:
        _reap(process.pid)
        return
    leads = os.getsid(0) != process.pid == _session(process.pid)
    family = _family(leader, {leader}, leads)
    with contextlib.suppress(psutil.NoSuchProcess):
        leader.send_signal(signal.SIGTERM)
    asked = Deadline(grace)
    while process.alive and asked.left:
        time.sleep(_INTERVAL_SECONDS)
        _reap(process.pid)
    # What is killed may have started something since it was listed: look until there is nothing.
    killed = Deadline(_KILL_SECONDS)
    while (family := _family(leader, family, leads)) and killed.left:
        for member in family:
            with contextlib.suppress(psutil.Error):
                member.kill()
        time.sleep(_INTERVAL_SECONDS)
        _reap(process.pid)
    _reap(process.pid)


def _find(process: ProcessRef) -> psutil.Process | None:
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        found = psutil.Process(process.pid)
        return found if process.alive else None
    return None


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return None


def _family(leader: psutil.Process, known: set[psutil.Process], leads: bool) -> set[psutil.Process]:
    """Who of these runs, with all their descendants and, if it `leads` one, its session.

    The number of a session is not given away while anybody is in it; if another process has it
    nevertheless, the session has ended, and this is a later one.
    """
    import psutil

    running = {
        one
        for one in psutil.process_iter(["ppid", "status"])
        if one.info["status"] not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    }
    ours = leads and not any(one.pid == leader.pid and one != leader for one in running)
    family = {one for one in running if one in known or (ours and _session(one.pid) == leader.pid)}
    while True:
        numbers = {member.pid for member in family}
        children = {one for one in running if one.info["ppid"] in numbers} - family
        if not children:
            return family
        family |= children


def _reap(pid: int) -> None:
    """Collect a child of our own, so that it is no zombie while this command goes on."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


@contextlib.contextmanager
def locked(path: Path, *, shared: bool = False, wait: bool = True) -> Iterator[IO[str] | None]:
    """Hold a lock file; the kernel frees it however this process ends.

    Who holds it alone may remove it as the last thing within the block: whoever waited for the
    removed file takes the new one.

    Args:
        path: the lock file; made if it is not there.
        shared: whether others may hold it too, if they share it as well.
        wait: whether to wait for it.

    Yields:
        The lock file, or ``None`` if another holds it and `wait` is false.
    """
    kind = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
    while True:
        with path.open("a+") as stream:
            try:
                fcntl.flock(stream, kind)
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    raise
                yield None
                return
            if _is_at(stream, path):
                yield stream
                return


def _is_at(stream: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def exclusive(path: Path, what: str) -> Iterator[None]:
    """Hold a lock file alone, with this process's number in it.

    Raises:
        ConflictError: if another command holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path, wait=False) as stream:
        if stream is None:
            raise ConflictError(
                f"Another command (process {_holder(path)}) is changing {what} now.",
                hint="Wait until it has ended, or end it; then run this again.",
            )
        stream.truncate(0)
        stream.write(str(os.getpid()))
        stream.flush()
        yield


def _holder(path: Path) -> str:
    try:
        return path.read_text("utf-8").strip() or "?"
    except FileNotFoundError:
        return "?"


def write_private(path: Path, text: str) -> None:
    """Write a file atomically that only its owner may read."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _partial(target: Path) -> Path:
    return target.with_name(f".{target.name}.partial")


def _maker_lock(target: Path) -> Path:
    return target.with_name(f".{target.name}.lock")


@contextlib.contextmanager
def published(target: Path) -> Iterator[Path | None]:
    """Make a directory that other commands see only when it is whole.

    Waits while another command makes it. Yields ``None`` if it is there already, else a
    directory to fill, which gets its name when the block ends without an error; what an
    interrupted command left of it is removed first.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(target)
    with locked(_maker_lock(target)):
        if target.exists():
            yield None
            return
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        try:
            yield partial
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        partial.rename(target)


@contextlib.contextmanager
def scratch(prefix: str, directory: Path | None = None) -> Iterator[Path]:
    """A temporary directory; what killed commands have left of theirs is removed first.

    Args:
        prefix: of its name; nobody else may use it there.
        directory: that holds it; the system's temporary directory if not given.
    """
    parent = directory or Path(tempfile.gettempdir())
    for left in parent.glob(f"{prefix}*"):
        _remove_abandoned(left)
    path, descriptor = _held_directory(prefix, parent)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(descriptor)


def _remove_abandoned(path: Path) -> None:
    with contextlib.suppress(OSError):
        if path.is_symlink() or path.stat().st_uid != os.geteuid():
            return
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(descriptor)


def _held_directory(prefix: str, parent: Path) -> tuple[Path, int]:
    """A new directory whose lock the kernel frees however this process ends."""
    while True:
        path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.is_dir():
                return path, descriptor
            os.close(descriptor)


def unpublish(target: Path) -> bool:
    """Remove what `published` made, or left when it was killed; nobody ever sees a part of it.

    Returns:
        Whether it is gone; not while another command makes it.
    """
    if not target.parent.is_dir():
        return True
    partial, lock = _partial(target), _maker_lock(target)
    with locked(lock, wait=False) as held:
        if held is None:
            return False
        if partial.exists():
            shutil.rmtree(partial)
        if target.exists():
            target.rename(partial)
            shutil.rmtree(partial)
        lock.unlink()
    return True
