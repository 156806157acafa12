"""Computes without a cloud: specs, names, tags, plans, errors."""

from __future__ import annotations

import dataclasses
import inspect
import json
import os
import shutil
import stat
import subprocess
import time
import types
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cloudmesh.sparknomad.cli import main
from cloudmesh.sparknomad.compute.atonce import at_once
from cloudmesh.sparknomad.compute.computes import Computes
from cloudmesh.sparknomad.compute.groups import Group, Groups, GroupState, Member, plain_spec
from cloudmesh.sparknomad.compute.inventory import expand
from cloudmesh.sparknomad.compute.kinds.clouds import cloud_of
from cloudmesh.sparknomad.compute.machines import (
    GROUP_PATTERN,
    Machine,
    MachineRequest,
    MachineState,
    Offer,
    Tags,
)
from cloudmesh.sparknomad.compute.planning import cheapest, completed
from cloudmesh.sparknomad.compute.spec import ComputeSpec
from cloudmesh.sparknomad.compute.userdata import public_key, user_data
from cloudmesh.sparknomad.errors import (
    ConflictError,
    CredentialError,
    InputError,
    NotFoundError,
    SpecError,
)
from cloudmesh.sparknomad.manager import Sparknomad
from cloudmesh.sparknomad.specfile import build_spec
from cloudmesh.sparknomad.specs import ClusterSpec

Capture = pytest.CaptureFixture[str]
EC2: dict[str, Any] = {"driver": "ec2", "region": "us-east-1", "image": "i", "size": "s"}


def computes(tmp_path: Path, **section: Any) -> Computes:
    file = tmp_path / "cloudmesh.yaml"
    file.write_text(yaml.safe_dump({"cloudmesh": {"sparknomad": {"compute": section}}}))
    return Computes(file, Groups(tmp_path / "groups"), print)


# specs


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"kind": "libclod"}, "kind: 'libclod': unknown kind; did you mean 'libcloud'?"),
        ({}, "driver: missing"),
        ({"driver": "ec3"}, "driver: 'ec3': Libcloud has no such driver; did you mean 'ec2'"),
        ({"driver": "ec2"}, "region: missing"),
        ({"driver": "ec2", "region": "mars"}, "region: 'mars': unknown; known: "),
        ({**EC2, "hosts": ["a"]}, "hosts: only kind 'ssh' has it"),
        ({**EC2, "regoin": "x"}, "regoin: unknown field; did you mean 'region'?"),
        ({**EC2, "user": "a b"}, "user: 'a b'"),
        ({**EC2, "endpoint": "nowhere"}, "endpoint: 'nowhere'"),
        ({**EC2, "credentials": {"values": {"access_key": "x"}}}, "secrets in plain text"),
        ({**EC2, "credentials": {"source": "file"}}, "credentials.path: missing"),
        ({**EC2, "credentials": {"variables": {"kye": "X"}}}, "credentials.variables.kye"),
        ({"driver": "gce", "region": "z"}, "options.project: missing"),
        ({"driver": "azure_arm", "region": "z"}, "create.ex_resource_group: missing"),
        ({"driver": "azure_arm", "region": "z", "script": "x"}, "script: can't be given"),
        ({**EC2, "credentials": {"source": "instance"}}, "only driver gce can use it"),
        ({"kind": "ssh"}, "hosts: missing"),
        ({"kind": "ssh", "hosts": ["a[1-"]}, "no such range"),
        ({"kind": "ssh", "hosts": ["a", "a"]}, "named twice"),
        ({"kind": "ssh", "hosts": ["a"], "image": "x"}, "image: only clouds have it"),
        ({"kind": "ssh", "hosts": [{"compute": "x"}]}, "names its machines by host:"),
        ("text", "must be a mapping of fields"),
        ({"name": "x", **EC2}, "name: the name stands before"),
    ],
)
def test_a_compute_that_can_not_be_is_refused(tmp_path: Path, fields: Any, told: str) -> None:
    with pytest.raises(SpecError) as caught:
        computes(tmp_path, there=fields).find("there")
    assert told in caught.value.message
    assert "cloudmesh.sparknomad.compute.there" in caught.value.message or "kind" in told


