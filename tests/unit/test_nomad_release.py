"""Nomad's release, from a real HTTP server on this machine."""

from __future__ import annotations

import hashlib
import io
import os
import random
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from threaded import threaded

from cloudmesh.sparknomad.cluster.nomad import binary, gobuild, release
from cloudmesh.sparknomad.configuration import Configuration
from cloudmesh.sparknomad.errors import DependencyError, DownloadError, SpecError

VERSION = binary.VERSION
NAME = f"nomad_{VERSION}_linux_amd64.zip"
SUMS = f"nomad_{VERSION}_SHA256SUMS"
SCRIPT = f"#!/bin/sh\necho Nomad v{VERSION}\n"
BLOCK = 16 * 1024


def zipped(files: dict[str, bytes]) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as stream:
        for name, content in files.items():
            stream.writestr(name, content)
    return sink.getvalue()


FILLER = random.Random(1).randbytes(400_000)
ARCHIVE = zipped({"LICENSE.txt": FILLER, "nomad": SCRIPT.encode()})


class Handler(BaseHTTPRequestHandler):
    server: Mirror

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        self.server.asked.append((name, self.headers.get("Range")))
        content = self.server.files.get(self.path)
        planned = self.server.plans.get(name) or []
        act = planned.pop(0) if planned else whole
        try:
            if content is None:
                self.send_error(404)
            else:
                act(self, content)
        except ConnectionError:
            pass  # the client went away

    def begin(self, content: bytes) -> bytes:
        """Send the head, and say what is to follow."""
        asked = self.headers.get("Range") if self.server.ranges else None
        if not asked:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            return content
        at = int(asked.removeprefix("bytes=").removesuffix("-"))
        if at >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return b""
        at += self.server.shift
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {at}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - at))
        self.end_headers()
        return content[at:]

    def log_message(self, format: str, *args: object) -> None:
        pass


