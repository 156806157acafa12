"""The Nomad agent of this machine: server and client in one, on loopback, with ACLs."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cloudmesh.sparknomad.cluster.nomad.client import Nomad
from cloudmesh.sparknomad.cluster.nomad.configuration import TASK_PORTS, local_configuration
from cloudmesh.sparknomad.cluster.nomad.record import NomadCluster
from cloudmesh.sparknomad.cluster.nomad.sweep import Sweep, allocation_ids
from cloudmesh.sparknomad.errors import ClusterError, UnreachableError, WaitTimeoutError
from cloudmesh.sparknomad.incluster.own_process import start_time
from cloudmesh.sparknomad.ports import free_block, free_ports, is_listening
from cloudmesh.sparknomad.processes import spawn_detached, stop, write_private
from cloudmesh.sparknomad.waiting import Deadline, wait_until

__all__ = [
    "answers",
    "docker_endpoint",
    "ensure_agent",
    "offered_memory_mb",
    "put_secret",
    "stop_agent",
]

_GRACE_SECONDS = 15
_PORT_CHOICES = 3

# What the agent may see of the environment: its tasks inherit it.
_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


class _PortTakenError(ClusterError):
    """Another program took one of the agent's ports before it did."""


def docker_endpoint() -> str:
    """Where Docker's command line finds its daemon, as Nomad's driver wants it."""
    return os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"


def offered_memory_mb(tasks_mb: int) -> int:
    """What the client offers: this machine's memory, and at least what the cluster needs."""
    import psutil

    here = int(psutil.virtual_memory().total) // 1024**2
    return max(here, tasks_mb)


def answers(cluster: NomadCluster, client: Nomad | None = None) -> str:
    """Whether our agent answers on its port: empty if it does, else why not.

    Args:
        cluster: whose agent.
        client: asks it, so that its connection serves what follows; made if not given.
    """
    client = client or Nomad(cluster.address, cluster.token)
    if not cluster.agent.alive:
        return "it is not running"
    try:
        config = client.self_info()["config"]
    except UnreachableError:
        return "it does not answer"
    except ClusterError as error:
        return error.message
    if config.get("DataDir") != cluster.data:
        return f"another agent answers on port {cluster.ports['http']}"
    return ""


def ensure_agent(
    name: str,
    directory: Path,
    cluster: NomadCluster,
    deadline: Deadline,
    say: Callable[[str], None],
    tasks_mb: int,
) -> NomadCluster:
    """Start the agent unless it runs as it should; wait until it takes work.

    Raises:
        ClusterError: if it ends by itself.
        WaitTimeoutError: if it does not come up in time.
    """
    file = directory / "agent.json"
    if not cluster.task_ports:
        # Two clusters on one machine would meet at one port sooner or later.
        cluster = cluster.changed(task_ports=free_block(TASK_PORTS)).write(directory)
    memory = offered_memory_mb(tasks_mb)
    problem = answers(cluster) if cluster.pid else "it was not started yet"
    wanted = _configuration_text(name, cluster, memory)
    current = file.read_text("utf-8") if file.exists() else ""
    if not problem and current == wanted:
        return cluster
    if cluster.agent.alive:
        say("the agent's configuration has changed: starting it anew; tasks go on")
        stop_agent(cluster)
    elif cluster.pid:
        say(f"the Nomad agent has to be started again: {problem}")
    taken = [port for port in cluster.ports.values() if port and is_listening(port)]
    if taken or not all(cluster.ports.values()):
        if taken:
            say(f"port {taken[0]} is taken by another program: choosing others")
        cluster = _with_ports(cluster, directory)
    write_private(file, _configuration_text(name, cluster, memory))
    cluster = _with_sockets(cluster, directory)
    for _ in range(_PORT_CHOICES - 1):
        try:
            return _start(directory, cluster, deadline, say)
        except _PortTakenError:
            say("another program took one of its ports meanwhile: choosing others")
            cluster = _with_ports(cluster, directory)
            write_private(file, _configuration_text(name, cluster, memory))
    return _start(directory, cluster, deadline, say)


def _with_ports(cluster: NomadCluster, directory: Path) -> NomadCluster:
    ports = dict(zip(("http", "rpc", "serf"), free_ports(3), strict=True))
    return cluster.changed(ports=ports).write(directory)


def _configuration_text(name: str, cluster: NomadCluster, memory: int) -> str:
    document = local_configuration(
        name, cluster, memory_mb=memory, docker_endpoint=docker_endpoint()
    )
    return json.dumps(document, indent=2, sort_keys=True)


