"""Hosts reached by SSH: commands, files, many at a time."""

from __future__ import annotations

import asyncio
import shlex
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from cloudmesh.sparknomad.compute.inventory import Host
from cloudmesh.sparknomad.errors import ClusterError, DependencyError, UnreachableError

if TYPE_CHECKING:
    import asyncssh

__all__ = ["HostError", "HostKeys", "Shell", "each_host", "open_shell"]

Answer = TypeVar("Answer")
_CONNECT_SECONDS = 20
_KEEPALIVE_SECONDS, _KEEPALIVES = 10, 3
_AT_ONCE = 32
_GRACE_SECONDS = 4.0
_BLOCK = 1024 * 1024


class HostError(ClusterError):
    """A command on a host ended with an error."""


@dataclass(frozen=True)
class HostKeys:
    """Which host keys are trusted.

    Attributes:
        file: what was accepted before, in the form of ``known_hosts``.
        accept: asked about an unknown key, with the host's name and the key's fingerprint.
    """

    file: Path
    accept: Callable[[str, str], bool]

    def known(self, host: Host) -> bytes:
        """All that is known, also by the user's own SSH."""
        texts = []
        for path in (self.file, Path.home() / ".ssh" / "known_hosts"):
            if path.is_file():
                texts.append(path.read_bytes())
        if host.host_key:
            texts.append(f"* {host.host_key}\n".encode())
            return texts[-1]
        return b"\n".join(texts)

    def add(self, name: str, port: int, key: str) -> None:
        """Remember a key."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        place = f"[{name}]:{port}" if port not in (0, 22) else name
        with self.file.open("a", encoding="utf-8") as stream:
            stream.write(f"{place} {key.strip()}\n")


class Shell:
    """One host, logged in.

    Args:
        host: it.
        connection: to it.
        root: whether commands need no sudo.
        address: of the host, at which we have reached it, as it says.
    """

    def __init__(
        self,
        host: Host,
        connection: asyncssh.SSHClientConnection,
        root: bool,
        address: str = "",
    ) -> None:
        self.host = host
        self.address = address
        self._connection = connection
        self._sudo = [] if root else ["sudo", "-n"]

    async def run(
        self, script: str, *, timeout: float = 120, stdin: bytes | None = None, name: str = ""
    ) -> str:
        """Run a script of ``/bin/sh`` as root.

        Args:
            script: its text; nothing secret, for it stands in the host's list of processes if
                `stdin` is given.
            timeout: seconds.
            stdin: what the script reads.
            name: what it does, for errors.

        Returns:
            What it wrote to standard output.

        Raises:
            HostError: if it ended with an error.
            UnreachableError: if the connection broke, or it took too long.
        """
        import asyncssh

        words = [*self._sudo, "sh", "-c", script] if stdin else [*self._sudo, "sh", "-s"]
        given = stdin if stdin is not None else script.encode()
        try:
            done = await self._connection.run(
                shlex.join(words), input=given, timeout=timeout, encoding=None
            )
        except (asyncssh.TimeoutError, TimeoutError):
            raise UnreachableError(
                f"{self.host.name}: {name or 'a command'} did not end within {timeout:g} s."
            ) from None
        except (asyncssh.Error, OSError) as error:
            raise UnreachableError(f"{self.host.name}: the connection broke: {error}.") from error
        out = _text(done.stdout)
        if done.exit_status != 0:
            told = _text(done.stderr).strip().splitlines()
            reason = told[-1] if told else f"exit code {done.exit_status}"
            raise HostError(f"{self.host.name}: {name or 'a command'} failed: {reason}")
        return out

    async def upload(self, source: Path, path: str, tell: Callable[[int], None]) -> None:
        """Send a large file; `tell` is told of each block's bytes."""
        import asyncssh

        quoted = shlex.quote(path)
        script = f"mkdir -p {shlex.quote(str(Path(path).parent))} && cat > {quoted}"
        command = shlex.join([*self._sudo, "sh", "-c", script])
        try:
            process = await self._connection.create_process(command, encoding=None)
            with source.open("rb") as stream:
                while block := await asyncio.to_thread(stream.read, _BLOCK):
                    process.stdin.write(block)
                    await process.stdin.drain()
                    tell(len(block))
            process.stdin.write_eof()
            done = await process.wait()
        except (asyncssh.Error, OSError) as error:
            raise UnreachableError(
                f"{self.host.name}: {source.name} was not sent to its end: {error}."
            ) from error
        if done.exit_status != 0:
            told = _text(done.stderr).strip()
            raise HostError(f"{self.host.name}: {path} can't be written: {told}")

    @asynccontextmanager
    async def forwarded(self, port: int) -> AsyncIterator[int]:
        """A port of this machine that leads to one of the host's loopback."""
        listener = await self._connection.forward_local_port("127.0.0.1", 0, "127.0.0.1", port)
        try:
            yield listener.get_port()
        finally:
            listener.close()
            await listener.wait_closed()

    @asynccontextmanager
    async def running(self, script: str) -> AsyncIterator[Callable[[], Awaitable[str]]]:
        """Run a script that ends with its standard input; yields a reader of its lines."""
        command = shlex.join([*self._sudo, "sh", "-c", script])
        process = await self._connection.create_process(command, encoding=None)

        async def line() -> str:
            told = bytes(await process.stdout.readline()).decode("utf-8", "replace")
            if not told:
                why = bytes(await process.stderr.read()).decode("utf-8", "replace").strip()
                raise HostError(f"{self.host.name}: it ended: {why}")
            return told

        try:
            yield line
        finally:
            process.stdin.write_eof()
            try:
                await asyncio.wait_for(process.wait(), 10)
            except (TimeoutError, Exception):
                process.close()


