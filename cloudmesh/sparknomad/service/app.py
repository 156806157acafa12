"""The service's application: connexion over ``openapi.yaml``."""

from __future__ import annotations

import hashlib
import json
import re
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudmesh.sparknomad.contract import Operation, contract, operations
from cloudmesh.sparknomad.errors import InputError, SparknomadError
from cloudmesh.sparknomad.manager import Sparknomad
from cloudmesh.sparknomad.output import to_plain
from cloudmesh.sparknomad.paths import Paths
from cloudmesh.sparknomad.service import streams
from cloudmesh.sparknomad.service.calls import Calls
from cloudmesh.sparknomad.service.guard import Guard, Limits
from cloudmesh.sparknomad.service.identity import require
from cloudmesh.sparknomad.service.looks import Looks
from cloudmesh.sparknomad.service.operations import Operations, problem_of
from cloudmesh.sparknomad.service.store import ServiceStore, Token, new_id
from cloudmesh.sparknomad.verbs.access import Access

if TYPE_CHECKING:
    from connexion import AsyncApp

__all__ = ["Service", "guarded", "make_app"]

_JSON = {"Content-Type": "application/json"}
_PROBLEM = {"Content-Type": "application/problem+json"}
_MADE = {
    "job_run": ("run", "/v1/runs/"),
    "pipeline_run": ("run", "/v1/pipeline-runs/"),
    "pipeline_schedule": ("schedule", "/v1/pipeline-schedules/"),
}
"""Verbs that make something whose id is chosen before: the id's name, and where it is then."""

_TOLD = 500
"""Characters of what is told of a request that is malformed."""

_TAGGED = ("job_status", "pipeline_status", "operation_status")


