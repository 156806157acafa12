"""Long work: accepted, remembered, done by threads, and taken up again after a restart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from cloudmesh.sparknomad.errors import SparknomadError
from cloudmesh.sparknomad.service.store import Operation, ServiceStore

__all__ = ["Operations", "problem_of"]

_AT_A_TIME = 4

Do = Callable[[str, Mapping[str, Any], Callable[[str], None]], Any]


def problem_of(error: Exception) -> dict[str, Any]:
    """An error as a problem (RFC 9457); what is none of ours tells nothing of the inside."""
    if isinstance(error, SparknomadError):
        status = error.http_status if error.http_status >= 400 else 500
        return {
            "type": "about:blank",
            "title": type(error).__name__,
            "status": status,
            "detail": error.message,
            "code": error.code,
            "hint": error.hint,
        }
    return {
        "type": "about:blank",
        "title": "Internal error",
        "status": 500,
        "detail": "The service failed; its log tells why.",
        "code": "internal",
    }


class Operations:
    """Does operations.

    Args:
        store: remembers them.
        do: does a verb with its arguments, and gets where lines of progress go.
        log: told of what nobody expects.
    """

    def __init__(self, store: ServiceStore, do: Do, log: Callable[[str], None]) -> None:
        self._store = store
        self._do = do
        self._log = log
        self._pool = ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="operation")
        self._futures: set[Future[None]] = set()

    def take_up(self) -> None:
        """Go on with what was accepted before the service ended: each verb can be done again."""
        for operation in self._store.unfinished():
            self._store.say(operation.operation, "taken up again after a restart of the service")
            self._submit(operation.operation)

    def accept(self, operation: str, verb: str, arguments: Mapping[str, Any], by: str) -> Operation:
        """Remember an operation, and do it when its turn comes."""
        accepted = self._store.accept(operation, verb, arguments, by)
        self._submit(operation)
        return accepted

    def _submit(self, operation: str) -> None:
        future = self._pool.submit(self._run, operation)
        self._futures.add(future)
        future.add_done_callback(self._futures.discard)

    def close(self) -> None:
        """Take no more; what goes on is taken up by the next service."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    @property
    def going(self) -> int:
        """How many go on."""
        return sum(not each.done() for each in list(self._futures))

    def wait(self) -> None:
        """Wait until those that go on have ended."""
        wait(list(self._futures))

    def _run(self, operation: str) -> None:
        known = self._store.operation(operation)
        if known.ended:
            return
        arguments = self._store.begin(operation)
        try:
            result = self._do(known.verb, arguments, lambda line: self._store.say(operation, line))
        except Exception as error:
            if not isinstance(error, SparknomadError):
                self._log(f"operation {operation} ({known.verb}): {type(error).__name__}: {error}")
            self._store.finish(operation, problem=problem_of(error))
            return
        self._store.finish(operation, result=result)
