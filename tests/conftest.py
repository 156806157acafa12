"""Servers and directories that tests share; each is started once, and only when needed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import servers
from hdfs import Hdfs, hdfs
from needs import require

from cloudmesh.sparknomad.errors import ConflictError
from cloudmesh.sparknomad.image.builder import Images
from cloudmesh.sparknomad.image.docker import daemon_problem
from cloudmesh.sparknomad.model import ImageRecord
from cloudmesh.sparknomad.paths import Paths
from cloudmesh.sparknomad.specfile import build_spec
from cloudmesh.sparknomad.specs import ImageSpec
from cloudmesh.sparknomad.waiting import Deadline, wait_until

# A shell ignores SIGINT for what it runs in the background, and every child would inherit that:
# the tests that press Ctrl-C would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs no mark of its own to be told from the tests that take seconds."""
    for item in items:
        if item.path.parent.name in ("acceptance", "faults"):
            item.add_marker("acceptance")


@pytest.fixture(scope="session")
def cache() -> Path:
    """The cache of this user: Spark, Nomad and image layers are made once."""
    return Paths.from_environment().cache


@pytest.fixture(scope="session")
def docker_host() -> Iterator[str]:
    """A Docker daemon: the one that answers, or one of our own in a temporary directory."""
    if not daemon_problem():
        yield os.environ.get("DOCKER_HOST", "")
        return
    require(shutil.which("dockerd"), "dockerd (Debian: apt-get install docker.io)")
    require(os.geteuid() == 0, "root, to start a Docker daemon")
    directory = Path(tempfile.mkdtemp(prefix="sn-docker-", dir="/tmp"))
    address = f"unix://{directory}/s"
    options = ["--data-root", "r", "--exec-root", "e", "--pidfile", "p"]
    options[1::2] = [str(directory / name) for name in options[1::2]]
    network = ["--bridge=none", "--iptables=false", "--ip-forward=false", "--ip-masq=false"]
    log = (directory / "log").open("wb")
    daemon = subprocess.Popen(
        ["dockerd", "-H", address, *options, *network], stdout=log, stderr=log
    )
    before = os.environ.get("DOCKER_HOST")
    os.environ["DOCKER_HOST"] = address
    try:
        give_up = time.monotonic() + 60
        while daemon_problem():
            assert daemon.poll() is None, (directory / "log").read_text()[-2000:]
            assert time.monotonic() < give_up, "dockerd did not answer within 60 s"
            time.sleep(0.1)
        yield address
    finally:
        if before is None:
            del os.environ["DOCKER_HOST"]
        else:
            os.environ["DOCKER_HOST"] = before
        daemon.terminate()
        try:
            daemon.wait(60)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()
        log.close()
        _unmount_below(directory)
        shutil.rmtree(directory, ignore_errors=True)


def _unmount_below(directory: Path) -> None:
    """dockerd leaves its network namespace's mount behind."""
    targets = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for target in sorted((t for t in targets if t.startswith(f"{directory}/")), reverse=True):
        subprocess.run(["umount", "-l", target], check=False)


@pytest.fixture(scope="session")
def root() -> None:
    """Tests of drivers without Docker enter the image as root."""
    require(os.geteuid() == 0, "root")


@pytest.fixture(scope="session")
def image(cache: Path) -> ImageRecord:
    """The default image, built if it is not there."""
    require(shutil.which("mmdebstrap"), "mmdebstrap (Debian: apt-get install mmdebstrap)")
    images, spec = Images(cache, print), build_spec(ImageSpec, {"image": "default"})

    def built() -> ImageRecord | None:
        try:
            return images.build(spec)
        except ConflictError:  # other tests that run beside these build it just now
            return None

    return wait_until(built, "the image", Deadline(1200), interval=1)


# object stores, each started once


def _store(
    starting: AbstractContextManager[servers.Server],
    bucket: str = "lab",
) -> Iterator[servers.Server]:
    with starting as server:
        servers.make_bucket(server, bucket)
        yield server


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Server]:
    """SeaweedFS, with a bucket ``lab``."""
    yield from _store(servers.seaweedfs(tmp_path_factory.mktemp("s3")))


@pytest.fixture(scope="session")
def gcs_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Server]:
    """fake-gcs-server, with a bucket ``lab``."""
    yield from _store(servers.fake_gcs(tmp_path_factory.mktemp("gcs")))


@pytest.fixture(scope="session")
def azure_server(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[servers.Server]:
    """Azurite, with a container ``lab``."""
    yield from _store(servers.azurite(tmp_path_factory.mktemp("azure"), cache))


@pytest.fixture(scope="session")
def swift_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Server]:
    """OpenStack Swift, with a container ``stack``: Hadoop has one set of keys for each name."""
    yield from _store(servers.swift(tmp_path_factory.mktemp("swift")), "stack")


@pytest.fixture(scope="session")
def hdfs_server(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Hdfs]:
    """An HDFS of one DataNode."""
    with hdfs(tmp_path_factory.mktemp("hdfs"), cache) as server:
        yield server
