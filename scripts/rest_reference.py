"""The page on the REST service's requests, made of its contract."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cloudmesh.sparknomad.contract import contract

__all__ = ["rest_page"]

_METHODS = ("get", "post", "put", "delete")


def rest_page(note: str) -> str:
    """The page.

    Args:
        note: its first line.
    """
    document = contract()
    lines = [
        note,
        "",
        "# Requests of the REST service",
        "",
        "Below `/v1`; what holds for all of them is in [REST](../rest.md). `service spec` prints "
        "the contract itself, an OpenAPI document. A failure is answered with a problem document "
        "(`application/problem+json`), whose codes are in [Errors](errors.md).",
        "",
    ]
    for place, methods in document["paths"].items():
        common = methods.get("parameters", [])
        for method in _METHODS:
            if method in methods:
                lines += _operation(document, place, method, methods[method], common)
    return "\n".join(lines)


def _operation(
    document: Mapping[str, Any],
    place: str,
    method: str,
    operation: Mapping[str, Any],
    common: list[Any],
) -> Iterator[str]:
    """The part about one request."""
    yield f"## {method.upper()} {place}"
    yield ""
    yield f"{operation['summary']}. Role: {operation.get('x-role', 'none')}."
    yield ""
    rows = list(_arguments(document, operation, common))
    if rows:
        yield "| argument | in | type | required | default | |"
        yield "|---|---|---|---|---|---|"
        yield from rows
        yield ""
    told = ", ".join(
        f"{status}: {_resolved(document, answer).get('description', '')}"
        for status, answer in operation["responses"].items()
        if status != "default"
    )
    yield f"Answers {told}."
    yield ""


def _arguments(
    document: Mapping[str, Any], operation: Mapping[str, Any], common: list[Any]
) -> Iterator[str]:
    for each in [*common, *operation.get("parameters", [])]:
        argument = _resolved(document, each)
        schema = _resolved(document, argument.get("schema", {}))
        yield _row(argument["name"], argument["in"], schema, bool(argument.get("required")),
                   argument.get("description", ""))  # fmt: skip
    for content in (operation.get("requestBody") or {}).get("content", {}).values():
        body = _resolved(document, content["schema"])
        for name, schema in body.get("properties", {}).items():
            schema = _resolved(document, schema)
            yield _row(name, "body", schema, name in body.get("required", ()),
                       schema.get("description", ""))  # fmt: skip
        if not body.get("properties"):
            yield _row("(the whole)", "body", body, True, body.get("description", ""))


def _row(name: str, place: str, schema: Mapping[str, Any], required: bool, about: str) -> str:
    kind = schema.get("type", "any")
    if "enum" in schema:
        kind = ", ".join(map(str, schema["enum"]))
    default = schema.get("default", "")
    return (
        f"| `{name}` | {place} | {kind} | {'yes' if required else 'no'} | "
        f"{default if default != '' else '-'} | {about.replace('|', '/')} |"
    )


def _resolved(document: Mapping[str, Any], place: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in place:
        found: Any = document
        for part in str(place["$ref"]).removeprefix("#/").split("/"):
            found = found[part]
        place = found
    return place
