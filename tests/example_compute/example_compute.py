"""A cloud whose machines are namespaces of this one, joined to a lab's network.

It does what a cloud does: a machine is listed with its tags from the call on that creates it, it
boots by itself, and runs its user data as root. Without that nobody can log in to it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from lab import Lab, LabHost

from cloudmesh.sparknomad.compute.compute import Compute
from cloudmesh.sparknomad.compute.machines import (
    Machine,
    MachineRequest,
    MachineState,
    Offer,
    Tags,
)
from cloudmesh.sparknomad.compute.spec import ComputeSpec
from cloudmesh.sparknomad.processes import locked, write_private


class CloudHost(LabHost):
    """A host of which only its user data tells who may log in."""

    own: ClassVar[tuple[str, ...]] = (*LabHost.own, "root/.ssh")

    @property
    def authorized(self) -> str:
        return str(Path("/", self.own[-1], "authorized_keys"))


class LabCompute(Compute):
    """Machines in a lab's network; ``options.directory`` is the lab's."""

    kind: ClassVar[str] = "lab"
    poll_seconds: ClassVar[float] = 0.1

    @classmethod
    def check(cls, spec: ComputeSpec) -> Sequence[str]:
        missing = {"directory", "prefix", "subnet"} - set(spec.options)
        return [f"options.{name}: missing" for name in sorted(missing)]

    @property
    def _lab(self) -> Lab:
        options = self.spec.options
        return Lab(Path(options["directory"]), options["prefix"], options["subnet"])

    @property
    def _files(self) -> Path:
        found = self._lab.directory / "machines"
        found.mkdir(exist_ok=True)
        return found

    def _list(self) -> Sequence[Machine]:
        found = []
        for file in self._files.glob("*.json"):
            with contextlib.suppress(FileNotFoundError):
                found.append(self._machine(json.loads(file.read_text())))
        return found

    def _machine(self, told: dict[str, Any]) -> Machine:
        tags = Tags.read(told["tags"])
        assert tags
        booted = told.get("pid")
        state = MachineState.RUNNING if booted else MachineState.PENDING
        if booted and not _runs(booted):
            state = MachineState.STOPPED
        return Machine(
            id=told["name"],
            name=told["name"],
            compute=self.spec.name,
            state=state,
            group=tags.group,
            member=tags.member,
            owner=tags.owner,
            creator=tags.creator,
            private=told["address"] if booted else "",
            size=told["size"],
            host_key=told.get("host_key", ""),
        )

    def _offers(self) -> Sequence[Offer]:
        gigabyte = 1024**3
        return [
            Offer(self.spec.name, "large", 4, 8 * gigabyte, None, 0.2),
            Offer(self.spec.name, "odd", None, None, None, None),
            Offer(self.spec.name, "small", 1, 2 * gigabyte, None, 0.05),
        ]

    def _create(self, request: MachineRequest) -> Machine:
        name = f"m-{request.tags.member}"
        file = self._files / f"{name}.json"
        if file.exists():
            return self._machine(json.loads(file.read_text()))
        told: dict[str, Any] = {
            "name": name,
            "tags": request.tags.as_mapping(),
            "size": request.size,
            "address": "",
        }
        with locked(self._files / ".lock"):
            # Neighbours remember for a while who had an address: none is given twice.
            counter = self._files / ".next"
            number = int(counter.read_text()) if counter.exists() else 2
            counter.write_text(str(number + 1))
            told["address"] = f"{self._lab.subnet}.{number}"
            write_private(file, json.dumps(told))
        host = CloudHost(self._lab, name, told["address"])
        self._lab.connect(host)
        host.boot()
        assert host.process
        subprocess.run(
            [*host.enter(), "sh", "-s"],
            input=request.user_data.encode(),
            check=True,
            capture_output=True,
        )
        told |= {"pid": host.process.pid, "host_key": host.known_host}
        host.process.returncode = 0  # it is meant to outlive this command
        write_private(file, json.dumps(told))
        return self._machine(told)

    def _destroy(self, machine: Machine) -> None:
        file = self._files / f"{machine.id}.json"
        if file.exists():
            _remove(self._lab, json.loads(file.read_text()))
            file.unlink()


def _runs(pid: int) -> bool:
    """Whether a host's first process is there; nobody may have asked for how it ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _remove(lab: Lab, told: dict[str, Any]) -> None:
    host = CloudHost(lab, told["name"], told["address"])
    if told.get("pid"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(told["pid"], signal.SIGKILL)
        time.sleep(0.1)
    subprocess.run(["ip", "netns", "delete", host.namespace], capture_output=True, check=False)
    shutil.rmtree(host.directory, ignore_errors=True)


def remove_all(lab: Lab) -> None:
    """End what a test has left."""
    for file in (lab.directory / "machines").glob("*.json"):
        _remove(lab, json.loads(file.read_text()))
        file.unlink()
