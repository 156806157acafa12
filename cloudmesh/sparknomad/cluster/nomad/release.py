"""Nomad's official release: fetched with resumption, checked against the published sums."""

from __future__ import annotations

import hashlib
import re
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from cloudmesh.sparknomad.errors import DownloadError

if TYPE_CHECKING:
    import requests

__all__ = ["OFFICIAL", "install"]

OFFICIAL = "https://releases.hashicorp.com/nomad"
# What is received is written in such blocks: no more than one is lost when it breaks off.
_BLOCK = 16 * 1024
_CONNECT_SECONDS, _READ_SECONDS = 5, 30
_TRIES, _PAUSE_SECONDS = 4, 1.0
_PASSING = (408, 429, 500, 502, 503, 504)
Say = Callable[[str], None]
T = TypeVar("T")


class _BrokenOffError(Exception):
    """A transfer that did not come to its end, but may the next time."""


def install(
    version: str, machine: str, target: Path, cache: Path, say: Say, mirror: str = ""
) -> None:
    """Fetch a release and unpack its binary.

    What came of an interrupted download stays in the cache as ``….zip.part``, and the next
    call goes on from there. One process at a time may do this for a cache.

    Args:
        version: such as ``1.10.0``.
        machine: ``amd64`` or ``arm64``.
        target: the directory that gets the file ``nomad``.
        cache: keeps what was fetched of an interrupted download.
        say: shows progress.
        mirror: an address that is laid out as the official one.

    Raises:
        DownloadError: if it can't be fetched, or its sum is not the published one.
    """
    base = f"{(mirror or OFFICIAL).rstrip('/')}/{version}"
    name = f"nomad_{version}_linux_{machine}.zip"
    say(f"fetching Nomad {version} from {_shown(base)}")
    expected = _published_sum(f"{base}/nomad_{version}_SHA256SUMS", name, say)
    part = cache / f"{name}.part"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        _fetch_checked(f"{base}/{name}", part, expected, say)
        _unpack(part, target, name)
    except OSError as error:
        raise DownloadError(f"{name} can't be kept here: {error}") from error
    part.unlink()


def _published_sum(url: str, name: str, say: Say) -> str:
    for line in _retried(url, say, lambda: _text(url)).splitlines():
        match = re.fullmatch(r"([0-9a-fA-F]{64})\s+\*?(\S+)", line.strip())
        if match and match[2] == name:
            return match[1].lower()
    raise DownloadError(f"{_shown(url)} publishes no sum of {name}.")


def _fetch_checked(url: str, part: Path, expected: str, say: Say) -> None:
    """Fetch a file until it has its sum; what has another one is not kept."""
    left_over = part.exists()
    if left_over and _sha256(part) == expected:
        return
    _retried(url, say, lambda: _go_on(url, part, say))
    found = _sha256(part)
    if found != expected and left_over:
        say("what an earlier download left does not fit the published sum; fetching all of it")
        part.unlink()
        _retried(url, say, lambda: _go_on(url, part, say))
        found = _sha256(part)
    if found != expected:
        part.unlink()
        raise DownloadError(
            f"{_shown(url)}: its SHA-256 is {found}, but {expected} is published.",
            hint="The file was changed on its way, or the mirror is wrong; nothing was kept.",
        )


def _unpack(archive: Path, target: Path, name: str) -> None:
    try:
        with zipfile.ZipFile(archive) as stream:
            if "nomad" not in stream.namelist():
                raise zipfile.BadZipFile("it has no file 'nomad'")
            stream.extract("nomad", target)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        archive.unlink()
        (target / "nomad").unlink(missing_ok=True)
        raise DownloadError(f"{name} has the published sum, but holds no Nomad: {error}") from error
    (target / "nomad").chmod(0o755)


def _retried(url: str, say: Say, act: Callable[[], T]) -> T:
    """Do something over HTTP, and again after what may pass: a break, a busy server."""
    import requests

    for attempt in range(1, _TRIES + 1):
        try:
            return act()
        except (requests.RequestException, _BrokenOffError) as error:
            told = _brief(error)
            if attempt == _TRIES or not _may_pass(error):
                raise DownloadError(f"{_shown(url)} can't be fetched: {told}") from error
            say(f"{_shown(url)}: {told}; trying again")
            time.sleep(_PAUSE_SECONDS * 2 ** (attempt - 1))
    raise AssertionError("unreachable")


def _text(url: str) -> str:
    import requests

    answer = requests.get(url, timeout=(_CONNECT_SECONDS, _READ_SECONDS))
    if answer.status_code != 200:
        raise requests.HTTPError(response=answer)
    return answer.text


def _go_on(url: str, part: Path, say: Say) -> None:
    """Fetch what is missing of a file."""
    import requests

    begin = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"}
    if begin:
        headers["Range"] = f"bytes={begin}-"
    with requests.get(
        url, headers=headers, stream=True, timeout=(_CONNECT_SECONDS, _READ_SECONDS)
    ) as answer:
        status, where = answer.status_code, answer.headers.get("Content-Range", "")
        elsewhere = status == 206 and not where.startswith(f"bytes {begin}-")
        if begin and (status == 416 or elsewhere):
            part.unlink()
            raise _BrokenOffError("the server does not go on where it broke off")
        if status not in (200, 206) or elsewhere:
            raise requests.HTTPError(response=answer)
        _receive(answer, part, begin if status == 206 else 0, say)


def _receive(answer: requests.Response, part: Path, begin: int, say: Say) -> None:
    length = answer.headers.get("Content-Length", "")
    total = begin + int(length) if length.isdecimal() else None
    of_total = f" of {total / 1e6:.1f}" if total else ""
    step = max(total // 10, 1) if total else 10_000_000
    done = begin
    if begin:
        say(f"going on with Nomad's download at {begin / 1e6:.1f} MB")
    with part.open("ab" if begin else "wb") as sink:
        for block in answer.iter_content(_BLOCK):
            sink.write(block)
            before, done = done, done + len(block)
            if done // step > before // step:
                say(f"fetching Nomad: {done / 1e6:.1f}{of_total} MB")
    if total and done < total:
        raise _BrokenOffError(f"{done} of {total} bytes came")


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _may_pass(error: Exception) -> bool:
    """Whether another try can help: not where there is no connection, or a plain answer."""
    import requests

    if isinstance(error, requests.HTTPError):
        return error.response is not None and error.response.status_code in _PASSING
    if isinstance(error, requests.ConnectTimeout) or _no_connection(error):
        return False
    broken = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
    return isinstance(error, (_BrokenOffError, *broken))


def _no_connection(error: Exception) -> Exception | None:
    """Why none could be made: requests hides it in its first argument."""
    reason = getattr(error.args[0] if error.args else None, "reason", None)
    return reason if isinstance(reason, Exception) else None


def _brief(error: Exception) -> str:
    """An error in a few words; never with the address, which may hold a password."""
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server answers {error.response.status_code} {error.response.reason}".rstrip()
    if isinstance(error, requests.ConnectTimeout):
        return f"no connection within {_CONNECT_SECONDS} s"
    if isinstance(error, requests.Timeout) or "Read timed out" in str(error):
        return f"nothing came for {_READ_SECONDS} s"
    reason = _no_connection(error)
    broken = (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)
    if reason is None and isinstance(error, broken):
        return "the connection broke off"
    text = str(reason or error)
    if "NameResolution" in text or "Failed to resolve" in text or "Name or service" in text:
        return "the host can't be found (no network, or a proxy is needed)"
    return text[:200]


def _shown(url: str) -> str:
    """An address without the user name and password that it may hold."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
