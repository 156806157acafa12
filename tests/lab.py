"""Hosts on one machine: each a set of namespaces whose first process is an SSH server.

A bridge in a network namespace of its own joins them; a veth leads from it to this machine,
which so is outside of the cluster's network, as an operator's laptop is.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

__all__ = ["Lab", "LabHost", "lab"]

_NUMBERS = itertools.count(os.getpid() % 200)
_NETWORK = 0x4000_0000  # CLONE_NEWNET
_LINK = ("wan0", "wan1")
_OWN = ("var/lib/sparknomad", "run")
"""What each host has for itself; the rest is this machine's."""


def _do(*words: object, check: bool = True) -> str:
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(map(str, words))}: {done.stderr}")
    return done.stdout


@dataclass
class LabHost:
    """One host of a lab."""

    lab: Lab
    name: str
    address: str
    process: subprocess.Popen[bytes] | None = None
    own: ClassVar[tuple[str, ...]] = _OWN

    @property
    def namespace(self) -> str:
        return f"{self.lab.prefix}-{self.name}"

    @property
    def directory(self) -> Path:
        """Its own files, as this machine sees them."""
        return self.lab.directory / self.name

    @property
    def state(self) -> Path:
        """What it has as /var/lib/sparknomad."""
        return self.directory / "var/lib/sparknomad"

    def boot(self) -> None:
        """Switch it on; after a power-off its files are as they were."""
        shutil.rmtree(self.directory / "run", ignore_errors=True)
        (self.directory / "run" / "sshd").mkdir(parents=True)
        script = [f"hostname {self.name}"]
        for part in self.own:
            own = self.directory / part
            own.mkdir(parents=True, exist_ok=True)
            Path("/", part).mkdir(parents=True, exist_ok=True)
            script.append(f"mount --bind '{own}' /{part}")
        script.append(f"exec /usr/sbin/sshd -D -e -f '{self.directory}/sshd_config'")
        self._configure()
        enter = ("nsenter", f"--net=/run/netns/{self.namespace}")
        kinds = ("--mount", "--uts", "--ipc", "--pid", "--cgroup", "--fork", "--mount-proc")
        unshare = ("unshare", *kinds, "--propagation=slave", "--kill-child=SIGKILL")
        command = [*enter, *unshare, "bash", "-ec", "\n".join(script)]
        with (self.directory / "sshd.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
        give_up = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError), socket.create_connection((self.address, 22), 1):
                return
            told = (self.directory / "sshd.log").read_text()
            assert self.process.poll() is None, told
            assert time.monotonic() < give_up, told
            time.sleep(0.02)

    def _configure(self) -> None:
        key = self.directory / "host_key"
        if not key.exists():
            _do("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
        (self.directory / "sshd_config").write_text(
            f"HostKey {key}\n"
            f"AuthorizedKeysFile {self.authorized}\n"
            "StrictModes no\nUsePAM no\nPermitRootLogin prohibit-password\n"
            "PasswordAuthentication no\nPidFile none\nMaxSessions 100\nMaxStartups 100\n"
            "Subsystem sftp internal-sftp\n"
        )

    def power_off(self) -> None:
        """Everything that runs on it is gone at once."""
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.process = None

    def hang(self, *, still: bool = True) -> None:
        """Let its SSH server accept connections and say nothing; or let it go on."""
        os.kill(self._init(), signal.SIGSTOP if still else signal.SIGCONT)

    def run(self, *words: str, check: bool = True) -> str:
        """Run a program on it, in all of its namespaces."""
        return _do(*self.enter(), *words, check=check)

    def enter(self) -> list[str]:
        """The words before a command that is to run on it."""
        assert self.process
        inner = self._init()
        return ["nsenter", f"--target={inner}", "--all", "--root", "--"]

    def _init(self) -> int:
        assert self.process
        pid = self.process.pid
        while True:  # nsenter becomes unshare, whose child is the first process of the host
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            if children:
                return int(children[0])
            time.sleep(0.01)

    def listen(self) -> socket.socket:
        """A socket of this process that listens in the host's network."""
        made: list[socket.socket] = []

        def enter() -> None:
            library = ctypes.CDLL(None, use_errno=True)
            with open(f"/run/netns/{self.namespace}") as namespace:
                if library.setns(namespace.fileno(), _NETWORK):
                    raise OSError(ctypes.get_errno(), "setns")
            made.append(socket.create_server((self.address, 0), backlog=128))

        thread = threading.Thread(target=enter)  # which alone is in that network
        thread.start()
        thread.join()
        return made[0]

    @property
    def authorized(self) -> str:
        """The file with the keys that may log in."""
        return f"{self.lab.key}.pub"

    @property
    def known_host(self) -> str:
        """Its public host key."""
        return (self.directory / "host_key.pub").read_text().rsplit(" ", 1)[0].strip()

    @property
    def entry(self) -> dict[str, str]:
        """How a spec names it."""
        return {
            "host": self.address,
            "user": "root",
            "key": str(self.lab.key),
            "host_key": self.known_host,
        }


@dataclass
class Lab:
    """Some hosts, their network, and a key that opens them all."""

    directory: Path
    prefix: str
    subnet: str
    hosts: list[LabHost] = field(default_factory=list)
    far: frozenset[str] = frozenset()

    @property
    def key(self) -> Path:
        return self.directory / "key"

    def known_hosts(self) -> str:
        """A known_hosts file of all of them."""
        return "".join(f"{host.address} {host.known_host}\n" for host in self.hosts)

    def add(self, name: str) -> LabHost:
        """Add a host and switch it on."""
        host = LabHost(self, name, f"{self.subnet}.{len(self.hosts) + 2}")
        self.hosts.append(host)
        self.connect(host)
        host.boot()
        return host

    def connect(self, host: LabHost) -> None:
        """Give a host its place in the network."""
        host.directory.mkdir(parents=True)
        number = host.address.rpartition(".")[2]
        outer, switch = f"{self.prefix}{number}", f"{self.prefix}-sw"
        _do("ip", "netns", "add", host.namespace)
        inside = ("ip", "-n", host.namespace)
        _do("ip", "link", "add", outer, "netns", switch, "type", "veth", "peer", "eth0",
            "netns", host.namespace)  # fmt: skip
        bridge = "br1" if host.name in self.far else "br0"
        _do("ip", "-n", switch, "link", "set", outer, "master", bridge, "up")
        _do(*inside, "address", "add", f"{host.address}/24", "dev", "eth0")
        _do(*inside, "link", "set", "lo", "up")
        _do(*inside, "link", "set", "eth0", "up")
        _do(*inside, "route", "add", "default", "via", f"{self.subnet}.1")

    def slow(self, rate: str) -> None:
        """Let the link to the far hosts carry no more than so much, such as ``24mbit``."""
        for end in _LINK:
            _do("ip", "netns", "exec", f"{self.prefix}-sw", "tc", "qdisc", "replace", "dev", end,
                "root", "tbf", "rate", rate, "burst", "64kb", "latency", "100ms")  # fmt: skip

    def carried(self) -> int:
        """The bytes that the link to the far hosts has carried in either direction."""
        told = _do("ip", "-n", f"{self.prefix}-sw", "-json", "-stats", "link", "show", _LINK[0])
        (link,) = json.loads(told)
        return sum(int(link["stats64"][way]["bytes"]) for way in ("rx", "tx"))


@contextmanager
def lab(directory: Path, count: int = 0, far: Collection[str] = ()) -> Iterator[Lab]:
    """Some hosts named ``h1``, ``h2``, …; nothing of them is left afterwards.

    Args:
        directory: for their files.
        count: how many.
        far: names of those that a link joins to the others and to this machine.
    """
    taken = _do("ip", "-oneline", "address")
    free = (number % 250 for number in _NUMBERS)
    number = next(number for number in free if f" 10.77.{number}.1/" not in taken)
    made = Lab(directory, f"sn{os.getpid() % 100_000:x}{number:x}", f"10.77.{number}")
    made.far = frozenset(far)
    switch = f"{made.prefix}-sw"
    _do("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", made.key)
    try:
        _do("ip", "netns", "add", switch)
        _do("ip", "-n", switch, "link", "add", "br0", "type", "bridge")
        _do("ip", "-n", switch, "link", "set", "br0", "up")
        if far:
            _do("ip", "-n", switch, "link", "add", "br1", "type", "bridge")
            _do("ip", "-n", switch, "link", "set", "br1", "up")
            _do("ip", "-n", switch, "link", "add", _LINK[0], "type", "veth", "peer", _LINK[1])
            for end, bridge in zip(_LINK, ("br0", "br1"), strict=True):
                _do("ip", "-n", switch, "link", "set", end, "master", bridge, "up")
        root = f"{made.prefix}r"
        _do("ip", "link", "add", root, "type", "veth", "peer", "up0", "netns", switch)
        _do("ip", "-n", switch, "link", "set", "up0", "master", "br0", "up")
        _do("ip", "address", "add", f"{made.subnet}.1/24", "dev", root)
        _do("ip", "link", "set", root, "up")
        for index in range(1, count + 1):
            made.add(f"h{index}")
        yield made
    finally:
        for host in made.hosts:
            host.power_off()
            _do("ip", "netns", "delete", host.namespace, check=False)
        _do("ip", "netns", "delete", switch, check=False)
        _do("ip", "link", "delete", f"{made.prefix}r", check=False)
