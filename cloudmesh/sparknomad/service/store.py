"""What the service remembers: tokens, long operations, and what was answered to which key."""

from __future__ import annotations

import contextlib
import hmac
import json
import sqlite3
import threading
import time
import uuid
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cloudmesh.sparknomad.access_tokens import AccessToken, digest_of, make_token
from cloudmesh.sparknomad.errors import ConflictError, NotFoundError

__all__ = ["Answered", "Operation", "ServiceStore", "Token", "new_id"]

_BUSY_SECONDS = 60
_SCHEMA = """
CREATE TABLE IF NOT EXISTS tokens (
    name TEXT PRIMARY KEY, role TEXT NOT NULL, hash TEXT NOT NULL UNIQUE,
    created REAL NOT NULL, expires REAL);
CREATE TABLE IF NOT EXISTS operations (
    operation TEXT PRIMARY KEY, verb TEXT NOT NULL, arguments TEXT NOT NULL, state TEXT NOT NULL,
    created REAL NOT NULL, finished REAL, by TEXT NOT NULL, result TEXT, problem TEXT);
CREATE INDEX IF NOT EXISTS operations_by_time ON operations (created DESC);
CREATE TABLE IF NOT EXISTS lines (
    operation TEXT NOT NULL, number INTEGER NOT NULL, line TEXT NOT NULL,
    PRIMARY KEY (operation, number));
CREATE TABLE IF NOT EXISTS answers (
    key TEXT NOT NULL, by TEXT NOT NULL, request TEXT NOT NULL, subject TEXT NOT NULL,
    status INTEGER, body TEXT, created REAL NOT NULL, PRIMARY KEY (key, by));
"""
_KEPT_SECONDS = 7 * 86_400.0
_UNFINISHED = ("accepted", "running")
_ADD = "INSERT INTO tokens VALUES (?, ?, ?, ?, ?)"


@dataclass(frozen=True)
class Token:
    """Who may call the service.

    Attributes:
        name: to know it by.
        role: ``operator``, ``submitter`` or ``reader``.
        created: seconds since the epoch.
        expires: the same, or ``None`` for never.
    """

    name: str
    role: str
    created: float
    expires: float | None = None


@dataclass(frozen=True)
class Operation:
    """Long work that was accepted.

    Attributes:
        operation: its id.
        verb: of the manager.
        state: ``accepted``, ``running``, ``succeeded`` or ``failed``.
        created: seconds since the epoch.
        by: the name of the token that asked for it.
        lines: how many lines of progress there are.
        finished: seconds since the epoch, or ``None``.
        result: what the verb returned.
        problem: why it failed.
    """

    operation: str
    verb: str
    state: str
    created: float
    by: str
    lines: int = 0
    finished: float | None = None
    result: Any = None
    problem: Mapping[str, Any] | None = None

    @property
    def ended(self) -> bool:
        """Whether it will not change any more."""
        return self.state not in _UNFINISHED


@dataclass(frozen=True)
class Answered:
    """What a request with an idempotency key has led to.

    Attributes:
        subject: the id that was chosen for what it makes.
        status: that was answered; ``None`` while it goes on, or if the service was killed.
        body: that was answered.
        is_new: whether this request is the first with its key.
    """

    subject: str
    status: int | None
    body: Any
    is_new: bool


