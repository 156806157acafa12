"""Configurations of Nomad agents, as JSON has them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from cloudmesh.sparknomad.cluster.nomad.record import HOST, HostRecord, NomadCluster

__all__ = [
    "AGENT_PORTS",
    "DATACENTER",
    "HEARTBEAT_SECONDS",
    "HOST_PORTS",
    "IMAGE_PARTS",
    "SPARK_PORT",
    "TASK_PORTS",
    "host_configuration",
    "local_configuration",
]

DATACENTER = "dc1"
REGION = "global"
TASK_PORTS = 500
"""How many ports the tasks of a cluster on this machine may be given."""

AGENT_PORTS: Mapping[str, int] = {"http": 4646, "rpc": 4647, "serf": 4648}
"""Nomad's own ports, on hosts."""

HOST_PORTS = (30_000, 32_767)
"""The first and last port at which tasks on hosts serve; a firewall keeps others from them."""

SPARK_PORT = 32_000
"""Drivers and executors on hosts choose theirs from here on, Nomad's other tasks below."""

HEARTBEAT_SECONDS = 5
"""A host that was not heard for twice so long is taken for lost."""

_KEPT = "8760h"
IMAGE_PARTS = ("usr", "bin", "sbin", "lib", "lib64", "opt")
"""The image's directories that exec's tasks see as volumes: nearly all of its files, of which
Nomad would link each one into each task's directory."""

_CHROOT = ("etc", "home", "var", "root", "run")
"""The others, which Nomad links into each task's directory."""

_CLOUDS = "env_aws,env_gce,env_azure,env_digitalocean"


def local_configuration(
    name: str, cluster: NomadCluster, *, memory_mb: int, docker_endpoint: str
) -> dict[str, Any]:
    """The configuration of the one agent of a cluster on this machine.

    Args:
        name: the cluster's name.
        cluster: directories, ports, driver.
        memory_mb: what the client offers to tasks, in MiB.
        docker_endpoint: such as ``unix:///var/run/docker.sock``.

    Returns:
        A document for ``nomad agent -config``.
    """
    data = Path(cluster.data)
    client = {
        **_client(cluster, docker_endpoint),
        "network_interface": "lo",
        "state_dir": str(data / "client"),
        "alloc_dir": str(data / "alloc"),
        "alloc_mounts_dir": str(data / "mounts"),
        "memory_total_mb": memory_mb,
    }
    if cluster.task_ports:
        client["min_dynamic_port"] = cluster.task_ports
        client["max_dynamic_port"] = cluster.task_ports + TASK_PORTS - 1
    return {
        **_agent(f"sparknomad-{name}", str(data)),
        "bind_addr": HOST,
        "advertise": {"http": HOST, "rpc": HOST, "serf": HOST},
        "ports": dict(cluster.ports),
        "server": {**_server(1), "num_schedulers": 2},
        "client": client,
        "plugin": [_plugin(cluster.driver, docker_endpoint)],
    }


