"""Starting the service in the foreground, finding it again, and ending it."""

from __future__ import annotations

import contextlib
import gc
import ipaddress
import json
import logging
import os
import signal
import socket
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cloudmesh.sparknomad.access_tokens import FIRST
from cloudmesh.sparknomad.errors import (
    ConflictError,
    DependencyError,
    InputError,
    InterruptedByUserError,
)
from cloudmesh.sparknomad.incluster.own_process import start_time
from cloudmesh.sparknomad.paths import Paths
from cloudmesh.sparknomad.processes import ProcessRef, locked, stop, write_private
from cloudmesh.sparknomad.service.guard import Limits
from cloudmesh.sparknomad.service.store import ServiceStore

if TYPE_CHECKING:
    from cloudmesh.sparknomad.service.operations import Operations

__all__ = ["Binding", "Running", "find_running", "open_store", "serve", "stop_service"]

_GRACE_SECONDS = 15
_HEADER_BYTES = 32 * 1024
_TURN_SECONDS = 0.001


@dataclass(frozen=True)
class Binding:
    """Where the service listens.

    Attributes:
        host: an address of this machine.
        port: 0 for any that is free.
        certificate: a file with its certificate, or ``None`` for no TLS.
        key: the file with the key.
    """

    host: str = "127.0.0.1"
    port: int = 8450
    certificate: Path | None = None
    key: Path | None = None

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def check(self, tokens: int) -> None:
        """Refuse what would let others in.

        Args:
            tokens: how many there are.

        Raises:
            InputError: with what is missing.
        """
        if bool(self.certificate) != bool(self.key):
            raise InputError("--tls-cert and --tls-key: give both, or none.")
        for name, path in (("--tls-cert", self.certificate), ("--tls-key", self.key)):
            if path is not None and not path.is_file():
                raise InputError(f"{name}={path}: there is no such file.")
        if self.is_loopback:
            return
        if self.certificate is None:
            raise InputError(
                f"--host={self.host}: others reach this address, so TLS is needed.",
                hint="Give --tls-cert and --tls-key, or listen on 127.0.0.1.",
            )
        if not tokens:
            raise InputError(
                f"--host={self.host}: others reach this address, so a token is needed first.",
                hint="cms sparknomad service token create NAME --role=operator",
            )


@dataclass(frozen=True)
class Running:
    """A service that runs on this machine.

    Attributes:
        url: where it answers.
        process: its process.
    """

    url: str
    process: ProcessRef


def _directory(paths: Paths) -> Path:
    directory = paths.home / "service"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory


def open_store(paths: Paths) -> ServiceStore:
    """What the service remembers."""
    return ServiceStore(_directory(paths) / "service.db")


def find_running(paths: Paths) -> Running | None:
    """The service that runs, or ``None``."""
    try:
        document = json.loads((_directory(paths) / "process.json").read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    found = Running(document["url"], ProcessRef(document["pid"], document["created"]))
    return found if found.process.alive else None


def stop_service(paths: Paths) -> bool:
    """End the service; whether there was one."""
    running = find_running(paths)
    if running is None:
        return False
    stop(running.process, grace=_GRACE_SECONDS)
    return True


def serve(
    paths: Paths,
    binding: Binding,
    say: Callable[[str], None],
    *,
    allow_local: bool = False,
    limits: Limits | None = None,
) -> None:
    """Run the service until it is told to end.

    Raises:
        InputError: if it would let others in.
        ConflictError: if one runs already, or the port is taken.
        DependencyError: if a package is missing.
    """
    try:
        with warnings.catch_warnings():
            # Starlette's advice to connexion, about a client for tests that is not used here.
            warnings.filterwarnings("ignore", message="Using `httpx` with")
            import connexion  # noqa: F401
            import uvicorn

        from cloudmesh.sparknomad.service.app import Service, guarded
    except ImportError as error:
        raise DependencyError(
            f"The service needs a package that is missing: {error.name}.",
            hint="pip install 'cloudmesh-sparknomad[service]'",
        ) from error
    store, directory = open_store(paths), _directory(paths)
    binding.check(len(store.tokens()))
    with locked(directory / ".lock", wait=False) as lock:
        if lock is None:
            raise ConflictError(
                "A service runs already.", hint="`cms sparknomad service status` tells where."
            )
        listening = _listen(binding)
        port = int(listening.getsockname()[1])
        scheme = "https" if binding.certificate else "http"
        url = f"{scheme}://{binding.host}:{port}/v1"
        if not store.tokens():
            secret = store.create_token(FIRST, "operator")
            say(f"token {FIRST!r} of an operator, shown once: {secret}")
        service = Service(paths, store, limits or Limits(), allow_local)
        server = uvicorn.Server(
            uvicorn.Config(
                guarded(service, directory / "audit.jsonl"),
                log_level="warning",
                access_log=False,
                server_header=False,
                h11_max_incomplete_event_size=_HEADER_BYTES,
                ssl_certfile=binding.certificate,
                ssl_keyfile=binding.key,
                timeout_graceful_shutdown=_GRACE_SECONDS - 5,
            )
        )
        _note(directory, url)
        # The loop that answers takes turns with the threads that look: shorter turns, less waiting.
        sys.setswitchinterval(_TURN_SECONDS)
        # What is loaded stays: to look through all of it for garbage would hold every answer.
        gc.collect()
        gc.freeze()
        say(f"serving {url}")
        logging.getLogger("connexion").setLevel(logging.CRITICAL)  # it tells of each refusal
        # uvicorn raises it again when it has ended: by default that would be the process's end,
        # without all that is still to be done.
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            with contextlib.suppress(KeyboardInterrupt, InterruptedByUserError):
                server.run(sockets=[listening])
            _let_end(service.operations, directory, say)
        finally:
            signal.signal(signal.SIGTERM, before)
            (directory / "process.json").unlink(missing_ok=True)
            listening.close()


def _let_end(operations: Operations, directory: Path, say: Callable[[str], None]) -> None:
    """Keep the place of the service until nothing goes on: another would do the same again."""
    if not operations.going:
        return
    say(
        f"operations that go on: {operations.going}; waiting for their end. Told to end once more, "
        "the service leaves them to the next one."
    )
    try:
        operations.wait()
    except (KeyboardInterrupt, InterruptedByUserError):
        (directory / "process.json").unlink(missing_ok=True)
        os._exit(InterruptedByUserError.exit_code)  # else Python would wait for their threads


def _listen(binding: Binding) -> socket.socket:
    family = socket.AF_INET6 if ":" in binding.host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((binding.host, binding.port))
    except OSError as error:
        made.close()
        raise ConflictError(
            f"{binding.host}:{binding.port}: can't be listened at: {error.strerror}.",
            hint="Another program may have it; give another --port.",
        ) from error
    made.listen(1024)
    return made


def _note(directory: Path, url: str) -> None:
    created = start_time(os.getpid())
    document = {"url": url, "pid": os.getpid(), "created": created}
    write_private(directory / "process.json", json.dumps(document))
