"""How Spark's processes are started: Java options, configuration, environment.

Java is started directly: the ``spark-submit`` script would start a second Java machine only
to put this command together.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path[:0] = [str(Path(__file__).resolve().parent)]

if TYPE_CHECKING:
    from cloudmesh.sparknomad.incluster import java_files, java_options, run_private, truststore
else:
    import java_files
    import java_options
    import run_private
    import truststore

__all__ = [
    "HDFS_CLIENT",
    "HDFS_DIRECTORIES",
    "HDFS_OPTIONS",
    "IMAGE_CLASS_PATH",
    "IMAGE_ENVIRONMENT",
    "agent_command",
    "class_path",
    "environment",
    "java_command",
    "names_own_class",
    "own_classes",
    "properties",
]

HDFS_DIRECTORIES = (
    "/sparknomad/artifacts",
    "/sparknomad/inputs",
    "/sparknomad/outputs",
    "/sparknomad/outgoing",
    "/sparknomad/staged",
    "/sparknomad/events",
    "/sparknomad/runs",
    "/sparknomad/warehouses",
)
"""What every cluster's HDFS has from the beginning."""

IMAGE_ENVIRONMENT = {
    "PATH": "/opt/java/bin:/opt/spark/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
    "JAVA_HOME": "/opt/java",
    "SPARK_HOME": "/opt/spark",
    "SPARK_CONF_DIR": "/opt/spark/conf",
    "PYTHONPATH": "/opt/python",
    "PYTHONPYCACHEPREFIX": "/opt/pycache",
    "LANG": "C.UTF-8",
    "HOME": "/home/spark",
}
"""The environment of everything that runs in an image."""

IMAGE_CLASS_PATH = "/opt/spark/conf:/opt/spark/jars/*"
"""As Spark's own launcher puts it together; the shared archive serves only this one."""

_LARGE_PIECES = {
    # A checksum for each 512 bytes, and a packet for each 64 KiB, cost more than moving them.
    "dfs.bytes-per-checksum": "65536",
    "dfs.client-write-packet-size": "262144",
}

HDFS_OPTIONS = {
    # By default Hadoop asks DNS for the host's own name here, which many hosts do not know.
    "hadoop.http.authentication.kerberos.principal": "HTTP/localhost@LOCALHOST",
    "dfs.namenode.safemode.extension": "0",
    "dfs.namenode.datanode.registration.ip-hostname-check": "false",
    "dfs.heartbeat.interval": "1",
    **_LARGE_PIECES,
}
"""Settings that NameNode and DataNode share."""

HDFS_CLIENT = {
    # A file's end waits until the DataNode has told the NameNode of its last block, which takes
    # milliseconds; by default a client asks again after 400.
    "spark.hadoop.dfs.client.block.write.locateFollowingBlock.initial.delay.ms": "10",
    "spark.hadoop.dfs.client.block.write.locateFollowingBlock.retries": "11",
    **{f"spark.hadoop.{key}": value for key, value in _LARGE_PIECES.items()},
}
"""Settings of what reads and writes the cluster's HDFS."""

_IDLE, _SHUFFLE_KEPT = "30s", "5min"
"""When an executor without work goes, and one that holds what another stage may read."""


def class_path(cluster: dict[str, Any]) -> str:
    """The class path of every process of a cluster; equal for all, for the shared archive."""
    home = cluster["spark_home"]
    last = filter(None, [cluster.get("connectors"), own_classes(cluster)])
    return ":".join([cluster["conf_dir"], f"{home}/jars/*", *last])


def own_classes(cluster: Mapping[str, Any]) -> str:
    """The jar of our own classes, if a storage of the run names one of them; else nothing.

    It stands at the end: a shared archive serves every class path that begins with the one that
    it was made for.
    """
    return str(cluster["agent"]) if names_own_class(cluster.get("storage_conf", {})) else ""


def names_own_class(conf: Mapping[str, str]) -> bool:
    """Whether the value of one of these keys is a class of ours."""
    return any(value.startswith("sparknomad.") for value in conf.values())


