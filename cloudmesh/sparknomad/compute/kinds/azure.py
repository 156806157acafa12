"""Microsoft Azure by Libcloud."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cloudmesh.sparknomad.compute.machines import MachineRequest
from cloudmesh.sparknomad.compute.spec import ComputeSpec
from cloudmesh.sparknomad.credentials import CredentialField

if TYPE_CHECKING:
    from libcloud.compute.base import Node, NodeDriver

from cloudmesh.sparknomad.compute.kinds.cloud import Cloud, endpoint

__all__ = ["Azure"]


class Azure(Cloud):
    """Microsoft Azure's Resource Manager."""

    fields = (
        CredentialField("tenant_id", "AZURE_TENANT_ID", secret=False),
        CredentialField("subscription_id", "AZURE_SUBSCRIPTION_ID", secret=False),
        CredentialField("client_id", "AZURE_CLIENT_ID", secret=False),
        CredentialField("client_secret", "AZURE_CLIENT_SECRET"),
    )
    sizes_by_name = True
    tag_arguments = ("ex_tags",)
    user_data_arguments = ()
    """Libcloud 3.9 can't send custom data; Azure makes the user and takes the key by itself."""

    def check(self, spec: ComputeSpec) -> Sequence[str]:
        """What Azure needs beyond others."""
        found = [
            f"create.{name}: missing"
            for name in ("ex_resource_group", "ex_network")
            if not spec.create.get(name)
        ]
        if not spec.region:
            found.append("region: missing; such as westeurope")
        if spec.script:
            found.append("script: can't be given to machines of Azure; prepare an image instead")
        if spec.image and spec.image.count(":") != 3:
            found.append(
                f"image: {spec.image!r}: must be PUBLISHER:OFFER:SKU:VERSION, such as "
                "Debian:debian-12:12-gen2:latest"
            )
        return found

    def arguments(self, spec: ComputeSpec, credentials: Mapping[str, str]) -> dict[str, Any]:
        """An application's identity under Libcloud's names for it."""
        return {
            "tenant_id": credentials.get("tenant_id", ""),
            "subscription_id": credentials.get("subscription_id", ""),
            "key": credentials.get("client_id", ""),
            "secret": credentials.get("client_secret", ""),
            "region": spec.region,
            **endpoint(spec),
        }

    def list(self, driver: NodeDriver, spec: ComputeSpec) -> Sequence[Node]:
        """Those of the resource group."""
        group = spec.create["ex_resource_group"]
        nodes: Sequence[Node] = driver.list_nodes(ex_resource_group=group)
        return nodes

    def size(self, driver: NodeDriver, name: str) -> Any:
        """A size by its name; the cloud says if there is none."""
        from libcloud.compute.base import NodeSize

        return NodeSize(name, name, 0, 0, None, None, driver)

    def image(self, driver: NodeDriver, name: str) -> Any:
        """An image by its four names."""
        from libcloud.compute.drivers.azure_arm import AzureImage

        publisher, offer, sku, version = name.split(":")
        return AzureImage(version, sku, offer, publisher, driver.default_location.id, driver)

    def create_arguments(
        self, driver: NodeDriver, spec: ComputeSpec, request: MachineRequest
    ) -> dict[str, Any]:
        """A managed disk that ends with the machine."""
        own = {
            "ex_user_name": request.user,
            "ex_use_managed_disks": True,
            "ex_os_disk_delete": True,
        }
        return own | super().create_arguments(driver, spec, request)

    def destroy(self, driver: NodeDriver, node: Node) -> None:
        """Its network interface is ended with it."""
        driver.destroy_node(node, ex_destroy_vhd=False, ex_destroy_os_disk=False)
