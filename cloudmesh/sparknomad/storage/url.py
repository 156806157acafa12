"""Where data lies: ``NAME:path`` below a storage profile, or a plain URL such as ``s3://b/x``.

A path is taken as it is written: nothing is percent-decoded, because a ``%2F`` may stand in an
object's name, and because Hadoop and the clouds' own tools do not decode either. Only
``http(s)`` URLs are what they are on the web.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from cloudmesh.sparknomad.errors import InputError
from cloudmesh.sparknomad.specs import NAME_PATTERN

__all__ = ["CLUSTER", "SCHEMES", "StorageURL", "is_storage_url", "parse_url"]

CLUSTER = "cluster"
"""The name that stands for the cluster's own storage, where a profile's would."""

SCHEMES = {
    "s3": "s3",
    "s3a": "s3",
    "s3n": "s3",
    "gs": "gcs",
    "abfs": "azure",
    "abfss": "azure",
    "wasb": "azure",
    "wasbs": "azure",
    "swift": "swift",
    "hdfs": "hdfs",
    "file": "file",
    "http": "http",
    "https": "http",
}
"""The schemes of plain URLs, with the kind of storage that each means."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/]*)/?", re.DOTALL)
_PROFILE = re.compile(r"([^:/]*):", re.DOTALL)
_GLOB = frozenset("*?[{")
_WEB = ("http", "https")


@dataclass(frozen=True)
class StorageURL:
    """A place in some storage.

    Attributes:
        scheme: of a plain URL, in lower case; empty for a path below a profile.
        authority: what follows the ``//``: a bucket, ``container@account``, a host; or the
            profile's name.
        path: below that, without a slash at its front, as it is written.
    """

    scheme: str
    authority: str
    path: str = ""

    def __str__(self) -> str:
        return f"{self.root}{self.path}"

    @property
    def root(self) -> str:
        """Everything before the path."""
        return f"{self.scheme}://{self.authority}/" if self.scheme else f"{self.authority}:"

    @property
    def profile(self) -> str:
        """The name of the profile, or an empty string for a plain URL."""
        return "" if self.scheme else self.authority

    @property
    def name(self) -> str:
        """The last segment of the path; empty at the root."""
        return self.path.rstrip("/").rpartition("/")[2]

    @property
    def is_directory(self) -> bool:
        """Whether it is written as a directory: the root, or with a slash at its end."""
        return not self.path or self.path.endswith("/")

    @property
    def parent(self) -> StorageURL:
        """The directory that holds it; the root is its own parent."""
        head = self.path.rstrip("/").rpartition("/")[0]
        return replace(self, path=f"{head}/" if head else "")

    def join(self, *parts: str) -> StorageURL:
        """A place below this one.

        Raises:
            InputError: if a part would lead out of it, or can't be a path.
        """
        path = self.path
        for part in parts:
            _check_path(part.lstrip("/"), part, self.scheme)
            if path and not path.endswith("/"):
                path += "/"
            path += part.lstrip("/")
        return replace(self, path=path)

    def as_directory(self) -> StorageURL:
        """The same place, written as a directory."""
        return self if self.is_directory else replace(self, path=f"{self.path}/")

    # globbing

    @property
    def has_glob(self) -> bool:
        """Whether the path has one of ``* ? [ {``."""
        return self.scheme not in _WEB and bool(_GLOB & set(self.path))

    @property
    def glob_root(self) -> StorageURL:
        """The deepest directory whose name has no such character."""
        if not self.has_glob:
            return self
        first = min(self.path.index(each) for each in _GLOB if each in self.path)
        head = self.path[:first].rpartition("/")[0]
        return replace(self, path=f"{head}/" if head else "")

    def matches(self, path: str) -> bool:
        """Whether a path below the same root fits this one's pattern.

        ``*`` and ``?`` stay within a segment, ``**`` does not, ``[…]`` is one of its
        characters, ``{a,b}`` one of its alternatives.
        """
        from fsspec.utils import glob_translate

        return any(
            re.fullmatch(glob_translate(_simplified(each)), path.rstrip("/"), re.DOTALL)
            for each in _alternatives(self.path.rstrip("/"))
        )


def _simplified(pattern: str) -> str:
    """Within a segment, ``**`` is ``*``."""
    parts = pattern.split("/")
    return "/".join(part if part == "**" else re.sub(r"\*+", "*", part) for part in parts)


def _alternatives(pattern: str) -> Iterator[str]:
    """Write out ``{a,b}``; a brace without its partner stands for itself."""
    found = re.search(r"\{([^{}]*)\}", pattern)
    if found is None:
        yield pattern
        return
    for choice in found[1].split(","):
        yield from _alternatives(pattern[: found.start()] + choice + pattern[found.end() :])


def is_storage_url(text: str) -> bool:
    """Whether a text is meant as a URL or a path below a profile, not as a path of this machine."""
    scheme = _SCHEME.match(text)
    if scheme:
        return scheme[1].lower() in SCHEMES
    name = _PROFILE.match(text)
    return bool(name and re.fullmatch(NAME_PATTERN, name[1]))


def parse_url(text: str) -> StorageURL:
    """Read ``NAME:path``, a plain URL, or a path of this machine.

    Raises:
        InputError: if it is none of these.
    """
    if not text or "\0" in text:
        raise InputError(f"{text!r}: no URL: must not be empty, nor contain the character NUL.")
    found = _SCHEME.match(text)
    if found:
        return _plain(text, found[1].lower(), found[2], text[found.end() :])
    found = _PROFILE.match(text)
    if found is None or text[0] in "/.~":
        return StorageURL("file", "", _local(text).lstrip("/") + _trailing(text))
    if not re.fullmatch(NAME_PATTERN, found[1]):
        raise InputError(
            f"{text!r}: {found[1]!r} is no name of a storage profile.",
            hint="Write PROFILE:path, a URL such as s3://bucket/path, or ./path for a file "
            "whose name has a colon.",
        )
    path = text[found.end() :].lstrip("/")
    _check_path(path, text, "")
    return StorageURL("", found[1], path)


def _local(text: str) -> str:
    # Not resolved: a link is itself, not what it leads to.
    return os.path.abspath(Path(text).expanduser())  # noqa: PTH100


def _trailing(text: str) -> str:
    return "/" if text.endswith("/") and text.strip("/") else ""


def _plain(text: str, scheme: str, authority: str, path: str) -> StorageURL:
    if scheme not in SCHEMES:
        raise InputError(
            f"{text!r}: unknown scheme {scheme!r}; known: {', '.join(SCHEMES)}.",
            hint="Or name a storage profile: PROFILE:path.",
        )
    if not authority and scheme not in ("file", "hdfs"):
        raise InputError(f"{text!r}: nothing stands between {scheme}:// and the next slash.")
    if scheme == "file" and authority not in ("", "localhost"):
        raise InputError(
            f"{text!r}: a file has no host; write file:///{authority}/{path} with three slashes."
        )
    _check_path(path.lstrip("/") if scheme == "file" else path, text, scheme)
    return StorageURL(scheme, "" if scheme == "file" else authority, path)


def _check_path(path: str, text: str, scheme: str) -> None:
    """Refuse what Hadoop would make another name of: a file would be read that was not named."""
    if scheme in _WEB:
        return
    segments = path.removesuffix("/").split("/") if path else []
    for segment in segments:
        if segment in ("", ".", ".."):
            shown = {"": "two slashes in a row", ".": "the segment '.'", "..": "the segment '..'"}
            raise InputError(
                f"{text!r}: has {shown[segment]}, which Spark would take for another name.",
                hint="Write the path without it.",
            )
