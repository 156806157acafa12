"""The verbs about a cluster's hosts while it runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cloudmesh.sparknomad.cluster.operations import HostOperations
from cloudmesh.sparknomad.compute.inventory import expand, named_hosts, names_of, without
from cloudmesh.sparknomad.errors import ConflictError, InputError, NotFoundError
from cloudmesh.sparknomad.model import (
    Change,
    ClusterRecord,
    ClusterState,
    ClusterStatus,
    ImageRuntime,
)
from cloudmesh.sparknomad.specfile import build_spec, spec_to_dict
from cloudmesh.sparknomad.specs import ClusterSpec
from cloudmesh.sparknomad.verbs.clusters import DEPLOY_SECONDS, ClusterVerbs

__all__ = ["DRAIN_SECONDS", "OperatingVerbs"]

DRAIN_SECONDS = 600.0
_INHERITED = ("user", "port", "key", "jump", "site")


class OperatingVerbs(ClusterVerbs):
    """Comparing, adding, draining, removing and upgrading hosts; looking into them."""

    def _operations_of(self, record: ClusterRecord) -> HostOperations:
        provider = self._provider(record.provider)
        provider.check_allowed(record.name, "operate its hosts")
        found = provider.hosts(record.name)
        if found is None:
            raise InputError(
                f"Cluster {record.name!r} has no hosts of its own: it runs on this machine.",
                hint="Clusters with `hosts:` in their spec have.",
            )
        return found

    def cluster_diff(self, spec: ClusterSpec) -> list[Change]:
        """What `cluster_deploy` would change; nothing is touched. Empty if nothing."""
        record = self.store.find_cluster(spec.cluster)
        if record is None:
            return [Change("cluster", "", "deployed")]
        found = list(_spec_changes(record.spec, spec))
        provider = self._provider(record.provider)
        if record.provider != spec.provider:
            return found
        try:
            operations = provider.hosts(spec.cluster)
        except NotFoundError:
            return [*found, Change("cluster", "not there", "deployed")]
        if operations is None or not spec.hosts:
            return found
        needs_image = provider.runtime is ImageRuntime
        runtime = self._images().planned(spec.image, spec.driver) if needs_image else None
        return [*found, *operations.differences(self._planned_machines(spec), runtime)]

    def cluster_add_hosts(
        self,
        name: str,
        hosts: Sequence[str],
        options: Mapping[str, Any] | None = None,
        *,
        workers: int | None = None,
        timeout: float = DEPLOY_SECONDS,
    ) -> ClusterStatus:
        """Let more hosts be part of a cluster.

        Args:
            name: of the cluster.
            hosts: their names; ``rack[01-16]`` stands for sixteen.
            options: fields of `HostSpec` for them; user, port, key, jump and site are those of
                the cluster's last host if not given.
            workers: how many there should be then; as many as before if not given.
            timeout: seconds after which to give up.
        """
        record = self._cluster(name)
        if not record.spec.hosts:
            self._operations_of(record)
        last = record.spec.hosts[-1]
        given = {each: getattr(last, each) for each in _INHERITED}
        given.update({each: value for each, value in (options or {}).items() if value})
        given = {each: value for each, value in given.items() if value is not None}
        document = spec_to_dict(record.spec)
        document["hosts"] = [
            *document["hosts"],
            *({**given, "host": host} for host in hosts),
        ]
        if workers is not None:
            document["workers"] = workers
        spec = build_spec(ClusterSpec, document, origin="the command line")
        expand(self._planned_machines(spec).hosts, spec.servers)
        return self.cluster_deploy(spec, timeout=timeout)

    def cluster_remove_hosts(
        self,
        name: str,
        hosts: Sequence[str],
        *,
        force: bool = False,
        timeout: float = DRAIN_SECONDS,
    ) -> list[str]:
        """Drain hosts, remove all that is on them, and forget them.

        Args:
            name: of the cluster.
            hosts: their names; ``rack[01-16]`` stands for sixteen.
            force: also hosts that are off, and data that has no other copy.
            timeout: seconds that what runs there has to end.

        Returns:
            What was lost or is left, each for a person.

        Raises:
            NotFoundError: if one is no host of the cluster.
            ConflictError: if the cluster can't be without them.
        """
        record = self._cluster(name)
        operations = self._operations_of(record)
        names = [each for host in hosts for each in names_of(host)]
        machines = self._planned_machines(record.spec)
        known = [host.name for host in expand(machines.hosts, record.spec.servers)]
        unknown = [each for each in names if each not in known]
        if unknown:
            raise NotFoundError(
                f"Cluster {name!r} has no host {', '.join(unknown)}; it has: {', '.join(known)}."
            )
        if len(set(names)) >= len(known):
            raise ConflictError(
                f"{', '.join(names)}: these are all hosts of cluster {name!r}.",
                hint=f"`cms sparknomad cluster destroy {name}` ends it.",
            )
        named = [entry for entry in record.spec.hosts if not entry.compute]
        rest = without(named, names)
        owned = {host.name for host in named_hosts(named)}
        machine = next((each for each in names if each not in owned), "")
        if machine:
            raise ConflictError(
                f"{machine}: is a machine of a group; the group says which there are.",
                hint="`cms sparknomad compute list` shows groups.",
            )
        groups = tuple(entry for entry in record.spec.hosts if entry.compute)
        sites = {entry.site for entry in (*rest, *groups)}
        empty = next((site for site in record.spec.sites if site not in sites), "")
        if empty:
            raise ConflictError(
                f"{', '.join(names)}: these are all hosts of site {empty!r}.",
                hint="Deploy the cluster by a spec without that site.",
            )
        spec = dataclasses.replace(record.spec, hosts=(*rest, *groups))
        machines = self._planned_machines(spec)
        expand(machines.hosts, spec.servers)
        runtime = self._runtime(self._provider(record.provider), spec)
        told = operations.remove_hosts(machines, names, runtime, force=force, timeout=timeout)
        self.store.put_cluster(spec, record.state)
        return list(told)

    def cluster_drain(
        self, name: str, host: str, *, undo: bool = False, timeout: float = DRAIN_SECONDS
    ) -> ClusterStatus:
        """Let nothing run on a host any more, and nothing new; with `undo`, let it again."""
        return self._operations_of(self._cluster(name)).drain(host, undo=undo, timeout=timeout)

    def cluster_host_logs(self, name: str, host: str) -> Iterator[tuple[str, bytes]]:
        """The last output of a host's agent, and of all that runs there."""
        return self._operations_of(self._cluster(name)).logs(host)

    def cluster_ssh(self, name: str, host: str, command: Sequence[str] = ()) -> list[str]:
        """The words of the system's ``ssh`` that log in to a host of a cluster."""
        return list(self._operations_of(self._cluster(name)).ssh_command(host, command))

    def cluster_upgrade(
        self, name: str, *, image: str | None = None, timeout: float = 3 * DEPLOY_SECONDS
    ) -> ClusterStatus:
        """Bring all hosts to a newer image, Nomad and configuration, a few at a time.

        Args:
            name: of the cluster.
            image: its new one; the one that it has, as it is now, if not given.
            timeout: seconds after which to give up; it can be called again.
        """
        record = self._cluster(name)
        operations = self._operations_of(record)
        spec = dataclasses.replace(record.spec, image=image or record.spec.image)
        provider = self._provider(record.provider)
        runtime = self._runtime(provider, spec)
        machines = self._with_machines(spec, create=False, timeout=timeout)
        self.store.put_cluster(spec, ClusterState.DEPLOYING)
        operations.upgrade(machines, runtime, timeout=timeout)
        status = provider.status(name)
        self.store.put_cluster(spec, status.state)
        return status


def _spec_changes(before: ClusterSpec, after: ClusterSpec) -> Iterator[Change]:
    """The fields of two specs that differ; hosts are compared one by one elsewhere."""
    old, new = spec_to_dict(before), spec_to_dict(after)
    for field in dataclasses.fields(ClusterSpec):
        values = [str(spec.get(field.name, "")) for spec in (old, new)]
        if field.name != "hosts" and values[0] != values[1]:
            yield Change(field.name, *values)