def test_this_machine_is_always_there(tmp_path: Path) -> None:
    found = computes(tmp_path)
    assert found.names() == ["local"]
    (machine,) = found.open("local").list()
    (offer,) = found.open("local").offers()
    assert machine.state is MachineState.RUNNING
    assert (offer.cores or 0) >= 1 and (offer.memory or 0) > 0 and offer.price == 0
    with pytest.raises(SpecError, match="stands for this machine"):
        computes(tmp_path, local=EC2).find("local")


def test_a_near_name_is_proposed(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="did you mean 'rack'"):
        computes(tmp_path, rack={"kind": "ssh", "hosts": ["a"]}).find("rakc")


def test_machines_of_the_user_are_neither_created_nor_ended(tmp_path: Path) -> None:
    found = computes(tmp_path, rack={"kind": "ssh", "hosts": ["a[1-2]"]})
    for name in ("rack", "local"):
        compute = found.open(name)
        listed = list(compute.list())
        for do in (
            lambda c=compute: c.create("group", 1, timeout=1),
            lambda c=compute: c.plan("group", 1),
            lambda c=compute: c.destroy("group", timeout=1),
            lambda c=compute, ms=listed: c.end(ms, timeout=1),
            lambda c=compute, ms=listed: c._destroy(ms[0]),
        ):
            with pytest.raises(InputError):
                do()
        assert list(compute.list()) == listed


def test_credentials_come_from_where_the_compute_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    monkeypatch.setenv("MY_SECRET", "hush")
    source = {"source": "environment", "variables": {"secret_key": "MY_SECRET"}}
    found = computes(tmp_path, there={**EC2, "credentials": source})
    with pytest.raises(CredentialError, match=r"environment \(AWS_ACCESS_KEY_ID\)") as caught:
        found.open("there")
    assert "compute.there.credentials" in caught.value.hint
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "me")
    opened = found.open("there")
    assert opened.credentials == {"access_key": "me", "secret_key": "hush"}
    assert "hush" not in repr(opened.credentials)


def test_a_group_remembers_its_compute_without_secrets(tmp_path: Path) -> None:
    plain = {"source": "plain", "values": {"access_key": "me", "secret_key": "hush"}}
    found = computes(tmp_path, there={**EC2, "credentials": plain})
    spec = found.find("there")
    group = found.groups.write(Group("g", "there", plain_spec(spec), "s", "i", 2))
    file = tmp_path / "groups" / "g.json"
    assert "hush" not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert found.groups.find("g") == group
    assert found.of(group).credentials["secret_key"] == "hush"
    # The region is the group's, whatever the configuration says now.
    changed = computes(tmp_path, there={**EC2, "region": "eu-west-1", "credentials": plain})
    assert changed.of(group).spec.region == "us-east-1"


# names and tags


@given(st.from_regex(GROUP_PATTERN, fullmatch=True), st.integers(0, 2**48 - 1))
def test_a_name_tells_the_same_as_the_tags(group: str, number: int) -> None:
    tags = Tags("0123abcd", group, f"{number:012x}", "me-at-home")
    assert Tags.read(tags.as_mapping()) == tags
    assert Tags.read({}, tags.name) == dataclasses.replace(tags, creator="")
    assert len(tags.name) <= 63
    for key, value in tags.as_mapping().items():
        assert len(value) <= 63 and value == value.lower() and key == key.lower()


@given(st.text(), st.dictionaries(st.sampled_from(["sparknomad", "Name", "x"]), st.text()))
def test_other_machines_are_not_ours(name: str, tags: dict[str, str]) -> None:
    assert Tags.read(tags, name) is None


