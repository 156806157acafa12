"""Files of a machine, or of a file system that all machines share."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudmesh.sparknomad.storage.storage import Entry, HadoopSettings, Storage
from cloudmesh.sparknomad.storage.url import StorageURL

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

__all__ = ["FileStorage"]


class FileStorage(Storage):
    """Files through Python itself and Hadoop's ``LocalFileSystem``."""

    kind = "file"
    renames = True
    longest_name = 4095

    def _filesystem(self) -> AbstractFileSystem:
        from fsspec.implementations.local import LocalFileSystem

        return LocalFileSystem(auto_mkdir=True, skip_instance_cache=True)

    def _path(self, url: StorageURL) -> str:
        return f"/{url.path}".rstrip("/") or "/"

    def _version(self, info: Mapping[str, Any]) -> tuple[str, str]:
        if info.get("islink"):  # what counts is the file that it leads to
            told = Path(info["name"]).stat()
            return f"{told.st_ino}-{told.st_mtime}-{told.st_size}", ""
        return f"{info.get('ino', '')}-{info.get('mtime', '')}-{info.get('size', '')}", ""

    def _is_object(self, info: Mapping[str, Any]) -> bool:
        """Links to files are files; to directories they could lead round in circles."""
        if info.get("islink"):
            return Path(info["name"]).is_file()
        return info.get("type") in ("file", "directory")

    def checksum(self, entry: Entry) -> str:
        """The MD5 of a file."""
        with Path(self._path(self.plain(entry.url))).open("rb") as stream:
            return hashlib.file_digest(stream, "md5").hexdigest()

    def _remove_directory(self, path: str) -> None:
        # This file system takes no patterns here.
        self.filesystem.rm(path, recursive=True)

    def _hadoop(self, url: StorageURL) -> HadoopSettings:
        return HadoopSettings(f"file:///{url.path}")
