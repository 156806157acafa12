"""What of a run nobody else may read: credentials, and files that hold some."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

__all__ = [
    "CREDENTIALS",
    "ENDED",
    "RefusedError",
    "ask_nomad",
    "clear",
    "ended_path",
    "forget",
    "forget_end",
    "namespace",
    "private_directory",
    "redaction",
    "server_address",
    "storage_secrets",
    "tell_nomad",
    "told_to_end",
]

CREDENTIALS = "storage.json"
"""The file with the Spark keys that hold the credentials of the run's storages."""

ENDED = "sparknomad/ended"
"""Where the Variables lie that tell dispatched jobs to end when they begin."""

_FILES = ("spark.properties", "agent.properties", "gateway")
_SECONDS = 10
_LATER = (408, 429)
_NEVER = re.compile(r"is stopped|not found|is not a? ?parameterized")
"""What Nomad's servers say with a 500 that stays so."""

# Spark's own default: org.apache.spark.internal.config.SECRET_REDACTION_PATTERN.
_REDACTED = "(?i)secret|password|token|access[.]?key"


class RefusedError(OSError):
    """Nomad will not do something, however often it is asked."""


def private_directory(cluster: Mapping[str, Any], scratch: Path) -> Path:
    """Where such files lie: what Nomad serves of an allocation does not hold its secrets."""
    return Path(cluster.get("private") or scratch)


def storage_secrets(cluster: Mapping[str, Any]) -> dict[str, str]:
    """Spark's keys for the credentials of the run's storages."""
    place = cluster.get("private")
    try:
        text = (Path(place) / CREDENTIALS).read_text("utf-8") if place else ""
    except FileNotFoundError:
        return {}
    secrets: dict[str, str] = json.loads(text) if text.strip() else {}
    return secrets


def redaction(secrets: Mapping[str, str], configured: str | None) -> str:
    """Spark's pattern of the keys whose values it shows neither in event logs nor on pages."""
    keys = sorted({key.removeprefix("spark.hadoop.") for key in secrets})
    return "|".join([configured or _REDACTED, *map(re.escape, keys)])


def clear(cluster: Mapping[str, Any]) -> None:
    """Remove what only a running program needs."""
    for name in _FILES if cluster.get("private") else ():
        (Path(cluster["private"]) / name).unlink(missing_ok=True)


def forget(cluster: Mapping[str, Any]) -> None:
    """Remove the credentials here, and where they came from."""
    if not cluster.get("private"):
        return
    clear(cluster)
    with contextlib.suppress(OSError):
        (Path(cluster["private"]) / CREDENTIALS).unlink(missing_ok=True)
    if cluster.get("credentials_variable"):
        # Who sent the run removes it as well, when it sees the run's end.
        with contextlib.suppress(OSError, http.client.HTTPException):
            _delete_variable(cluster, Path(cluster["private"]))


class _Socket(http.client.HTTPConnection):
    """HTTP over the socket by which Nomad serves its API to a task."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_SECONDS)
        self.sock.connect(str(self._path))


def _nomad(address: str, private: Path) -> http.client.HTTPConnection:
    """Nomad's API: by its socket, which is missing where its path would be over 107 bytes."""
    path = private / "api.sock"
    if path.exists():
        return _Socket(path)
    return http.client.HTTPConnection(address, timeout=_SECONDS)


def _token(private: Path) -> dict[str, str]:
    token = (private / "nomad_token").read_text("utf-8").strip()
    return {"X-Nomad-Token": token}


def _request(
    address: str, private: Path, method: str, path: str, body: Mapping[str, Any] | None = None
) -> tuple[int, bytes]:
    """Status and content of Nomad's answer to a task."""
    connection = _nomad(address, private)
    try:
        content = None if body is None else json.dumps(body)
        connection.request(method, path, content, _token(private))
        answer = connection.getresponse()
        return answer.status, answer.read()
    except http.client.HTTPException as error:  # an answer that was cut short, or none of HTTP
        raise OSError(f"{path}: {error!r}") from error
    finally:
        connection.close()


def ask_nomad(address: str, private: Path, path: str) -> Any:
    """What Nomad answers a task; ``None`` if it refuses.

    Args:
        address: of its API, where there is no socket.
        private: the task's directory of secrets.
        path: of the request.
    """
    status, content = _request(address, private, "GET", path)
    return json.loads(content) if status == 200 else None


def server_address(address: str, private: Path, name: str) -> str:
    """Where one of the cluster's servers is, which are in a namespace of their own; or empty."""
    told = ask_nomad(address, private, f"/v1/service/{quote(name)}?namespace=default&stale=true")
    return f"{told[0]['Address']}:{told[0]['Port']}" if told else ""


def tell_nomad(address: str, private: Path, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Send Nomad something from a task.

    Args:
        address: of its API, where there is no socket.
        private: the task's directory of secrets.
        path: of the request.
        body: its JSON.

    Returns:
        What Nomad answers.

    Raises:
        RefusedError: if Nomad will not do it, however often it is asked.
        OSError: if it does not do it now.
    """
    status, content = _request(address, private, "POST", path, body)
    if status != 200:
        told = content[:200].decode(errors="replace").strip()
        refused = 400 <= status < 500 and status not in _LATER
        if refused or _NEVER.search(told):
            raise RefusedError(f"Nomad refuses it: {status} {told}")
        raise OSError(f"{path}: {status} {told}")
    told = json.loads(content or b"{}")
    return told if isinstance(told, dict) else {}


def ended_path(job: str) -> str:
    """The path of the Variable that tells a dispatched job to end when it begins.

    Args:
        job: its id; paths may not have all of its characters.
    """
    return f"{ENDED}/{hashlib.sha256(job.encode()).hexdigest()[:32]}"


def told_to_end(address: str, private: Path) -> bool:
    """Whether this task was to end before it began: what waits for room hears no signal."""
    path = f"/v1/var/{ended_path(os.environ['NOMAD_JOB_ID'])}?namespace={namespace()}"
    try:
        return ask_nomad(address, private, path) is not None
    except (OSError, http.client.HTTPException, ValueError):
        return False


def forget_end(address: str, private: Path) -> None:
    """Remove what has told this task to end."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        _remove(address, private, ended_path(os.environ["NOMAD_JOB_ID"]))


def _delete_variable(cluster: Mapping[str, Any], private: Path) -> None:
    _remove(cluster["nomad"], private, cluster["credentials_variable"])


def _remove(address: str, private: Path, variable: str) -> None:
    _request(address, private, "DELETE", f"/v1/var/{variable}?namespace={namespace()}")


def namespace() -> str:
    """Nomad's namespace of this task."""
    return os.environ.get("NOMAD_NAMESPACE") or "default"