def test_the_creator_fits_every_cloud(tmp_path: Path) -> None:
    import re

    assert re.fullmatch(r"[a-z0-9_-]{1,63}", Groups(tmp_path).creator)


def test_an_owner_is_made_once(tmp_path: Path) -> None:
    groups = Groups(tmp_path)
    assert groups.owner == groups.owner == Groups(tmp_path).owner
    assert groups.owner != Groups(tmp_path / "other").owner


# which machines


def machine(member: str) -> Machine:
    return Machine(f"id-{member}", member, "there", MachineState.RUNNING, "g", member)


def group_of(*members: Member, count: int) -> Group:
    return Group("g", "there", {}, "s", "i", count, members=members)


def spec_of(**more: Any) -> ComputeSpec:
    return ComputeSpec(name="there", **{**EC2, **more})


def test_a_group_is_completed_with_new_members() -> None:
    now = time.time()
    record = group_of(
        Member("listed", now - 999),
        Member("asked", now - 999),  # its command was killed before the cloud had answered
        Member("gone", now - 999, "id-gone"),
        Member("fresh", now, "id-fresh"),  # not listed yet
        count=6,
    )
    made = completed(spec_of(), record, {"listed": machine("listed"), "new": machine("new")})
    ids = [member.id for member in made.members]
    assert ids[:4] == ["listed", "asked", "fresh", "new"]
    assert len(ids) == 6
    known = {member.id: member.machine for member in made.members}
    assert known["listed"] == "id-listed" and known["new"] == "id-new"
    assert [member.asked for member in made.members[4:]] == [0.0, 0.0]


def test_a_group_never_shrinks() -> None:
    record = group_of(Member("a", 1.0), Member("b", 1.0), count=1)
    with pytest.raises(ConflictError, match="has 2 machines already, more than 1"):
        completed(spec_of(), record, {})


def test_offers_without_a_price_are_the_last() -> None:
    offers = [
        Offer("c", "unpriced", 1, 1, None, None),
        Offer("c", "dear", 1, 1, None, 2.0),
        Offer("c", "cheap", 1, 1, None, 0.5),
    ]
    assert [offer.size for offer in cheapest(offers)] == ["cheap", "dear", "unpriced"]


def test_what_fails_does_not_hold_the_others() -> None:
    def do(number: int) -> None:
        if number % 2:
            raise ValueError(number)

    found = at_once(range(20), do)
    assert [item for item, error in found if error] == list(range(1, 20, 2))


def test_a_held_group_is_no_orphans(tmp_path: Path) -> None:
    groups = Groups(tmp_path)
    assert not groups.is_held("g")
    with groups.held("g"):
        assert groups.is_held("g")
        with pytest.raises(ConflictError, match="group 'g'"), Groups(tmp_path).held("g"):
            pass
    assert not groups.is_held("g")


def test_a_forgotten_group_leaves_only_that_its_machines_ended(tmp_path: Path) -> None:
    groups = Groups(tmp_path)
    with groups.held("g"):
        record = groups.write(group_of(Member("abc", 1.0), count=1))
        groups.forget(record)
    assert groups.find("g") is None and groups.all() == []
    assert groups.has_ended("abc") and not groups.has_ended("ab")


# what machines run first


@pytest.fixture
def key(tmp_path: Path) -> Path:
    file = tmp_path / "k"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", file], check=True)
    return file


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_user_data_is_a_script_of_any_shell(key: Path, tmp_path: Path, shell: str) -> None:
    own = tmp_path / "own.sh"
    own.write_text("#!/bin/sh\necho own\n")
    spec = spec_of(key=str(key), script=str(own))
    script = user_data(spec, public_key(spec))
    assert script.startswith("#!/bin/sh\n") and "echo own" in script
    assert "PRIVATE" not in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script.encode(), check=True)