def properties(
    definition: dict[str, Any], cluster: dict[str, Any], directory: Path, scratch: Path
) -> dict[str, str]:
    """The Spark configuration of one run; the job's own ``conf`` has the last word."""
    resources = definition["resources"]
    executors = resources["executors"]
    startup = definition["startup"]
    archive = cluster.get("archive")
    executor_options = shlex.join(
        [
            *java_options.java_options(startup, driver=False, archive=archive),
            java_options.logging_option(),
            *_temporary(cluster),
        ]
    )
    events = directory / "events"
    events.mkdir(exist_ok=True)
    values = {
        "spark.master": cluster["master"],
        "spark.app.name": definition["job"],
        "spark.submit.deployMode": "client",
        "spark.driver.host": cluster["host"],
        "spark.driver.bindAddress": cluster["host"],
        "spark.driver.memory": _megabytes(resources["driver"]["memory"]),
        "spark.executor.cores": str(executors["cores"]),
        "spark.executor.memory": _megabytes(executors["memory"]),
        "spark.executor.extraJavaOptions": executor_options,
        "spark.executorEnv.PYTHONHASHSEED": "0",
        "spark.pyspark.python": cluster["executor_python"],
        "spark.pyspark.driver.python": cluster["python"],
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": events.as_uri(),
        "spark.eventLog.compress": "false",
        "spark.eventLog.rolling.enabled": "false",
        # An executor whose host is drained hands over its blocks: nothing is computed again.
        "spark.decommission.enabled": "true",
        "spark.storage.decommission.enabled": "true",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.warehouse.dir": _warehouse(cluster, scratch),
    }
    values.update(_executor_count(executors))
    if cluster.get("secret_file"):
        secret = Path(cluster["secret_file"]).read_text("utf-8").strip()
        values["spark.authenticate"] = "true"
        values["spark.authenticate.secret"] = secret
        values["spark.network.crypto.enabled"] = "true"
    for group, key in (
        ("python", "spark.submit.pyFiles"),
        ("jars", "spark.jars"),
        ("files", "spark.files"),
    ):
        names = [(directory / "work" / item["name"]).as_uri() for item in definition[group]]
        if names:
            values[key] = ",".join(names)
    if cluster.get("connectors"):
        values["spark.executor.extraClassPath"] = cluster["connectors"]
    if own := own_classes(cluster):
        # Spark's launcher puts this at the class path's end, and extraClassPath at its start.
        values["spark.executorEnv.SPARK_DIST_CLASSPATH"] = own
    secrets = run_private.storage_secrets(cluster)
    values.update(cluster.get("storage_conf", {}))
    values.update(secrets)
    values.update(cluster.get("conf", {}))
    for key, value in definition["conf"].items():
        combined = key == "spark.executor.extraJavaOptions"
        values[key] = f"{values[key]} {value}" if combined else value
    if secrets:
        pattern = values.get("spark.redaction.regex")
        values["spark.redaction.regex"] = run_private.redaction(secrets, pattern)
    return values


def _warehouse(cluster: dict[str, Any], scratch: Path) -> str:
    """Where tables go that have no place of their own: known to one attempt, as its catalog is."""
    if shared := cluster.get("warehouse"):
        return f"{cluster['staging']['prefix']}{shared}/{scratch.name}"
    return (scratch / "warehouse").as_uri()


def _temporary(cluster: dict[str, Any]) -> list[str]:
    place = cluster.get("temporary")
    return [f"-Djava.io.tmpdir={place}"] if place else []


def _executor_count(executors: dict[str, Any]) -> dict[str, str]:
    """How many executors: some, as many as there is work for, or all that there is room for."""
    count = executors.get("count")
    if not count:
        return {}
    most = count["max"] if isinstance(count, dict) else count
    values = {"spark.cores.max": str(most * executors["cores"])}
    if isinstance(count, dict):
        values |= {
            "spark.dynamicAllocation.enabled": "true",
            "spark.dynamicAllocation.minExecutors": str(count["min"]),
            "spark.dynamicAllocation.initialExecutors": str(count["min"]),
            "spark.dynamicAllocation.maxExecutors": str(most),
            "spark.dynamicAllocation.executorIdleTimeout": _IDLE,
            # There is no shuffle service: executors keep what others still read. Without a
            # timeout they would keep it until Java collects the driver's garbage.
            "spark.dynamicAllocation.shuffleTracking.enabled": "true",
            "spark.dynamicAllocation.shuffleTracking.timeout": _SHUFFLE_KEPT,
        }
    return values


def _megabytes(size: int) -> str:
    return f"{max(1, size // 1024**2)}m"


