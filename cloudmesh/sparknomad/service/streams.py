"""Server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html."""

from __future__ import annotations

import asyncio
import codecs
import functools
import json
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TYPE_CHECKING

from cloudmesh.sparknomad.errors import SparknomadError
from cloudmesh.sparknomad.model import LogChunk, LogStream, RunState

if TYPE_CHECKING:
    from starlette.responses import StreamingResponse

    from cloudmesh.sparknomad.manager import Sparknomad
    from cloudmesh.sparknomad.service.looks import Looks
    from cloudmesh.sparknomad.service.store import ServiceStore

__all__ = ["RunLook", "RunOutput", "log_events", "operation_events"]

_POLL_SECONDS = 0.5
_ALIVE_SECONDS = 15.0
_SHARED_BYTES = 1024 * 1024


def _event(name: str, data: object, number: str = "") -> bytes:
    head = f"id: {number}\n" if number else ""
    return f"{head}event: {name}\ndata: {json.dumps(data)}\n\n".encode()


def _response(read: Callable[[], tuple[list[bytes], bool]]) -> StreamingResponse:
    """Send events as they come, and now and then that nothing is lost while none do.

    Args:
        read: looks once: the events since the last time, and whether these were the last ones.
    """
    from starlette.responses import StreamingResponse

    async def events() -> AsyncIterator[bytes]:
        silent = 0.0
        while True:
            found, last = await asyncio.to_thread(read)
            for event in found:
                silent = 0.0
                yield event
            if last:
                return
            await asyncio.sleep(_POLL_SECONDS)
            silent += _POLL_SECONDS
            if silent >= _ALIVE_SECONDS:
                silent = 0.0
                yield b": still there\n\n"

    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(events(), media_type="text/event-stream", headers=headers)


def operation_events(store: ServiceStore, operation: str, after: int) -> StreamingResponse:
    """The progress of an operation, from after a line."""
    number = after

    def read() -> tuple[list[bytes], bool]:
        nonlocal number
        known = store.operation(operation)
        found = []
        for index, line in store.lines(operation, number):
            found.append(_event("line", line, str(index)))
            number = index
        if known.ended:
            found.append(_event("end", {"state": known.state, "problem": known.problem}))
        return found, known.ended

    return _response(read)


class RunOutput:
    """How much of a run's output has been sent.

    Args:
        after: the id of the last event that was received, or empty: how many bytes of both
            streams had been sent by then, as ``OUT.ERR``, or ``ATTEMPT:OUT.ERR`` for another
            attempt than the first.
    """

    def __init__(self, after: str) -> None:
        attempt, _, sent = (after or "0.0").rpartition(":")
        out, _, err = sent.partition(".")
        self._begin(int(attempt or 0), int(out), int(err))

    def _begin(self, attempt: int, out: int = 0, err: int = 0) -> None:
        """Go on with an attempt's output: that of former ones may be gone with their hosts."""
        self._attempt = attempt
        self._sent = {LogStream.STDOUT: out, LogStream.STDERR: err}
        self._decoders = {
            stream: codecs.getincrementaldecoder("utf-8")("replace") for stream in self._sent
        }

    def events(self, chunks: Iterable[LogChunk]) -> list[bytes]:
        """The events for what is new in a run's whole output."""
        position = dict.fromkeys(self._sent, 0)
        found = []
        for chunk in chunks:
            if chunk.attempt < self._attempt:
                continue
            if chunk.attempt > self._attempt:
                self._begin(chunk.attempt)
                position = dict.fromkeys(self._sent, 0)
            stream, begin = chunk.stream, position[chunk.stream]
            position[stream] += len(chunk.data)
            sent = self._sent[stream]
            if position[stream] > sent:
                text = self._decoders[stream].decode(chunk.data[max(0, sent - begin) :])
                self._sent[stream] = position[stream]
                found.append(_event(stream.value, text, self._number()))
        return found

    def _number(self) -> str:
        """What has been told of both streams; of a character that is not whole yet, nothing."""
        told = [self._sent[each] - len(self._decoders[each].getstate()[0]) for each in self._sent]
        sent = f"{told[0]}.{told[1]}"
        return f"{self._attempt}:{sent}" if self._attempt else sent


class RunLook:
    """Looks at a run's state and output, together with others who follow the same run.

    Args:
        looks: shares what was seen.
        make_manager: one for this stream alone; not called while others look.
        run: the run's id.
    """

    def __init__(self, looks: Looks, make_manager: Callable[[], Sparknomad], run: str) -> None:
        self._looks = looks
        self._make_manager = make_manager
        self._run = run

    @functools.cached_property
    def _manager(self) -> Sparknomad:
        return self._make_manager()

    def __call__(self) -> tuple[RunState, Iterable[LogChunk]]:
        """The state, and all output that there was then.

        Raises:
            SparknomadError: if the cluster is away.
        """
        state, shared = self._looks.get(("output", self._run), self._look)
        return state, shared if shared is not None else self._manager.job_logs(self._run)

    def _look(self) -> tuple[RunState, list[LogChunk] | None]:
        """The output is shared only while it is small: it is kept for a moment."""
        state = self._manager.job_status(self._run).state  # before its output, which so is whole
        found, size = [], 0
        for chunk in self._manager.job_logs(self._run):
            found.append(chunk)
            size += len(chunk.data)
            if size > _SHARED_BYTES:
                return state, None
        return state, found


def log_events(look: RunLook, *, follow: bool, after: str) -> StreamingResponse:
    """A run's output.

    Args:
        look: at the run.
        follow: until it has ended.
        after: what was sent before: the bytes of both streams, as ``OUT.ERR``, or empty.
    """
    output = RunOutput(after)

    def read() -> tuple[list[bytes], bool]:
        try:
            state, chunks = look()
            found = output.events(chunks)
        except SparknomadError as error:  # the cluster may be away for a while
            return [_event("problem", {"code": error.code, "detail": error.message})], True
        last = state.is_terminal or not follow
        return [*found, *([_event("end", {"state": state.value})] if last else [])], last

    return _response(read)
