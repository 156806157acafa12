"""Machines are neither lost of sight nor taken for gone: tags, accounts, groups taken over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml

from cloudmesh.sparknomad.bundles import Bundle
from cloudmesh.sparknomad.compute.compute import Compute
from cloudmesh.sparknomad.compute.groups import Group, Groups
from cloudmesh.sparknomad.compute.kinds.clouds import cloud_of
from cloudmesh.sparknomad.compute.kinds.libcloud import LibcloudCompute
from cloudmesh.sparknomad.compute.machines import (
    Machine,
    MachineRequest,
    MachineState,
    Offer,
    Tags,
)
from cloudmesh.sparknomad.compute.spec import ComputeSpec
from cloudmesh.sparknomad.credentials import CredentialField, Credentials
from cloudmesh.sparknomad.errors import ConflictError, SpecError
from cloudmesh.sparknomad.manager import Sparknomad
from cloudmesh.sparknomad.specs import ClusterSpec

EC2 = {"name": "there", "driver": "ec2", "region": "eu-central-1", "image": "i", "size": "s"}
REQUEST = MachineRequest(Tags("0" * 8, "g", "m", "me"), "s", "i", "me", "ssh-ed25519 A", "#!\n")


def spec(**more: Any) -> ComputeSpec:
    return ComputeSpec(**{**EC2, **more})


# tags


def test_tags_of_the_user_stand_beside_ours() -> None:
    from libcloud.compute.drivers.ec2 import EC2NodeDriver

    driver = EC2NodeDriver("k", "s", region="eu-central-1")
    create = {"ex_metadata": {"Project": "x", "sparknomad": "another"}, "ex_spot": True}
    made = cloud_of("ec2").create_arguments(driver, spec(create=create), REQUEST)
    assert made["ex_metadata"] == {"Project": "x", **REQUEST.tags.as_mapping()}
    assert made["ex_spot"] is True


def test_tags_that_are_none_are_refused() -> None:
    from libcloud.compute.drivers.ec2 import EC2NodeDriver

    driver = EC2NodeDriver("k", "s", region="eu-central-1")
    with pytest.raises(SpecError, match="ex_metadata: 'x': must be a mapping of tags"):
        cloud_of("ec2").create_arguments(driver, spec(create={"ex_metadata": "x"}), REQUEST)


@pytest.mark.parametrize("name", ["name", "ex_clienttoken"])
def test_what_a_machine_is_found_by_is_ours(name: str) -> None:
    (told,) = LibcloudCompute.check(spec(create={name: "mine"}))
    assert told.startswith(f"create.{name}: ")


# accounts


class Sky(Compute):
    """A cloud with an account for each user; the real ones can't be had twice here."""

    kind = "sky"
    poll_seconds = 0.01
    accounts: ClassVar[dict[str, dict[str, Machine]]] = {}

    @classmethod
    def fields(cls, spec: ComputeSpec) -> Sequence[CredentialField]:
        del spec
        return (CredentialField("user", "SKY_USER", secret=False), CredentialField("key", "SKY"))

    @property
    def _mine(self) -> dict[str, Machine]:
        return self.accounts.setdefault(str(self.credentials["user"]), {})

    def _list(self) -> Sequence[Machine]:
        return list(self._mine.values())

    def _offers(self) -> Sequence[Offer]:
        return []

    def _create(self, request: MachineRequest) -> Machine:
        tags = request.tags
        made = Machine(
            tags.name, tags.name, "sky", MachineState.RUNNING, tags.group, tags.member,
            owner=tags.owner, creator=tags.creator, public="192.0.2.1",
        )  # fmt: skip
        self._mine[made.id] = made
        return made

    def _destroy(self, machine: Machine) -> None:
        self._mine.pop(machine.id, None)


Open = Callable[..., Sky]


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    Sky.accounts = {}
    (tmp_path / "key.pub").write_text("ssh-ed25519 AAAA me\n")
    (tmp_path / "key").write_text("")

    def open_as(user: str, directory: str = "here") -> Sky:
        made = ComputeSpec(
            name="sky", kind="sky", size="s", image="i", settle="1ms", key=str(tmp_path / "key")
        )
        credentials = Credentials({"user": user, "key": "k"})
        return Sky(made, credentials, Groups(tmp_path / directory), print)

    return open_as


def test_another_accounts_empty_list_proves_nothing(opened: Open) -> None:
    opened("a").create("farm", 3, timeout=5)
    for ask in (
        lambda: opened("b").destroy("farm", timeout=5),
        lambda: opened("b").create("farm", 3, timeout=5),
        lambda: opened("b").plan("farm", 3),
    ):
        with pytest.raises(ConflictError, match=r"user 'a'.*user 'b'.*another account"):
            ask()
    assert len(Sky.accounts["a"]) == 3 and opened("a").groups.find("farm")
    assert len(opened("a").destroy("farm", timeout=5)) == 3
    assert not Sky.accounts["a"] and not Sky.accounts["b"]


def test_what_is_gone_for_sure_can_be_forgotten(opened: Open) -> None:
    opened("a").create("farm", 2, timeout=5)
    Sky.accounts["a"].clear()
    assert opened("b").destroy("farm", timeout=5, force=True) == []
    assert opened("b").groups.find("farm") is None


