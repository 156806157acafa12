"""A small client of WebHDFS: what the driver needs, without starting a Java machine.

Protocol: https://hadoop.apache.org/docs/r3.4.2/hadoop-project-dist/hadoop-hdfs/WebHDFS.html
"""

from __future__ import annotations

import contextlib
import errno
import json
import re
import shutil
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

__all__ = ["WebHdfs", "WebHdfsError"]

_CHUNK = 1024 * 1024
_CONCATENATED = 40
"""Files in one request: their names stand in its URL."""


_BLOCK = 128 * 1024 * 1024
"""HDFS writes nothing to a DataNode that has not so many bytes free."""

_FULL = re.compile(
    r"Resources are low on NN|No space left|DiskOutOfSpace|"
    r"(?P<unsure>could only be written to 0 of the .*There are [1-9]\d* datanode)"
)
"""What HDFS says when its disks are full; DataNodes that have just died sound the same."""


class WebHdfsError(OSError):
    """HDFS said no, or did not answer in time."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


class WebHdfs:
    """One HDFS, reached through its NameNode's HTTP port.

    Args:
        address: ``host:port`` of the NameNode's HTTP server, or the URL of what leads there.
        user: the name under which files are made.
        timeout: seconds that one request may take.
        patience: seconds for which a request is tried again while HDFS starts.
        tls: with the certificate that we show, where there is one.
        headers: of every request.
    """

    def __init__(
        self,
        address: str,
        *,
        user: str = "spark",
        timeout: float = 60,
        patience: float = 60,
        tls: ssl.SSLContext | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.address = address
        self._base = address if "://" in address else f"http://{address}"
        # By way of the gateway, the NameNode's other pages have a place of their own.
        self._pages = "/service/hdfs-http" if "://" in address else ""
        self.user = user
        self.timeout = timeout
        self.patience = patience
        # No proxy of the environment may stand between a cluster and its own storage.
        handlers = [urllib.request.ProxyHandler({})]
        secure = [urllib.request.HTTPSHandler(context=tls)] if tls else []
        self._follow = urllib.request.build_opener(*handlers, *secure)
        self._stay = urllib.request.build_opener(*handlers, *secure, _NoRedirect)
        for opener in (self._follow, self._stay):
            opener.addheaders = list((headers or {}).items())

    def _url(self, path: str, operation: str, **query: str) -> str:
        parameters = urllib.parse.urlencode({"op": operation, "user.name": self.user, **query})
        quoted = urllib.parse.quote(path)
        return f"{self._base}/webhdfs/v1{quoted}?{parameters}"

    def size(self, path: str) -> int | None:
        """The length of a file in bytes, or ``None`` if it is not there."""
        try:
            with self._retry("GET", self._url(path, "GETFILESTATUS")) as answer:
                status = json.load(answer)["FileStatus"]
        except FileNotFoundError:
            return None
        return int(status["length"])

    def times(self, path: str) -> dict[str, float]:
        """The names in a directory, and when each was modified, in seconds since the epoch."""
        try:
            with self._retry("GET", self._url(path, "LISTSTATUS")) as answer:
                statuses = json.load(answer)["FileStatuses"]["FileStatus"]
        except FileNotFoundError:
            return {}
        return {each["pathSuffix"]: each["modificationTime"] / 1e3 for each in statuses}

    def read(self, path: str) -> bytes | None:
        """The content of a small file, or ``None`` if it is not there."""
        try:
            with self._retry("GET", self._url(path, "OPEN")) as answer:
                return answer.read()
        except FileNotFoundError:
            return None

    def write(self, path: str, content: bytes) -> None:
        """Write a small file, in the place of what has its name."""
        self._retry_write(lambda: self._send(path, content, len(content)), path)

    def create(self, path: str, content: bytes) -> bool:
        """Write a small file unless there is one of this name; whether it was written."""
        temporary = f"{path}.{time.time_ns():x}.part"
        self.write(temporary, content)
        if self.rename(temporary, path):
            return True
        self.delete(temporary)
        return False

    def rename(self, source: str, target: str) -> bool:
        """Give a file or directory another name, unless that is taken; whether it was done."""
        # Without options HDFS would move it into a directory that has this name.
        url = self._url(source, "RENAME", destination=target, renameoptions="NONE")
        for again in (False, True):
            try:
                self._retry("PUT", url, refused=(403,)).close()
                return True
            except PermissionError:
                return False
            except FileNotFoundError:
                if again:
                    return False
                self.make_directory(target.rpartition("/")[0])
        return False

    def replace(self, source: str, target: str) -> None:
        """Give a file another name, in the place of what has it."""
        url = self._url(source, "RENAME", destination=target, renameoptions="OVERWRITE")
        try:
            self._retry("PUT", url).close()
        except FileNotFoundError:
            # An answer that was lost: it has its name already.
            if self.size(source) is not None or self.size(target) is None:
                raise

    def touch(self, path: str) -> None:
        """Set the time of a file's modification to now; fine if it is not there."""
        now = str(int(time.time() * 1000))
        with contextlib.suppress(FileNotFoundError):
            self._retry("PUT", self._url(path, "SETTIMES", modificationtime=now)).close()

    def concat(self, target: str, sources: Sequence[str]) -> None:
        """Append files to one beside them; they are gone then."""
        for start in range(0, len(sources), _CONCATENATED):
            listed = ",".join(sources[start : start + _CONCATENATED])
            self._retry("POST", self._url(target, "CONCAT", sources=listed)).close()

    def replicate(self, path: str, count: int) -> None:
        """Let HDFS keep so many copies of a file's blocks; it makes them by and by."""
        self._retry("PUT", self._url(path, "SETREPLICATION", replication=str(count))).close()

    def used(self, path: str) -> int:
        """The bytes that a directory's files have, without their replicas."""
        try:
            with self._retry("GET", self._url(path, "GETCONTENTSUMMARY")) as answer:
                return int(json.load(answer)["ContentSummary"]["length"])
        except FileNotFoundError:
            return 0

    def room(self) -> tuple[int, int]:
        """The bytes that HDFS has in all, and those that can still be written.

        DataNodes of one host share its disk, which NameNodes count once for each of them.
        """
        query = f"{self._pages}/jmx?qry=Hadoop:service=NameNode,name=NameNodeInfo"
        with self._retry("GET", f"{self._base}{query}") as answer:
            nodes = json.loads(json.load(answer)["beans"][0]["LiveNodes"])
        disks: dict[str, tuple[int, int]] = {}
        for node in nodes.values():
            host = node["xferaddr"].rpartition(":")[0]
            total, free = disks.get(host, (0, 0))
            left = max(0, int(node["remaining"]) - _BLOCK)
            disks[host] = max(total, int(node["capacity"])), max(free, left)
        return sum(total for total, _ in disks.values()), sum(free for _, free in disks.values())

    def _is_full(self, error: BaseException) -> bool:
        """Whether HDFS has answered that its disks are full: trying again would not help."""
        if not isinstance(error, urllib.error.HTTPError):
            return False
        try:
            found = _FULL.search(error.read().decode("utf-8", "replace"))
            return found is not None and not (found["unsure"] and self.room()[1] > 0)
        except (OSError, ValueError, LookupError):
            return False

    def _no_space(self) -> OSError:
        return OSError(errno.ENOSPC, f"no space left in HDFS at {self.address}")

    def hosts(self, path: str) -> list[list[str]]:
        """The hosts that have each block of a file."""
        with self._retry("GET", self._url(path, "GETFILEBLOCKLOCATIONS")) as answer:
            told = json.load(answer)["BlockLocations"]["BlockLocation"]
        return [list(each.get("hosts") or ()) for each in told]

    def put(self, source: Path, path: str) -> None:
        """Upload a file; it appears under its name only when it is whole.

        Raises:
            WebHdfsError: if it did not work within the patience.
            OSError: with ``ENOSPC``, if HDFS is full.
        """
        temporary = f"{path}.{time.time_ns():x}.part"
        self._write(source, temporary)
        if not self.rename(temporary, path):
            # Somebody else's equal file came first: the names are content-addressed.
            self.delete(temporary)
            if self.size(path) != source.stat().st_size:
                raise WebHdfsError(f"HDFS at {self.address} did not take {path}")

    def _write(self, source: Path, path: str) -> None:
        def send() -> None:
            with source.open("rb") as stream:
                self._send(path, stream, source.stat().st_size)

        self._retry_write(send, path)

    def _retry_write(self, send: Callable[[], None], path: str) -> None:
        give_up = time.monotonic() + self.patience
        while True:
            try:
                send()
                return
            except (OSError, ValueError) as error:
                if self._is_full(error):
                    raise self._no_space() from error
                if time.monotonic() > give_up:
                    raise WebHdfsError(
                        f"{path} could not be written to HDFS at {self.address}: {error}"
                    ) from error
                time.sleep(0.5)

    def _send(self, path: str, content: bytes | BinaryIO, size: int) -> None:
        url = self._url(path, "CREATE", overwrite="true", noredirect="true")
        request = urllib.request.Request(url, method="PUT")
        with self._stay.open(request, timeout=self.timeout) as answer:
            location = json.load(answer)["Location"]
        upload = urllib.request.Request(
            location,
            data=content,
            method="PUT",
            headers={"Content-Type": "application/octet-stream", "Content-Length": str(size)},
        )
        self._follow.open(upload, timeout=self.timeout).close()

    def get(self, path: str, target: Path) -> None:
        """Download a file.

        Raises:
            FileNotFoundError: if it is not there.
            WebHdfsError: if it did not work within the patience.
        """
        with self._retry("GET", self._url(path, "OPEN")) as answer, target.open("wb") as sink:
            shutil.copyfileobj(answer, sink, _CHUNK)

    def make_directory(self, path: str) -> None:
        """Make a directory with all above it; fine if it is there."""
        self._retry("PUT", self._url(path, "MKDIRS")).close()

    def delete(self, path: str) -> None:
        """Remove a file or a directory with all that is in it; fine if it is not there."""
        self._retry("DELETE", self._url(path, "DELETE", recursive="true")).close()

    def _retry(self, method: str, url: str, refused: tuple[int, ...] = ()) -> BinaryIO:
        give_up = time.monotonic() + self.patience
        while True:
            try:
                request = urllib.request.Request(url, method=method)
                answer: BinaryIO = self._follow.open(request, timeout=self.timeout)
                return answer
            except urllib.error.HTTPError as error:
                if error.code == 404:
                    raise FileNotFoundError(url) from None
                if self._is_full(error):
                    raise self._no_space() from error
                if error.code in refused:
                    raise PermissionError(f"{url}: {error}") from None
                problem: Exception = error
                if error.code in (400, 401):
                    raise WebHdfsError(f"{url}: {error}") from error
            except OSError as error:
                problem = error
            if time.monotonic() > give_up:
                raise WebHdfsError(f"HDFS at {self.address} does not serve {url}: {problem}")
            time.sleep(0.5)
