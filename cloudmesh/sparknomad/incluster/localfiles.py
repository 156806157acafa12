"""A directory of this machine, with the methods that `webhdfs.WebHdfs` has."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path

__all__ = ["LocalFiles"]

_CHUNK = 1024 * 1024


class LocalFiles:
    """Paths are absolute ones of this machine.

    Args:
        place: a directory on the disk whose room counts.
    """

    def __init__(self, place: Path) -> None:
        self.place = place

    def size(self, path: str) -> int | None:
        """The length of a file in bytes, or ``None`` if it is not there."""
        try:
            return Path(path).stat().st_size
        except OSError:
            return None

    def times(self, path: str) -> dict[str, float]:
        """The names in a directory, and when each was modified, in seconds since the epoch."""
        found = {}
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(path) as each:
            for entry in each:
                with contextlib.suppress(FileNotFoundError):
                    found[entry.name] = entry.stat().st_mtime
        return found

    def read(self, path: str) -> bytes | None:
        """The content of a small file, or ``None`` if it is not there."""
        try:
            return Path(path).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, path: str, content: bytes) -> None:
        """Write a small file, in the place of what has its name."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{uuid.uuid4().hex}.part")
        partial.write_bytes(content)
        partial.replace(target)

    def create(self, path: str, content: bytes) -> bool:
        """Write a small file unless there is one of this name; whether it was written."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{uuid.uuid4().hex}.part")
        partial.write_bytes(content)
        try:
            os.link(partial, target)
        except FileExistsError:
            return False
        finally:
            partial.unlink()
        return True

    def rename(self, source: str, target: str) -> bool:
        """Give a file or directory another name, unless that is taken; whether it was done."""
        if os.path.lexists(target):
            return False
        try:
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            os.rename(source, target)
        except OSError:
            return False
        return True

    def replace(self, source: str, target: str) -> None:
        """Give a file another name, in the place of what has it."""
        os.replace(source, target)

    def touch(self, path: str) -> None:
        """Set the time of a file's modification to now; fine if it is not there."""
        with contextlib.suppress(FileNotFoundError):
            os.utime(path)

    def make_directory(self, path: str) -> None:
        """Make a directory with all above it; fine if it is there."""
        Path(path).mkdir(parents=True, exist_ok=True)

    def delete(self, path: str) -> None:
        """Remove a file or a directory with all that is in it; fine if it is not there."""
        if Path(path).is_dir():
            shutil.rmtree(path)
        else:
            Path(path).unlink(missing_ok=True)

    def concat(self, target: str, sources: Sequence[str]) -> None:
        """Append files to one beside them; they are gone then."""
        with open(target, "ab") as sink:
            for source in sources:
                with open(source, "rb") as stream:
                    shutil.copyfileobj(stream, sink, _CHUNK)
                Path(source).unlink()

    def replicate(self, path: str, count: int) -> None:
        """There is one copy of each file here."""

    def used(self, path: str) -> int:
        """The bytes that a directory's files have."""
        below = (Path(top) / name for top, _, names in os.walk(path) for name in names)
        return sum(each.stat().st_size for each in below if each.exists())

    def room(self) -> tuple[int, int]:
        """The bytes that the disk has in all, and those that are free."""
        told = shutil.disk_usage(self.place)
        return told.total, told.free

    def hosts(self, path: str) -> list[list[str]]:
        """The hosts that have each block of a file: this one."""
        return [["localhost"]] if Path(path).exists() else [[]]
