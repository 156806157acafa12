"""Server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html."""

from __future__ import annotations

import asyncio
import codecs
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from cloudmesh.sparknomad.errors import SparknomadError
from cloudmesh.sparknomad.model import LogStream

if TYPE_CHECKING:
    from starlette.responses import StreamingResponse

    from cloudmesh.sparknomad.manager import Sparknomad
    from cloudmesh.sparknomad.service.store import ServiceStore

__all__ = ["log_events", "operation_events"]

_POLL_SECONDS = 0.5
_ALIVE_SECONDS = 15.0


def _event(name: str, data: object, number: str = "") -> bytes:
    head = f"id: {number}\n" if number else ""
    return f"{head}event: {name}\ndata: {json.dumps(data)}\n\n".encode()


def _response(events: AsyncIterator[bytes]) -> StreamingResponse:
    from starlette.responses import StreamingResponse

    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(events, media_type="text/event-stream", headers=headers)


def operation_events(store: ServiceStore, operation: str, after: int) -> StreamingResponse:
    """The progress of an operation, from after a line."""

    async def events() -> AsyncIterator[bytes]:
        number, silent = after, 0.0
        while True:
            known = await asyncio.to_thread(store.operation, operation)
            for index, line in await asyncio.to_thread(store.lines, operation, number):
                yield _event("line", line, str(index))
                number, silent = index, 0.0
            if known.ended:
                yield _event("end", {"state": known.state, "problem": known.problem})
                return
            await asyncio.sleep(_POLL_SECONDS)
            silent += _POLL_SECONDS
            if silent >= _ALIVE_SECONDS:
                silent = 0.0
                yield b": still there\n\n"

    return _response(events())


def log_events(manager: Sparknomad, run: str, *, follow: bool, after: str) -> StreamingResponse:
    """A run's output.

    Args:
        manager: of this request alone.
        run: its id.
        follow: until it has ended.
        after: what was sent before: the bytes of both streams, as ``OUT.ERR``, or empty.
    """
    out, _, err = (after or "0.0").partition(".")
    sent = {LogStream.STDOUT: int(out), LogStream.STDERR: int(err)}
    decoders = {stream: codecs.getincrementaldecoder("utf-8")("replace") for stream in sent}

    def read() -> tuple[bool, list[tuple[LogStream, bytes]]]:
        """What was written since, and whether that is all."""
        ended = manager.job_status(run).state.is_terminal
        position = dict.fromkeys(sent, 0)
        found = []
        for chunk in manager.job_logs(run):
            begin = position[chunk.stream]
            position[chunk.stream] += len(chunk.data)
            if position[chunk.stream] > sent[chunk.stream]:
                found.append((chunk.stream, chunk.data[max(0, sent[chunk.stream] - begin) :]))
                sent[chunk.stream] = position[chunk.stream]
        return ended, found

    async def events() -> AsyncIterator[bytes]:
        silent = 0.0
        while True:
            try:
                ended, found = await asyncio.to_thread(read)
            except SparknomadError as error:  # the cluster may be away for a while
                yield _event("problem", {"code": error.code, "detail": error.message})
                return
            for stream, data in found:
                silent = 0.0
                text = decoders[stream].decode(data)
                number = f"{sent[LogStream.STDOUT]}.{sent[LogStream.STDERR]}"
                yield _event(stream.value, text, number)
            if ended or not follow:
                state = (await asyncio.to_thread(manager.job_status, run)).state.value
                yield _event("end", {"state": state})
                return
            await asyncio.sleep(_POLL_SECONDS)
            silent += _POLL_SECONDS
            if silent >= _ALIVE_SECONDS:
                silent = 0.0
                yield b": still there\n\n"

    return _response(events())