def test_user_data_quotes_what_it_is_given() -> None:
    script = user_data(spec_of(), "ssh-ed25519 AAAA it's $(id)")
    assigned = "\n".join(script.splitlines()[:3])
    shown = subprocess.run(
        ["sh", "-c", f'{assigned}\nprintf %s "$key"'], capture_output=True, text=True, check=True
    )
    assert shown.stdout == "ssh-ed25519 AAAA it's $(id)"


def test_keys_and_scripts_that_are_missing_are_told(tmp_path: Path, key: Path) -> None:
    with pytest.raises(SpecError, match="key: missing"):
        public_key(spec_of())
    with pytest.raises(SpecError, match="there is no file"):
        public_key(spec_of(key=str(tmp_path / "none")))
    beside = Path(f"{key}.pub")
    beside.write_bytes(key.read_bytes())
    with pytest.raises(SpecError, match="is no public key"):
        public_key(spec_of(key=str(key)))
    beside.unlink()
    with pytest.raises(SpecError) as caught:
        public_key(spec_of(key=str(key)))
    assert "ssh-keygen -y" in caught.value.hint
    with pytest.raises(SpecError, match=r"script: .* can't be read"):
        user_data(spec_of(script=str(tmp_path / "none")), "k")
    long = tmp_path / "long"
    long.write_text("#" * 10_000)
    with pytest.raises(SpecError, match="too long by"):
        user_data(spec_of(script=str(long)), "k")
    python = tmp_path / "python"
    python.write_text("#!/usr/bin/python3\n")
    with pytest.raises(SpecError, match="script of a shell"):
        user_data(spec_of(script=str(python)), "k")


# orphans


class Told(Sparknomad):
    """A manager to whom a group's record is given."""

    def __init__(self, group: Group | None, users: list[str]) -> None:
        super().__init__()
        self.used = users
        if group:
            self._groups.write(group)

    def _users(self, group: str) -> list[str]:
        return self.used


@pytest.mark.parametrize(
    ("state", "member", "users", "reason", "given_up"),
    [
        (GroupState.READY, Member("m", 1.0, "i", True), [], "", False),
        (GroupState.READY, Member("other", 1.0, "i", True), [], "does not know it", False),
        (GroupState.CREATING, Member("m", 1.0), [], "was not created to its end", True),
        (GroupState.CREATING, Member("m", 1.0, "i", True), [], "", False),
        (GroupState.CREATING, Member("m", 1.0), ["cluster"], "", False),
        (GroupState.DESTROYING, Member("m", 1.0, "i", True), [], "was not destroyed", True),
    ],
)
def test_who_owns_a_machine(
    home: Path, state: GroupState, member: Member, users: list[str], reason: str, given_up: bool
) -> None:
    manager = Told(group_of(member, count=1).changed(state=state), users)
    ours = dataclasses.replace(machine("m"), owner=manager._groups.owner)
    why = manager._why(ours)
    assert (reason in why) if reason else why == ""
    assert manager._is_given_up("g") is given_up
    with manager._groups.held("g"):
        assert manager._why(ours) == ""


def test_nobody_owns_a_machine_of_no_group(home: Path) -> None:
    manager = Told(None, [])
    assert manager._why(machine("m")) == "there is no group 'g'"
    assert not manager._is_given_up("g")


# hosts of a cluster


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({}, "give either host or compute"),
        ({"host": "a", "compute": "g"}, "give either host or compute"),
        ({"compute": "g", "user": "me"}, "user does not go with compute"),
        ({"host": "a", "count": 2}, "count does not go with host"),
        ({"host": "a", "cloud": "x"}, "cloud does not go with host"),
        ({"compute": "g", "count": 0}, "count"),
        ({"compute": "a b"}, "compute"),
    ],
)
def test_an_entry_is_a_host_or_a_group(entry: dict[str, Any], told: str) -> None:
    with pytest.raises(SpecError, match=told):
        build_spec(ClusterSpec, {"hosts": [entry]})


