"""The contract of the REST service, ``service/openapi.yaml``, for who serves it and who calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

__all__ = ["Operation", "contract", "contract_text", "operations"]

_METHODS = ("get", "put", "post", "delete")


@dataclass(frozen=True)
class Operation:
    """One operation of the contract.

    Attributes:
        method: of HTTP, in small letters.
        path: below ``/v1``, with its parameters in braces.
        declared: what the contract says of it.
    """

    method: str
    path: str
    declared: Mapping[str, Any]

    @property
    def takes_key(self) -> bool:
        """Whether it is done once, however often it is sent with one ``Idempotency-Key``."""
        parameters = self.declared.get("parameters", ())
        return {"$ref": "#/components/parameters/IdempotencyKey"} in parameters


def contract_text() -> str:
    """The contract as it was written."""
    return (files("cloudmesh.sparknomad") / "service" / "openapi.yaml").read_text("utf-8")


def contract() -> dict[str, Any]:
    """The contract as OpenAPI's document."""
    import yaml

    document: dict[str, Any] = yaml.safe_load(contract_text())
    return document


def operations(document: Mapping[str, Any]) -> dict[str, Operation]:
    """The operations of a contract by their ``operationId``, in its order."""
    return {
        declared["operationId"]: Operation(method, path, declared)
        for path, item in document["paths"].items()
        for method, declared in item.items()
        if method in _METHODS
    }
