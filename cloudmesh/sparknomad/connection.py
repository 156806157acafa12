"""The way to a service that runs elsewhere: requests, long work, and its events."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import requests
from pydantic import TypeAdapter

from cloudmesh.sparknomad import errors
from cloudmesh.sparknomad.contract import contract, operations
from cloudmesh.sparknomad.errors import SparknomadError, UnreachableError

__all__ = ["POLL_SECONDS", "Connection", "error_of", "events_of"]

POLL_SECONDS = 0.3
_SECONDS = 60
_TRIES = 5
_AGAIN = (429, 502, 503, 504)

Kind = TypeVar("Kind")


def error_of(problem: Mapping[str, Any]) -> SparknomadError:
    """The error that the service's manager has raised."""
    code = problem.get("code", "")
    kinds = [getattr(errors, name) for name in errors.__all__]
    kind = next((each for each in kinds if each.code == code), SparknomadError)
    told = str(problem.get("detail") or problem.get("title") or "The service refused it.")
    made: SparknomadError = kind(told, hint=str(problem.get("hint") or ""))
    return made


class Connection:
    """Sends the operations of the contract to a service.

    What changes something is sent with a key of its own, so that it is done once though it is
    sent again when the connection breaks.

    Args:
        url: of the service, with ``/v1``.
        token: of a reader, a submitter or an operator.
        ca: a file with certificates that the service's is checked against.
        say: shows one line of progress of long work.
    """

    def __init__(
        self, url: str, token: str, *, ca: Path | None, say: Callable[[str], None]
    ) -> None:
        self.url = url.rstrip("/")
        self._say = say
        self._operations = operations(contract())
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {token}"
        # Given with each request: of a session, `REQUESTS_CA_BUNDLE` would take its place.
        self._verify = True if ca is None else str(ca)

    def send(
        self,
        verb: str,
        places: Mapping[str, str] | None = None,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        **more: Any,
    ) -> requests.Response:
        """Send one operation, again when the service is away for a moment.

        Args:
            verb: the ``operationId``.
            places: what stands in its path.
            query: its parameters; those that are ``None`` are left out.
            body: its JSON.
            more: for `requests`.

        Raises:
            SparknomadError: the one that the service's manager has raised.
            UnreachableError: if the service does not answer.
        """
        method, path = self._operations[verb].method, self._operations[verb].path
        for name, value in (places or {}).items():
            path = path.replace(f"{{{name}}}", quote(value, safe=""))
        headers = dict(more.pop("headers", {}))
        if self._operations[verb].takes_key:
            headers["Idempotency-Key"] = uuid.uuid4().hex
        given = {k: _plain(v) for k, v in (query or {}).items() if v is not None}
        problem = ""
        for number in range(_TRIES):
            if number:
                time.sleep(0.2 * 2 ** (number - 1))
            try:
                answer = self._session.request(
                    method, f"{self.url}{path}", params=given, json=body, headers=headers,
                    timeout=_SECONDS, verify=self._verify, **more,
                )  # fmt: skip
            except requests.RequestException as error:
                problem = str(error)
            else:
                # The last answer counts, whatever it is: it tells best what is wrong.
                told = number == _TRIES - 1 and "code" in _problem(answer)
                if answer.status_code not in _AGAIN or told:
                    return self._checked(answer)
                problem = f"it answered {answer.status_code}"
        raise UnreachableError(
            f"The service at {self.url} does not answer: {problem}.",
            hint="See `cms sparknomad service status` on its machine.",
        )

    @staticmethod
    def _checked(answer: requests.Response) -> requests.Response:
        if answer.status_code < 400:
            return answer
        told = {"detail": f"the service answered {answer.status_code}"}
        raise error_of(_problem(answer) or told)

    def ask(
        self,
        kind: type[Kind],
        verb: str,
        places: Mapping[str, str] | None = None,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
    ) -> Kind:
        """What `send` is answered, as a `kind`."""
        return _read(kind, self.send(verb, places, query, body).json())

    def wait(self, kind: type[Kind], answer: requests.Response) -> Kind:
        """Wait until the long work that `answer` has accepted has ended; what it made."""
        operation, said = answer.json()["operation"], 0
        while True:
            told = self.send("operation_status", {"operation": operation}).json()
            if told["lines"] > said:
                said = self._tell(operation, said, told["lines"])
            if told["state"] == "failed":
                raise error_of(told["problem"])
            if told["state"] == "succeeded":
                return _read(kind, told["result"])
            time.sleep(POLL_SECONDS)

    def _tell(self, operation: str, said: int, lines: int) -> int:
        """Show the lines from after `said` until so many are shown."""
        headers = {"Last-Event-ID": str(said)}
        places = {"operation": operation}
        with self.send("operation_events", places, headers=headers, stream=True) as answer:
            for name, data, number in events_of(answer):
                if name == "line":
                    self._say(data)
                    said = int(number)
                # What comes later is told the next time: this must not wait for the end.
                if name == "end" or said >= lines:
                    break
        return said


def _problem(answer: requests.Response) -> dict[str, Any]:
    """The problem that an answer tells; empty if something else than the service answered."""
    try:
        told = answer.json()
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _plain(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return getattr(value, "value", value)


def _read(kind: type[Kind], data: Any) -> Kind:
    made: Kind = TypeAdapter(kind).validate_python(data)
    return made


def events_of(answer: requests.Response) -> Iterator[tuple[str, Any, str]]:
    """Name, data and id of each server-sent event."""
    name = number = ""
    data: list[str] = []
    for line in answer.iter_lines():
        text = line.decode("utf-8")
        if not text:
            if data:
                yield name, json.loads("\n".join(data)), number
            name, number, data = "", "", []
        elif text.startswith("event: "):
            name = text[7:]
        elif text.startswith("id: "):
            number = text[4:]
        elif text.startswith("data: "):
            data.append(text[6:])
