"""What Libcloud's drivers have in common."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from cloudmesh.sparknomad.compute.machines import MachineRequest, MachineState
from cloudmesh.sparknomad.compute.spec import ComputeSpec
from cloudmesh.sparknomad.credentials import CredentialField
from cloudmesh.sparknomad.errors import ComputeError, SpecError

if TYPE_CHECKING:
    from libcloud.compute.base import Node, NodeDriver, NodeSize

__all__ = ["Cloud", "endpoint", "one"]


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
        found: dict[str, Any] = {**credentials, **endpoint(spec)}
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
        own = dict(spec.create)
        for name in self.tag_arguments:
            if name in known:
                arguments[name] = {**self._tags(spec, name), **request.tags.as_mapping()}
                own.pop(name, None)
                break
        arguments |= self._access(driver, spec, request, known)
        return arguments | own

    @staticmethod
    def _tags(spec: ComputeSpec, name: str) -> dict[str, Any]:
        """The user's own tags, which ours stand beside."""
        found = spec.create.get(name, {})
        if not isinstance(found, Mapping):
            raise SpecError(
                f"compute {spec.name!r}: create: {name}: {found!r}: must be a mapping of tags"
            )
        return dict(found)

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
        return one("size", name, driver.list_sizes())

    def image(self, driver: NodeDriver, name: str) -> Any:
        """An image by its id or name.

        Raises:
            SpecError: if there is none.
        """
        return one("image", name, driver.list_images())

    def destroy(self, driver: NodeDriver, node: Node) -> None:
        """Ask that a machine ends."""
        if not driver.destroy_node(node):
            raise ComputeError(f"the cloud did not take it that {node.name} is to end")


def one(what: str, name: str, found: Sequence[Any]) -> Any:
    """One thing by its id or name.

    Raises:
        SpecError: if there is none.
    """
    for each in found:
        if name in (str(each.id), each.name):
            return each
    import difflib

    near = difflib.get_close_matches(name, [str(each.id) for each in found], n=3)
    remedy = f"; did you mean {', '.join(map(repr, near))}?" if near else ""
    raise SpecError(f"{what}: {name!r}: the cloud has none of this id or name{remedy}")


def endpoint(spec: ComputeSpec) -> dict[str, Any]:
    """What a driver is given of another address than its cloud's own."""
    if not spec.endpoint:
        return {}
    url = urlsplit(spec.endpoint)
    secure = url.scheme == "https"
    return {"secure": secure, "host": url.hostname, "port": url.port or (443 if secure else 80)}