class ServiceStore:
    """Reads and writes the service's file.

    Args:
        path: the SQLite file; its directory must exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._guard = threading.Lock()
        self._asking = threading.Lock()
        self._asked: sqlite3.Connection | None = None
        with self._connection() as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(_SCHEMA)
        path.chmod(0o600)

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None)
        connection.row_factory = sqlite3.Row
        with contextlib.closing(connection):
            yield connection

    def _kept(self) -> sqlite3.Connection:
        """A connection that stays: every request asks whose its token is."""
        if self._asked is None:
            self._asked = sqlite3.connect(
                self._path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._asked.row_factory = sqlite3.Row
            weakref.finalize(self, self._asked.close)
        return self._asked

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._guard, self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    # tokens

    def create_token(self, name: str, role: str, ttl: float | None = None) -> str:
        """Make a token.

        Args:
            name: to know it by.
            role: what it may.
            ttl: seconds after which it ends.

        Returns:
            Its secret, which is kept nowhere.

        Raises:
            InputError: if there is no such role.
            ConflictError: if there is a token of this name.
        """
        made, secret = make_token(name, role, ttl)
        try:
            with self._transaction() as connection:
                connection.execute(_ADD, _row(made))
        except sqlite3.IntegrityError:
            raise ConflictError(
                f"There is a token {name!r} already.", hint="Revoke it first, or take another name."
            ) from None
        return secret

    def replace_tokens(self, tokens: Sequence[AccessToken]) -> None:
        """Let these be all tokens that there are."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM tokens")
            connection.executemany(_ADD, [_row(each) for each in tokens])

    def tokens(self) -> list[Token]:
        """All tokens, by name."""
        with self._connection() as connection:
            rows = connection.execute("SELECT * FROM tokens ORDER BY name").fetchall()
        return [_token(row) for row in rows]

    def revoke_token(self, name: str) -> None:
        """End a token.

        Raises:
            NotFoundError: if there is none of this name.
        """
        with self._transaction() as connection:
            if not connection.execute("DELETE FROM tokens WHERE name = ?", (name,)).rowcount:
                raise NotFoundError(f"There is no token {name!r}.")

    def find_token(self, secret: str) -> Token | None:
        """Whose secret this is; ``None`` if it is nobody's, or has ended."""
        wanted = digest_of(secret)
        with self._asking:
            sql = "SELECT * FROM tokens WHERE hash = ?"
            row = self._kept().execute(sql, (wanted,)).fetchone()
        if row is None or not hmac.compare_digest(row["hash"], wanted):
            return None
        token = _token(row)
        return None if token.expires is not None and token.expires < time.time() else token

    # operations

    def accept(self, operation: str, verb: str, arguments: Mapping[str, Any], by: str) -> Operation:
        """Remember an operation before it is begun; once if it is accepted twice."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO operations VALUES (?,?,?,?,?,?,?,?,?)",
                (operation, verb, json.dumps(arguments), "accepted", time.time(), None, by, None,
                 None),
            )  # fmt: skip
        return self.operation(operation)

    def begin(self, operation: str) -> dict[str, Any]:
        """Note that an operation runs now; its arguments."""
        with self._transaction() as connection:
            sql = "UPDATE operations SET state = 'running' WHERE operation = ?"
            connection.execute(sql, (operation,))
            sql = "SELECT arguments FROM operations WHERE operation = ?"
            row = connection.execute(sql, (operation,)).fetchone()
        arguments: dict[str, Any] = json.loads(row["arguments"])
        return arguments

    def say(self, operation: str, line: str) -> None:
        """Add a line of progress."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO lines SELECT ?, COALESCE(MAX(number), 0) + 1, ? FROM lines "
                "WHERE operation = ?",
                (operation, line, operation),
            )

    def finish(
        self, operation: str, *, result: Any = None, problem: Mapping[str, Any] | None = None
    ) -> None:
        """Note how an operation has ended."""
        state = "failed" if problem else "succeeded"
        with self._transaction() as connection:
            connection.execute(
                "UPDATE operations SET state = ?, finished = ?, result = ?, problem = ? "
                "WHERE operation = ? AND state IN ('accepted', 'running')",
                (
                    state,
                    time.time(),
                    json.dumps(result),
                    json.dumps(problem) if problem else None,
                    operation,
                ),
            )

    def operation(self, operation: str) -> Operation:
        """One operation.

        Raises:
            NotFoundError: if there is none of this id.
        """
        with self._connection() as connection:
            sql = f"{_SELECT} WHERE operation = ?"
            row = connection.execute(sql, (operation,)).fetchone()
        if row is None:
            raise NotFoundError(f"There is no operation {operation!r}.")
        return _operation(row)

    def operations(self, limit: int) -> list[Operation]:
        """Operations, the newest first."""
        with self._connection() as connection:
            sql = f"{_SELECT} ORDER BY created DESC LIMIT ?"
            rows = connection.execute(sql, (limit,)).fetchall()
        return [_operation(row) for row in rows]

    def unfinished(self) -> list[Operation]:
        """Operations that were accepted and have not ended, the oldest first."""
        with self._connection() as connection:
            sql = f"{_SELECT} WHERE state IN ('accepted', 'running') ORDER BY created"
            rows = connection.execute(sql).fetchall()
        return [_operation(row) for row in rows]

    def lines(self, operation: str, after: int) -> list[tuple[int, str]]:
        """The lines of progress after one, with their numbers."""
        with self._connection() as connection:
            sql = "SELECT number, line FROM lines WHERE operation = ? AND number > ? ORDER BY 1"
            rows = connection.execute(sql, (operation, after)).fetchall()
        return [(row["number"], row["line"]) for row in rows]

    # answers

    def claim(self, key: str, by: str, request: str, subject: str) -> Answered:
        """Note that a request with a key is being done; what was answered if it was before.

        Args:
            key: of the caller.
            by: the caller's token.
            request: what tells it from another request.
            subject: the id of what it makes, if it is the first.

        Raises:
            ConflictError: if the key was used for another request.
        """
        now = time.time()
        with self._transaction() as connection:
            connection.execute("DELETE FROM answers WHERE created < ?", (now - _KEPT_SECONDS,))
            made = connection.execute(
                "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, NULL, NULL, ?)",
                (key, by, request, subject, now),
            ).rowcount
            sql = "SELECT * FROM answers WHERE key = ? AND by = ?"
            row = connection.execute(sql, (key, by)).fetchone()
        if row["request"] != request:
            raise ConflictError(
                f"Idempotency-Key {key!r} was used for another request.",
                hint="Take a new key for each thing that is to be done.",
            )
        body = json.loads(row["body"]) if row["body"] else None
        return Answered(row["subject"], row["status"], body, bool(made))

    def answer(self, key: str, by: str, status: int, body: Any) -> None:
        """Remember what was answered."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE answers SET status = ?, body = ? WHERE key = ? AND by = ?",
                (status, json.dumps(body), key, by),
            )

    def unclaim(self, key: str, by: str) -> None:
        """Forget a request that was refused: the same key may be tried again."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM answers WHERE key = ? AND by = ?", (key, by))


_SELECT = (
    "SELECT *, (SELECT COUNT(*) FROM lines WHERE lines.operation = operations.operation) "
    "AS lines FROM operations"
)


def _row(token: AccessToken) -> tuple[Any, ...]:
    return token.name, token.role, token.digest, token.created, token.expires


def new_id() -> str:
    """An id that nothing else has."""
    return uuid.uuid4().hex


def _token(row: Mapping[str, Any]) -> Token:
    return Token(row["name"], row["role"], row["created"], row["expires"])


def _operation(row: Mapping[str, Any]) -> Operation:
    found = Operation(
        row["operation"], row["verb"], row["state"], row["created"], row["by"], row["lines"],
        row["finished"],
    )  # fmt: skip
    return replace(
        found,
        result=json.loads(row["result"]) if row["result"] else None,
        problem=json.loads(row["problem"]) if row["problem"] else None,
    )
