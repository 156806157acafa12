"""What is particular about each of Libcloud's drivers; every other is `Cloud` itself."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from cloudmesh.sparknomad.compute.machines import MachineRequest, MachineState
from cloudmesh.sparknomad.compute.spec import ComputeSpec
from cloudmesh.sparknomad.credentials import CredentialField, aws_files
from cloudmesh.sparknomad.errors import ComputeError, SpecError

if TYPE_CHECKING:
    from libcloud.compute.base import Node, NodeDriver, NodeSize

__all__ = ["Cloud", "cloud_of"]


class Cloud:
    """A driver of which nothing particular is known.

    Where its ``create_node`` takes no tags, a machine's name alone tells whose it is.
    """

    fields: ClassVar[tuple[CredentialField, ...]] = (
        CredentialField("key", "LIBCLOUD_KEY"),
        CredentialField("secret", "LIBCLOUD_SECRET", optional=True),
    )
    sizes_by_name: ClassVar[bool] = False
    """Whether a size is named by its name, not by its id."""

    tag_arguments: ClassVar[tuple[str, ...]] = ("ex_metadata", "ex_labels")
    user_data_arguments: ClassVar[tuple[str, ...]] = ("ex_userdata", "ex_user_data", "userdata")

    def check(self, spec: ComputeSpec) -> Sequence[str]:
        """What is wrong with a spec; asks nobody."""
        del spec
        return ()

    def files(self, profile: str) -> Mapping[str, str]:
        """Credentials in the files of the cloud's own tools."""
        del profile
        return {}

    def arguments(self, spec: ComputeSpec, credentials: Mapping[str, str]) -> dict[str, Any]:
        """What the driver's constructor is given."""
        found: dict[str, Any] = {**credentials, **_endpoint(spec)}
        if spec.region:
            found["region"] = spec.region
        return found

    def prepare(self, driver: NodeDriver) -> None:
        """Change what a new driver needs changed."""

    def list(self, driver: NodeDriver, spec: ComputeSpec) -> Sequence[Node]:
        """All machines, or those with our tag."""
        del spec
        nodes: Sequence[Node] = driver.list_nodes()
        return nodes

    def tags(self, node: Node) -> Mapping[str, str]:
        """A machine's tags."""
        for key in ("tags", "labels", "metadata"):
            found = (node.extra or {}).get(key)
            if isinstance(found, Mapping) and "sparknomad" in found:
                return found
        return {}

    def state(self, node: Node) -> MachineState | None:
        """A machine's state, where the driver's word for it does not tell."""
        del node
        return None

    def size_of(self, node: Node) -> str:
        """A machine's size."""
        extra = node.extra or {}
        for key in ("instance_type", "size", "flavorId", "machineType"):
            if isinstance(extra.get(key), str):
                return str(extra[key]).rpartition("/")[2]
        return ""

    def cores(self, size: NodeSize) -> object:
        """The cores of a size."""
        own = getattr(size, "vcpus", None)
        extra = size.extra or {}
        found = (extra.get(key) for key in ("cpu", "vcpus", "cores", "guestCpus", "numberOfCores"))
        return own if own is not None else next((each for each in found if each), None)

    def create_arguments(
        self, driver: NodeDriver, spec: ComputeSpec, request: MachineRequest
    ) -> dict[str, Any]:
        """What ``create_node`` is given.

        Raises:
            SpecError: if there is no such size or image, or nobody could log in.
        """
        known = inspect.signature(driver.create_node).parameters
        arguments: dict[str, Any] = {
            "name": request.tags.name,
            "size": self.size(driver, request.size),
            "image": self.image(driver, request.image),
        }
        for name in self.tag_arguments:
            if name in known:
                arguments[name] = request.tags.as_mapping()
                break
        arguments |= self._access(driver, spec, request, known)
        return arguments | dict(spec.create)

    def _access(
        self,
        driver: NodeDriver,
        spec: ComputeSpec,
        request: MachineRequest,
        known: Mapping[str, Any],
    ) -> dict[str, Any]:
        """How the machine learns who may log in."""
        for name in self.user_data_arguments:
            if name in known:
                return {name: request.user_data}
        if "ssh_key" in (driver.features or {}).get("create_node", ()):
            from libcloud.compute.base import NodeAuthSSHKey

            return {"auth": NodeAuthSSHKey(request.public_key)}
        if spec.create:
            return {}  # the user says how, by an argument that only this driver has
        raise SpecError(
            f"compute {spec.name!r}: driver: {spec.driver!r} takes neither user data nor a key",
            hint="Take an image that knows your key, and give what the driver needs in create:",
        )

    def size(self, driver: NodeDriver, name: str) -> Any:
        """A size by its id or name.

        Raises:
            SpecError: if there is none.
        """
        return _one("size", name, driver.list_sizes())

    def image(self, driver: NodeDriver, name: str) -> Any:
        """An image by its id or name.

        Raises:
            SpecError: if there is none.
        """
        return _one("image", name, driver.list_images())

    def destroy(self, driver: NodeDriver, node: Node) -> None:
        """Ask that a machine ends."""
        if not driver.destroy_node(node):
            raise ComputeError(f"the cloud did not take it that {node.name} is to end")


