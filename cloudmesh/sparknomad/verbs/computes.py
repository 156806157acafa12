"""The verbs about machines: where they come from, and who owns them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from cloudmesh.sparknomad.errors import ConflictError, InputError, NotFoundError, SpecError
from cloudmesh.sparknomad.model import Plan
from cloudmesh.sparknomad.specs import ClusterSpec, HostSpec
from cloudmesh.sparknomad.verbs.core import Core

if TYPE_CHECKING:
    from cloudmesh.sparknomad.compute.compute import Compute
    from cloudmesh.sparknomad.compute.computes import Computes
    from cloudmesh.sparknomad.compute.groups import Groups
    from cloudmesh.sparknomad.compute.inventory import Host
    from cloudmesh.sparknomad.compute.machines import Machine, Offer, Orphan

__all__ = ["CREATE_SECONDS", "END_SECONDS", "ComputeVerbs"]

CREATE_SECONDS = 600.0
END_SECONDS = 600.0


class ComputeVerbs(Core):
    """Creating machines in a cloud, finding them, ending them; what hosts a cluster has."""

    @property
    def _groups(self) -> Groups:
        from cloudmesh.sparknomad.compute.groups import Groups

        return Groups(self.paths.home / "compute")

    @property
    def _computes(self) -> Computes:
        from cloudmesh.sparknomad.compute.computes import Computes

        return Computes(self.paths.configuration, self._groups, self.say)

    def _compute_of(self, group: str, compute: str | None) -> Compute:
        """The compute of a group: as it was when the group was made, else the one of a name."""
        found = self._groups.find(group)
        if found and compute in (None, found.compute):
            return self._computes.of(found)
        if not compute:
            raise InputError(
                f"group {group!r}: it is not there yet, and no compute is named.",
                hint=f"Give --compute=NAME; there are: {', '.join(self._computes.names())}",
            )
        return self._computes.open(compute)

    # looking

    def compute_list(self, compute: str | None = None, *, everyone: bool = False) -> list[Machine]:
        """The machines of one compute, or of all; asked of their clouds now.

        Args:
            compute: which one.
            everyone: also machines of sparknomad that were created from elsewhere.
        """
        opened = [self._computes.open(compute)] if compute else list(self._all())
        return [machine for each in opened for machine in each.list(everyone=everyone)]

    def _all(self) -> Iterator[Compute]:
        """Every compute, also one that only a group still knows."""
        for name in self._computes.names():
            yield self._computes.open(name)
        places = {self._place(self._computes.find(name)) for name in self._computes.names()}
        for group in self._groups.all():
            place = self._place(group.compute_spec)
            if place not in places:
                places.add(place)
                yield self._computes.of(group)

    @staticmethod
    def _place(spec: object) -> str:
        """What tells one cloud's region from others."""
        return repr([getattr(spec, name) for name in ("kind", "driver", "region", "endpoint")])

    def compute_offers(
        self, compute: str | None = None, *, cores: int = 1, memory: int = 0
    ) -> list[Offer]:
        """Sizes of machines that are large enough, the cheapest first.

        Args:
            compute: of this one; of all if not given.
            cores: at least so many.
            memory: at least so many bytes.
        """
        from cloudmesh.sparknomad.compute.planning import cheapest

        names = [compute] if compute else self._computes.names()
        offers = (self._computes.open(name).offers(cores=cores, memory=memory) for name in names)
        return cheapest(offer for some in offers for offer in some)

    # groups

    def compute_plan(
        self,
        group: str,
        compute: str | None = None,
        *,
        count: int | None = None,
        size: str = "",
        image: str = "",
    ) -> Plan:
        """What `compute_create` would do; nothing is touched."""
        return self._compute_of(group, compute).plan(group, count, size=size, image=image)

    def compute_create(
        self,
        group: str,
        compute: str | None = None,
        *,
        count: int | None = None,
        size: str = "",
        image: str = "",
        timeout: float = CREATE_SECONDS,
    ) -> list[Machine]:
        """Create a group of machines, or complete it.

        Args:
            group: its name.
            compute: where; the group's own if there is one of this name.
            count: how many machines it is to have.
            size: of each; the compute's if not given.
            image: of each; the compute's if not given.
            timeout: seconds after which to give up.

        Returns:
            All machines of the group, when they run.

        Raises:
            ConflictError: if the group is another compute's, or larger already.
            ComputeError: if the cloud refused some; given again, it creates those.
        """
        opened = self._compute_of(group, compute)
        return list(opened.create(group, count, size=size, image=image, timeout=timeout))

    def compute_destroy(
        self, group: str, *, force: bool = False, timeout: float = END_SECONDS
    ) -> list[str] | None:
        """End all machines of a group; forget it when its cloud lists none of them.

        Args:
            group: its name.
            force: also when a cluster is deployed on them, or the account may be another one.
            timeout: seconds after which to give up.

        Returns:
            The cloud's ids of those that were ended now; ``None`` if there is no such group.

        Raises:
            ConflictError: if a cluster is deployed on them.
            LeftoverError: if the cloud still lists one in the end.
        """
        found = self._groups.find(group)
        if found is None:
            if group in self._computes.names():
                self._computes.open(group).destroy(group, timeout=timeout)
            return None
        users = [] if force else self._users(group)
        if users:
            raise ConflictError(
                f"Group {group!r} has the hosts of cluster {users[0]!r}.",
                hint=f"Destroy that first: cms sparknomad cluster destroy {users[0]}; or use "
                "--force.",
            )
        return list(self._computes.of(found).destroy(group, timeout=timeout, force=force))

    def _users(self, group: str) -> list[str]:
        return [
            record.name
            for record in self.store.clusters()
            if any(host.compute == group for host in record.spec.hosts)
        ]

    # orphans

    def compute_orphans(self, *, everyone: bool = False) -> list[Orphan]:
        """Machines with our tag that no group owns, in every compute.

        Args:
            everyone: also machines that were created from elsewhere; they may well be owned
                there.
        """
        return [orphan for _, orphan in self._orphans(everyone)]

    def _orphans(self, everyone: bool) -> list[tuple[Compute, Orphan]]:
        from cloudmesh.sparknomad.compute.machines import Orphan

        managed, found = self._groups.managed(), []
        for compute in self._all():
            for machine in compute.list(everyone=everyone) if compute.creates else ():
                ours = managed(machine) and not self._is_by_another(machine)
                reason = self._why(machine) if ours else f"created elsewhere, by {machine.creator}"
                if reason and (ours or everyone):
                    found.append((compute, Orphan(machine, ours, reason)))
        return found

    def _is_by_another(self, machine: Machine) -> bool:
        """Whether a group that several manage has it from one of the others."""
        group = self._groups.find(machine.group)
        if group is None or machine.member in {each.id for each in group.members}:
            return False
        return machine.creator not in ("", self._groups.creator)

    def _why(self, machine: Machine) -> str:
        """Why nobody owns a machine that was created from here; empty if its group does."""
        from cloudmesh.sparknomad.compute.groups import GroupState

        group = self._groups.find(machine.group)
        if group is None or self._groups.owner_of(group) != machine.owner:
            return f"there is no group {machine.group!r}"
        if self._groups.is_held(group.name):
            return ""
        member = next((each for each in group.members if each.id == machine.member), None)
        if member is None:
            return f"group {group.name!r} does not know it"
        if group.state is GroupState.DESTROYING:
            return f"group {group.name!r} was not destroyed to its end"
        if group.state is GroupState.CREATING and not (member.owned or self._users(group.name)):
            return f"group {group.name!r} was not created to its end"
        return ""

    def _is_given_up(self, group: str) -> bool:
        """Whether all machines of a group are orphans, so that it is destroyed with them."""
        from cloudmesh.sparknomad.compute.groups import GroupState

        found = self._groups.find(group)
        if found is None or found.state is GroupState.READY:
            return False
        owned = any(member.owned for member in found.members) or bool(self._users(group))
        return found.state is GroupState.DESTROYING or not owned

    def compute_end_orphans(
        self, *, everyone: bool = False, timeout: float = END_SECONDS
    ) -> list[Orphan]:
        """End all orphans; a group that was never whole, or is half destroyed, goes with them.

        Args:
            everyone: also machines that were created from elsewhere.
            timeout: seconds after which to give up, for each compute and group.

        Returns:
            Those that were ended.

        Raises:
            LeftoverError: if a cloud still lists one in the end.
        """
        found = self._orphans(everyone)
        groups = {
            orphan.machine.group
            for _, orphan in found
            if orphan.ours and self._is_given_up(orphan.machine.group)
        }
        for group in sorted(groups):
            self.compute_destroy(group, timeout=timeout)
        others: dict[int, tuple[Compute, list[Machine]]] = {}
        for compute, orphan in found:
            if not (orphan.ours and orphan.machine.group in groups):
                others.setdefault(id(compute), (compute, []))[1].append(orphan.machine)
        for compute, machines in others.values():
            compute.end(machines, timeout=timeout)
        return [orphan for _, orphan in found]

    # hosts of a cluster

    def _with_machines(self, spec: ClusterSpec, *, create: bool, timeout: float) -> ClusterSpec:
        """A spec whose groups are replaced by their machines.

        Args:
            spec: the cluster's.
            create: whether groups with a ``count`` are created or completed first.
            timeout: seconds for that.
        """

        def hosts(entry: HostSpec, group: str) -> Sequence[Host]:
            if create and entry.count:
                where = entry.cloud or self._cloud_of(group)
                self.compute_create(group, where, count=entry.count, timeout=timeout)
            return self._hosts_of(group)

        return _replaced(spec, hosts)

    def _planned_machines(self, spec: ClusterSpec) -> ClusterSpec:
        """The same for a plan: machines that are not there yet have names made up."""
        from cloudmesh.sparknomad.compute.inventory import Host

        def hosts(entry: HostSpec, group: str) -> Sequence[Host]:
            there = self._groups.find(group)
            if there or not entry.count:
                return self._hosts_of(group)
            return [Host(f"{group}-{number}") for number in range(1, entry.count + 1)]

        return _replaced(spec, hosts)

    def _cloud_of(self, group: str) -> str | None:
        return None if self._groups.find(group) else group

    def _hosts_of(self, group: str) -> Sequence[Host]:
        """The machines of a group, or of an inventory in the configuration."""
        found = self._groups.find(group)
        if found:
            return self._computes.of(found).addresses(group)
        if group not in self._computes.names():
            known = ", ".join(each.name for each in self._groups.all()) or "none"
            raise NotFoundError(
                f"hosts: compute: there is no group {group!r}; known: {known}.",
                hint=f"cms sparknomad compute create {group} --compute=NAME, or give count: "
                "and cloud: in the spec.",
            )
        return self._inventory(group)

    def _inventory(self, name: str) -> Sequence[Host]:
        from cloudmesh.sparknomad.compute.inventory import named_hosts

        spec = self._computes.find(name)
        if not spec.hosts:
            raise SpecError(
                f"hosts: compute: {name!r} is a compute of kind {spec.kind!r}, not a group.",
                hint="Give count: to create machines there; leave out hosts: for this machine.",
            )
        return named_hosts(spec.hosts)

    def _is_gone(self, labels: Mapping[str, str]) -> bool:
        """Whether a host is proven not to exist any more, by the labels that it was given."""
        member, group = labels.get("sparknomad_machine"), labels.get("sparknomad_group")
        if not member or not group:
            return False
        if self._groups.has_ended(member):
            return True
        found = self._groups.find(group)
        if found is None or member not in {each.id for each in found.members}:
            return False
        try:
            return member not in self._computes.of(found).members(found)
        except ConflictError:  # asked of another account
            return False


def _replaced(spec: ClusterSpec, hosts: Callable[[HostSpec, str], Sequence[Host]]) -> ClusterSpec:
    """A spec with hosts in the place of its groups."""
    made: list[HostSpec] = []
    for entry in spec.hosts:
        if entry.compute:
            made += [_entry(entry, host) for host in hosts(entry, entry.compute)]
        else:
            made.append(entry)
    return dataclasses.replace(spec, hosts=tuple(made))


def _entry(entry: HostSpec, host: Host) -> HostSpec:
    return HostSpec(
        host=host.name,
        address=host.address or None,
        user=host.user or None,
        port=host.port or None,
        key=host.key or None,
        jump=host.jump or None,
        host_key=host.host_key or None,
        role=entry.role,
        site=entry.site,
        labels={**host.labels, **entry.labels},
    )
