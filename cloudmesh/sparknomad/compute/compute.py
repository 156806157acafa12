"""`Compute`: where machines come from. A kind of it gives a few hooks."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import ClassVar

from cloudmesh.sparknomad.compute.creating import create_all
from cloudmesh.sparknomad.compute.ending import Ending
from cloudmesh.sparknomad.compute.groups import Group, Groups, GroupState, Member
from cloudmesh.sparknomad.compute.inventory import Host
from cloudmesh.sparknomad.compute.machines import (
    Machine,
    MachineRequest,
    MachineState,
    Offer,
    check_group_name,
)
from cloudmesh.sparknomad.compute.planning import (
    cheapest,
    completed,
    refuse_ended,
    refuse_other_account,
    wanted,
)
from cloudmesh.sparknomad.compute.reaching import host_of, reach
from cloudmesh.sparknomad.compute.spec import ComputeSpec
from cloudmesh.sparknomad.compute.userdata import make_request
from cloudmesh.sparknomad.credentials import CredentialField, Credentials
from cloudmesh.sparknomad.errors import (
    ComputeError,
    InputError,
    NotFoundError,
)
from cloudmesh.sparknomad.model import Plan, PlanStep
from cloudmesh.sparknomad.waiting import Deadline, wait_until

__all__ = ["Compute"]

_AGAIN_SECONDS = 30.0
_MOST = 1000


class Compute(ABC):
    """One named place where machines come from.

    The public methods are the same for every kind: they write down what will be asked for before
    it is asked for, work on many machines at a time, and can be interrupted and given again.

    Args:
        spec: what the user says of it.
        credentials: for its cloud.
        groups: what is remembered.
        say: shows one line of progress.
    """

    kind: ClassVar[str]
    """Its name in a compute's ``kind``."""

    creates: ClassVar[bool] = True
    """Whether it creates and ends machines; else they are the user's own."""

    poll_seconds: ClassVar[float] = 1.0
    """Between two questions while something is waited for."""

    def __init__(
        self,
        spec: ComputeSpec,
        credentials: Credentials,
        groups: Groups,
        say: Callable[[str], None],
    ) -> None:
        self.spec = spec
        self.credentials = credentials
        self.groups = groups
        self.say = say

    # what a kind gives

    @classmethod
    def check(cls, spec: ComputeSpec) -> Sequence[str]:
        """What is wrong with a spec for this kind, a line each; asks nobody."""
        del spec
        return ()

    @classmethod
    def fields(cls, spec: ComputeSpec) -> Sequence[CredentialField]:
        """The credentials that it needs."""
        del spec
        return ()

    @classmethod
    def files(cls, spec: ComputeSpec, profile: str) -> Mapping[str, str]:
        """Credentials in the files of the cloud's own tools, by the name of a profile in them."""
        del spec, profile
        return {}

    @abstractmethod
    def _list(self) -> Sequence[Machine]:
        """Every machine with our tag, whoever created it; or all that are the user's own."""

    @abstractmethod
    def _offers(self) -> Sequence[Offer]:
        """The sizes that there are."""

    @abstractmethod
    def _create(self, request: MachineRequest) -> Machine:
        """Ask for one machine, with its tags in that very call.

        It must not wait until the machine runs. Asked twice for one ``request.tags.member``, it
        should make one machine where the cloud can tell.
        """

    @abstractmethod
    def _destroy(self, machine: Machine) -> None:
        """Ask that one machine ends; one that is gone already is no error."""

    # looking

    def list(self, *, everyone: bool = False) -> Sequence[Machine]:
        """The machines that there are now, as the cloud says.

        Args:
            everyone: also those with our tag that were created from elsewhere.
        """
        found = [each for each in self._list() if not each.state.is_terminal]
        if self.creates and not everyone:
            managed = self.groups.managed()
            found = [each for each in found if managed(each)]
        return sorted(found, key=lambda machine: (machine.group, machine.name))

    def members(self, group: Group, *, force: bool = False) -> dict[str, Machine]:
        """The machines of a group by our own ids, as the cloud lists them.

        Args:
            group: the group.
            force: also where the account may be another one.

        Raises:
            ConflictError: if none is listed, and the credentials are not those that made them: in
                another account, that proves nothing.
        """
        owner = self.groups.owner_of(group)
        found = {m.member: m for m in self.list() if (m.group, m.owner) == (group.name, owner)}
        made = [member.id for member in group.members if member.machine]
        if made and not force and not any(member in found for member in made):
            refuse_other_account(group, self._identity)
        return found

    @property
    def _identity(self) -> dict[str, str]:
        """What tells the account, as far as credentials do; no secrets."""
        names = [field.name for field in self.fields(self.spec) if not field.secret]
        return {name: self.credentials[name] for name in names if self.credentials.get(name)}

    def offers(self, *, cores: int = 1, memory: int = 0) -> Sequence[Offer]:
        """The sizes that are large enough, the cheapest first; those without a price last.

        Args:
            cores: at least so many, where it is told.
            memory: at least so many bytes, where it is told.
        """
        large = [
            offer
            for offer in self._offers()
            if (offer.cores is None or offer.cores >= cores)
            and (offer.memory is None or offer.memory >= memory)
        ]
        return cheapest(large)

    # creating

    def plan(self, group: str, count: int | None, *, size: str = "", image: str = "") -> Plan:
        """What `create` would do; asks the cloud what is there, and touches nothing."""
        record = self._wanted(group, count, size, image)
        record = completed(self.spec, record, self.members(record))
        request = self._request(record, record.members[0])
        missing = [member for member in record.members if not member.machine]
        steps = [PlanStep(f"write group {group!r} into {self.groups.directory}")]
        for member in missing:
            tags = self._request(record, member).tags
            shown = "\n".join(f"{key}={value}" for key, value in tags.as_mapping().items())
            title = f"create {tags.name} in {self.spec.name}: {record.size}, {record.image}"
            steps.append(PlanStep(title, shown, "text"))
        steps.append(PlanStep("let each run this when it boots", request.user_data, "sh"))
        steps.append(PlanStep(f"wait until {len(record.members)} machines run"))
        return Plan(f"create {len(missing)} machines for group {group!r}", tuple(steps))

    def create(
        self,
        group: str,
        count: int | None = None,
        *,
        size: str = "",
        image: str = "",
        timeout: float,
    ) -> Sequence[Machine]:
        """Bring a group to so many machines; those that are there stay.

        Args:
            group: its name.
            count: how many; what the group has, or one, if not given.
            size: of each; the compute's own if empty.
            image: that each boots from; the compute's own if empty.
            timeout: seconds after which to give up.

        Returns:
            Its machines when all of them run.

        Raises:
            ConflictError: if the group is another compute's, or has more machines already.
            ComputeError: if the cloud refused some; given again, it creates those.
            WaitTimeoutError: if they do not run in time.
        """
        deadline = Deadline(timeout)
        self._creating()
        with self.groups.held(group):
            record = self._wanted(group, count, size, image)
            self._settle(record)
            record = completed(self.spec, record, self.members(record))
            record = record.changed(identity=self._identity)
            self._request(record, record.members[0])  # what is wrong here is told before it counts
            record = self.groups.write(record.changed(state=GroupState.CREATING))
            record = self._create_missing(record, deadline)
            machines = self._running(record, deadline)
            self.groups.write(record.made_whole())
        return machines

    def _creating(self) -> None:
        if not self.creates:
            raise InputError(
                f"compute: {self.spec.name!r} is of kind {self.kind!r}: its machines are yours; "
                "sparknomad neither creates nor ends them.",
                hint="Name a compute of a cloud: cms sparknomad compute list shows them.",
            )

    def _wanted(self, group: str, count: int | None, size: str, image: str) -> Group:
        self._creating()
        check_group_name(group)
        return wanted(self.spec, self.groups.find(group), group, count, size, image)

    def _settle(self, record: Group) -> None:
        """Wait for what a killed command may have asked for: asked again, it could come twice."""
        while True:
            waiting = [each for each in record.members if each.asked and not each.machine]
            until = max((each.asked for each in waiting), default=0.0) + self.spec.settle
            if not waiting or time.time() >= until:
                return
            if all(each.id in self.members(record) for each in waiting):
                return
            time.sleep(self.poll_seconds)

    def _request(self, record: Group, member: Member) -> MachineRequest:
        tags = self.groups.tags(record, member.id)
        return make_request(self.spec, tags, record.size, record.image)

    def _create_missing(self, record: Group, deadline: Deadline) -> Group:
        missing = [member for member in record.members if not member.machine]
        if not missing:
            return record
        self.say(f"creating {len(missing)} machines for group {record.name!r} in {self.spec.name}")

        def create(member: Member) -> Machine:
            return self._create(self._request(record, member))

        return create_all(record, missing, create, self.groups.write, deadline)

    # waiting

    def wait(self, group: str, *, timeout: float) -> Sequence[Machine]:
        """Wait until all machines of a group run and have addresses.

        Raises:
            NotFoundError: if there is no such group.
            ComputeError: if one has ended.
            WaitTimeoutError: if they do not run in time.
        """
        return self._running(self._found(group), Deadline(timeout))

    def _found(self, group: str) -> Group:
        found = self.groups.find(group)
        if found is None:
            known = ", ".join(each.name for each in self.groups.all()) or "none"
            raise NotFoundError(
                f"There is no group {group!r}; known: {known}.",
                hint=f"cms sparknomad compute create {group} --compute=NAME",
            )
        return found

    def _running(self, record: Group, deadline: Deadline) -> Sequence[Machine]:
        names = f"{len(record.members)} machines of group {record.name!r}"

        def ready_ones() -> list[Machine] | None:
            listed = self.members(record)
            found = [listed.get(member.id) for member in record.members]
            refuse_ended(self.spec, record, listed)
            running = [each for each in found if each and each.state is MachineState.RUNNING]
            ready = [each for each in running if reach(self.spec, each)]
            return ready if len(ready) == len(record.members) else None

        hint = f"See cms sparknomad compute list {self.spec.name}; the same command again waits on."
        return wait_until(
            ready_ones, f"{names} to run", deadline, interval=self.poll_seconds, hint=hint
        )

    def addresses(self, group: str) -> Sequence[Host]:
        """The machines of a group as hosts that can be logged in to, in a fixed order.

        Raises:
            NotFoundError: if there is no such group.
            ComputeError: if one of its machines does not run.
        """
        record = self._found(group)
        listed = self.members(record)
        hosts = []
        for member in record.members:
            machine = listed.get(member.id)
            if machine is None or not reach(self.spec, machine):
                state = machine.state.value if machine else "gone"
                raise ComputeError(
                    f"Group {group!r}: machine {member.machine or member.id} is {state}.",
                    hint=f"cms sparknomad compute create {group} --compute={self.spec.name} "
                    "waits for it, or creates another.",
                )
            hosts.append(host_of(self.spec, machine))
        return hosts

    # destroying

    def destroy(self, group: str, *, timeout: float, force: bool = False) -> Sequence[str]:
        """End all machines of a group; forget it when the cloud lists none of them.

        Args:
            group: its name.
            timeout: seconds after which to give up.
            force: also if the account may be another one than that of its machines.

        Returns:
            The cloud's ids of the machines that were ended now.

        Raises:
            ConflictError: if another command changes the group now, or none of its machines is
                listed and the credentials are others than those that made them.
            LeftoverError: if the cloud still lists one in the end; the group is not forgotten.
        """
        self._creating()
        deadline = Deadline(timeout)
        with self.groups.held(group):
            record = self.groups.find(group)
            if record is None:
                return []
            self.members(record, force=force)
            record = self.groups.write(record.changed(state=GroupState.DESTROYING))
            owner = self.groups.owner_of(record)
            settled = max([member.asked for member in record.members], default=0.0)
            ids = {member.id for member in record.members}
            ending = self._ending(f"Group {group!r}", deadline)
            ended = ending.run(
                lambda machine: (
                    machine.owner == owner and (machine.group == group or machine.member in ids)
                ),
                settled=settled + self.spec.settle,
                expected=len(record.members),
            )
            self.groups.forget(record)
        return ended

    def end(self, machines: Iterable[Machine], *, timeout: float) -> Sequence[str]:
        """End some machines that no group owns.

        Raises:
            LeftoverError: if the cloud still lists one in the end.
        """
        self._creating()
        ids = {machine.id for machine in machines}
        ending = self._ending("Orphans", Deadline(timeout), everyone=True)
        return ending.run(lambda machine: machine.id in ids)

    def _ending(self, title: str, deadline: Deadline, *, everyone: bool = False) -> Ending:
        return Ending(
            title=title,
            compute=self.spec.name,
            list=lambda: self.list(everyone=everyone),
            destroy=self._destroy,
            say=self.say,
            deadline=deadline,
            poll_seconds=self.poll_seconds,
        )