class Mirror(ThreadingHTTPServer):
    """Serves a release; what it does wrong is planned per file, one act per request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.plans: dict[str, list[Act]] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.sent: list[int] = []
        self.ranges = True
        self.shift = 0
        self.go_on = threading.Event()
        self.publish(ARCHIVE)

    def publish(self, archive: bytes, sums: str | None = None) -> None:
        digest = hashlib.sha256(archive).hexdigest()
        told = sums if sums is not None else f"{'0' * 64}  other.zip\n{digest}  {NAME}\n"
        self.files[f"/nomad/{VERSION}/{NAME}"] = archive
        self.files[f"/nomad/{VERSION}/{SUMS}"] = told.encode()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/nomad"

    @property
    def archives(self) -> list[str | None]:
        """The ``Range`` of each request for the archive."""
        return [asked for name, asked in self.asked if name == NAME]


Act = Callable[[Handler, bytes], None]


def whole(handler: Handler, content: bytes) -> None:
    rest = handler.begin(content)
    handler.server.sent.append(len(rest))
    handler.wfile.write(rest)


def cut(at: int) -> Act:
    def act(handler: Handler, content: bytes) -> None:
        handler.wfile.write(handler.begin(content)[:at])

    return act


def stalled(at: int) -> Act:
    def act(handler: Handler, content: bytes) -> None:
        handler.wfile.write(handler.begin(content)[:at])
        handler.wfile.flush()
        handler.server.go_on.wait(30)

    return act


def slow(handler: Handler, content: bytes) -> None:
    time.sleep(0.7)
    whole(handler, content)


def answering(status: int) -> Act:
    return lambda handler, _: handler.send_error(status)


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    monkeypatch.setattr(release, "_PAUSE_SECONDS", 0.01)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Mirror() as server, threaded(server):
        yield server
        server.go_on.set()


class Place:
    """A target and a cache, and what was said."""

    def __init__(self, base: Path, mirror: str) -> None:
        self.target, self.cache, self.mirror = base / "target", base / "cache", mirror
        self.target.mkdir()
        self.said: list[str] = []

    @property
    def part(self) -> Path:
        return self.cache / f"{NAME}.part"

    @property
    def installed(self) -> Path:
        return self.cache / f"nomad-{VERSION}" / "nomad"

    def install(self, say: Callable[[str], None] | None = None) -> None:
        release.install(
            VERSION, "amd64", self.target, self.cache, say or self.said.append, self.mirror
        )

    def find(self, say: Callable[[str], None] | None = None) -> Path:
        configuration = Configuration(nomad_mirror=self.mirror)
        return binary.find_nomad(configuration, self.cache, say or self.said.append)

    def check(self) -> None:
        """It is installed, and nothing else is left."""
        assert [path.name for path in self.target.iterdir()] == ["nomad"]
        assert (self.target / "nomad").read_text() == SCRIPT
        assert stat.S_IMODE((self.target / "nomad").stat().st_mode) == 0o755
        assert list(self.cache.iterdir()) == []

    def check_nothing(self) -> None:
        assert list(self.target.iterdir()) == []
        assert not self.cache.exists() or list(self.cache.iterdir()) == []


@pytest.fixture
def place(tmp_path: Path, mirror: Mirror) -> Place:
    return Place(tmp_path, mirror.url)


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """No Nomad on ``PATH``, amd64, and a build that only notes that it was asked for."""
    built: list[str] = []

    def build(version: str, *_: object) -> None:
        built.append(version)
        raise DependencyError("no Go")

    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(gobuild, "install", build)
    return built


def interrupt_at(words: str) -> Callable[[str], None]:
    def say(message: str) -> None:
        if words in message:
            raise KeyboardInterrupt

    return say


# What goes well


def test_a_release_is_fetched_checked_and_unpacked(mirror: Mirror, place: Place) -> None:
    place.install()
    place.check()
    assert mirror.asked == [(SUMS, None), (NAME, None)]
    shown = [message for message in place.said if message.startswith("fetching Nomad: ")]
    assert len(shown) == 10
    assert shown[-1] == "fetching Nomad: 0.4 of 0.4 MB"


def test_a_mirror_may_end_in_a_slash(mirror: Mirror, place: Place) -> None:
    place.mirror += "/"
    place.install()
    place.check()


def test_without_a_mirror_the_official_address_is_asked(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release, "OFFICIAL", place.mirror)
    place.mirror = ""
    place.install()
    place.check()


@pytest.mark.parametrize("form", ["{0} *{1}\r\n", "{2}  {1}"])
def test_other_forms_of_the_sums(mirror: Mirror, place: Place, form: str) -> None:
    digest = hashlib.sha256(ARCHIVE).hexdigest()
    mirror.publish(ARCHIVE, form.format(digest, NAME, digest.upper()))
    place.install()
    place.check()


# What breaks off, and goes on


@pytest.mark.parametrize("at", [12 * BLOCK, 200_001, 10, 0, len(ARCHIVE) - 1])
def test_a_cut_connection_asks_for_the_missing_bytes_only(
    mirror: Mirror, place: Place, at: int
) -> None:
    mirror.plans[NAME] = [cut(at)]
    place.install()
    place.check()
    kept = at // BLOCK * BLOCK
    assert mirror.archives == [None, f"bytes={kept}-" if kept else None]
    assert mirror.sent[-1] == len(ARCHIVE) - kept
    assert any("broke off; trying again" in message for message in place.said)


def test_a_download_goes_on_as_often_as_it_broke_off(mirror: Mirror, place: Place) -> None:
    mirror.plans[NAME] = [cut(5 * BLOCK)] * 3
    place.install()
    place.check()
    assert mirror.archives == [None, *(f"bytes={n * 5 * BLOCK}-" for n in (1, 2, 3))]


def test_a_connection_that_always_breaks_is_given_up(mirror: Mirror, place: Place) -> None:
    mirror.plans[NAME] = [cut(BLOCK)] * 9
    with pytest.raises(DownloadError, match=f"{NAME} can't be fetched: the connection broke off"):
        place.install()
    assert len(mirror.archives) == 4
    assert place.part.read_bytes() == ARCHIVE[: 4 * BLOCK]
    assert list(place.target.iterdir()) == []


def test_a_server_without_ranges_sends_all_again(mirror: Mirror, place: Place) -> None:
    mirror.ranges = False
    mirror.plans[NAME] = [cut(200_000)]
    place.install()
    place.check()
    assert mirror.sent[-1] == len(ARCHIVE)


def test_a_server_that_goes_on_elsewhere_is_asked_for_all(mirror: Mirror, place: Place) -> None:
    mirror.shift = 7
    mirror.plans[NAME] = [cut(200_000)]
    place.install()
    place.check()
    assert mirror.archives == [None, f"bytes={200_000 // BLOCK * BLOCK}-", None]


def test_a_server_that_stalls_is_asked_again(
    mirror: Mirror, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release, "_READ_SECONDS", 1.0)
    mirror.plans[NAME] = [stalled(2 * BLOCK)]
    place.install()
    place.check()
    assert mirror.archives == [None, f"bytes={2 * BLOCK}-"]
    assert any("nothing came for 1.0 s" in message for message in place.said)


def test_an_interrupted_download_goes_on_at_the_next_call(mirror: Mirror, place: Place) -> None:
    with pytest.raises(KeyboardInterrupt):
        place.install(interrupt_at("fetching Nomad: 0.2 of"))
    kept = place.part.stat().st_size
    assert 0 < kept < len(ARCHIVE)
    assert place.part.read_bytes() == ARCHIVE[:kept]
    assert list(place.target.iterdir()) == []
    place.install()
    place.check()
    assert mirror.archives == [None, f"bytes={kept}-"]
    assert mirror.sent[-1] == len(ARCHIVE) - kept


def test_an_interrupted_unpacking_fetches_nothing_again(
    mirror: Mirror, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def extract(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(zipfile.ZipFile, "extract", extract)
        place.install()
    assert place.part.read_bytes() == ARCHIVE
    place.install()
    place.check()
    assert mirror.archives == [None]


@pytest.mark.parametrize(
    "left", [b"x" * 1000, ARCHIVE + b"x", b"x" * len(ARCHIVE)], ids=["other", "longer", "as long"]
)
def test_a_leftover_that_does_not_fit_is_fetched_anew(
    mirror: Mirror, place: Place, left: bytes
) -> None:
    place.cache.mkdir()
    place.part.write_bytes(left)
    place.install()
    place.check()
    assert mirror.archives == [f"bytes={len(left)}-", None]


# What fails


def test_a_wrong_sum_keeps_nothing(mirror: Mirror, place: Place) -> None:
    mirror.publish(ARCHIVE, f"{'a' * 64}  {NAME}\n")
    found = hashlib.sha256(ARCHIVE).hexdigest()
    with pytest.raises(DownloadError, match=f"{found}, but {'a' * 64} is published"):
        place.install()
    place.check_nothing()
    assert mirror.archives == [None]


def test_a_wrong_sum_keeps_nothing_of_what_was_left_over(mirror: Mirror, place: Place) -> None:
    mirror.publish(ARCHIVE, f"{'a' * 64}  {NAME}\n")
    place.cache.mkdir()
    place.part.write_bytes(ARCHIVE[:1000])
    with pytest.raises(DownloadError, match="is published"):
        place.install()
    place.check_nothing()
    assert mirror.archives == ["bytes=1000-", None]


@pytest.mark.parametrize(
    "sums", ["", f"{'a' * 64}  other.zip\n", f"{'a' * 63}  {NAME}\n", "<html>"]
)
def test_a_release_without_a_sum_is_not_fetched(mirror: Mirror, place: Place, sums: str) -> None:
    mirror.publish(ARCHIVE, sums)
    with pytest.raises(DownloadError, match=f"{SUMS} publishes no sum of {NAME}"):
        place.install()
    place.check_nothing()
    assert mirror.archives == []


@pytest.mark.parametrize(
    ("archive", "told"),
    [
        (b"garbage" * 1000, "File is not a zip file"),
        (zipped({"LICENSE.txt": FILLER}), "it has no file 'nomad'"),
        (ARCHIVE[:50_000] + b"xyz" + ARCHIVE[50_003:], ""),
        (ARCHIVE.replace(b"echo", b"ECHO"), "Bad CRC-32"),
    ],
    ids=["garbage", "no nomad", "damage elsewhere", "damage"],
)
def test_an_archive_with_the_right_sum_may_hold_no_nomad(
    mirror: Mirror, place: Place, archive: bytes, told: str
) -> None:
    mirror.publish(archive)
    if not told:  # only the license is damaged
        place.install()
        place.check()
        return
    with pytest.raises(DownloadError, match=f"{NAME} has the published sum, .*: {told}"):
        place.install()
    place.check_nothing()


@pytest.mark.parametrize("name", [NAME, SUMS])
@pytest.mark.parametrize("status", [404, 403, 400])
def test_what_is_not_there_is_asked_for_once(
    mirror: Mirror, place: Place, name: str, status: int
) -> None:
    mirror.plans[name] = [answering(status)]
    with pytest.raises(DownloadError, match=f"{name} can't be fetched: .* answers {status}"):
        place.install()
    place.check_nothing()
    assert [asked for asked, _ in mirror.asked].count(name) == 1


@pytest.mark.parametrize("name", [NAME, SUMS])
@pytest.mark.parametrize("status", [503, 500, 429])
def test_a_busy_server_is_asked_again(mirror: Mirror, place: Place, name: str, status: int) -> None:
    mirror.plans[name] = [answering(status)] * 2
    place.install()
    place.check()
    assert [asked for asked, _ in mirror.asked].count(name) == 3
    assert any(f"answers {status}" in message for message in place.said)


def test_a_server_that_stays_busy_is_given_up(mirror: Mirror, place: Place) -> None:
    mirror.plans[SUMS] = [answering(503)] * 9
    with pytest.raises(DownloadError, match="the server answers 503"):
        place.install()
    assert len(mirror.asked) == 4


def test_a_busy_server_keeps_what_has_come(mirror: Mirror, place: Place) -> None:
    mirror.plans[NAME] = [cut(2 * BLOCK), answering(503)]
    place.install()
    place.check()
    assert mirror.archives == [None, f"bytes={2 * BLOCK}-", f"bytes={2 * BLOCK}-"]


@pytest.mark.parametrize("host", ["127.0.0.1:1", "nowhere.invalid"])
def test_without_a_network_it_ends_at_once(place: Place, host: str) -> None:
    place.mirror = f"http://{host}/nomad"
    began = time.monotonic()
    with pytest.raises(DownloadError, match=r"Connection refused|the host can't be found"):
        place.install()
    assert time.monotonic() - began < 5
    place.check_nothing()
    assert len(place.said) == 1


def test_a_host_that_never_answers_is_asked_once(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release, "_CONNECT_SECONDS", 0.3)
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        place.mirror = f"http://127.0.0.1:{full.getsockname()[1]}/nomad"
        began = time.monotonic()
        with pytest.raises(DownloadError, match=r"no connection within 0\.3 s"):
            place.install()
        assert time.monotonic() - began < 3
        for one in waiting:
            one.close()


def test_a_cache_that_can_not_be_written_is_an_error_of_ours(place: Place) -> None:
    place.cache.write_text("a file")
    with pytest.raises(DownloadError, match=f"{NAME} can't be kept here"):
        place.install()


def test_a_password_in_the_address_is_never_shown(mirror: Mirror, place: Place) -> None:
    place.mirror = place.mirror.replace("http://", "http://somebody:secret@")
    mirror.plans[NAME] = [cut(BLOCK), answering(503), answering(404)]
    with pytest.raises(DownloadError, match="http://127") as caught:
        place.install()
    assert not any(word in str([caught.value, *place.said]) for word in ("secret", "somebody"))


# By way of find_nomad


def test_a_release_is_installed_once_and_found_again(
    mirror: Mirror, place: Place, alone: list[str]
) -> None:
    assert place.find() == place.installed
    assert place.find() == place.installed
    assert binary.nomad_version(place.installed) == (1, 10, 0)
    assert len(mirror.asked) == 2
    assert alone == []


@pytest.mark.parametrize(
    ("machine", "name"), [("aarch64", "arm64"), ("x86_64", "amd64"), ("riscv64", "riscv64")]
)
def test_the_release_of_this_machine_is_asked_for(
    mirror: Mirror,
    place: Place,
    alone: list[str],
    monkeypatch: pytest.MonkeyPatch,
    machine: str,
    name: str,
) -> None:
    monkeypatch.setattr("platform.machine", lambda: machine)
    mirror.publish(ARCHIVE, "")
    with pytest.raises(DependencyError, match=f"publishes no sum of nomad_{VERSION}_linux_{name}"):
        place.find()


def test_a_wrong_sum_falls_through_to_the_build(
    mirror: Mirror, place: Place, alone: list[str]
) -> None:
    mirror.publish(ARCHIVE, f"{'a' * 64}  {NAME}\n")
    with pytest.raises(DependencyError, match="is published") as caught:
        place.find()
    assert alone == [VERSION]
    assert "the build from source: no Go" in str(caught.value)
    assert any(
        message.startswith("the release of cloudmesh.sparknomad.nomad_mirror did not serve: ")
        for message in place.said
    )
    assert not place.part.exists()
    assert not place.installed.parent.exists()


@pytest.mark.parametrize("script", ["#!/bin/sh\nexit 1\n", "#!/bin/sh\necho Nomad v1.7.9\n"])
def test_a_release_that_does_not_run_falls_through(
    mirror: Mirror, place: Place, alone: list[str], script: str
) -> None:
    mirror.publish(zipped({"nomad": script.encode()}))
    with pytest.raises(DependencyError, match=r"is no Nomad that runs here|is 1\.7\.9"):
        place.find()
    assert alone == [VERSION]
    assert not place.installed.parent.exists()


def test_an_interruption_does_not_fall_through(
    mirror: Mirror, place: Place, alone: list[str]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        place.find(interrupt_at("fetching Nomad: 0.2 of"))
    assert alone == []
    assert not place.installed.parent.exists()
    kept = place.part.stat().st_size
    assert place.find() == place.installed
    assert mirror.archives == [None, f"bytes={kept}-"]
    assert not place.part.exists()


@pytest.mark.parametrize(
    "address", ["releases.example.com/nomad", "ftp://x/", "http://", "http://["]
)
def test_a_mirror_that_is_no_address_is_the_users_error(
    place: Place, alone: list[str], address: str
) -> None:
    place.mirror = address
    with pytest.raises(SpecError, match=r"^cloudmesh\.sparknomad\.nomad_mirror: '"):
        place.find()
    assert alone == []


FIND = """
import sys
from pathlib import Path
from cloudmesh.sparknomad.cluster.nomad import binary
from cloudmesh.sparknomad.configuration import Configuration
configuration = Configuration(nomad_mirror=sys.argv[1])
print(binary.find_nomad(configuration, Path(sys.argv[2]), lambda message: None))
"""


def finding(place: Place) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", FIND, place.mirror, str(place.cache)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the mirror has amd64 only")
def test_two_processes_download_once(mirror: Mirror, place: Place, alone: list[str]) -> None:
    mirror.plans[NAME] = [slow]
    running = [finding(place) for _ in range(2)]
    for process in running:
        output, errors = process.communicate(timeout=60)
        assert (process.returncode, output.strip()) == (0, str(place.installed)), errors
    assert sorted(mirror.asked) == [(SUMS, None), (NAME, None)]


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the mirror has amd64 only")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_process_leaves_nothing_half_done(
    mirror: Mirror, place: Place, alone: list[str], how: signal.Signals
) -> None:
    mirror.plans[NAME] = [stalled(10 * BLOCK)]
    process = finding(place)
    until = time.monotonic() + 30
    while not (place.part.exists() and place.part.stat().st_size >= 9 * BLOCK):
        assert time.monotonic() < until, "nothing comes"
        time.sleep(0.02)
    process.send_signal(how)
    process.communicate(timeout=30)
    assert process.returncode != 0
    assert not place.installed.parent.exists()
    kept = place.part.stat().st_size
    assert kept >= 9 * BLOCK
    assert place.find() == place.installed
    assert mirror.archives == [None, f"bytes={kept}-"]
    assert alone == []