def test_a_group_has_to_be_asked_before_it_is_hosts() -> None:
    spec = build_spec(ClusterSpec, {"hosts": [{"compute": "g", "role": "worker"}]})
    with pytest.raises(SpecError, match="'g': its machines were not asked for"):
        expand(spec.hosts, 1)


# drivers


def test_every_driver_is_known_by_name() -> None:
    assert type(cloud_of("digitalocean")).__name__ == "Cloud"
    assert {type(cloud_of(name)).__name__ for name in ("ec2", "gce", "azure_arm", "openstack")} == {
        "Ec2",
        "Google",
        "Azure",
        "OpenStack",
    }


def request_of(group: str = "g") -> MachineRequest:
    tags = Tags("0123abcd", group, "0123456789ab", "me-at-home")
    return MachineRequest(tags, "size", "a:b:c:d", "me", "ssh-ed25519 AAAA", "#!/bin/sh\n")


def test_google_is_given_labels_and_a_startup_script() -> None:
    from libcloud.compute.drivers.gce import GCENodeDriver

    driver = object.__new__(GCENodeDriver)  # its constructor asks Google for its zones
    spec = spec_of(driver="gce", create={"ex_network": "mine"})
    asked = cloud_of("gce").create_arguments(driver, spec, request_of())
    bound = inspect.signature(driver.create_node).bind(**asked).arguments
    assert bound["ex_labels"] == request_of().tags.as_mapping()
    assert bound["ex_metadata"]["items"][0] == {"key": "startup-script", "value": "#!/bin/sh\n"}
    assert (bound["size"], bound["image"], bound["ex_network"]) == ("size", "a:b:c:d", "mine")


def test_azure_is_sent_tags_and_key_in_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    from libcloud.common.azure_arm import AzureResourceManagementConnection
    from libcloud.compute.drivers.azure_arm import AzureNic
    from libcloud.compute.providers import get_driver

    # The constructor would log in.
    monkeypatch.setattr(AzureResourceManagementConnection, "connect", lambda *a, **k: None)
    cloud = cloud_of("azure_arm")
    create = {"ex_resource_group": "mine", "ex_network": "net"}
    spec = spec_of(driver="azure_arm", region="westeurope", create=create)
    arguments = cloud.arguments(spec, {"tenant_id": "t", "subscription_id": "s", "client_id": "c"})
    driver = get_driver("azure_arm")(**arguments)
    sent: list[dict[str, Any]] = []

    def request(action: str, **given: Any) -> Any:
        sent.append({"action": action, **given})
        raise RuntimeError("the cloud is not there")

    asked = cloud.create_arguments(driver, spec, request_of())
    nic = AzureNic("nic", "nic", "westeurope", {})
    monkeypatch.setattr(driver, "ex_create_network_interface", lambda *given: nic)
    monkeypatch.setattr(driver.connection, "request", request)
    with pytest.raises(RuntimeError, match="not there"):
        driver.create_node(**asked)
    (call,) = sent
    assert call["action"].endswith(f"/virtualMachines/{request_of().tags.name}")
    assert call["data"]["tags"] == request_of().tags.as_mapping()
    profile = call["data"]["properties"]["osProfile"]
    assert profile["adminUsername"] == "me"
    (key,) = profile["linuxConfiguration"]["ssh"]["publicKeys"]
    assert key["keyData"] == "ssh-ed25519 AAAA" and key["path"] == "/home/me/.ssh/authorized_keys"
    disk = call["data"]["properties"]["storageProfile"]["osDisk"]
    assert disk["deleteOption"] == "Delete"


