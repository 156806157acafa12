"""Becomes one of the cluster's Java servers: ``daemon.py ROLE``.

Roles: ``master``, ``worker``, ``history``, ``namenode``, ``datanode``; ``refresh`` lets the
NameNode read again which DataNodes are to go, and ends. Addresses come from
Nomad's environment and from ``/local/services.json``, which Nomad renders from its service
discovery; the cluster's secret from ``/secrets/spark``. The process becomes Java, so that
Nomad's signals and limits reach it directly.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

sys.path[:0] = [str(Path(__file__).resolve().parent)]

import java_files  # noqa: E402
import java_options  # noqa: E402
import sparkconf  # noqa: E402
import webhdfs  # noqa: E402

__all__ = ["main"]

_SERVICE_SECONDS = 120
_COPIES = "2"
_HDFS_CLUSTER = "sparknomad"
_HDFS = "org.apache.hadoop.hdfs.server"


def _local() -> Path:
    return Path(os.environ["NOMAD_TASK_DIR"])


def _address(port: str) -> str:
    return f"{os.environ['SPARKNOMAD_HOST']}:{os.environ[f'NOMAD_PORT_{port}']}"


def service(name: str) -> str:
    """The address of a service, as soon as Nomad has one.

    Raises:
        SystemExit: if there is none in time; Nomad starts this task again.
    """
    give_up = time.monotonic() + _SERVICE_SECONDS
    while True:
        try:
            address = json.loads((_local() / "services.json").read_text("utf-8")).get(name)
        except (OSError, ValueError):
            address = None
        if address:
            return str(address)
        if time.monotonic() > give_up:
            raise SystemExit(f"sparknomad: no {name} was there for {_SERVICE_SECONDS} s")
        time.sleep(0.1)


def _spark_properties(**more: str) -> str:
    """Write the daemon's own Spark configuration with the cluster's secret."""
    secret = (Path(os.environ["NOMAD_SECRETS_DIR"]) / "spark").read_text("utf-8").strip()
    values = {
        "spark.authenticate": "true",
        "spark.authenticate.secret": secret,
        "spark.network.crypto.enabled": "true",
        **json.loads(os.environ.get("SPARKNOMAD_CONF", "{}")),
        **{key.replace("__", "."): value for key, value in more.items()},
    }
    path = Path(os.environ["NOMAD_SECRETS_DIR"]) / "daemon.properties"
    java_files.write_private(path, java_files.properties_text(values))
    return str(path)


def _master() -> list[str]:
    host = os.environ["SPARKNOMAD_HOST"]
    recovery = Path(os.environ["NOMAD_ALLOC_DIR"]) / "data" / "recovery"
    properties = _spark_properties(
        spark__deploy__recoveryMode="FILESYSTEM",
        spark__deploy__recoveryDirectory=str(recovery),
        spark__ui__reverseProxy="false",
    )
    ports = ["--port", os.environ["NOMAD_PORT_rpc"], "--webui-port", os.environ["NOMAD_PORT_ui"]]
    return [
        "org.apache.spark.deploy.master.Master",
        *("--host", host, *ports, "--properties-file", properties),
    ]


def _worker() -> list[str]:
    work = Path(os.environ["NOMAD_ALLOC_DIR"]) / "data" / "work"
    properties = _spark_properties(spark__worker__cleanup__enabled="true")
    return [
        "org.apache.spark.deploy.worker.Worker",
        *("--host", os.environ["SPARKNOMAD_HOST"]),
        *("--port", os.environ["NOMAD_PORT_rpc"], "--webui-port", os.environ["NOMAD_PORT_ui"]),
        *("--cores", os.environ["SPARKNOMAD_CORES"]),
        *("--memory", os.environ["SPARKNOMAD_MEMORY"]),
        *("--work-dir", str(work), "--properties-file", properties),
        f"spark://{service('spark-master')}",
    ]


def _history() -> list[str]:
    properties = _spark_properties(
        spark__history__fs__logDirectory=f"hdfs://{service('hdfs')}/sparknomad/events",
        spark__history__ui__port=os.environ["NOMAD_PORT_ui"],
        spark__history__fs__update__interval="5s",
        spark__history__fs__cleaner__enabled="true",
    )
    return [
        "org.apache.spark.deploy.history.HistoryServer",
        *("--properties-file", properties),
    ]


def _hadoop(values: dict[str, str]) -> list[str]:
    return [word for key, value in values.items() for word in ("-D", f"{key}={value}")]


def _namenode() -> list[str]:
    data = Path(os.environ["NOMAD_ALLOC_DIR"]) / "data" / "namenode"
    leaving = {"dfs.hosts.exclude": str(_local() / "leaving")}
    # Told to refresh, a NameNode reads its files again, and not its command line.
    _write_site(leaving)
    options = [
        *("-fs", f"hdfs://{_address('rpc')}"),
        *_hadoop(
            {
                **sparkconf.HDFS_OPTIONS,
                "dfs.namenode.name.dir": data.as_uri(),
                "dfs.namenode.http-address": _address("http"),
                "dfs.namenode.http-bind-host": os.environ["SPARKNOMAD_HOST"],
                "dfs.namenode.heartbeat.recheck-interval": "15000",
                "dfs.namenode.decommission.interval": "1",
                **leaving,
                "dfs.replication": os.environ["SPARKNOMAD_REPLICATION"],
            }
        ),
    ]
    main_class = f"{_HDFS}.namenode.NameNode"
    if not (data / "current" / "VERSION").exists():
        formatted = [*_java("512m"), main_class, *options, "-format", "-nonInteractive", "-force"]
        # DataNodes take a NameNode that had to begin anew on another host, if it has this name.
        subprocess.run([*formatted, "-clusterid", _HDFS_CLUSTER], check=True)
        _make_directories(_address("http"))
    return [main_class, *options]


def _site() -> Path:
    return _local() / "hadoop"


def _write_site(values: dict[str, str]) -> None:
    configuration = ElementTree.Element("configuration")
    for key, value in values.items():
        entry = ElementTree.SubElement(configuration, "property")
        ElementTree.SubElement(entry, "name").text = key
        ElementTree.SubElement(entry, "value").text = value
    _site().mkdir(exist_ok=True)
    ElementTree.ElementTree(configuration).write(_site() / "hdfs-site.xml")


def _make_directories(address: str) -> None:
    """Let a process of its own make what every cluster's HDFS has, as soon as this one serves."""
    if os.fork():
        return
    try:
        os.setsid()
        if os.fork() == 0:  # nobody has to wait for it
            hdfs = webhdfs.WebHdfs(address, patience=_SERVICE_SECONDS)
            for directory in sparkconf.HDFS_DIRECTORIES:
                hdfs.make_directory(directory)
    finally:
        os._exit(0)


