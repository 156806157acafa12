"""A cluster made by hand with the plain ``nomad`` command: on this machine, and on hosts."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
import uuid
from pathlib import Path
from typing import Any

from cloudmesh.sparknomad.cluster.nomad.configuration import local_configuration
from cloudmesh.sparknomad.cluster.nomad.plans import cluster_jobs, hcl_variables
from cloudmesh.sparknomad.cluster.nomad.record import NomadCluster
from cloudmesh.sparknomad.cluster.nomad.sweep import Sweep, allocation_ids
from cloudmesh.sparknomad.ports import free_ports

__all__ = ["ByHand"]


class ByHand:
    """What a Nomad user would type: agent, bootstrap, variable, four jobs; then their end."""

    def __init__(self, record: dict[str, Any], directory: Path) -> None:
        self.record = record
        self.directory = directory
        self.agent: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """By which the ``nomad`` command finds the cluster."""
        return {
            "PATH": os.environ["PATH"],
            "NOMAD_ADDR": self.cluster.address,
            "NOMAD_TOKEN": self.cluster.token,
            "HOME": str(self.directory),
        }

    def nomad(self, *words: str, check: bool = True) -> str:
        done = subprocess.run(
            [self.cluster.binary, *words],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            cwd=self.directory,
        )
        assert not check or done.returncode == 0, (words, done.stderr)
        return done.stdout

    def deploy(self) -> None:
        ports = dict(zip(("http", "rpc", "serf"), free_ports(3), strict=True))
        data = self.directory / "nomad"
        self.cluster = NomadCluster(**self.record).changed(
            ports=ports, data=str(data), token=str(uuid.uuid4())
        )
        data.mkdir(parents=True)
        config = local_configuration("hand", self.cluster, memory_mb=16_000, docker_endpoint="")
        (self.directory / "agent.json").write_text(json.dumps(config))
        with (self.directory / "agent.log").open("wb") as log:
            self.agent = subprocess.Popen(
                [self.cluster.binary, "agent", "-config=agent.json"],
                stdout=log,
                stderr=log,
                cwd=self.directory,
                env={"PATH": os.environ["PATH"]},
                start_new_session=True,
            )
        (self.directory / "token").write_text(self.cluster.token)
        self.until(lambda: self.nomad("operator", "api", "/v1/status/leader", check=False).strip())
        self.nomad("acl", "bootstrap", "token")
        self.until(lambda: '"ready"' in self.nomad("operator", "api", "/v1/nodes", check=False))
        self.put_variables()
        self.run_jobs()
        self.until(self.is_whole)

    def put_variables(self) -> None:
        secret = f"spark_secret={self.cluster.spark_secret}"
        self.nomad("var", "put", "-force", "nomad/jobs", secret)

    def run_jobs(self) -> None:
        for job in cluster_jobs(self.cluster, self.cluster.spark):
            if job.name == "spark-history":
                self.until(self.hdfs_is_ready)
                self.make_directories()
            (self.directory / "job.hcl").write_text(job.hcl)
            (self.directory / "job.vars").write_text(hcl_variables(job.variables))
            self.nomad("job", "run", "-detach", "-var-file=job.vars", "job.hcl")

    def service(self, name: str) -> str:
        told = self.nomad("service", "info", "-json", name, check=False)
        entries = json.loads(told) if told.startswith("[") else []
        return f"{entries[0]['Address']}:{entries[0]['Port']}" if entries else ""

    def get(self, service: str, path: str) -> Any:
        address = self.service(service)
        told = self.fetch(f"http://{address}{path}") if address else ""
        return json.loads(told) if told.startswith("{") else {}

    def fetch(self, url: str, *options: str) -> str:
        """What a page says; empty if it does not answer."""
        command = ["curl", "-s", "-m", "5", *options, url]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    def hdfs_is_ready(self) -> bool:
        beans = self.get("hdfs-http", "/jmx?qry=Hadoop:service=NameNode,name=FSNamesystem")
        listed = beans.get("beans") or [{}]
        return bool(listed[0].get("NumLiveDataNodes"))

    def make_directories(self) -> None:
        for name in ("artifacts", "inputs", "events", "runs"):
            url = f"http://{self.service('hdfs-http')}/webhdfs/v1/sparknomad/{name}"
            self.fetch(f"{url}?op=MKDIRS&user.name=spark", "-X", "PUT")

    def is_whole(self) -> bool:
        workers = self.get("spark-master-ui", "/json/").get("aliveworkers")
        history = self.get("spark-history", "/api/v1/version")
        return workers == self.cluster.workers and bool(history)

    @staticmethod
    def until(probe: Any) -> None:
        give_up = time.monotonic() + 180
        while not probe():
            assert time.monotonic() < give_up
            time.sleep(0.1)

    def destroy(self) -> None:
        for job in ("spark-history", "spark-worker", "spark-master", "hdfs"):
            self.nomad("job", "stop", "-detach", job)
        ended = '"ClientStatus":"running"'
        self.until(lambda: ended not in self.nomad("operator", "api", "/v1/allocations"))
        assert self.agent is not None
        self.agent.send_signal(signal.SIGTERM)
        self.agent.wait(60)
        self.remove_data()

    def remove_data(self) -> None:
        """``umount`` and ``rm -rf``: without them the tasks' trees stay on the disk."""
        data = str(self.directory / "nomad")
        listed = Path("/proc/self/mounts").read_text().splitlines()
        targets = [line.split(" ")[1] for line in listed]
        mounted = sorted((target for target in targets if target.startswith(data)), reverse=True)
        if mounted:
            subprocess.run(["umount", "-l", *mounted], check=True)
        subprocess.run(["rm", "-rf", data], check=True)

    def clean(self) -> None:
        """What nobody would type: it only keeps this machine clean, and is not measured."""
        data = self.directory / "nomad"
        Sweep(data, allocation_ids(data), docker=False).run()
        shutil.rmtree(self.directory)
