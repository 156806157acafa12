"""What Google asks of a service account: a token for a signed statement, and that token each time.

fake-gcs-server asks for nothing; here, a server in front of it does.
"""

from __future__ import annotations

import base64
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from threaded import threaded

__all__ = ["Google", "google"]

_HOST = "127.0.0.1"
_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
# What google-auth names as the audience, whatever the key's file says.
_GOOGLE = "https://oauth2.googleapis.com/token"
_SCOPES = (
    "https://www.googleapis.com/auth/devstorage.read_write",
    "https://www.googleapis.com/auth/devstorage.full_control",  # what gcsfs asks for
)
_HOP_BY_HOP = ("connection", "transfer-encoding", "keep-alive", "host", "date", "server")


@dataclass
class Google:
    """A service account, its token server, and a storage that wants its tokens.

    Attributes:
        endpoint: of the storage.
        token_uri: of the token server.
        life: seconds that a token is valid.
        leeway: seconds that it is valid beyond what is told.
        granted: the claims for which a token was given.
        refused: why statements and requests were refused.
        accepted: how often each token has opened the storage.
        agents: what the storage's clients call themselves.
        paths: what was asked of the storage: method and path.
        failing: so many statements are answered with status 503 first.
        damaging: so many downloads have other bytes first.
        delay: seconds that the storage takes for each request.
    """

    endpoint: str = ""
    token_uri: str = ""
    life: float = 3600
    leeway: float = 0
    failing: int = 0
    damaging: int = 0
    delay: float = 0
    granted: list[dict[str, Any]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    accepted: dict[str, int] = field(default_factory=dict)
    agents: set[str] = field(default_factory=set)
    paths: list[str] = field(default_factory=list)
    tokens: dict[str, float] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @cached_property
    def private_key(self) -> rsa.RSAPrivateKey:
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)

    @property
    def document(self) -> dict[str, str]:
        """The content of the service account's key file."""
        pem = self.private_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return {
            "type": "service_account",
            "project_id": "test",
            "private_key_id": "0123456789abcdef",
            "private_key": pem.decode(),
            "client_email": "runs@test.iam.gserviceaccount.com",
            "client_id": "1",
            "token_uri": self.token_uri,
        }

    def grant(self, form: dict[str, list[str]]) -> tuple[int, dict[str, Any]]:
        """Status and answer for a statement."""
        with self.lock:
            if self.failing:
                self.failing -= 1
                return 503, {"error": "unavailable"}
            try:
                claims = self._verified(form)
            except (InvalidSignature, AssertionError, ValueError, KeyError) as error:
                self.refused.append(f"statement: {error!r}")
                return 400, {"error": "invalid_grant", "error_description": "Invalid JWT."}
            token = secrets.token_urlsafe(30)
            self.tokens[token] = time.time() + self.life + self.leeway
            self.granted.append(claims)
        return 200, {"access_token": token, "expires_in": int(self.life), "token_type": "Bearer"}

    def _verified(self, form: dict[str, list[str]]) -> dict[str, Any]:
        assert form["grant_type"] == [_GRANT], form["grant_type"]
        (assertion,) = form["assertion"]
        signed, _, signature = assertion.rpartition(".")
        self.private_key.public_key().verify(
            _decoded(signature), signed.encode(), padding.PKCS1v15(), hashes.SHA256()
        )
        header, claims = (json.loads(_decoded(part)) for part in signed.split("."))
        assert (header["alg"], header["kid"]) == ("RS256", self.document["private_key_id"])
        assert claims["aud"] in (self.token_uri, _GOOGLE), claims
        assert claims["iss"] == self.document["client_email"], claims
        assert claims["scope"] in _SCOPES, claims
        assert claims["iat"] - 60 < time.time() < claims["exp"] <= claims["iat"] + 3600, claims
        return dict(claims)

    def damages(self, path: str) -> bool:
        """Whether a download is to have other bytes."""
        with self.lock:
            damaged = self.damaging > 0 and "alt=media" in path
            self.damaging -= damaged
        return damaged

    def allows(self, authorization: str, agent: str, asked: str) -> bool:
        """Whether a request to the storage has a token that is valid now."""
        token = authorization.removeprefix("Bearer ")
        with self.lock:
            valid = authorization.startswith("Bearer ") and self.tokens.get(token, 0) > time.time()
            if valid:
                self.accepted[token] = self.accepted.get(token, 0) + 1
                self.agents.add(agent)
                self.paths.append(asked)
            else:
                known = "expired" if token in self.tokens else "unknown"
                self.refused.append(f"{asked}: {known if token else 'no'} token")
        return valid


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _answer(handler: BaseHTTPRequestHandler, status: int, told: dict[str, Any]) -> None:
    body = json.dumps(told).encode()
    handler.send_response(status)
    handler.send_header("Content-Type", "application/json")
    if status == 401:
        handler.send_header("WWW-Authenticate", 'Bearer realm="", error="invalid_token"')
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def _body(handler: BaseHTTPRequestHandler) -> bytes:
    if handler.headers.get("Transfer-Encoding", "").lower() == "chunked":
        parts = []
        while size := int(handler.rfile.readline().split(b";")[0], 16):
            parts.append(handler.rfile.read(size))
            handler.rfile.readline()
        handler.rfile.readline()
        return b"".join(parts)
    return handler.rfile.read(int(handler.headers.get("Content-Length") or 0))


