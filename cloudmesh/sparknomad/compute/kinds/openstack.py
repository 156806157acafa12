"""OpenStack by Libcloud."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cloudmesh.sparknomad.compute.machines import MachineRequest
from cloudmesh.sparknomad.compute.spec import ComputeSpec
from cloudmesh.sparknomad.credentials import CredentialField

if TYPE_CHECKING:
    from libcloud.compute.base import NodeDriver

from cloudmesh.sparknomad.compute.kinds.cloud import Cloud, one

__all__ = ["OpenStack"]


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
            found["networks"] = [one("create.networks", x, there) for x in found["networks"]]
        if found.get("ex_security_groups"):
            rules = driver.ex_list_security_groups()
            found["ex_security_groups"] = [
                one("create.ex_security_groups", name, rules)
                for name in found["ex_security_groups"]
            ]
        return found
