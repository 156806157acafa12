"""What stands before the REST service: limits, health, metrics, the log of who did what."""

from __future__ import annotations

import asyncio
import json
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest

from cloudmesh.sparknomad.service.guard import Guard, Limits
from cloudmesh.sparknomad.service.store import ServiceStore


async def echo(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
    """An application that reads its body and answers 200."""
    more = True
    while more:
        message = await receive()
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


class Client:
    """Calls a guard as a server would."""

    def __init__(self, directory: Path, **limits: Any) -> None:
        self.store = ServiceStore(directory / "service.db")
        self.secret = self.store.create_token("t", "reader")
        self.audit = directory / "audit.jsonl"
        self.guard = Guard(echo, self.store, Limits(**limits), self.audit)

    def __call__(
        self,
        path: str = "/v1/x",
        method: str = "GET",
        *,
        body: list[bytes] | None = None,
        length: str = "",
        secret: str = "",
        client: str = "1.2.3.4",
    ) -> tuple[int, dict[bytes, bytes], bytes]:
        headers = [(b"authorization", f"Bearer {secret}".encode())] if secret else []
        headers += [(b"content-length", length.encode())] if length else []
        parts = body or [b""]
        messages = [
            {"type": "http.request", "body": part, "more_body": index + 1 < len(parts)}
            for index, part in enumerate(parts)
        ]
        sent: list[MutableMapping[str, Any]] = []

        async def receive() -> MutableMapping[str, Any]:
            return messages.pop(0)

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "path": path,
            "method": method,
            "headers": headers,
            "client": (client, 1),
        }
        asyncio.run(self.guard(scope, receive, send))
        return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


def test_a_caller_that_asks_too_often_waits_and_others_do_not(tmp_path: Path) -> None:
    client = Client(tmp_path, rate=0.001, burst=3)
    codes = [client()[0] for _ in range(5)]
    assert codes == [200, 200, 200, 429, 429]
    status, headers, body = client()
    assert headers[b"retry-after"] == b"1" and json.loads(body)["status"] == status == 429
    assert client(client="5.6.7.8")[0] == 200
    assert client(secret=client.secret)[0] == 200


@pytest.mark.parametrize(
    ("length", "body"),
    [("11", [b"x"]), ("x", [b"x"]), ("-1", [b"x"]), ("", [b"12345", b"678901"])],
)
def test_a_body_that_is_too_large_is_refused(
    tmp_path: Path, length: str, body: list[bytes]
) -> None:
    status, headers, _ = Client(tmp_path, body=10)(method="POST", length=length, body=body)
    assert status == 413 and headers[b"content-type"] == b"application/problem+json"


def test_a_body_that_fits_is_let_through(tmp_path: Path) -> None:
    assert (
        Client(tmp_path, body=10)(method="POST", length="10", body=[b"12345", b"67890"])[0] == 200
    )


def test_every_answer_has_its_safe_headers(tmp_path: Path) -> None:
    _, headers, _ = Client(tmp_path)()
    assert headers[b"x-content-type-options"] == b"nosniff"
    assert headers[b"cache-control"] == b"no-store"
    assert b"access-control-allow-origin" not in headers


def test_the_page_is_for_all_and_lets_no_other_script_in(tmp_path: Path) -> None:
    client = Client(tmp_path)
    status, headers, body = client("/")
    assert status == 200 and b"<title>sparknomad</title>" in body
    policy = headers[b"content-security-policy"].decode()
    assert "default-src 'none'" in policy and "script-src 'self'" in policy
    for path, kind in (("/app.js", b"text/javascript"), ("/style.css", b"text/css")):
        status, headers, body = client(path)
        assert status == 200 and headers[b"content-type"].startswith(kind) and body
    assert client("/../store.py")[2] == client("/secret")[2] == b"ok"  # the application's


def test_health_is_for_all_and_metrics_for_who_has_a_token(tmp_path: Path) -> None:
    client = Client(tmp_path)
    assert client("/health")[0] == client("/ready")[0] == 200
    assert client("/metrics")[0] == 401
    client(), client(method="POST")
    text = client("/metrics", secret=client.secret)[2].decode()
    assert 'sparknomad_requests_total{method="GET",status="200"} 1' in text
    assert 'sparknomad_requests_total{method="POST",status="200"} 1' in text
    assert "sparknomad_operations_unfinished 0" in text


def test_only_what_changes_something_is_noted_and_no_secret(tmp_path: Path) -> None:
    client = Client(tmp_path)
    client(), client("/v1/runs", "POST", secret=client.secret), client("/v1/runs", "DELETE")
    lines = [json.loads(line) for line in client.audit.read_text().splitlines()]
    assert [(each["by"], each["method"], each["status"]) for each in lines] == [
        ("t", "POST", 200),
        (None, "DELETE", 200),
    ]
    assert client.secret not in client.audit.read_text()


def test_a_token_that_has_ended_is_nobodys(tmp_path: Path) -> None:
    store = ServiceStore(tmp_path / "service.db")
    ended, good = store.create_token("a", "reader", -1.0), store.create_token("b", "reader", 60.0)
    assert store.find_token(ended) is None and store.find_token(good) is not None
    assert store.find_token("") is None