@dataclass
class Service:
    """One running service.

    Attributes:
        paths: where everything lies.
        store: what the service remembers.
        limits: of requests.
        allow_local: whether requests may use the embedded cluster.
    """

    paths: Paths
    store: ServiceStore
    limits: Limits
    allow_local: bool = False

    def __post_init__(self) -> None:
        self.contract = contract()
        self._declared = operations(self.contract)
        self._guard = threading.Lock()
        self._locks: dict[str, tuple[threading.Lock, int]] = {}
        self.looks = Looks()
        self.operations = Operations(self.store, self.do, self.log)

    @staticmethod
    def log(line: str) -> None:
        """Tell whoever looks after the service."""
        print(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {line}", file=sys.stderr)

    def calls(self, say: Callable[[str], None] = lambda line: None) -> Calls:
        """The verbs, for one request: a manager keeps connections that no two threads may share."""
        access = Access(places=False, embedded=self.allow_local)
        manager = Sparknomad(self.paths, say=say, access=access)
        return Calls(manager, self.paths.home / "service" / "files", self.allow_local)

    def do(self, verb: str, arguments: Mapping[str, Any], say: Callable[[str], None]) -> Any:
        """Do a verb of a long operation."""
        return self.calls(say).call(verb, arguments)

    # requests

    def handler(self, name: str) -> Callable[..., Any]:
        """What connexion calls for an operation of the contract."""
        declared = self._declared[name].declared

        def answer(token: Token, arguments: dict[str, Any]) -> Any:
            try:
                return self._answer(name, declared, token, arguments)
            except SparknomadError as error:
                return _refusal(error)

        async def handle(**given: Any) -> Any:
            """What was just seen is told at once; all else may take long, so a thread does it."""
            from anyio import to_thread

            token: Token = given.pop("token_info")["token"]
            given.pop("user", None)
            try:
                require(token, declared["x-role"], name)
                arguments = _arguments(name, given)
            except SparknomadError as error:
                return _refusal(error)
            if self._declared[name].method == "get":
                seen = self.looks.peek(_what(name, arguments))
                if seen:
                    return self._told(name, seen[0])
            return await to_thread.run_sync(answer, token, arguments)

        handle.__name__ = name
        return handle

    def _answer(
        self, name: str, declared: Mapping[str, Any], token: Token, arguments: dict[str, Any]
    ) -> Any:
        if declared.get("x-stream"):
            return self._stream(name, arguments)
        if name.startswith("operation_"):
            return self._told(name, self._own(name, arguments))
        if self._declared[name].method == "get":
            what = _what(name, arguments)
            answer = self.looks.get(what, lambda: self.calls().call(name, arguments))
            return self._told(name, answer)
        try:
            return self._changing(name, declared, token, arguments)
        finally:
            self.looks.clear()  # who asks next sees what has been changed

    def _changing(
        self, name: str, declared: Mapping[str, Any], token: Token, arguments: dict[str, Any]
    ) -> Any:
        key = _header("Idempotency-Key")
        if not key:
            return self._fresh(name, declared, token, arguments, new_id())
        return self._once(name, declared, token, arguments, key)

    def _once(
        self,
        name: str,
        declared: Mapping[str, Any],
        token: Token,
        arguments: dict[str, Any],
        key: str,
    ) -> Any:
        """Do a request with a key, or say again what was answered to it."""
        request = hashlib.sha256(
            json.dumps([name, arguments], sort_keys=True, default=str).encode()
        ).hexdigest()
        with self._one_at_a_time(f"{token.name}\n{key}"):
            return self._keyed(name, declared, token, arguments, key, request)

    @contextmanager
    def _one_at_a_time(self, key: str) -> Iterator[None]:
        """Let the second of two equal requests wait for what the first is answered."""
        with self._guard:
            lock, users = self._locks.get(key, (threading.Lock(), 0))
            self._locks[key] = (lock, users + 1)
        try:
            with lock:
                yield
        finally:
            with self._guard:
                lock, users = self._locks.pop(key)
                if users > 1:
                    self._locks[key] = (lock, users - 1)

    def _keyed(
        self,
        name: str,
        declared: Mapping[str, Any],
        token: Token,
        arguments: dict[str, Any],
        key: str,
        request: str,
    ) -> Any:
        known = self.store.claim(key, token.name, request, new_id())
        if known.status is not None:
            headers = {**_JSON, "Idempotency-Replayed": "true"}
            place = _place(name, declared, known.body)
            return known.body, known.status, {**headers, "Location": place} if place else headers
        # Not answered: this is the first time, or the service was killed meanwhile. What it makes
        # has the id that was chosen first, so doing it again makes nothing twice.
        try:
            answered = self._fresh(name, declared, token, arguments, known.subject)
        except SparknomadError as error:
            if error.http_status < 500:  # else it may have been done: again with the same id
                self.store.unclaim(key, token.name)
            raise
        body, status, headers = answered
        self.store.answer(key, token.name, status, body)
        return body, status, headers

    def _fresh(
        self,
        name: str,
        declared: Mapping[str, Any],
        token: Token,
        arguments: dict[str, Any],
        subject: str,
    ) -> tuple[Any, int, dict[str, str]]:
        if declared.get("x-long"):
            accepted = to_plain(self.operations.accept(subject, name, arguments, token.name))
            return accepted, 202, {**_JSON, "Location": _place(name, declared, accepted)}
        if name in _MADE:
            run = _run_id(str(arguments.get("job") or arguments["pipeline"]), subject)
            arguments = {**arguments, "run": run}
            made = self.calls().call(name, arguments)
            return made, 201, {**_JSON, "Location": _place(name, declared, made)}
        answer = self.calls().call(name, arguments)
        return self._told(name, answer)

    @staticmethod
    def _told(name: str, answer: Any) -> tuple[Any, int, dict[str, str]]:
        if name not in _TAGGED:
            return answer, 200, dict(_JSON)
        text = json.dumps(answer, sort_keys=True)
        tag = f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'
        if _header("If-None-Match") == tag:
            return None, 304, {**_JSON, "ETag": tag}
        return answer, 200, {**_JSON, "ETag": tag}

    def _own(self, name: str, arguments: Mapping[str, Any]) -> Any:
        if name == "operation_list":
            return to_plain(self.store.operations(int(arguments.get("limit", 100))))
        return to_plain(self.store.operation(arguments["operation"]))

    def _stream(self, name: str, arguments: Mapping[str, Any]) -> Any:
        after = _header("Last-Event-ID")
        if name == "operation_events":
            operation = self.store.operation(arguments["operation"])
            return streams.operation_events(self.store, operation.operation, int(after or 0))
        follow = bool(arguments.get("follow", True))
        look = streams.RunLook(self.looks, lambda: self.calls().manager, arguments["run"])
        look()  # a run that is not there is told as such, and not by an event
        return streams.log_events(look, follow=follow, after=after)


def _what(name: str, arguments: Mapping[str, Any]) -> tuple[str, str]:
    """Equal for requests that are answered alike."""
    return name, json.dumps(arguments, sort_keys=True, default=str)


def _place(name: str, declared: Mapping[str, Any], made: Any) -> str:
    """Where what was made is found; empty for what makes nothing."""
    if declared.get("x-long"):
        return f"/v1/operations/{made['operation']}"
    field, place = _MADE.get(name, ("", ""))
    return f"{place}{made[field]}" if field else ""


def _run_id(job: str, subject: str) -> str:
    """An id of a run that is the same whenever it is made of the same subject."""
    return f"{job}-{subject[:20]}"


def _header(name: str) -> str:
    from connexion import context

    value: str = context.request.headers.get(name, "")
    return value


def _arguments(name: str, given: dict[str, Any]) -> dict[str, Any]:
    """The verb's arguments: those of path and query, and the body's fields or itself."""
    body = given.pop("body", None)
    given = {key: value for key, value in given.items() if value is not None}
    if body is None:
        return given
    if name in ("cluster_deploy", "image_build", "job_define", "pipeline_define"):
        return {**given, "body": body}
    if not isinstance(body, Mapping):
        raise InputError("The body must be an object.")
    return {**given, **{key: value for key, value in body.items() if value is not None}}


def _refusal(error: SparknomadError) -> tuple[Any, int, dict[str, str]]:
    problem = problem_of(error)
    return problem, int(problem["status"]), dict(_PROBLEM)


def make_app(service: Service) -> AsyncApp:
    """The ASGI application of a service."""
    from connexion import AsyncApp
    from connexion.exceptions import BadRequestProblem
    from connexion.lifecycle import ConnexionRequest, ConnexionResponse
    from connexion.options import SwaggerUIOptions
    from connexion.resolver import Resolver

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        service.operations.take_up()
        yield
        service.operations.close()

    def failed(request: ConnexionRequest, error: Exception) -> ConnexionResponse:
        del request
        problem = problem_of(error)
        if not isinstance(error, SparknomadError):
            service.log(f"a request failed: {type(error).__name__}: {error}")
        content = "application/problem+json"
        return ConnexionResponse(problem["status"], content, content, body=json.dumps(problem))

    def malformed(request: ConnexionRequest, error: Exception) -> ConnexionResponse:
        """What jsonschema says of a request, without the schema."""
        told = str(getattr(error, "detail", "")) or "The request is malformed."
        return failed(request, InputError(told.split("\n\n")[0][:_TOLD]))

    def unreadable(request: ConnexionRequest, error: Exception) -> ConnexionResponse:
        del error
        return failed(request, InputError("The body is no UTF-8."))

    app = AsyncApp("sparknomad", lifespan=lifespan)
    app.add_api(
        service.contract,
        base_path="/v1",
        resolver=Resolver(service.handler),
        strict_validation=True,
        validate_responses=True,
        swagger_ui_options=SwaggerUIOptions(swagger_ui=False),
    )
    app.add_error_handler(BadRequestProblem, malformed)
    app.add_error_handler(UnicodeDecodeError, unreadable)
    app.add_error_handler(Exception, failed)
    return app


def guarded(service: Service, audit: Path) -> Guard:
    """The application with everything that stands before it."""
    return Guard(
        make_app(service),
        service.store,
        service.limits,
        audit,
        _methods(operations(service.contract).values()),
    )


def _methods(listed: Iterable[Operation]) -> Callable[[str], list[str]]:
    """Tells the methods of a path: the framework tells only those of one operation."""
    of_path: dict[str, list[str]] = {}
    for operation in listed:
        of_path.setdefault(operation.path, []).append(operation.method.upper())
    known = [
        (re.compile("/v1" + re.sub(r"\{\w+\}", "[^/]+", path)), found)
        for path, found in of_path.items()
    ]

    def methods(path: str) -> list[str]:
        for pattern, found in known:
            if pattern.fullmatch(path):
                return [*found, "HEAD"] if "GET" in found else found
        return []

    return methods