def _one(what: str, name: str, found: Sequence[Any]) -> Any:
    for each in found:
        if name in (str(each.id), each.name):
            return each
    import difflib

    near = difflib.get_close_matches(name, [str(each.id) for each in found], n=3)
    remedy = f"; did you mean {', '.join(map(repr, near))}?" if near else ""
    raise SpecError(f"{what}: {name!r}: the cloud has none of this id or name{remedy}")


def _endpoint(spec: ComputeSpec) -> dict[str, Any]:
    if not spec.endpoint:
        return {}
    url = urlsplit(spec.endpoint)
    secure = url.scheme == "https"
    return {"secure": secure, "host": url.hostname, "port": url.port or (443 if secure else 80)}


class Ec2(Cloud):
    """Amazon EC2, and what speaks its protocol."""

    fields = (
        CredentialField("access_key", "AWS_ACCESS_KEY_ID", secret=False),
        CredentialField("secret_key", "AWS_SECRET_ACCESS_KEY"),
        CredentialField("session_token", "AWS_SESSION_TOKEN", optional=True),
    )

    def files(self, profile: str) -> Mapping[str, str]:
        """Read ``~/.aws/credentials``."""
        return aws_files(profile)

    def check(self, spec: ComputeSpec) -> Sequence[str]:
        """Libcloud has to know the region."""
        from libcloud.compute.drivers.ec2 import EC2NodeDriver

        regions = EC2NodeDriver.list_regions()
        if not spec.region:
            return ["region: missing; such as eu-central-1"]
        if spec.region not in regions:
            return [f"region: {spec.region!r}: unknown; known: {', '.join(sorted(regions))}"]
        return ()

    def arguments(self, spec: ComputeSpec, credentials: Mapping[str, str]) -> dict[str, Any]:
        """Keys under Libcloud's names for them."""
        return {
            "key": credentials.get("access_key", ""),
            "secret": credentials.get("secret_key", ""),
            "token": credentials.get("session_token") or None,
            "region": spec.region,
            "signature_version": "4",
            **_endpoint(spec),
        }

    def prepare(self, driver: NodeDriver) -> None:
        """Read answers whose name space differs a little from Amazon's.

        Libcloud finds nothing in those, and would say that there are no machines.
        """
        from libcloud.compute.drivers.ec2 import NAMESPACE

        kind = driver.connection.responseCls

        class Response(kind):  # type: ignore[misc, valid-type]
            def parse_body(self) -> Any:
                self.body: str = re.sub(
                    r'xmlns="http://ec2\.amazonaws\.com/doc/[0-9-]+/?"',
                    f'xmlns="{NAMESPACE}"',
                    self.body,
                    count=1,
                )
                return super().parse_body()

        driver.connection.responseCls = Response

    def list(self, driver: NodeDriver, spec: ComputeSpec) -> Sequence[Node]:
        """Those with our tag."""
        del spec
        nodes: Sequence[Node] = driver.list_nodes(ex_filters={"tag-key": "sparknomad"})
        return nodes

    def state(self, node: Node) -> MachineState | None:
        """Libcloud has no word for a machine that is shutting down."""
        ending = (node.extra or {}).get("status") == "shutting-down"
        return MachineState.ENDING if ending else None

    def size(self, driver: NodeDriver, name: str) -> Any:
        """A size by its name, also one that Libcloud does not know yet."""
        from libcloud.compute.base import NodeSize

        return NodeSize(name, name, 0, 0, None, None, driver)

    def image(self, driver: NodeDriver, name: str) -> Any:
        """An image by its id; the cloud says if there is none."""
        from libcloud.compute.base import NodeImage

        return NodeImage(name, name, driver)

    def create_arguments(
        self, driver: NodeDriver, spec: ComputeSpec, request: MachineRequest
    ) -> dict[str, Any]:
        """Asked twice with one token, EC2 makes one machine."""
        found = super().create_arguments(driver, spec, request)
        found.setdefault("ex_clienttoken", request.tags.name)
        if isinstance(found.get("ex_subnet"), str):
            found["ex_subnet"] = driver.ex_list_subnets(subnet_ids=[found["ex_subnet"]])[0]
        if isinstance(found.get("location"), str):
            found["location"] = _one("create.location", found["location"], driver.list_locations())
        return found