def java_command(
    definition: dict[str, Any], cluster: dict[str, Any], directory: Path, scratch: Path
) -> list[str]:
    """The driver's Java machine up to and with ``SparkSubmit``'s own options."""
    values = properties(definition, cluster, directory, scratch)
    trusting = truststore.trust(values, scratch)
    listed = _write_properties(cluster, scratch, values, "spark.properties")
    own = definition["conf"].get("spark.driver.extraJavaOptions", "")
    return [
        *_java_machine(definition, cluster, class_path(cluster), values["spark.driver.memory"]),
        # Hive's own catalog, if it has no other: also known to one attempt.
        f"-Dderby.system.home={scratch}",
        *trusting,
        *own.split(),
        "org.apache.spark.deploy.SparkSubmit",
        "--properties-file",
        str(listed),
    ]


def agent_command(
    definition: dict[str, Any],
    cluster: dict[str, Any],
    directory: Path,
    scratch: Path,
    changes: Mapping[str, str | None],
) -> list[str]:
    """The Java machine of the transfer agent up to the file with its properties.

    It is started without ``SparkSubmit``: what has its input in the cluster already waits for
    nothing else.

    Args:
        definition: of the job.
        cluster: that it runs in.
        directory: of the run.
        scratch: for its files.
        changes: Spark's keys that differ from the job's; ``None`` leaves one out.
    """
    values = properties(definition, cluster, directory, scratch)
    values |= {key: value for key, value in changes.items() if value is not None}
    values = {key: value for key, value in values.items() if changes.get(key, value) is not None}
    trusting = truststore.trust(values, scratch)
    # The program's own Java machine may wait beside it, in the same container.
    heap = _megabytes(definition["resources"]["driver"]["memory"] * 3 // 4)
    path = class_path(cluster) + ("" if own_classes(cluster) else f":{cluster['agent']}")
    return [
        *_java_machine(definition, cluster, path, heap, mover=True),
        *trusting,
        "sparknomad.Agent",
        str(_write_properties(cluster, scratch, values, "agent.properties")),
    ]


def _java_machine(
    definition: dict[str, Any],
    cluster: dict[str, Any],
    path: str,
    heap: str,
    *,
    mover: bool = False,
) -> list[str]:
    return [
        "-cp",
        path,
        f"-Xmx{heap}",
        *java_options.module_options(cluster["java_home"]),
        *java_options.java_options(
            # Who moves gigabytes needs the second compiler, whatever the program asks.
            "balanced" if mover else definition["startup"],
            driver=not mover,
            archive=cluster.get("archive"),
        ),
        java_options.logging_option(),
        *_temporary(cluster),
    ]


def _write_properties(
    cluster: dict[str, Any], scratch: Path, values: Mapping[str, str], name: str
) -> Path:
    listed = run_private.private_directory(cluster, scratch) / name
    java_files.write_private(listed, java_files.properties_text(values))
    return listed


def environment(
    definition: dict[str, Any], cluster: dict[str, Any], directory: Path
) -> dict[str, str]:
    """The environment of a run's processes: only what they need."""
    home = cluster["spark_home"]
    work = directory / "work"
    names = [str(work / artifact["name"]) for artifact in definition["python"]]
    path = [str(work), *names, *_pyspark(Path(home)), *filter(None, [os.environ.get("PYTHONPATH")])]
    kept = ("PATH", "HOME", "LANG", "TZ", "USER", "LOGNAME", "TMPDIR", "PYTHONPYCACHEPREFIX")
    return {
        **{name: os.environ[name] for name in kept if name in os.environ},
        "JAVA_HOME": cluster["java_home"],
        "SPARK_HOME": home,
        "SPARK_CONF_DIR": cluster["conf_dir"],
        "SPARK_LOCAL_IP": cluster["host"],
        "SPARK_LOCAL_DIRS": str(directory / "local"),
        "PYTHONPATH": ":".join(path),
        "PYTHONUNBUFFERED": "1",
        "PYSPARK_PYTHON": cluster["executor_python"],
        "PYSPARK_DRIVER_PYTHON": cluster["python"],
        "SPARKNOMAD_RUN": cluster["run"],
        # Java and Python read arguments and files by it; another may not be installed here.
        "LC_ALL": "C.UTF-8",
    }


def _pyspark(home: Path) -> list[str]:
    """Where Python finds PySpark: an image has directories of these names, with their cache."""
    library = home / "python" / "lib"
    zipped = library / "pyspark.zip"
    pyspark = zipped if zipped.is_dir() else home / "python"
    return [str(pyspark), *sorted(map(str, library.glob("py4j-*.zip")))]
