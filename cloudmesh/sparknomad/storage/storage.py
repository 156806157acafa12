"""The contract of a kind of storage.

Public methods are concrete: they check names, page, and turn what a library raises into our
own errors. A kind fills the hooks that begin with ``_``: a file system of fsspec's for what is
done from this machine, and Hadoop's settings for what Spark does. ``tests/conformance/`` holds
the suite that every kind passes on its real server.
"""

from __future__ import annotations

import uuid
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ClassVar

from cloudmesh.sparknomad.errors import DependencyError, InputError, NotFoundError
from cloudmesh.sparknomad.storage.credentials import CredentialField, Credentials
from cloudmesh.sparknomad.storage.entries import (
    Entry,
    HadoopSettings,
    Usage,
    cut_name,
    is_inside,
    modified,
    without_markers,
)
from cloudmesh.sparknomad.storage.explain import explained
from cloudmesh.sparknomad.storage.profile import StorageProfile
from cloudmesh.sparknomad.storage.url import StorageURL

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

__all__ = ["Entry", "HadoopSettings", "Storage", "Usage"]

_BLOCK = 8 * 1024 * 1024


class Storage(ABC):
    """One kind of storage, opened with a profile.

    Args:
        profile: where it is; its URL is a plain one.
        credentials: of the profile.
    """

    kind: ClassVar[str]
    """Its name in profiles."""

    fields: ClassVar[tuple[CredentialField, ...]] = ()
    """What credentials consist of."""

    extra: ClassVar[str] = ""
    """The extra of this package that brings the libraries of `_filesystem`."""

    options: ClassVar[frozenset[str]] = frozenset()
    """The names that a profile's options may have, beside Hadoop's own keys."""

    writable: ClassVar[bool] = True
    """Whether anything can be written to it."""

    renames: ClassVar[bool] = False
    """Whether others see an object while it is written: it is written under another name then."""

    guesses_checksums: ClassVar[bool] = False
    """Whether what is taken for a checksum may be something else."""

    takes_proxy: ClassVar[bool] = False
    """Whether its library goes by the proxy that the environment names."""

    longest_name: ClassVar[int] = 1024
    """Bytes that a path may have, in UTF-8."""

    def __init__(self, profile: StorageProfile, credentials: Credentials) -> None:
        self.profile = profile
        self.credentials = credentials
        self._opened: AbstractFileSystem | None = None

    # hooks

    @classmethod
    def files(cls, profile: str) -> Mapping[str, str]:
        """The credentials in the files of the cloud's own tools.

        Args:
            profile: the name of a profile in them, or empty for the default.

        Returns:
            The fields that were found; none where there is no such file.
        """
        return {}

    @abstractmethod
    def _filesystem(self) -> AbstractFileSystem:
        """Open fsspec's file system; called once, when it is needed first."""

    @abstractmethod
    def _path(self, url: StorageURL) -> str:
        """The path of a plain URL as the file system wants it, without a slash at its end."""

    @abstractmethod
    def _hadoop(self, url: StorageURL) -> HadoopSettings:
        """What Spark needs to read and write a plain URL."""

    def _version(self, info: Mapping[str, Any]) -> tuple[str, str]:
        """Version and MD5 (hexadecimal) of what the file system tells of an object."""
        return str(info.get("ETag") or info.get("etag") or "").strip('"'), ""

    # names

    def plain(self, url: StorageURL) -> StorageURL:
        """The plain URL of a path below this profile.

        Raises:
            InputError: if the name can't be one in this storage.
        """
        from cloudmesh.sparknomad.storage.url import parse_url

        found = parse_url(self.profile.url).join(url.path) if url.profile else url
        size = len(found.path.encode("utf-8", "surrogateescape"))
        if size > self.longest_name:
            raise InputError(
                f"{str(url)[:60]}…: the path has {size:,} bytes; {self.kind} allows "
                f"{self.longest_name:,}."
            )
        return found

    def hadoop(self, url: StorageURL) -> HadoopSettings:
        """What Spark needs to read and write a place."""
        settings = self._hadoop(self.plain(url))
        own = {key: value for key, value in self.profile.options.items() if "." in key}
        return replace(settings, conf={**settings.conf, **own})

    @property
    def filesystem(self) -> AbstractFileSystem:
        """The file system of fsspec for this storage."""
        if self._opened is None:
            from cloudmesh.sparknomad.storage.reaching import refuse_untrusted

            # aiohttp warns of pieces over 1 MiB, which gcsfs and adlfs send from a thread's loop.
            warnings.filterwarnings("ignore", "Sending a large body directly", ResourceWarning)
            try:
                with explained(self.profile, "open"):
                    refuse_untrusted(self)
                    self._opened = self._filesystem()
            except ImportError as error:
                package = f"'cloudmesh-sparknomad[{self.extra}]'" if self.extra else error.name
                raise DependencyError(
                    f"Storage of kind {self.kind!r} needs a package: {error}.",
                    hint=f"pip install {package}",
                ) from error
        return self._opened

    def _need_writable(self, url: StorageURL) -> None:
        if not self.writable:
            raise InputError(f"{url}: storage of kind {self.kind!r} can only be read.")
        if url.is_directory:
            raise InputError(f"{url}: is a directory; name the object itself.")

    # reading

    def info(self, url: StorageURL) -> Entry:
        """One object, or a directory.

        Raises:
            NotFoundError: if there is nothing of this name.
            StorageError: if the storage does not answer, or refuses.
        """
        path = self._path(self.plain(url))
        with explained(self.profile, "look at", url):
            told = self.filesystem.info(path)
        return self._entry(url, told)

    def find(self, url: StorageURL) -> Entry | None:
        """The same, or ``None`` if there is nothing of this name."""
        try:
            return self.info(url)
        except NotFoundError:
            return None

    def list(self, url: StorageURL, *, recursive: bool = False) -> Iterator[Entry]:
        """What lies in a directory, below it, or fits a pattern; sorted by name.

        Args:
            url: a directory, an object, or a pattern.
            recursive: all objects below, instead of what lies directly in it.

        Raises:
            NotFoundError: if there is nothing of this name.
        """
        if url.has_glob and self.find(url) is None:
            found = [
                entry
                for entry in self._below(url.glob_root, recursive=True)
                if url.matches(entry.url.path) or (recursive and is_inside(url, entry.url))
            ]
            if not found:
                raise NotFoundError(f"{url}: nothing fits this pattern.")
            yield from found
            return
        entry = None if url.is_directory else self.info(url)
        if entry is not None and not entry.is_directory:
            yield entry
            return
        below = self._below(url, recursive=recursive)
        if not below and entry is None:
            self.info(url)  # tells what is empty from what is not there
        yield from below

    def _below(self, url: StorageURL, *, recursive: bool) -> Sequence[Entry]:
        base = self._path(self.plain(url))
        with explained(self.profile, "list", url):
            if recursive:
                told = list(self.filesystem.find(base, detail=True).values())
            else:
                told = self.filesystem.ls(base, detail=True)
        below = f"{base.rstrip('/')}/"
        entries = []
        for info in told:
            name = str(info["name"]).rstrip("/")
            if not name.startswith(below) or not self._is_object(info):
                continue  # a marker of the directory itself, or nothing that can be read
            path = f"{url.path.rstrip('/')}/{name[len(below) :]}".lstrip("/")
            directory = info.get("type") == "directory"
            entries.append(self._entry(replace(url, path=path + "/" * directory), info))
        return without_markers(sorted(entries, key=lambda entry: entry.url.path))

    def _is_object(self, info: Mapping[str, Any]) -> bool:
        """Whether what is listed can be read, or is a directory."""
        del info
        return True

    def _entry(self, url: StorageURL, info: Mapping[str, Any]) -> Entry:
        directory = info.get("type") == "directory"
        version, md5 = ("", "") if directory else self._version(info)
        return Entry(
            url.as_directory() if directory else url,
            0 if directory else int(info.get("size") or 0),
            directory,
            modified(info),
            version,
            md5,
        )

    def checksum(self, entry: Entry) -> str:
        """The MD5 of an object (hexadecimal), where it can be had without fetching it."""
        return entry.md5

    def usage(self, url: StorageURL) -> Usage:
        """How many objects lie below a URL, and how many bytes they have."""
        sizes = [entry.size for entry in self.list(url, recursive=True) if not entry.is_directory]
        return Usage(url, len(sizes), sum(sizes))

    def open(self, url: StorageURL) -> IO[bytes]:
        """Open an object for reading; the caller closes it."""
        path = self._path(self.plain(url))
        with explained(self.profile, "read", url):
            opened: IO[bytes] = self.filesystem.open(path, "rb", cache_type="none")
        return opened

    def read(self, url: StorageURL, start: int | None = None, end: int | None = None) -> bytes:
        """Some bytes of an object, from `start` up to but not with `end`."""
        path = self._path(self.plain(url))
        with explained(self.profile, "read", url):
            data: bytes = self.filesystem.cat_file(path, start=start, end=end)
        return data

    # writing

    def write(self, url: StorageURL, data: bytes) -> None:
        """Write a small object whole."""
        if self.renames:
            with self.create(url) as write:
                write(data)
            return
        self._need_writable(url)
        path = self._path(self.plain(url))
        with explained(self.profile, "write", url):
            self.filesystem.pipe_file(path, data)

    @contextmanager
    def create(self, url: StorageURL) -> Iterator[Callable[[bytes], object]]:
        """Write an object piece by piece; it is seen when the block ends, and only if it does.

        Yields:
            The function that writes the next piece.
        """
        self._need_writable(url)
        path = self._path(self.plain(url))
        writing = self._renamed if self.renames else self._committed
        with explained(self.profile, "write", url), writing(path) as stream:
            yield stream.write

    @contextmanager
    def _committed(self, path: str) -> Iterator[Any]:
        stream = self.filesystem.open(path, "wb", block_size=_BLOCK, autocommit=False)
        try:
            yield stream
            stream.close()
        except BaseException:
            # Closing would show what is half-written.
            stream.closed = True
            with suppress(Exception):
                stream.discard()
            raise
        stream.commit()

    @contextmanager
    def _renamed(self, path: str) -> Iterator[Any]:
        directory, _, name = path.rpartition("/")
        # Hadoop and Spark take what begins with a dot for hidden.
        partial = f"{directory}/.{cut_name(name)}.{uuid.uuid4().hex[:8]}.part"
        self.filesystem.makedirs(directory or "/", exist_ok=True)
        try:
            with self.filesystem.open(partial, "wb", block_size=_BLOCK) as stream:
                yield stream
            self._rename(partial, path)
        except BaseException:
            with suppress(Exception):
                self.filesystem.rm_file(partial)
            raise

    def _rename(self, partial: str, path: str) -> None:
        """Give a written file its name, in the place of what has it."""
        self.filesystem.mv(partial, path)

    def download(self, url: StorageURL, target: Path) -> None:
        """Write an object to a file of this machine."""
        path = self._path(self.plain(url))
        with explained(self.profile, "read", url):
            self.filesystem.get_file(path, str(target))

    def remove(self, url: StorageURL) -> int:
        """Remove an object, or a directory with all that is in it.

        Returns:
            How many objects were removed; 0 if there was nothing of this name.
        """
        if not self.writable:
            raise InputError(f"{url}: storage of kind {self.kind!r} can only be read.")
        entry = self.find(url)
        if entry is None:
            return 0
        path = self._path(self.plain(url))
        count = self.usage(url).objects if entry.is_directory else 1
        with explained(self.profile, "remove", url):
            if entry.is_directory:
                self._remove_directory(path)
            else:
                self.filesystem.rm_file(path)
        return count

    def _remove_directory(self, path: str) -> None:
        """Remove all objects below a path, which fsspec must not take for a pattern."""
        import glob

        self.filesystem.rm(glob.escape(path), recursive=True)

    def close(self) -> None:
        """Forget the connections."""
        self._opened = None
