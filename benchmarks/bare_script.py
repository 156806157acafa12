"""A cluster on hosts made by a bare script: `ssh`, `scp` and the plain ``nomad`` command.

It brings every host the same files, in parallel, and starts the same agents and jobs. What it does
without: looking at the hosts first, claiming them, checking what was sent, notes of what is done.
"""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from by_hand import ByHand

from cloudmesh.sparknomad.cluster.nomad.hosts.deployment import firewall_script, host_files
from cloudmesh.sparknomad.cluster.nomad.hosts.pki import Authority
from cloudmesh.sparknomad.cluster.nomad.hosts.scripts import script
from cloudmesh.sparknomad.cluster.nomad.record import HostRecord, NomadCluster
from cloudmesh.sparknomad.packing import Packed

__all__ = ["BareScript", "Login"]

_STORE = "/var/lib/sparknomad/store"


@dataclass(frozen=True)
class Login:
    """How OpenSSH reaches the hosts."""

    key: Path

    @property
    def options(self) -> list[str]:
        known = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
        return ["-i", str(self.key), *known, "-o", "LogLevel=ERROR", "-o", "BatchMode=yes"]

    def run(self, host: HostRecord, words: str) -> str:
        """Run a script on a host."""
        command = ["ssh", *self.options, f"root@{host.address}", "sh", "-s"]
        done = subprocess.run(command, input=words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (words[:200], done.stderr)
        return done.stdout

    def copy(self, host: HostRecord, paths: Iterable[Path], target: str) -> None:
        """Copy files to a directory of a host."""
        command = ["scp", "-q", "-p", *self.options, *map(str, paths)]
        subprocess.run([*command, f"root@{host.address}:{target}/"], check=True)


class BareScript(ByHand):
    """What somebody who knows Nomad would keep in a script.

    Args:
        cluster: that was deployed once; the same hosts, keys and settings.
        directory: of that cluster, as it was then, with its certificates.
        login: how its hosts are reached.
        goods: Nomad, then the layers of the image, compressed.
    """

    def __init__(
        self, cluster: NomadCluster, directory: Path, login: Login, goods: Sequence[Packed]
    ) -> None:
        super().__init__({}, directory)
        self.cluster = cluster
        self.login = login
        self.goods = goods
        self.place = PurePosixPath(cluster.directory)

    def deploy(self) -> None:
        hosts = self.cluster.hosts
        self.each(self.bring, hosts)
        servers = [host for host in hosts if host.server]
        self.each(self.start, servers)
        self.until(lambda: self.nomad("operator", "api", "/v1/status/leader", check=False).strip())
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(self.cluster.token)
            file.flush()
            self.nomad("acl", "bootstrap", file.name)
        rules = firewall_script(self.cluster, hosts)
        self.each(lambda host: self.login.run(host, rules), hosts)
        self.each(self.start, [host for host in hosts if not host.server])
        self.until(self.all_ready)
        self.put_variables()
        self.run_jobs()
        self.until(self.is_whole)

    def each(self, do: Callable[[HostRecord], Any], hosts: Sequence[HostRecord]) -> None:
        with ThreadPoolExecutor(len(hosts)) as pool:
            list(pool.map(do, hosts))

    def bring(self, host: HostRecord) -> None:
        """Nomad and the image, and the agent's files, each with one command."""
        self.login.run(host, f"mkdir -p {self.place}/tls")
        goods = self.goods if host.worker else self.goods[:1]
        for packed in goods:
            # All of them are called packed.gz.
            self.login.run(host, f"mkdir -p {_STORE}/{packed.digest}")
            self.login.copy(host, [packed.path], f"{_STORE}/{packed.digest}")
        stored = [f"{_STORE}/{packed.digest}/packed.gz" for packed in goods]
        values = {"directory": str(self.place.parent), "source": stored[0]}
        self.login.run(host, script("nomad", **values, digest=goods[0].content))
        if host.worker:
            layers = {"image": self.cluster.image_id[:32], "layers": " ".join(stored[1:])}
            self.login.run(host, script("unpack", directory=str(self.place.parent), **layers))
        self.login.run(host, f"rm -rf {_STORE}")

    def start(self, host: HostRecord) -> None:
        files = host_files(self.cluster, host, Authority(self.directory / "tls", "bare"))
        with tempfile.TemporaryDirectory() as name:
            by_target: dict[str, list[Path]] = {}
            for target, content in files.items():
                path = Path(name, target.lstrip("/"))
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
                path.chmod(0o600)
                by_target.setdefault(str(PurePosixPath(target).parent), []).append(path)
            for target, paths in by_target.items():
                self.login.copy(host, paths, target)
        values = {"directory": str(self.place.parent), "cluster": self.place.name}
        # So that the tool can remove it afterwards; not a step of its own.
        mark = f"echo {shlex.quote(self.cluster.identity)} >{self.place}/id\n"
        self.login.run(host, mark + script("start", **values, mark="bare"))

    @property
    def environment(self) -> dict[str, str]:
        tls = self.directory / "tls"
        return {
            **super().environment,
            "NOMAD_CACERT": str(tls / "ca.pem"),
            "NOMAD_CLIENT_CERT": str(tls / "operator.pem"),
            "NOMAD_CLIENT_KEY": str(tls / "operator-key.pem"),
        }

    def all_ready(self) -> bool:
        told = self.nomad("operator", "api", "/v1/nodes", check=False)
        workers = sum(host.worker for host in self.cluster.hosts)
        return told.count('"Status":"ready"') == workers

    def put_variables(self) -> None:
        super().put_variables()
        tls = self.directory / "tls"
        signed = Authority(tls, "bare").issue("gateway", "gateway", [])
        items = {"cert": signed.certificate, "key": signed.key, "ca": signed.authority}
        pairs = [f"{name}={path.read_text('utf-8')}" for name, path in items.items()]
        self.nomad("var", "put", "-force", "nomad/jobs/gateway", *pairs)

    def fetch(self, url: str, *options: str) -> str:
        """From a host of the cluster: the firewall keeps others out."""
        words = shlex.join(["curl", "-s", "-m", "5", *options, url])
        return self.login.run(self.cluster.hosts[0], f"{words} || true")