def test_a_driver_without_tags_is_given_a_name_that_tells_the_same() -> None:
    class Plain:
        features: ClassVar[dict[str, list[str]]] = {"create_node": ["ssh_key"]}

        def create_node(self, name: str, size: object, image: object, auth: object) -> None: ...

        def list_sizes(self) -> list[Any]:
            return [types.SimpleNamespace(id="1", name="size")]

        def list_images(self) -> list[Any]:
            return [types.SimpleNamespace(id="a:b:c:d", name="x")]

    asked = cloud_of("other").create_arguments(Plain(), spec_of(), request_of())  # type: ignore[arg-type]
    assert set(asked) == {"name", "size", "image", "auth"}
    assert Tags.read({}, asked["name"]) == dataclasses.replace(request_of().tags, creator="")
    Plain.features = {}
    with pytest.raises(SpecError, match="takes neither user data nor a key"):
        cloud_of("other").create_arguments(Plain(), spec_of(), request_of())  # type: ignore[arg-type]


# the command line, without a cloud


@pytest.fixture
def configured(home: Path) -> Path:
    directory = Path(os.environ["CLOUDMESH_CONFIG_DIR"])
    directory.mkdir(parents=True)
    section = {"east": EC2, "rack": {"kind": "ssh", "hosts": ["rack[01-02]"]}}
    text = yaml.safe_dump({"cloudmesh": {"sparknomad": {"compute": section}}})
    (directory / "cloudmesh.yaml").write_text(text)
    return directory


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("create", "one"), 2, "no compute is named"),
        (("create", "one", "--compute=eats"), 4, "did you mean 'east'?"),
        (("create", "one", "--compute=rack"), 2, "its machines are yours"),
        (("create", "one", "--compute=local"), 2, "its machines are yours"),
        (("destroy", "rack"), 2, "its machines are yours"),
        (("create", "One", "--compute=rack"), 2, "lower-case letters"),
        (("destroy", "One"), 2, "lower-case letters"),
        (("create", "one", "--compute=rack", "--count=0"), 2, "must be 1 to 1000"),
        (("create", "one", "--compute=rack", "--count=x"), 2, "not a whole number"),
        (("offers", "--memory=much"), 2, "--memory=much"),
        (("list", "nowhere"), 4, "There is no compute 'nowhere'"),
        (("lost",), 2, "Unknown command compute 'lost'"),
    ],
)
def test_what_can_not_be_is_refused(
    configured: Path, capsys: Capture, words: tuple[str, ...], code: int, told: str
) -> None:
    assert main(["compute", *words]) == code
    shown = capsys.readouterr()
    assert told in shown.err and shown.out == ""
    assert not list(configured.glob("sparknomad/compute/*.json"))


def test_an_inventory_is_listed(configured: Path, capsys: Capture) -> None:
    assert main(["compute", "list", "rack", "--output=json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(each["name"], each["state"]) for each in found] == [
        ("rack01", "unknown"),
        ("rack02", "unknown"),
    ]


def test_a_group_that_is_not_there_is_gone(configured: Path, capsys: Capture) -> None:
    assert main(["compute", "destroy", "nobody", "--output=json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"group": "nobody", "found": False, "ended": [], "state": "destroyed"}


def test_hosts_of_a_group_that_is_not_there(configured: Path, capsys: Capture) -> None:
    for entry, told in (
        ({"compute": "nobody"}, "there is no group 'nobody'"),
        ({"compute": "east"}, "not a group"),
    ):
        Path("c.yaml").write_text(yaml.safe_dump({"cluster": "c", "hosts": [entry]}))
        assert main(["cluster", "deploy", "--spec=c.yaml", "--dry-run"]) in (2, 4)
        assert told in capsys.readouterr().err


def test_a_plan_has_the_machines_of_an_inventory(configured: Path, capsys: Capture) -> None:
    Path("c.yaml").write_text(yaml.safe_dump({"cluster": "c", "hosts": [{"compute": "rack"}]}))
    assert main(["cluster", "deploy", "--spec=c.yaml", "--dry-run"]) == 0
    assert "rack02: check it" in capsys.readouterr().out


def test_states_of_groups_are_written_as_words(tmp_path: Path) -> None:
    groups = Groups(tmp_path)
    groups.write(group_of(count=1).changed(state=GroupState.DESTROYING))
    assert json.loads((tmp_path / "g.json").read_text())["state"] == "destroying"
