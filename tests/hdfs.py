"""A real HDFS on loopback: one NameNode and one DataNode, from the jars that an image has."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cloudmesh.sparknomad.image.host import host_connectors, host_runtime
from cloudmesh.sparknomad.ports import free_ports
from cloudmesh.sparknomad.waiting import Deadline, wait_until

__all__ = ["Hdfs", "hdfs"]

_SERVER = "org.apache.hadoop.hdfs.server"
_HOST = "127.0.0.1"


@dataclass(frozen=True)
class Hdfs:
    """A running HDFS: the NameNode's RPC and HTTP addresses."""

    url: str
    endpoint: str


@contextmanager
def _java(command: list[str], log: Path) -> Iterator[None]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(log.parent), "HADOOP_USER_NAME": "spark"}
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream, env=environment)
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _options(settings: Mapping[str, str]) -> list[str]:
    return [word for pair in settings.items() for word in ("-D", "=".join(pair))]


@contextmanager
def hdfs(directory: Path, cache: Path) -> Iterator[Hdfs]:
    """Start an HDFS whose files lie in a directory, and end it."""
    runtime = host_runtime(cache, print)
    jars = f"{runtime.spark_home}/jars/*:{host_connectors(cache, print)}/*"
    java = [str(runtime.java_home / "bin" / "java"), "-XX:+UseSerialGC", "-Xmx256m", "-cp", jars]
    # Else Jetty leaves directories in that of the machine when it is killed.
    java += ["-Dhadoop.root.logger=WARN,console", f"-Djava.io.tmpdir={directory}"]
    rpc, http, data, data_http, ipc = (f"{_HOST}:{port}" for port in free_ports(5))
    shared = {
        "fs.defaultFS": f"hdfs://{rpc}",
        "dfs.replication": "1",
        "dfs.permissions.enabled": "false",
        "hadoop.http.authentication.kerberos.principal": "HTTP/localhost@LOCALHOST",
        "dfs.namenode.datanode.registration.ip-hostname-check": "false",
        "dfs.namenode.safemode.extension": "0",
    }
    name = _options(
        {
            **shared,
            "dfs.namenode.name.dir": (directory / "name").as_uri(),
            "dfs.namenode.http-address": http,
        }
    )
    node = _options(
        {
            **shared,
            "dfs.datanode.data.dir": (directory / "data").as_uri(),
            "dfs.datanode.address": data,
            "dfs.datanode.http.address": data_http,
            "dfs.datanode.ipc.address": ipc,
            "dfs.datanode.hostname": _HOST,
        }
    )
    namenode = [*java, f"{_SERVER}.namenode.NameNode", *name]
    subprocess.run([*namenode, "-format", "-force"], check=True, capture_output=True)
    with ExitStack() as stack:
        stack.enter_context(_java(namenode, directory / "namenode.log"))
        datanode = [*java, f"{_SERVER}.datanode.DataNode", *node]
        stack.enter_context(_java(datanode, directory / "datanode.log"))
        endpoint = f"http://{http}"
        wait_until(lambda: _live(endpoint), "HDFS to have a DataNode", Deadline(120), interval=0.2)
        yield Hdfs(f"hdfs://{rpc}/", endpoint)


def _live(endpoint: str) -> bool:
    bean = "Hadoop:service=NameNode,name=FSNamesystem"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{endpoint}/jmx?qry={bean}", timeout=5) as answer:
            beans = json.load(answer)["beans"]
    except OSError:
        return False
    return bool(beans and beans[0].get("NumLiveDataNodes"))
