"""What is particular about each of Libcloud's drivers; every other is `Cloud` itself."""

from __future__ import annotations

from cloudmesh.sparknomad.compute.kinds.azure import Azure
from cloudmesh.sparknomad.compute.kinds.cloud import Cloud
from cloudmesh.sparknomad.compute.kinds.ec2 import Ec2
from cloudmesh.sparknomad.compute.kinds.google import Google
from cloudmesh.sparknomad.compute.kinds.openstack import OpenStack

__all__ = ["cloud_of"]

_CLOUDS = {"ec2": Ec2, "gce": Google, "azure_arm": Azure, "openstack": OpenStack}


def cloud_of(driver: str) -> Cloud:
    """What is particular about a driver."""
    return _CLOUDS.get(driver, Cloud)()
