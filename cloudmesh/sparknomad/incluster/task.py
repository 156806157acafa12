"""What a dispatched Nomad task runs: makes the run's directory, then supervises the run.

The directory lies in the allocation's shared directory, where Nomad's API serves it after the
task has ended. Definition, payload and addresses come from files that Nomad has rendered.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent)]

import driver  # noqa: E402
import run_private  # noqa: E402
import sparkconf  # noqa: E402
from addresses import find_servers, server_places  # noqa: E402

__all__ = ["main", "prepare"]


def _ports(first: int) -> dict[str, str]:
    """Spark's keys that keep its servers within the ports of which a firewall knows."""
    if not first:
        return {}
    return {
        "spark.driver.port": str(first),
        "spark.driver.blockManager.port": str(first + 200),
        "spark.blockManager.port": str(first + 400),
        "spark.port.maxRetries": "300",
    }


def prepare() -> Path:
    """Fill the run's directory.

    Returns:
        The directory, for `driver.main`.
    """
    local = Path(os.environ["NOMAD_TASK_DIR"])
    directory = Path(os.environ["NOMAD_ALLOC_DIR"]) / "data" / "run"
    directory.mkdir(parents=True, exist_ok=True)
    for name in ("definition.json", "run.json"):
        shutil.copyfile(local / name, directory / name)
    run = json.loads((directory / "run.json").read_text("utf-8"))
    if "definition" in run:
        (directory / "definition.json").write_text(json.dumps(run["definition"]), "utf-8")
    places = server_places(find_servers())
    place = Path(__file__).resolve().parent
    archive = place / "spark.jsa"
    python = shutil.which("python3") or sys.executable
    secrets = Path(os.environ["NOMAD_SECRETS_DIR"])
    cluster = {
        "run": run["run"],
        "private": str(secrets),
        "nomad": os.environ["SPARKNOMAD_NOMAD"],
        "credentials_variable": os.environ.get("NOMAD_META_credentials", ""),
        **places,
        "moves": True,
        "least_copies": int(os.environ.get("SPARKNOMAD_LEAST_COPIES") or 1),
        "staging": {
            "root": "/sparknomad/staged",
            "outgoing": "/sparknomad/outgoing",
            "prefix": places["storage"].rpartition("/")[0],
            "quota": run.get("quota"),
        },
        "agent": str(place / "transfer.jar"),
        "artifacts": "/sparknomad/artifacts",
        "events": "/sparknomad/events",
        "runs": "/sparknomad/runs",
        "warehouse": f"/sparknomad/warehouses/{run['run']}",
        "host": os.environ["SPARKNOMAD_HOST"],
        "secret_file": str(secrets / "spark"),
        "spark_home": os.environ["SPARK_HOME"],
        "conf_dir": os.environ["SPARK_CONF_DIR"],
        "java_home": os.environ["JAVA_HOME"],
        "python": python,
        "executor_python": python,
        "archive": str(archive) if archive.exists() else None,
        # Workers on one host have one address, but each has its own file system.
        "conf": {
            **sparkconf.HDFS_CLIENT,
            "spark.shuffle.readHostLocalDisk": "false",
            "spark.hadoop.dfs.replication": os.environ["SPARKNOMAD_REPLICATION"],
            **_ports(int(os.environ.get("SPARKNOMAD_PORT") or 0)),
        },
    }
    (directory / "cluster.json").write_text(json.dumps(cluster), "utf-8")
    return directory


def main() -> int:
    """Supervise the run; one that was to end while it waited for room ends as cancelled."""
    place = str(prepare())
    at = (os.environ["SPARKNOMAD_NOMAD"], Path(os.environ["NOMAD_SECRETS_DIR"]))
    ended = run_private.told_to_end(*at)
    code: int = driver.main([place], cancelled=ended)
    if ended:
        run_private.forget_end(*at)
    return code


if __name__ == "__main__":
    sys.exit(main())
