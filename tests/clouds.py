"""A cloud's API on loopback: EC2 by moto, which keeps machines that do not run."""

from __future__ import annotations

import functools
import os
import subprocess
import sysconfig
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloudmesh.sparknomad.ports import free_ports
from cloudmesh.sparknomad.waiting import Deadline, wait_until

__all__ = ["Ec2", "ec2"]

IMAGE = "ami-12c6146b"
"""One that moto has."""


_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@functools.cache
def _client(endpoint: str, region: str) -> Any:
    from botocore.session import Session  # type: ignore[import-untyped]

    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
    return Session().create_client("ec2", region, endpoint_url=endpoint, **keys)


@dataclass(frozen=True)
class Ec2:
    """A running API; it takes any keys."""

    endpoint: str

    def machines(self, region: str) -> list[dict[str, Any]]:
        """Every machine that has not ended, as a client that is not Libcloud's sees it."""
        told = _client(self.endpoint, region).describe_instances()["Reservations"]
        found = [machine for each in told for machine in each["Instances"]]
        return [machine for machine in found if machine["State"]["Name"] != "terminated"]

    def reset(self) -> None:
        """Forget all machines."""
        request = urllib.request.Request(f"{self.endpoint}/moto-api/reset", method="POST")
        with _OPENER.open(request, timeout=20):
            return

    def compute(self, region: str, key: Path, **more: Any) -> dict[str, Any]:
        """What a user writes of it."""
        return {
            "driver": "ec2",
            "region": region,
            "endpoint": self.endpoint,
            "image": IMAGE,
            "size": "t3.medium",
            "key": str(key),
            "settle": "1s",
            "credentials": {"source": "environment"},
            **more,
        }


@contextmanager
def ec2(directory: Path) -> Iterator[Ec2]:
    """Start it; nothing of it is left afterwards."""
    (port,) = free_ports(1)
    server = Ec2(f"http://127.0.0.1:{port}")
    command = [str(Path(sysconfig.get_path("scripts"), "moto_server")), "-H127.0.0.1", f"-p{port}"]
    environment = {"PATH": os.defpath, "HOME": str(directory), "TMPDIR": str(directory)}
    with (directory / "moto.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            cwd=directory,
            env=environment,
            start_new_session=True,
        )
    try:
        wait_until(lambda: _answers(process, server, directory), "moto", Deadline(60))
        yield server
    finally:
        for region in ("us-east-1", "eu-west-1"):
            _client(server.endpoint, region).close()
        process.terminate()
        process.wait(20)


def _answers(process: subprocess.Popen[bytes], server: Ec2, directory: Path) -> bool:
    assert process.poll() is None, (directory / "moto.log").read_text()
    try:
        with _OPENER.open(f"{server.endpoint}/moto-api/", timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False
