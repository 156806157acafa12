"""A run's output as events: whoever takes it up after any of them misses nothing."""

from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from cloudmesh.sparknomad.model import LogChunk, LogStream
from cloudmesh.sparknomad.service.streams import RunOutput

TEXTS = st.text(alphabet="aé€😀\n", max_size=12)
CUTS = st.lists(st.integers(1, 4), min_size=1, max_size=8)


def chunks(stream: LogStream, text: str, cuts: list[int]) -> list[LogChunk]:
    data, found = text.encode(), []
    while data:
        size = cuts[len(found) % len(cuts)]
        found.append(LogChunk(stream, data[:size]))
        data = data[size:]
    return found


def told(events: list[bytes]) -> tuple[dict[str, str], list[str]]:
    """What each stream says, and the id of each event."""
    texts, numbers = {"stdout": "", "stderr": ""}, []
    for event in events:
        number, name, data = (line.partition(": ")[2] for line in event.decode().split("\n")[:3])
        texts[name] += json.loads(data)
        numbers.append(number)
    return texts, numbers


@given(TEXTS, TEXTS, CUTS, st.integers(0, 30))
def test_output_that_is_taken_up_after_any_event_is_whole(
    out: str, err: str, cuts: list[int], heard: int
) -> None:
    written = [*chunks(LogStream.STDOUT, out, cuts), *chunks(LogStream.STDERR, err, cuts)]
    events = RunOutput("").events(written)
    assert told(events)[0] == {"stdout": out, "stderr": err}
    first, numbers = told(events[:heard])
    rest, _ = told(RunOutput(numbers[-1] if numbers else "").events(written))
    assert {name: first[name] + rest[name] for name in first} == {"stdout": out, "stderr": err}


@given(TEXTS, CUTS, st.integers(0, 12))
def test_what_is_new_since_the_last_look_is_told(text: str, cuts: list[int], seen: int) -> None:
    written = chunks(LogStream.STDOUT, text, cuts)
    output = RunOutput("")
    events = [*output.events(written[:seen]), *output.events(written)]
    assert told(events)[0]["stdout"] == text
    assert output.events(written) == []


@given(TEXTS, TEXTS, TEXTS, CUTS, st.integers(0, 30), st.booleans())
def test_an_attempt_on_another_host_is_told_from_its_beginning(
    first: str, second: str, third: str, cuts: list[int], heard: int, gone: bool
) -> None:
    """What former attempts wrote may be gone with their hosts."""
    texts = (first, second, third)
    written = [
        replace(chunk, attempt=number)
        for number, text in enumerate(texts)
        for chunk in chunks(LogStream.STDOUT, text, cuts)
    ]
    output = RunOutput("")
    events = [*output.events([each for each in written if each.attempt == 0])]
    left = [each for each in written if each.attempt or not gone]
    events += [*output.events([each for each in left if each.attempt < 2]), *output.events(left)]
    assert told(events)[0]["stdout"] == first + second + third
    before, numbers = told(events[:heard])
    rest, _ = told(RunOutput(numbers[-1] if numbers else "").events(written))
    assert before["stdout"] + rest["stdout"] == first + second + third