def _start(
    directory: Path, cluster: NomadCluster, deadline: Deadline, say: Callable[[str], None]
) -> NomadCluster:
    say("starting the Nomad agent")
    Path(cluster.data).mkdir(parents=True, exist_ok=True)
    _forget_after_reboot(Path(cluster.data))
    log = directory / "agent.log"
    configuration = directory / "agent.json"
    _end_unrecorded(cluster, configuration)
    process = spawn_detached(
        [cluster.binary, "agent", f"-config={configuration}"],
        log=log,
        # The name is that of HashiCorp's go-plugin.
        environment={**_ENVIRONMENT, "PLUGIN_UNIX_SOCKET_DIR": cluster.sockets},
        directory=directory,
    )
    cluster = cluster.changed(pid=process.pid, created=process.created).write(directory)
    nomad = Nomad(cluster.address, cluster.token)

    def led() -> bool:
        if not process.alive:
            reason = _last_error(log)
            kind = _PortTakenError if "address already in use" in reason else ClusterError
            raise kind(f"The Nomad agent ended at once: {reason}", hint=f"See {log}.")
        return bool(nomad.leader())

    wait_until(led, "Nomad to elect its leader", deadline, interval=0.02)
    nomad.bootstrap()
    what = f"Nomad's client with the {cluster.driver} driver"
    wait_until(lambda: _ready(nomad, cluster.driver), what, deadline, interval=0.05)
    nomad.snapshot()
    return cluster


def _end_unrecorded(cluster: NomadCluster, configuration: Path) -> None:
    """End an agent of which a command that was killed has not noted the number."""
    import psutil

    mark = f"-config={configuration}"
    for process in psutil.process_iter(["pid", "cmdline"]):
        if (process.info["cmdline"] or [])[1:3] == ["agent", mark]:
            stop_agent(cluster.changed(pid=process.pid, created=start_time(process.pid)))


def _with_sockets(cluster: NomadCluster, directory: Path) -> NomadCluster:
    """Let the agent's helpers make their sockets where they are found when one was killed.

    Nomad's own default is the directory for temporary files itself. A socket's path has at most
    107 bytes (unix(7)), so it can't lie below every data directory.
    """
    if not cluster.sockets:
        place = Path(tempfile.gettempdir()) / f"sparknomad-{secrets.token_hex(8)}"
        # Remembered first: whoever is killed after it has been made leaves its name.
        cluster = cluster.changed(sockets=str(place)).write(directory)
    Path(cluster.sockets).mkdir(mode=0o700, exist_ok=True)
    return cluster


def _forget_after_reboot(data: Path) -> None:
    """Let Nomad make tasks anew if nothing is mounted for them any more.

    It would restore them without their mounts; without its notes it makes them again, in the
    directories that they had. Only root's tasks have mounts at all.
    """
    if os.geteuid() != 0 or not allocation_ids(data):
        return
    if Sweep(data, (), docker=False).mounts():
        return
    (data / "client" / "state.db").unlink(missing_ok=True)
    # It mounts only where there is no directory yet; one with files in it stays.
    for name in ("alloc", "secrets", "private"):
        for place in (data / "alloc").glob(f"*/*/{name}"):
            with contextlib.suppress(OSError):
                place.rmdir()


def put_secret(nomad: Nomad, cluster: NomadCluster, deadline: Deadline) -> None:
    """Write the cluster's secret where all its jobs may read it.

    A new leader makes the keyring of variables only some time after it has been elected.
    """

    def taken() -> bool:
        try:
            nomad.put_variable("nomad/jobs", {"spark_secret": cluster.spark_secret})
        except ClusterError as error:
            if "keyring" not in error.message:
                raise
            return False
        return True

    wait_until(taken, "Nomad's keyring", deadline, interval=0.1)


def _ready(nomad: Nomad, driver: str) -> bool:
    for node in nomad.nodes():
        state: Mapping[str, Any] = (node.get("Drivers") or {}).get(driver) or {}
        if node["Status"] == "ready" and state.get("Healthy"):
            return True
    return False


def _last_error(log: Path) -> str:
    lines = log.read_text("utf-8", "replace").splitlines()[-200:]
    errors = [line for line in lines if "rror" in line or "==>" in line]
    return (errors or lines or ["no output"])[-1].strip()


def stop_agent(cluster: NomadCluster) -> None:
    """End the agent, and wait until it is gone; its tasks go on."""
    import psutil

    process = cluster.agent
    if not process.alive:
        return
    try:
        psutil.Process(process.pid).terminate()
    except psutil.NoSuchProcess:
        return
    with contextlib.suppress(WaitTimeoutError):
        ended = Deadline(_GRACE_SECONDS)
        wait_until(lambda: not process.alive, "the agent to end", ended, interval=0.02)
    if process.alive:
        stop(process, grace=0.1)