def _text(told: bytes | str | None) -> str:
    return told.decode("utf-8", "replace") if isinstance(told, bytes) else told or ""


@asynccontextmanager
async def open_shell(host: Host, keys: HostKeys) -> AsyncIterator[Shell]:
    """Log in.

    Raises:
        UnreachableError: if the host does not answer, or lets us not in.
        HostError: if its key is not the one that is known, or sudo asks for a password.
        DependencyError: if the extra is not installed.
    """
    connection = await _connect(host, keys)
    async with connection:
        # sudo lets nothing of this variable through.
        asked = 'id -u; echo "$SSH_CONNECTION"; sudo -n true 2>&1 || echo no sudo'
        done = await connection.run(asked, timeout=30)
        user, way, *words = str(done.stdout).split("\n", 2)
        root = user.strip() == "0"
        if not root and "no sudo" in str(done.stdout):
            raise HostError(
                f"{host.name}: the user has to be root, or allowed to use sudo without a password: "
                f"{words[0].strip().splitlines()[0]}"
            )
        yield Shell(host, connection, root, _own_address(way))


def _own_address(way: str) -> str:
    """The host's own address in ``SSH_CONNECTION``: client, its port, server, its port."""
    words = way.split()
    return words[2] if len(words) == 4 else ""


async def _connect(host: Host, keys: HostKeys) -> asyncssh.SSHClientConnection:
    try:
        import asyncssh
    except ImportError as error:
        raise DependencyError(
            "Hosts that are reached by SSH need asyncssh.",
            hint="pip install 'cloudmesh-sparknomad[ssh]'",
        ) from error
    options = _options(host)
    if host.key and not Path(host.key).expanduser().is_file():
        raise HostError(f"{host.name}: key: {host.key!r}: there is no such file on this machine")
    try:
        try:
            return await asyncssh.connect(host.name, known_hosts=keys.known(host), **options)
        except asyncssh.HostKeyNotVerifiable:
            await _learn(host, keys, options)
            return await asyncssh.connect(host.name, known_hosts=keys.known(host), **options)
    except asyncssh.HostKeyNotVerifiable as error:
        raise HostError(
            f"{host.name}: its key is not the one that is known: {error}",
            hint="If it was installed anew: ssh-keygen -R it, and correct host_key in the spec.",
        ) from error
    except asyncssh.PermissionDenied as error:
        raise UnreachableError(
            f"{host.name}: does not let us in: {error.reason}",
            hint="Check user and key in the spec, or ~/.ssh/config; `ssh HOST true` has to work.",
        ) from error
    except (asyncssh.Error, OSError, TimeoutError) as error:
        reason = getattr(error, "reason", "") or getattr(error, "strerror", "") or str(error)
        raise UnreachableError(
            f"{host.name}: is not reached by SSH: {reason or type(error).__name__}"
        ) from error


