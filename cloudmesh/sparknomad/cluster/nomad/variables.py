"""Nomad's API about Variables, and what it says of things that are not as one has seen them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cloudmesh.sparknomad.errors import ClusterError

__all__ = ["LIMIT", "ChangedError", "NotThereError", "Variable", "Variables"]


LIMIT = 65_000
"""Bytes of keys and values: https://developer.hashicorp.com/nomad/docs/concepts/variables."""


class NotThereError(ClusterError):
    """Nomad knows no such thing."""


class ChangedError(ClusterError):
    """Somebody else has changed it meanwhile."""


@dataclass(frozen=True)
class Variable:
    """A Nomad Variable.

    Attributes:
        items: its texts by their names.
        index: tells this state of it from others.
    """

    items: Mapping[str, str] = field(repr=False)
    index: int


class Variables(ABC):
    """Reading and writing Variables."""

    namespace: str

    @abstractmethod
    def _request(self, *path: str, method: str = "get", **options: Any) -> Any:
        """Call an endpoint."""

    def put_variable(self, path: str, items: Mapping[str, str]) -> None:
        """Write a Nomad Variable."""
        body = {"Path": path, "Items": dict(items), "Namespace": self.namespace}
        self._request("var", path, method="put", json=body, params=self._here)

    def variable(self, path: str) -> Variable | None:
        """A Nomad Variable, or ``None`` if it is not there."""
        try:
            found = self._request("var", path, params=self._here).json()
        except NotThereError:
            return None
        return Variable(dict(found["Items"]), int(found["ModifyIndex"]))

    def replace_variable(self, path: str, items: Mapping[str, str], index: int) -> bool:
        """Write a Nomad Variable unless it was changed since `index`; whether it was written."""
        body = {"Path": path, "Items": dict(items), "Namespace": self.namespace}
        try:
            where = {"cas": index, **self._here}
            self._request("var", path, method="put", json=body, params=where)
        except ChangedError:
            return False
        return True

    @property
    def _here(self) -> dict[str, Any]:
        # python-nomad's requester leaves it out for some endpoints.
        return {"namespace": self.namespace}

    def variables(self, prefix: str) -> list[str]:
        """The paths of the Nomad Variables that begin so."""
        found = self._request("vars", params={"prefix": prefix, **self._here}).json()
        return [str(entry["Path"]) for entry in found or ()]

    def delete_variable(self, path: str) -> None:
        """Remove a Nomad Variable; fine if it is not there."""
        try:
            self._request("var", path, method="delete", params=self._here)
        except NotThereError:
            return
