"""Google Compute Engine by Libcloud."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cloudmesh.sparknomad.compute.machines import MachineRequest
from cloudmesh.sparknomad.compute.spec import ComputeSpec
from cloudmesh.sparknomad.credentials import CredentialField
from cloudmesh.sparknomad.errors import SpecError

if TYPE_CHECKING:
    from libcloud.compute.base import Node, NodeDriver

from cloudmesh.sparknomad.compute.kinds.cloud import Cloud, endpoint

__all__ = ["Google"]


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

        found: dict[str, Any] = {"datacenter": spec.region, **endpoint(spec)}
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