def host_configuration(
    cluster: NomadCluster,
    host: HostRecord,
    servers: Sequence[HostRecord],
    directory: PurePosixPath,
) -> dict[str, Any]:
    """The configuration of an agent on a host; it holds the key of gossip.

    Args:
        cluster: driver, image, keys.
        host: it.
        servers: the hosts that keep Nomad's state.
        directory: of the cluster on the host.
    """
    data = directory / "data"
    ports = AGENT_PORTS
    document = {
        **_agent(host.name, str(data)),
        "datacenter": host.site or DATACENTER,
        "bind_addr": "0.0.0.0",  # noqa: S104  # nosec B104 - nobody is served without a certificate
        "advertise": {name: f"{host.address}:{port}" for name, port in ports.items()},
        "ports": dict(ports),
        "tls": {
            "http": True,
            "rpc": True,
            "ca_file": str(directory / "tls" / "ca.pem"),
            "cert_file": str(directory / "tls" / "cert.pem"),
            "key_file": str(directory / "tls" / "key.pem"),
            "verify_server_hostname": True,
            "verify_https_client": True,
        },
        "plugin": [_plugin(cluster.driver, "unix:///var/run/docker.sock")],
    }
    if host.server:
        document["server"] = {
            **_server(len(servers)),
            "encrypt": cluster.gossip_key,
            "heartbeat_grace": f"{HEARTBEAT_SECONDS}s",
            "min_heartbeat_ttl": f"{HEARTBEAT_SECONDS}s",
            # A new leader would hear the old one's host for five minutes.
            "failover_heartbeat_ttl": f"{3 * HEARTBEAT_SECONDS}s",
            "default_scheduler_config": {"scheduler_algorithm": "spread"},
            "server_join": {
                "retry_join": [f"{each.address}:{ports['serf']}" for each in servers],
                "retry_interval": "1s",
            },
        }
    if host.worker:
        client = {
            **_client(cluster, "unix:///var/run/docker.sock"),
            "servers": [f"{each.address}:{ports['rpc']}" for each in servers],
            "meta": dict(host.labels),
            "min_dynamic_port": HOST_PORTS[0],
            "max_dynamic_port": SPARK_PORT - 1,
        }
        if host.interface:
            client["network_interface"] = host.interface
        document["client"] = client
    return document


def _agent(name: str, data: str) -> dict[str, Any]:
    return {
        "name": name,
        "region": REGION,
        "datacenter": DATACENTER,
        "data_dir": data,
        "log_level": "INFO",
        "leave_on_interrupt": False,
        "leave_on_terminate": False,
        "disable_update_check": True,
        "disable_anonymous_signature": True,
        "acl": {
            "enabled": True,
            "token_min_expiration_ttl": "1s",
            "token_max_expiration_ttl": "87600h",
        },
        "telemetry": {"disable_hostname": True},
        "consul": {
            "auto_advertise": False,
            "server_auto_join": False,
            "client_auto_join": False,
        },
    }


def _server(count: int) -> dict[str, Any]:
    return {
        "enabled": True,
        "bootstrap_expect": count,
        "job_gc_threshold": _KEPT,
        "eval_gc_threshold": _KEPT,
        "batch_eval_gc_threshold": _KEPT,
        "deployment_gc_threshold": _KEPT,
    }


def _client(cluster: NomadCluster, docker_endpoint: str) -> dict[str, Any]:
    client: dict[str, Any] = {
        "enabled": True,
        # Spark counts cores by itself; Nomad's share must not refuse a worker for them.
        "cpu_total_compute": 1_000_000,
        "gc_max_allocs": 10_000,
        "gc_interval": "60m",
        "gc_disk_usage_threshold": 99,
        "gc_inode_usage_threshold": 99,
        "no_host_uuid": True,
        "max_kill_timeout": "120s",
        # Templates render 5 s late by default.
        "template": {"wait": {"min": "100ms", "max": "500ms"}},
        "options": {
            "fingerprint.denylist": f"{_CLOUDS},consul,vault,bridge,landlock,secrets",
            "driver.allowlist": cluster.driver,
        },
    }
    if cluster.driver == "exec":
        root = Path(cluster.rootfs)
        linked = _CHROOT if cluster.mounts else (*_CHROOT, *IMAGE_PARTS)
        client["chroot_env"] = {str(root / part): f"/{part}" for part in linked}
    if cluster.mounts:
        client["host_volume"] = [
            {f"image-{part}": {"path": str(root / part), "read_only": True}} for part in IMAGE_PARTS
        ]
    return client


def _plugin(driver: str, docker_endpoint: str) -> dict[str, Any]:
    if driver == "docker":
        config: dict[str, Any] = {
            "endpoint": docker_endpoint,
            "allow_privileged": False,
            "volumes": {"enabled": True},
            "extra_labels": ["job_name", "task_name"],
            "gc": {"image": False, "container": True},
        }
    elif driver == "exec":
        config = {"default_pid_mode": "private", "default_ipc_mode": "private"}
    else:
        config = {"enabled": True}
    return {driver: {"config": config}}