def _options(host: Host) -> dict[str, Any]:
    options: dict[str, Any] = {
        "connect_timeout": _CONNECT_SECONDS,
        "login_timeout": _CONNECT_SECONDS,
        "keepalive_interval": _KEEPALIVE_SECONDS,
        "keepalive_count_max": _KEEPALIVES,
    }
    if host.user:
        options["username"] = host.user
    if host.port:
        options["port"] = host.port
    if host.key:
        options["client_keys"] = [str(Path(host.key).expanduser())]
    if host.jump:
        options["tunnel"] = host.jump
    return options


async def _learn(host: Host, keys: HostKeys, options: dict[str, Any]) -> None:
    """Ask about a key that nothing is known of."""
    import asyncssh

    wanted = {name: options[name] for name in ("port", "tunnel") if name in options}
    key = await asyncssh.get_server_host_key(host.name, **wanted)
    if key is None or host.host_key or _is_known(host, keys, options):
        raise asyncssh.HostKeyNotVerifiable("it differs from the known one")
    fingerprint = key.get_fingerprint()
    if not await asyncio.to_thread(keys.accept, host.name, fingerprint):
        raise HostError(
            f"{host.name}: its host key is not known: {key.get_algorithm()} {fingerprint}",
            hint="Compare it; then log in once with ssh, give host_key in the spec, or use "
            "--accept-host-keys.",
        )
    name, port = _looked_up(host, options)
    keys.add(name, port, key.export_public_key().decode())


def _looked_up(host: Host, options: dict[str, Any]) -> tuple[str, int]:
    """Under which name and port a host's key is looked up: ``~/.ssh/config`` may give others."""
    import asyncssh

    given = {name: value for name, value in options.items() if name in ("username", "port")}
    found = asyncssh.SSHClientConnectionOptions(host=host.name, config=(), **given)
    return found.host_key_alias or found.host or host.name, found.port or 22


def _is_known(host: Host, keys: HostKeys, options: dict[str, Any]) -> bool:
    import asyncssh

    known = asyncssh.import_known_hosts(keys.known(host).decode("utf-8", "replace"))
    name, port = _looked_up(host, options)
    return any(known.match(name, "", port)[:2])


async def each_host(
    hosts: Sequence[Host],
    do: Callable[[Host], Awaitable[Answer]],
    enough: int | None = None,
) -> dict[str, Answer | Exception]:
    """Do something on all hosts at a time; one that fails does not hold the others.

    Args:
        hosts: they.
        do: what is done on each.
        enough: when it went well on so many, the others get as long again and a few seconds, and
            are given up then; without it, each takes its time.

    Returns:
        The answer, or what went wrong, by the host's name.
    """
    slots = asyncio.Semaphore(_AT_ONCE)
    begun = time.monotonic()

    async def one(host: Host) -> Answer:
        async with slots:
            return await do(host)

    tasks = {host.name: asyncio.create_task(one(host)) for host in hosts}
    try:
        waiting = await _served(tasks.values(), enough, begun)
    except BaseException:
        waiting = set(tasks.values())
        raise
    finally:
        for task in waiting:
            task.cancel()
    answers = await asyncio.gather(*tasks.values(), return_exceptions=True)
    seconds = time.monotonic() - begun
    return {name: _answer(name, found, seconds) for name, found in zip(tasks, answers, strict=True)}


async def _served(
    tasks: Collection[asyncio.Task[Any]], enough: int | None, begun: float
) -> set[asyncio.Task[Any]]:
    """Wait for tasks; those that are to be given up."""
    waiting, give_up = set(tasks), None
    while waiting:
        left = None if give_up is None else max(0.0, give_up - time.monotonic())
        done, waiting = await asyncio.wait(
            waiting, timeout=left, return_when=asyncio.FIRST_COMPLETED
        )
        if not done:
            break
        good = sum(task.done() and not task.exception() for task in tasks)
        if enough is not None and good >= enough and give_up is None:
            now = time.monotonic()
            give_up = now + max(_GRACE_SECONDS, now - begun)
    return waiting


def _answer(name: str, found: Answer | BaseException, seconds: float) -> Answer | Exception:
    if isinstance(found, asyncio.CancelledError):
        return UnreachableError(f"{name}: has not answered for {seconds:.0f} s; others have")
    if isinstance(found, BaseException) and not isinstance(found, Exception):
        raise found
    return found
