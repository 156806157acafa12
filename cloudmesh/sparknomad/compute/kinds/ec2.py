"""Amazon EC2 by Libcloud."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cloudmesh.sparknomad.compute.machines import MachineRequest, MachineState
from cloudmesh.sparknomad.compute.spec import ComputeSpec
from cloudmesh.sparknomad.credentials import CredentialField, aws_files

if TYPE_CHECKING:
    from libcloud.compute.base import Node, NodeDriver

from cloudmesh.sparknomad.compute.kinds.cloud import Cloud, endpoint, one

__all__ = ["Ec2"]


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
            **endpoint(spec),
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
        """Asked twice with one token, EC2 makes one machine; one that goes off has ended."""
        found = super().create_arguments(driver, spec, request)
        found.setdefault("ex_terminate_on_shutdown", bool(spec.power_off))
        found.setdefault("ex_clienttoken", request.tags.name)
        if isinstance(found.get("ex_subnet"), str):
            found["ex_subnet"] = driver.ex_list_subnets(subnet_ids=[found["ex_subnet"]])[0]
        if isinstance(found.get("location"), str):
            found["location"] = one("create.location", found["location"], driver.list_locations())
        return found
