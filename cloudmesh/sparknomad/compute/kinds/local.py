"""This machine."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Sequence
from typing import ClassVar

from cloudmesh.sparknomad.compute.compute import Compute
from cloudmesh.sparknomad.compute.machines import Machine, MachineRequest, MachineState, Offer
from cloudmesh.sparknomad.errors import InputError

__all__ = ["LocalCompute"]


class LocalCompute(Compute):
    """This machine: it is there, and stays."""

    kind: ClassVar[str] = "local"
    creates: ClassVar[bool] = False

    def _list(self) -> Sequence[Machine]:
        name = socket.gethostname()
        return [Machine(name, name, self.spec.name, MachineState.RUNNING, private="127.0.0.1")]

    def _offers(self) -> Sequence[Offer]:
        import psutil

        cores = len(os.sched_getaffinity(0))
        memory = int(psutil.virtual_memory().total)
        disk = shutil.disk_usage(self.groups.directory).total
        return [Offer(self.spec.name, "this machine", cores, memory, disk, 0.0)]

    def _create(self, request: MachineRequest) -> Machine:
        raise InputError("compute: this machine can't be created")

    def _destroy(self, machine: Machine) -> None:
        raise InputError("compute: this machine is not ended")
