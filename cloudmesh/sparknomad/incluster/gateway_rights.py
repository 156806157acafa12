"""What a token may ask of a cluster's gateway. Pure.

What is not understood in one way only is refused: names that are encoded twice, that go
upwards, parameters that stand there twice. The servers behind would each read it in their own way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

__all__ = ["Rights", "plain_path", "plain_query", "rights_of"]

KINDS = ("operator", "submitter", "reader")

_POLICY = re.compile(rf"sparknomad-({'|'.join(KINDS)})(-[a-z0-9-]+)?")
_ROOT = "/webhdfs/v1/sparknomad"
_SUBMITTED = (f"{_ROOT}/artifacts", f"{_ROOT}/inputs")
_PARTIAL = ".part"
_READS = frozenset(
    [
        "OPEN",
        "GETFILESTATUS",
        "LISTSTATUS",
        "LISTSTATUS_BATCH",
        "GETCONTENTSUMMARY",
        "GETQUOTAUSAGE",
        "GETFILECHECKSUM",
        "GETFILEBLOCKLOCATIONS",
        "GET_BLOCK_LOCATIONS",
        "GETHOMEDIRECTORY",
    ]
)
_CREATED = frozenset(
    [
        "op",
        "overwrite",
        "noredirect",
        "blocksize",
        "replication",
        "permission",
        "buffersize",
        "createparent",
        "createflag",
        "namenoderpcaddress",
        "tempdir",  # of fsspec's client; HDFS knows none
        "user.name",
    ]
)
_PAGES = re.compile(r"/(jmx|static/.*|[a-z-]+\.html)?")
"""Of the NameNode; others change its level of logging, or give away its whole tree of names."""


def plain_path(path: str) -> str | None:
    """A path without its encoding, or ``None`` if it could be read in more than one way."""
    for segment in path.split("/"):
        if ";" in segment or "\\" in segment:
            return None
        once = unquote(segment, errors="strict") if _is_text(segment) else None
        if once is None or (unquote(once) != once and _moves(unquote(unquote(once)))):
            return None
        if _moves(once):
            return None
    return unquote(path)


def _is_text(segment: str) -> bool:
    try:
        unquote(segment, errors="strict")
    except UnicodeDecodeError:
        return False
    return True


def _moves(name: str) -> bool:
    """Whether a name is none of a file: it goes elsewhere, or has what no name may have."""
    return name in (".", "..") or any(c in "/\\" or ord(c) < 32 or ord(c) == 127 for c in name)


def plain_query(query: str) -> dict[str, str] | None:
    """Parameters by their names in small letters; ``None`` if one is there twice."""
    found: dict[str, str] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        key = key.lower()
        if key in found:
            return None
        found[key] = value
    return found


class Rights:
    """What a token may do.

    Args:
        kind: ``operator``, ``submitter``, ``reader``, or empty for nothing at all.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def allow(self, method: str, target: str, service: str = "hdfs-http") -> bool:
        """Whether a request is within them.

        Args:
            method: of HTTP.
            target: path and query, as the service itself would get them.
            service: that would get it.
        """
        if self.kind not in KINDS:
            return False
        parts = urlsplit(target)
        path, query = plain_path(parts.path), plain_query(parts.query)
        if path is None or query is None:
            return False
        if self.kind == "operator":
            return True
        if path.startswith("/webhdfs/"):
            return self._allow_hdfs(method, path, query)
        if method not in ("GET", "HEAD") or "kill" in path:
            return False
        return service != "hdfs-http" or bool(_PAGES.fullmatch(path))

    def _allow_hdfs(self, method: str, path: str, query: Mapping[str, str]) -> bool:
        operation = query.get("op", "").upper()
        if method in ("GET", "HEAD"):
            return operation in _READS and _below(path, (_ROOT,), itself=True)
        if self.kind != "submitter":
            return False
        if method == "PUT" and operation == "MKDIRS":
            return _below(path, _SUBMITTED, itself=True)
        if not _below(path, _SUBMITTED):
            return False
        partial = path.endswith(_PARTIAL)
        if method == "PUT" and operation == "CREATE":
            # What is there whole is not written anew: others' runs may read it.
            replaces = query.get("overwrite", "").lower() != "false"
            return query.keys() <= _CREATED and (partial or not replaces)
        if method == "POST" and operation == "APPEND":
            return query.keys() <= _CREATED and partial
        if method == "PUT" and operation == "RENAME":
            target = f"/webhdfs/v1{query.get('destination', '')}"
            options = query.get("renameoptions", "NONE").upper()
            return partial and options == "NONE" and _below(target, _SUBMITTED)
        return method == "DELETE" and operation == "DELETE" and partial


def _below(path: str, roots: Sequence[str], itself: bool = False) -> bool:
    segments = path.split("/")[1:]
    if any(part in ("", ".", "..") for part in segments[:-1]) or segments[-1] in (".", ".."):
        return False
    whole = path.rstrip("/")
    return any(whole.startswith(f"{root}/") or (itself and whole == root) for root in roots)


def rights_of(token: Mapping[str, Any]) -> Rights:
    """The rights of a token, as Nomad tells of it."""
    if token.get("Type") == "management":
        return Rights("operator")
    found = {match[1] for name in token.get("Policies") or () if (match := _POLICY.fullmatch(name))}
    return Rights(next((kind for kind in KINDS if kind in found), ""))
