"""The suite of computes: on EC2's API, and on a cloud of namespaces."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from clouds import Ec2, ec2
from conformance.compute_suite import SECONDS, ComputeSuite, PricedSuite
from lab import lab
from needs import require
from nova import Nova, nova

from cloudmesh.sparknomad.compute.compute import Compute
from cloudmesh.sparknomad.compute.computes import Computes
from cloudmesh.sparknomad.compute.groups import Groups
from cloudmesh.sparknomad.compute.kinds.libcloud import LibcloudCompute
from cloudmesh.sparknomad.errors import ComputeError


def make_key(directory: Path) -> Path:
    key = directory / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    return key


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ec2]:
    with ec2(tmp_path_factory.mktemp("moto")) as made:
        yield made


@pytest.mark.servers
class TestEc2(PricedSuite):
    @pytest.fixture
    def compute(self, server: Ec2, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Compute:
        monkeypatch.setattr(LibcloudCompute, "poll_seconds", 0.05)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
        section = {"there": server.compute("us-east-1", make_key(tmp_path), settle="0.1s")}
        file = tmp_path / "cloudmesh.yaml"
        file.write_text(yaml.safe_dump({"cloudmesh": {"sparknomad": {"compute": section}}}))
        return Computes(file, Groups(tmp_path / "groups"), print).open("there")


class TestOpenStack(ComputeSuite):
    @pytest.fixture
    def cloud(self) -> Iterator[Nova]:
        with nova() as made:
            yield made

    @pytest.fixture
    def compute(self, cloud: Nova, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Compute:
        monkeypatch.setattr(LibcloudCompute, "poll_seconds", 0.05)
        section = {
            "driver": "openstack",
            "endpoint": cloud.endpoint,
            "region": "one",
            "image": "debian-12",
            "size": "m1.small",
            "key": str(make_key(tmp_path)),
            "settle": "0.1s",
            "credentials": {
                "source": "plain",
                "values": {"username": "me", "password": "hush", "project": "ours"},
            },
        }
        file = tmp_path / "cloudmesh.yaml"
        file.write_text(
            yaml.safe_dump({"cloudmesh": {"sparknomad": {"compute": {"there": section}}}})
        )
        return Computes(file, Groups(tmp_path / "groups"), print).open("there")

    def test_the_tags_are_in_the_call_that_creates(self, compute: Compute, cloud: Nova) -> None:
        (made,) = compute.create("workers", 1, timeout=SECONDS)
        group = compute.groups.find("workers")
        assert group
        tags = compute.groups.tags(group, made.member)
        (asked,) = cloud.asked
        assert (asked["name"], asked["metadata"]) == (tags.name, tags.as_mapping())
        assert asked["imageRef"] == "i-1" and asked["flavorRef"] == "1"
        assert cloud.user_data().startswith("#!/bin/sh\nuser=sparknomad\n")

    def test_offers_have_no_price(self, compute: Compute) -> None:
        (offer,) = compute.offers(cores=2)
        assert (offer.size, offer.cores, offer.memory) == ("m1.large", 4, 8 * 1024**3)
        assert offer.price is None

    def test_an_unknown_size_is_told(self, compute: Compute) -> None:
        with pytest.raises(ComputeError, match=r"size: 'm1\.smal': the cloud has none"):
            compute.create("workers", 1, size="m1.smal", timeout=SECONDS)


class TestLab(PricedSuite):
    @pytest.fixture
    def compute(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Compute]:
        require(os.geteuid() == 0, "root")
        for program in ("sshd", "ip", "nsenter"):
            require(shutil.which(program) or Path("/usr/sbin", program).exists(), program)
        example = Path(__file__).parents[1] / "example_compute"
        monkeypatch.syspath_prepend(str(example))
        from example_compute import LabCompute, remove_all

        from cloudmesh.sparknomad.compute.spec import ComputeSpec
        from cloudmesh.sparknomad.credentials import Credentials

        (tmp_path / "hosts").mkdir()
        with lab(tmp_path / "hosts") as hosts:
            spec = ComputeSpec(
                name="there",
                kind="lab",
                size="small",
                image="this",
                user="root",
                key=str(hosts.key),
                settle=0.1,
                options={
                    "directory": str(hosts.directory),
                    "prefix": hosts.prefix,
                    "subnet": hosts.subnet,
                },
            )
            try:
                yield LabCompute(spec, Credentials(), Groups(tmp_path / "groups"), print)
            finally:
                remove_all(hosts)
                sys.modules.pop("example_compute", None)