class Google(Cloud):
    """Google Compute Engine."""

    fields = (
        CredentialField("key_file", "GOOGLE_APPLICATION_CREDENTIALS", secret=False, optional=True),
    )
    sizes_by_name = True
    tag_arguments = ("ex_labels",)

    def check(self, spec: ComputeSpec) -> Sequence[str]:
        """The project can't be found elsewhere."""
        missing = [] if spec.options.get("project") else ["options.project: missing"]
        return missing if spec.region else [*missing, "region: missing; a zone: europe-west3-a"]

    def arguments(self, spec: ComputeSpec, credentials: Mapping[str, str]) -> dict[str, Any]:
        """A service account's file, or the identity of the machine that we are on."""
        import json
        from pathlib import Path

        found: dict[str, Any] = {"datacenter": spec.region, **_endpoint(spec)}
        if not credentials.get("key_file"):
            return {"user_id": "", "auth_type": "GCE", **found}
        path = Path(credentials["key_file"]).expanduser()
        try:
            email = json.loads(path.read_text("utf-8"))["client_email"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SpecError(
                f"compute {spec.name!r}: key_file: {str(path)!r}: no key of a service account: "
                f"{type(error).__name__}"
            ) from None
        return {"user_id": email, "key": str(path), **found}

    def size(self, driver: NodeDriver, name: str) -> Any:
        """The driver takes names."""
        return name

    def image(self, driver: NodeDriver, name: str) -> Any:
        """The driver takes names."""
        return name

    def _access(
        self,
        driver: NodeDriver,
        spec: ComputeSpec,
        request: MachineRequest,
        known: Mapping[str, Any],
    ) -> dict[str, Any]:
        del driver, spec, known
        return {"ex_metadata": {"items": [{"key": "startup-script", "value": request.user_data}]}}

    def size_of(self, node: Node) -> str:
        """The last part of its URL."""
        return str((node.extra or {}).get("machineType") or node.size or "").rpartition("/")[2]

    def destroy(self, driver: NodeDriver, node: Node) -> None:
        """Its disk ends with it."""
        driver.destroy_node(node, ex_sync=False)


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
            **_endpoint(spec),
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


class OpenStack(Cloud):
    """OpenStack's Nova."""

    fields = (
        CredentialField("username", "OS_USERNAME", secret=False),
        CredentialField("password", "OS_PASSWORD"),
        CredentialField("auth_url", "OS_AUTH_URL", secret=False, optional=True),
        CredentialField("project", "OS_PROJECT_NAME", secret=False),
        CredentialField("domain", "OS_USER_DOMAIN_NAME", secret=False, optional=True),
    )

    sizes_by_name = True

    def arguments(self, spec: ComputeSpec, credentials: Mapping[str, str]) -> dict[str, Any]:
        """An account of Keystone under Libcloud's names for it."""
        found: dict[str, Any] = {
            "key": credentials.get("username", ""),
            "secret": credentials.get("password", ""),
            "ex_force_auth_url": spec.endpoint or credentials.get("auth_url", ""),
            "ex_force_auth_version": "3.x_password",
            "api_version": "2.2",
            "ex_tenant_name": credentials.get("project") or None,
            "ex_domain_name": credentials.get("domain") or "Default",
        }
        if spec.region:
            found["ex_force_service_region"] = spec.region
        return found

    def create_arguments(
        self, driver: NodeDriver, spec: ComputeSpec, request: MachineRequest
    ) -> dict[str, Any]:
        """Networks and security groups by their names."""
        found = super().create_arguments(driver, spec, request)
        if found.get("networks"):
            there = driver.ex_list_networks()
            found["networks"] = [_one("create.networks", x, there) for x in found["networks"]]
        if found.get("ex_security_groups"):
            rules = driver.ex_list_security_groups()
            found["ex_security_groups"] = [
                _one("create.ex_security_groups", name, rules)
                for name in found["ex_security_groups"]
            ]
        return found


_CLOUDS = {"ec2": Ec2, "gce": Google, "azure_arm": Azure, "openstack": OpenStack}


def cloud_of(driver: str) -> Cloud:
    """What is particular about a driver."""
    return _CLOUDS.get(driver, Cloud)()
