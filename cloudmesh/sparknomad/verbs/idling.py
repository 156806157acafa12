"""Clusters that are idle: waking them, also where their machines have ended themselves."""

from __future__ import annotations

import contextlib
import dataclasses
from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING

from cloudmesh.sparknomad.cluster.provider import ClusterProvider
from cloudmesh.sparknomad.errors import SparknomadError
from cloudmesh.sparknomad.model import ClusterRecord, ClusterState, ClusterStatus
from cloudmesh.sparknomad.specs import ClusterSpec
from cloudmesh.sparknomad.units import format_duration
from cloudmesh.sparknomad.verbs.computes import END_SECONDS, ComputeVerbs

if TYPE_CHECKING:
    from cloudmesh.sparknomad.compute.groups import Group
    from cloudmesh.sparknomad.compute.machines import Machine

__all__ = ["IdleVerbs"]


class IdleVerbs(ComputeVerbs):
    """What is done with a cluster that was idle."""

    @abstractmethod
    def cluster_deploy(self, spec: ClusterSpec) -> ClusterStatus:
        """Bring a cluster to its spec."""

    @abstractmethod
    def _status_of(self, record: ClusterRecord) -> ClusterStatus:
        """What a cluster's provider says of it now."""

    def _power_off(self, labels: Mapping[str, str]) -> str:
        """The command by which a machine of ours ends itself; empty for all others."""
        group = labels.get("sparknomad_group")
        found = self._groups.find(group) if group else None
        return found.compute_spec.power_off if found else ""

    def _wake(self, spec: ClusterSpec) -> None:
        """Start a cluster that was stopped because nothing was run."""
        record = self.store.find_cluster(spec.cluster)
        if record is None or record.spec.idle is None:
            return
        status = self._status_of(record)
        if status.state is ClusterState.STOPPED:
            self.say(f"cluster {spec.cluster!r}: {status.reason}")
            self.cluster_deploy(record.spec)

    def _with_reason(self, record: ClusterRecord, status: ClusterStatus) -> ClusterStatus:
        """A status that tells whether the machines have ended, of which nobody answers."""
        if status.state is not ClusterState.STOPPED or record.spec.idle is None:
            return status
        with contextlib.suppress(SparknomadError):  # a cloud that can't be asked tells nothing
            if self._ended_machines(record.spec) is not None:
                after = format_duration(record.spec.idle)
                reason = (
                    f"its machines have ended: nothing was run for {after}; the next run, or "
                    "deploy, creates others"
                )
                return dataclasses.replace(status, reason=reason)
        return status

    def _ended_machines(self, spec: ClusterSpec) -> list[tuple[Group, list[Machine]]] | None:
        """Its groups with those machines that their clouds still list, if all of them are off.

        ``None`` where machines of the cluster run, are not ours, or were not to end.

        Raises:
            SparknomadError: if a cloud can't be asked.
        """
        from cloudmesh.sparknomad.compute.groups import GroupState
        from cloudmesh.sparknomad.compute.machines import MachineState

        off = (MachineState.STOPPED, MachineState.ENDING)
        names = {host.compute for host in spec.hosts}
        groups = [self._groups.find(name) if name else None for name in names]
        found = []
        for group in groups if spec.idle is not None else ():
            if group is None or group.state is not GroupState.READY:
                return None
            if not group.compute_spec.power_off:
                return None
            listed = list(self._computes.of(group).members(group).values())
            if any(machine.state not in off for machine in listed):
                return None
            found.append((group, listed))
        return found or None

    def _renew_ended(self, record: ClusterRecord, provider: ClusterProvider) -> None:
        """Clear away a cluster whose machines have ended themselves, and create others.

        It stays listed meanwhile; interrupted anywhere, the next deploy does it again.
        """
        ended = self._ended_machines(record.spec)
        if ended is None:
            return
        self.say(f"cluster {record.name!r}: its machines have ended; others are created")
        for group, machines in ended:
            if machines:
                self._computes.of(group).end(machines, timeout=END_SECONDS)
        provider.destroy(record.name, timeout=END_SECONDS)
        self._close_runs(record.name)
        for group, _ in ended:
            self.compute_create(group.name)
