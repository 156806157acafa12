"""Spark's master and workers as processes: how they are started, and what is on disk of them."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from cloudmesh.sparknomad.cluster.foreign import refuse_foreign
from cloudmesh.sparknomad.incluster import java_options
from cloudmesh.sparknomad.model import HostRuntime
from cloudmesh.sparknomad.ports import free_ports
from cloudmesh.sparknomad.processes import ProcessRef, spawn_detached, write_private
from cloudmesh.sparknomad.specs import ClusterSpec
from cloudmesh.sparknomad.units import spark_size

__all__ = ["HOST", "MARK", "TEMPORARY", "Daemon", "LocalCluster", "start_master", "start_worker"]

HOST = "127.0.0.1"
MARK = "runtime"
"""A field that tells a record of this provider from others'."""
TEMPORARY = "tmp"
"""What processes that are killed leave behind lies there, and goes with the cluster."""


@dataclass(frozen=True)
class Daemon:
    """One process of the cluster."""

    name: str
    pid: int
    created: float
    ui_port: int

    @property
    def process(self) -> ProcessRef:
        """The process, safe to signal."""
        return ProcessRef(self.pid, self.created)

    @property
    def ui(self) -> str:
        """The URL of its web page."""
        return f"http://{HOST}:{self.ui_port}"


@dataclass(frozen=True)
class LocalCluster:
    """What ``cluster.json`` of an embedded cluster holds.

    Attributes:
        runtime: Spark and Java, as text.
        cores: of each worker.
        memory: of each worker, in bytes.
        workers_wanted: how many there should be.
        master_port: of ``spark://``; 0 before it was started.
        master: the process, once started.
        workers: the processes that were started.
    """

    runtime: Mapping[str, str]
    cores: int
    memory: int
    workers_wanted: int
    conf: Mapping[str, str]
    master_port: int = 0
    master: Daemon | None = None
    workers: tuple[Daemon, ...] = field(default_factory=tuple)

    @classmethod
    def new(cls, spec: ClusterSpec, runtime: HostRuntime) -> LocalCluster:
        """The record of a cluster of which nothing runs yet."""
        listed = {name: str(value) for name, value in vars(runtime).items()}
        return cls(listed, spec.cores, spec.memory, spec.all_workers, dict(spec.conf))

    @classmethod
    def read(cls, directory: Path) -> LocalCluster | None:
        """Read it, or ``None`` if it is not there.

        Raises:
            ConflictError: if it is another provider's.
        """
        try:
            data: dict[str, Any] = json.loads((directory / "cluster.json").read_text("utf-8"))
        except FileNotFoundError:
            return None
        refuse_foreign(directory, data, MARK)
        master = Daemon(**data.pop("master")) if data["master"] else data.pop("master")
        workers = tuple(Daemon(**worker) for worker in data.pop("workers"))
        return cls(**data, master=master, workers=workers)

    def write(self, directory: Path) -> LocalCluster:
        """Write it, atomically."""
        write_private(directory / "cluster.json", json.dumps(asdict(self)))
        return self

    def changed(self, **changes: Any) -> LocalCluster:
        """A copy with other values."""
        return replace(self, **changes)

    @property
    def url(self) -> str:
        """The master's address."""
        return f"spark://{HOST}:{self.master_port}"

    @property
    def daemons(self) -> tuple[Daemon, ...]:
        """All processes, the master last."""
        return (*self.workers, *((self.master,) if self.master else ()))


def prepare(directory: Path) -> None:
    """Make a cluster's directories and its secret; what is there stays."""
    for name in ("conf", "logs", "work", "artifacts", "runs", TEMPORARY):
        (directory / name).mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)
    secret = directory / "secret"
    if not secret.exists():
        write_private(secret, secrets.token_hex(32))
    value = secret.read_text("utf-8")
    defaults = (
        f"spark.authenticate true\nspark.authenticate.secret {value}\n"
        "spark.network.crypto.enabled true\n"
    )
    write_private(directory / "daemon.properties", defaults)


def start_master(directory: Path, cluster: LocalCluster) -> LocalCluster:
    """Start the master on its former port, or on a free one."""
    port, ui_port = free_ports(2)
    port = cluster.master_port or port
    arguments = ["--host", HOST, "--port", str(port), "--webui-port", str(ui_port)]
    master = _start(directory, cluster, "master", "master.Master", arguments, ui_port)
    return cluster.changed(master=master, master_port=port).write(directory)


def start_worker(directory: Path, cluster: LocalCluster, number: int) -> LocalCluster:
    """Start one worker and add it to the record."""
    (ui_port,) = free_ports(1)
    arguments = ["--host", HOST, "--webui-port", str(ui_port), "--cores", str(cluster.cores)]
    arguments += ["--memory", spark_size(cluster.memory)]
    arguments += ["--work-dir", str(directory / "work"), cluster.url]
    worker = _start(directory, cluster, f"worker-{number}", "worker.Worker", arguments, ui_port)
    kept = tuple(w for w in cluster.workers if w.name != worker.name)
    return cluster.changed(workers=(*kept, worker)).write(directory)


def _start(
    directory: Path,
    cluster: LocalCluster,
    name: str,
    main_class: str,
    arguments: list[str],
    ui_port: int,
) -> Daemon:
    spark_home = cluster.runtime["spark_home"]
    java_home = cluster.runtime["java_home"]
    conf = [f"-D{key}={value}" for key, value in cluster.conf.items()]
    recovery = [
        "-Dspark.deploy.recoveryMode=FILESYSTEM",
        f"-Dspark.deploy.recoveryDirectory={directory / 'recovery'}",
    ]
    command = [
        f"{java_home}/bin/java",
        "-cp",
        f"{directory / 'conf'}:{spark_home}/jars/*",
        "-Xmx512m",
        *java_options.module_options(java_home),
        *java_options.java_options("fast", driver=True),
        java_options.logging_option(),
        f"-Djava.io.tmpdir={directory / TEMPORARY}",
        "-Dspark.worker.cleanup.enabled=true",
        *(recovery if name == "master" else ()),
        *conf,
        f"org.apache.spark.deploy.{main_class}",
        *("--properties-file", str(directory / "daemon.properties")),
        *arguments,
    ]
    kept = ("PATH", "HOME", "LANG", "TZ", "USER", "LOGNAME")
    environment = {
        **{key: os.environ[key] for key in kept if key in os.environ},
        "SPARK_HOME": spark_home,
        "SPARK_CONF_DIR": str(directory / "conf"),
        # Executors keep there what they shuffle and spill.
        "SPARK_LOCAL_DIRS": str(directory / TEMPORARY),
        "SPARK_LOCAL_IP": HOST,
        "SPARK_SCALA_VERSION": "2.13" if cluster.runtime["spark_version"] >= "4" else "2.12",
        "JAVA_HOME": java_home,
        "PYTHONPATH": f"{spark_home}/python",
    }
    process = spawn_detached(
        command,
        log=directory / "logs" / f"{name}.log",
        environment=environment,
        directory=directory,
    )
    return Daemon(name, process.pid, process.created, ui_port)