def _refresh() -> list[str]:
    # HDFS believes whatever name it is given, and obeys the one that its NameNode runs under.
    os.environ["HADOOP_USER_NAME"] = "spark"
    options = ["-fs", f"hdfs://{_address('rpc')}", *_hadoop(sparkconf.HDFS_OPTIONS)]
    return ["org.apache.hadoop.hdfs.tools.DFSAdmin", *options, "-refreshNodes"]


def _datanode() -> list[str]:
    data = Path(os.environ["NOMAD_ALLOC_DIR"]) / "data" / "datanode"
    data.mkdir(parents=True, exist_ok=True)
    data.chmod(0o700)
    return [
        f"{_HDFS}.datanode.DataNode",
        *("-fs", f"hdfs://{service('hdfs')}"),
        *_hadoop(
            {
                **sparkconf.HDFS_OPTIONS,
                "dfs.datanode.data.dir": data.as_uri(),
                "dfs.datanode.address": _address("hdfs"),
                "dfs.datanode.http.address": _address("hdfs_http"),
                "dfs.datanode.ipc.address": _address("hdfs_ipc"),
                "dfs.datanode.hostname": os.environ["SPARKNOMAD_HOST"],
                # It is the client that writes what comes over HTTP. With Hadoop's three copies two
                # workers would lack one for ever, and none could be spared.
                "dfs.replication": _COPIES,
                # A NameNode on a disk with less than 100 MiB lets nobody remove anything.
                "dfs.datanode.du.reserved": str(256 * 1024 * 1024),
            }
        ),
    ]


def _java(heap: str, startup: str = "fast") -> list[str]:
    home = os.environ["JAVA_HOME"]
    place = Path(__file__).resolve().parent
    archive = place / "spark.jsa"
    logs = Path(os.environ["NOMAD_ALLOC_DIR"]) / "data"
    return [
        f"{home}/bin/java",
        f"-Xmx{heap}",
        *java_options.module_options(home),
        *java_options.java_options(
            startup,
            driver=startup == "fast",
            archive=str(archive) if archive.exists() else None,
        ),
        f"-Dlog4j2.configurationFile={(place / 'log4j2.properties').as_uri()}",
        f"-Dhadoop.log.dir={logs}",
        f"-Djava.io.tmpdir={_local()}",
        "-cp",
        # The archive's own path has to come first.
        ":".join([sparkconf.IMAGE_CLASS_PATH, *([str(_site())] if _site().is_dir() else [])]),
    ]


_ROLES = {
    "master": (_master, "512m", "fast"),
    "worker": (_worker, "512m", "fast"),
    "history": (_history, "512m", "fast"),
    "namenode": (_namenode, "512m", "fast"),
    "refresh": (_refresh, "128m", "fast"),
    "datanode": (_datanode, "384m", "balanced"),  # every byte of HDFS passes through it
}


def main(argv: list[str]) -> None:
    """Become what a role says."""
    make, heap, startup = _ROLES[argv[0]]
    os.chdir(_local())
    # Else Spark asks DNS for the host's own name, which many hosts do not know.
    os.environ["SPARK_LOCAL_IP"] = os.environ["SPARKNOMAD_HOST"]
    arguments = make()
    command = [*_java(heap, startup), *arguments]
    os.execv(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