def _token_handler(state: Google) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *words: object) -> None:
            pass

        def do_POST(self) -> None:
            _answer(self, *state.grant(parse_qs(_body(self).decode())))

    return Handler


def _storage_handler(state: Google, upstream: str) -> type[BaseHTTPRequestHandler]:
    behind = urlsplit(upstream)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *words: object) -> None:
            pass

        def forward(self) -> None:
            body = _body(self)
            agent = self.headers.get("User-Agent", "")
            asked = f"{self.command} {self.path}"
            time.sleep(state.delay)
            if not state.allows(self.headers.get("Authorization", ""), agent, asked):
                told = {"code": 401, "message": "Invalid Credentials", "errors": []}
                _answer(self, 401, {"error": told})
                return
            headers = {k: v for k, v in self.headers.items() if k.lower() not in _HOP_BY_HOP}
            headers["Content-Length"] = str(len(body))
            with closing(HTTPConnection(_HOST, behind.port, timeout=60)) as connection:
                connection.request(self.command, self.path, body, headers)
                told_by = connection.getresponse()
                self.send_response(told_by.status)
                length = told_by.getheader("Content-Length")
                content = None if length and self.command != "HEAD" else told_by.read()
                for name, value in told_by.getheaders():
                    if name.lower() not in (*_HOP_BY_HOP, "content-length"):
                        self.send_header(name, value.replace(upstream, state.endpoint))
                told_length = length or str(len(content or b""))
                if told_by.status not in (204, 304, 308) or length:
                    self.send_header("Content-Length", told_length)
                elif told_by.status == 308:
                    self.send_header("Content-Length", "0")
                self.end_headers()
                if content is not None:
                    self.wfile.write(content)
                else:
                    damaged = state.damages(self.path)
                    while block := told_by.read(1 << 20):
                        self.wfile.write(bytes(len(block)) if damaged else block)

        do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = forward  # noqa: N815

    return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that is killed leaves its connection; nobody has to read of that."""


@contextmanager
def google(upstream: str) -> Iterator[Google]:
    """A token server, and a storage in front of fake-gcs-server that wants its tokens.

    Args:
        upstream: the URL of fake-gcs-server.
    """
    state = Google()
    with (
        _Server((_HOST, 0), _token_handler(state)) as tokens,
        _Server((_HOST, 0), _storage_handler(state, upstream)) as storage,
    ):
        state.token_uri = f"http://{_HOST}:{tokens.server_port}/token"
        state.endpoint = f"http://{_HOST}:{storage.server_port}"
        with threaded(tokens), threaded(storage):
            yield state
