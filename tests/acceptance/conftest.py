"""The command as a user calls it: a subprocess with a configuration directory of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from google_account import google
from hdfs import Hdfs
from needs import require
from servers import Server
from wrongs import Wrong, fake_clock, wrongs

if TYPE_CHECKING:
    from acceptance.words import Stores

SECONDS = 300
LOOKS = {"graph", "info", "inspect", "list", "logs", "report", "runs", "schedules", "show",
         "staged", "status", "usage"}  # fmt: skip


@dataclass(frozen=True)
class Done:
    """What a command returned, printed and told."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Command:
    """``cms sparknomad`` with a configuration directory, a cache and a working directory.

    Whatever only looks goes by the script ``sparknomad``, which runs the same ``main``: `cms`
    imports every plugin first, and tests look hundreds of times while they wait. That both answer
    alike is the matter of ``test_command.py``, where `always_cms` is set.
    """

    home: Path
    cache: Path
    always_cms: bool = False

    @property
    def environment(self) -> dict[str, str]:
        kept = ("PATH", "LANG", "DOCKER_HOST", "PIP_INDEX_URL", "PIP_CERT", "SSL_CERT_FILE")
        return {
            **{name: os.environ[name] for name in kept if name in os.environ},
            "HOME": str(self.home),
            "CLOUDMESH_CONFIG_DIR": str(self.home / ".cloudmesh"),
            "SPARKNOMAD_CACHE": str(self.cache),
            "PYTHONWARNINGS": "error::ResourceWarning",
        }

    def words(self, *arguments: str) -> list[str]:
        looks = not self.always_cms and LOOKS & set(arguments[:3])
        program = ["sparknomad"] if looks else ["cms", "sparknomad"]
        return [str(Path(sys.executable).with_name(program[0])), *program[1:], *arguments]

    def __call__(self, *arguments: str, **environment: str) -> Done:
        done = subprocess.run(
            self.words(*arguments),
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
            env={**self.environment, **environment},
            cwd=self.home,
            stdin=subprocess.DEVNULL,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def ok(self, *arguments: str, **environment: str) -> Done:
        """Run, and expect that it works."""
        done = self(*arguments, **environment)
        assert done.code == 0, f"{arguments}: {done}"
        return done

    def killed(self, seconds: float, *arguments: str, number: int = signal.SIGKILL) -> int:
        """Run for a while at most, then kill; the return code as the shell tells it."""
        process = subprocess.Popen(
            self.words(*arguments),
            env=self.environment,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(number)
            return process.wait(60)


def ours(cluster: Command, matches: Callable[[list[str]], bool]) -> list[psutil.Process]:
    """Processes of this test's own cluster whose command line matches."""
    allocations = cluster.home / ".cloudmesh/sparknomad/clusters/default/nomad/alloc"
    ids = [path.name for path in allocations.iterdir()] if allocations.is_dir() else []
    found = []
    for process in psutil.process_iter():
        try:
            groups = Path(f"/proc/{process.pid}/cgroup").read_text()
            if any(name in groups for name in ids) and matches(process.cmdline()):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def controllers(cluster: Command) -> list[psutil.Process]:
    """The processes that run pipelines of this test's own cluster."""
    return ours(
        cluster,
        lambda words: "/opt/sparknomad/pipeline_run.py" in words and words[0].endswith("python3"),
    )


@contextlib.contextmanager
def ended(command: Command) -> Iterator[Command]:
    """Give a command, and end what its tests have left."""
    try:
        yield command
    finally:
        _end_clusters(command)


def _end_clusters(command: Command) -> None:
    clusters = command.home / ".cloudmesh" / "sparknomad" / "clusters"
    for directory in clusters.iterdir() if clusters.is_dir() else ():
        if directory.is_dir():
            done = command("cluster", "destroy", directory.name, "--force")
            assert done.code == 0, done


@pytest.fixture
def command(tmp_path: Path, cache: Path) -> Iterator[Command]:
    with ended(Command(tmp_path, cache)) as made:
        yield made


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Command]:
    """A command whose embedded cluster serves the tests of a module."""
    with ended(Command(tmp_path_factory.mktemp("shared"), cache)) as made:
        yield made


@pytest.fixture(scope="session")
def wrong(
    tmp_path_factory: pytest.TempPathFactory, s3_server: Server, swift_server: Server
) -> Iterator[dict[str, Wrong]]:
    """Profiles on which one thing is wrong, by their names."""
    if os.environ.get("CI"):
        require(fake_clock(1), "libfaketime (Debian: apt-get install libfaketime)")
    with wrongs(tmp_path_factory.mktemp("wrongs"), s3_server, swift_server) as made:
        yield {each.name: each for each in made}


@pytest.fixture(scope="module")
def stores(
    s3_server: Server,
    gcs_server: Server,
    azure_server: Server,
    swift_server: Server,
    hdfs_server: Hdfs,
) -> Iterator[Stores]:
    """All of them; the account's tokens end soon, so that every run has to get some."""
    from acceptance.words import Stores

    with google(gcs_server.endpoint) as account:
        account.life = 20
        yield Stores(s3_server, gcs_server, account, azure_server, swift_server, hdfs_server)