def test_the_same_accounts_empty_list_is_believed(opened: Open) -> None:
    opened("a").create("farm", 2, timeout=5)
    Sky.accounts["a"].clear()
    assert opened("a").destroy("farm", timeout=5) == []


def test_another_key_that_lists_the_machines_is_no_other_account(opened: Open) -> None:
    opened("a").create("farm", 2, timeout=5)
    Sky.accounts["a2"] = Sky.accounts["a"]
    assert len(opened("a2").destroy("farm", timeout=5)) == 2


# taken over


def managers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> Sparknomad:
    place = tmp_path / name
    place.mkdir(exist_ok=True)
    section = {
        "sky": {
            "kind": "sky",
            "size": "s",
            "image": "i",
            "key": str(tmp_path / "key"),
            "settle": "1ms",
        }
    }
    text = yaml.safe_dump({"cloudmesh": {"sparknomad": {"compute": section}}})
    (place / "cloudmesh.yaml").write_text(text)
    monkeypatch.setenv("CLOUDMESH_CONFIG_DIR", str(place))
    monkeypatch.setenv("SKY_USER", "a")
    monkeypatch.setenv("SKY", "k")
    for module in ("registry", "computes"):
        monkeypatch.setattr(f"cloudmesh.sparknomad.compute.{module}.load_kind", lambda kind: Sky)
    return Sparknomad()


def test_who_takes_over_a_cluster_manages_its_machines(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARKNOMAD_CACHE", str(tmp_path / "cache"))
    first = managers(tmp_path, monkeypatch, "first")
    first.compute_create("farm", "sky", count=2, timeout=5)
    cluster = ClusterSpec(cluster="c", hosts=({"compute": "farm"},))  # type: ignore[arg-type]
    groups = first._exported_groups(cluster)
    (group,) = groups
    assert group["owner"] == first._groups.owner and len(group["members"]) == 2
    second = managers(tmp_path, monkeypatch, "second")
    bundle = Bundle("c", "nomad", "", {}, {}, groups=groups)
    second._take_groups(second._groups_of(bundle))
    assert len(second.compute_list("sky")) == 2
    assert second.compute_orphans(everyone=True) == []
    assert len(second._with_machines(cluster, create=False, timeout=5).hosts) == 2
    made = second.compute_create("farm", count=3, timeout=5)
    assert {each.owner for each in made} == {group["owner"]}
    second._take_groups(second._groups_of(bundle))  # taken over again
    assert len(second.compute_destroy("farm", timeout=5) or ()) == 3
    assert not Sky.accounts["a"]


def test_another_group_of_the_name_is_kept(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARKNOMAD_CACHE", str(tmp_path / "cache"))
    first = managers(tmp_path, monkeypatch, "first")
    first.compute_create("farm", "sky", count=1, timeout=5)
    groups = first._exported_groups(
        ClusterSpec(cluster="c", hosts=({"compute": "farm"},))  # type: ignore[arg-type]
    )
    second = managers(tmp_path, monkeypatch, "second")
    second.compute_create("farm", "sky", count=1, timeout=5)
    with pytest.raises(ConflictError, match="another group 'farm'"):
        second._groups_of(Bundle("c", "nomad", "", {}, {}, groups=groups))
    assert len(second.compute_destroy("farm", timeout=5) or ()) == 1
    assert len(Sky.accounts["a"]) == 1


def test_machines_of_a_group_stay_at_their_site(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in docs/how-to/use-several-sites.md."""
    monkeypatch.setenv("SPARKNOMAD_CACHE", str(tmp_path / "cache"))
    manager = managers(tmp_path, monkeypatch, "first")
    manager.compute_create("farm", "sky", count=2, timeout=5)
    from cloudmesh.sparknomad.specfile import build_spec

    sites = {"home": {"hosts": ["a"]}, "virginia": {"hosts": [{"compute": "farm"}]}}
    cluster = build_spec(ClusterSpec, {"cluster": "c", "sites": sites})
    hosts = manager._with_machines(cluster, create=False, timeout=5).hosts
    assert sorted(host.site or "" for host in hosts) == ["home", "virginia", "virginia"]


def test_nothing_of_another_operator_is_an_orphan_here(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARKNOMAD_CACHE", str(tmp_path / "cache"))
    cluster = ClusterSpec(cluster="c", hosts=({"compute": "farm"},))  # type: ignore[arg-type]
    first = managers(tmp_path, monkeypatch, "first")
    for name in ("farm", "other"):
        first.compute_create(name, "sky", count=2, timeout=5)
    second = managers(tmp_path, monkeypatch, "second")
    taken = [Group.read(each) for each in first._exported_groups(cluster)]
    second._take_groups(taken)
    assert second.compute_orphans() == [] and second.compute_end_orphans(timeout=5) == []
    assert len(second.compute_list("sky")) == 2
    creator = property(lambda groups: "another-at-there")
    monkeypatch.setattr(Groups, "creator", creator)
    assert len(second.compute_create("farm", count=3, timeout=5)) == 3
    monkeypatch.undo()
    first = managers(tmp_path, monkeypatch, "first")
    assert first.compute_orphans() == [] and first.compute_end_orphans(timeout=5) == []
    assert len(Sky.accounts["a"]) == 5
    # Taken over once more, what was made there since is not forgotten.
    second._take_groups(taken)
    known = second._groups.find("farm")
    assert known and len(known.members) == 3
