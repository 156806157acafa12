"""What every kind of compute that creates machines must do.

A kind joins by a class that derives from `ComputeSuite`, or from `PricedSuite` if its offers have
prices, and gives the fixture ``compute``: one whose spec has size, image and key, and of which
nobody else has machines.
"""

from __future__ import annotations

import stat

import pytest

from cloudmesh.sparknomad.compute.compute import Compute
from cloudmesh.sparknomad.compute.groups import GroupState
from cloudmesh.sparknomad.compute.machines import MachineRequest, MachineState
from cloudmesh.sparknomad.errors import (
    ComputeError,
    ConflictError,
    InputError,
    NotFoundError,
    SpecError,
)

SECONDS = 60.0


class ComputeSuite:
    """The suite."""

    @pytest.fixture
    def compute(self) -> Compute:
        raise NotImplementedError

    @pytest.fixture(autouse=True)
    def nothing_is_left(self, compute: Compute) -> None:
        yield
        for group in compute.groups.all():
            compute.destroy(group.name, timeout=SECONDS)
        compute.end(compute.list(), timeout=SECONDS)
        assert list(compute.list(everyone=True)) == []

    def test_machines_run_and_carry_their_tags(self, compute: Compute) -> None:
        made = compute.create("workers", 2, timeout=SECONDS)
        assert len({machine.member for machine in made}) == 2
        for machine in made:
            assert machine.state is MachineState.RUNNING
            assert machine.group == "workers"
            assert machine.owner == compute.groups.owner
            assert machine.creator == compute.groups.creator
            assert machine.compute == compute.spec.name
        assert {machine.id for machine in compute.list()} == {machine.id for machine in made}

    def test_machines_are_hosts_in_a_fixed_order(self, compute: Compute) -> None:
        compute.create("workers", 3, timeout=SECONDS)
        hosts = compute.addresses("workers")
        assert len({host.name for host in hosts}) == 3
        assert [host.name for host in compute.addresses("workers")] == [h.name for h in hosts]
        assert {host.user for host in hosts} == {compute.spec.user}
        assert {host.labels["sparknomad_group"] for host in hosts} == {"workers"}

    def test_creating_again_creates_nothing(self, compute: Compute) -> None:
        first = compute.create("workers", 2, timeout=SECONDS)
        again = compute.create("workers", 2, timeout=SECONDS)
        without_count = compute.create("workers", timeout=SECONDS)
        ids = {machine.id for machine in first}
        assert {m.id for m in again} == {m.id for m in without_count} == ids
        assert compute.plan("workers", 2).title.startswith("create 0 machines")

    def test_a_group_grows_and_never_shrinks(self, compute: Compute) -> None:
        first = compute.create("workers", 1, timeout=SECONDS)
        grown = compute.create("workers", 2, timeout=SECONDS)
        assert first[0].id in {machine.id for machine in grown}
        with pytest.raises(ConflictError, match="has 2 machines already, more than 1"):
            compute.create("workers", 1, timeout=SECONDS)

    def test_destroying_ends_the_group_and_no_other(self, compute: Compute) -> None:
        made = compute.create("one", 2, timeout=SECONDS)
        other = compute.create("two", 1, timeout=SECONDS)
        assert set(compute.destroy("one", timeout=SECONDS)) == {machine.id for machine in made}
        assert [machine.id for machine in compute.list()] == [other[0].id]
        assert compute.groups.find("one") is None
        assert all(compute.groups.has_ended(machine.member) for machine in made)
        assert list(compute.destroy("one", timeout=SECONDS)) == []

    def test_one_that_was_ended_by_others_is_noticed_and_replaced(self, compute: Compute) -> None:
        made = compute.create("workers", 2, timeout=SECONDS)
        compute.end(made[:1], timeout=SECONDS)
        with pytest.raises(ComputeError, match="is gone"):
            compute.addresses("workers")
        again = compute.create("workers", 2, timeout=SECONDS)
        assert made[1].id in {machine.id for machine in again}
        assert made[0].id not in {machine.id for machine in again}

    def test_what_is_asked_for_is_written_down_before(
        self, compute: Compute, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen = []
        create = compute._create

        def watched(request: MachineRequest) -> object:
            group = compute.groups.find("workers")
            assert group
            members = {member.id: member for member in group.members}
            seen.append((group.state, len(members), bool(members[request.tags.member].asked)))
            return create(request)

        monkeypatch.setattr(compute, "_create", watched)
        compute.create("workers", 3, timeout=SECONDS)
        assert seen == [(GroupState.CREATING, 3, True)] * 3
        file = compute.groups.directory / "workers.json"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600

    def test_what_fails_is_told_and_completed_later(
        self, compute: Compute, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        create = compute._create
        calls = []

        def failing(request: MachineRequest) -> object:
            calls.append(request)
            if len(calls) == 2:
                raise ComputeError("no room")
            return create(request)

        with monkeypatch.context() as patched:
            patched.setattr(compute, "_create", failing)
            with pytest.raises(ComputeError, match="1 of 3 machines were not created: no room"):
                compute.create("workers", 3, timeout=SECONDS)
        assert len(compute.list()) == 2
        assert len(compute.create("workers", 3, timeout=SECONDS)) == 3
        assert len(compute.list()) == 3

    def test_a_machine_without_a_record_is_found_again(self, compute: Compute) -> None:
        made = compute.create("workers", 2, timeout=SECONDS)
        (compute.groups.directory / "workers.json").unlink()
        again = compute.create("workers", 2, timeout=SECONDS)
        assert {machine.id for machine in again} == {machine.id for machine in made}

    def test_a_plan_touches_nothing(self, compute: Compute) -> None:
        plan = compute.plan("workers", 2)
        assert "create 2 machines" in plan.title
        assert any("sparknomad-group=workers" in step.body for step in plan.steps)
        assert list(compute.list()) == [] and compute.groups.all() == []

    def test_a_name_that_no_machine_can_have_is_refused(self, compute: Compute) -> None:
        for name in ("", "A", "a b", "-a", "a-", "a.b", "x" * 33, "1a", "a\n"):
            with pytest.raises(InputError, match="group"):
                compute.create(name, 1, timeout=SECONDS)

    def test_bad_numbers_and_unknown_groups_are_refused(self, compute: Compute) -> None:
        with pytest.raises(InputError, match="count: 1001"):
            compute.create("workers", 1001, timeout=SECONDS)
        with pytest.raises(NotFoundError, match="no group 'nobody'"):
            compute.addresses("nobody")
        with pytest.raises(NotFoundError, match="no group 'nobody'"):
            compute.wait("nobody", timeout=1)

    def test_a_key_that_is_not_there_is_told_before_anything_is_asked(
        self, compute: Compute, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import dataclasses

        monkeypatch.setattr(compute, "spec", dataclasses.replace(compute.spec, key="/nowhere/k"))
        with pytest.raises(SpecError, match="'/nowhere/k'"):
            compute.create("workers", 1, timeout=SECONDS)
        assert compute.groups.all() == []


class PricedSuite(ComputeSuite):
    """The suite, for a compute that tells prices."""

    def test_the_cheapest_offer_is_the_first(self, compute: Compute) -> None:
        offers = compute.offers(cores=2, memory=4 * 1024**3)
        prices = [offer.price for offer in offers if offer.price is not None]
        assert prices and prices == sorted(prices)
        priced = [offer.price is not None for offer in offers]
        assert priced == sorted(priced, reverse=True)
        assert all(offer.cores is None or offer.cores >= 2 for offer in offers)
        assert all(offer.memory is None or offer.memory >= 4 * 1024**3 for offer in offers)
