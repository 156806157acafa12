"""A small client of WebHDFS: what the driver needs, without starting a Java machine.

Protocol: https://hadoop.apache.org/docs/r3.4.2/hadoop-project-dist/hadoop-hdfs/WebHDFS.html
"""

from __future__ import annotations

import json
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, BinaryIO

__all__ = ["WebHdfs", "WebHdfsError"]

_CHUNK = 1024 * 1024


class WebHdfsError(OSError):
    """HDFS said no, or did not answer in time."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


class WebHdfs:
    """One HDFS, reached through its NameNode's HTTP port.

    Args:
        address: ``host:port`` of the NameNode's HTTP server.
        user: the name under which files are made.
        timeout: seconds that one request may take.
        patience: seconds for which a request is tried again while HDFS starts.
    """

    def __init__(
        self, address: str, *, user: str = "spark", timeout: float = 60, patience: float = 60
    ) -> None:
        self.address = address
        self.user = user
        self.timeout = timeout
        self.patience = patience
        # No proxy of the environment may stand between a cluster and its own storage.
        self._follow = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self._stay = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)

    def _url(self, path: str, operation: str, **query: str) -> str:
        parameters = urllib.parse.urlencode({"op": operation, "user.name": self.user, **query})
        quoted = urllib.parse.quote(path)
        return f"http://{self.address}/webhdfs/v1{quoted}?{parameters}"

    def size(self, path: str) -> int | None:
        """The length of a file in bytes, or ``None`` if it is not there."""
        try:
            with self._retry("GET", self._url(path, "GETFILESTATUS")) as answer:
                status = json.load(answer)["FileStatus"]
        except FileNotFoundError:
            return None
        return int(status["length"])

    def list(self, path: str) -> list[str]:
        """The names in a directory; none if it is not there."""
        try:
            with self._retry("GET", self._url(path, "LISTSTATUS")) as answer:
                statuses = json.load(answer)["FileStatuses"]["FileStatus"]
        except FileNotFoundError:
            return []
        return [status["pathSuffix"] for status in statuses]

    def put(self, source: Path, path: str) -> None:
        """Upload a file; it appears under its name only when it is whole.

        Raises:
            WebHdfsError: if it did not work within the patience.
        """
        temporary = f"{path}.{time.time_ns():x}.part"
        self._write(source, temporary)
        with self._retry("PUT", self._url(temporary, "RENAME", destination=path)) as answer:
            renamed = json.load(answer)["boolean"]
        if not renamed and self.size(path) is None:
            # A rename into a directory that is not there fails without an error.
            self.make_directory(path.rpartition("/")[0])
            with self._retry("PUT", self._url(temporary, "RENAME", destination=path)) as answer:
                renamed = json.load(answer)["boolean"]
        if not renamed:
            # Somebody else's equal file came first: the names are content-addressed.
            self.delete(temporary)
            if self.size(path) != source.stat().st_size:
                raise WebHdfsError(f"HDFS at {self.address} did not take {path}")

    def _write(self, source: Path, path: str) -> None:
        give_up = time.monotonic() + self.patience
        while True:
            try:
                self._write_once(source, path)
                return
            except (OSError, ValueError) as error:
                if time.monotonic() > give_up:
                    raise WebHdfsError(
                        f"{path} could not be written to HDFS at {self.address}: {error}"
                    ) from error
                time.sleep(0.5)

    def _write_once(self, source: Path, path: str) -> None:
        url = self._url(path, "CREATE", overwrite="true", noredirect="true")
        request = urllib.request.Request(url, method="PUT")
        with self._stay.open(request, timeout=self.timeout) as answer:
            location = json.load(answer)["Location"]
        with source.open("rb") as stream:
            upload = urllib.request.Request(
                location,
                data=stream,
                method="PUT",
                headers={
                    "Content-Type": "application/octet-stream",
                    "Content-Length": str(source.stat().st_size),
                },
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

    def _retry(self, method: str, url: str) -> BinaryIO:
        give_up = time.monotonic() + self.patience
        while True:
            try:
                request = urllib.request.Request(url, method=method)
                answer: BinaryIO = self._follow.open(request, timeout=self.timeout)
                return answer
            except urllib.error.HTTPError as error:
                if error.code == 404:
                    raise FileNotFoundError(url) from None
                problem: Exception = error
                if error.code in (400, 401):
                    raise WebHdfsError(f"{url}: {error}") from error
            except OSError as error:
                problem = error
            if time.monotonic() > give_up:
                raise WebHdfsError(f"HDFS at {self.address} does not serve {url}: {problem}")
            time.sleep(0.5)
