"""Nomad's API about policies, tokens, and the namespaces that they are for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from cloudmesh.sparknomad.cluster.nomad.variables import NotThereError

__all__ = ["Acl"]


class Acl(ABC):
    """Who may do what, and where."""

    namespace: str

    @abstractmethod
    def _request(self, *path: str, method: str = "get", **options: Any) -> Any:
        """Call an endpoint."""

    def put_policy(self, name: str, rules: str, job: str = "", about: str = "") -> None:
        """Write an ACL policy: for tokens, or for the tasks of a job."""
        body: dict[str, Any] = {"Name": name, "Rules": rules, "Description": about}
        if job:
            body["JobACL"] = {"Namespace": self.namespace, "JobID": job}
        self._request("acl", "policy", name, method="post", json=body)

    def delete_policy(self, name: str) -> None:
        """Remove an ACL policy; one that is not there is none."""
        try:
            self._request("acl", "policy", name, method="delete")
        except NotThereError:
            return

    def put_namespace(self, name: str, about: str) -> None:
        """Make a namespace; fine if it is there."""
        body = {"Name": name, "Description": about}
        self._request("namespace", name, method="post", json=body)

    def namespaces(self) -> list[dict[str, Any]]:
        """All namespaces."""
        found: list[dict[str, Any]] = self._request("namespaces").json()
        return found

    def create_token(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Make an ACL token; the answer holds its secret."""
        made: dict[str, Any] = self._request("acl", "token", method="post", json=dict(body)).json()
        return made

    def tokens(self) -> list[dict[str, Any]]:
        """All ACL tokens, without their secrets."""
        found: list[dict[str, Any]] = self._request("acl", "tokens").json()
        return found

    def delete_token(self, accessor: str) -> None:
        """Revoke an ACL token."""
        self._request("acl", "token", accessor, method="delete")
