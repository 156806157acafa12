"""Reading specs from YAML, with errors that name file, line, field, value and remedy."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from cloudmesh.sparknomad.errors import NotFoundError, SpecError

__all__ = ["build_spec", "json_schema", "lines_of", "read_spec", "spec_from_json", "spec_to_dict"]

Spec = TypeVar("Spec")
Location = tuple[int | str, ...]


_ADAPTERS: dict[str, TypeAdapter[Any]] = {}


def _adapter(kind: Any) -> TypeAdapter[Any]:
    """The validator of a spec; making one takes milliseconds, so each is made once."""
    name = kind.__qualname__
    if name not in _ADAPTERS:
        _ADAPTERS[name] = TypeAdapter(kind)
    return _ADAPTERS[name]


def read_spec(kind: type[Spec], path: Path) -> Spec:
    """Read one spec from a YAML file.

    Args:
        kind: such as `ClusterSpec`, `ImageSpec` or `JobSpec`.
        path: the file.

    Raises:
        NotFoundError: if there is no such file.
        SpecError: if it can't be read, or something in it is wrong; all that is wrong is told.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFoundError(
            f"There is no file {str(path)!r}.", hint="Give the path of a YAML file."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}: can't be read: {error}") from error
    return _parse(kind, text, str(path))


def _parse(kind: type[Spec], text: str, origin: str) -> Spec:
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise SpecError(f"{origin}{line}: not YAML: {problem}") from error
    except ValueError as error:
        # PyYAML's resolver makes dates of 2013-13-01 without checking the month.
        raise SpecError(f"{origin}: not YAML: {error}") from error
    except RecursionError:
        raise SpecError(f"{origin}: is nested too deeply") from None
    except (TypeError, LookupError, AttributeError) as error:
        # This is how PyYAML says that a value such as `!!bool x` is not what its tag says.
        raise SpecError(f"{origin}: not YAML: a value does not fit its tag") from error
    around = _line_of_cycle(node)
    if around:
        raise SpecError(f"{origin}:{around}: an alias stands within what it stands for")
    if not isinstance(data, dict):
        raise SpecError(
            f"{origin}: holds {_kind_of(data)}, but a spec is a mapping of fields.",
            hint=f"Known fields: {', '.join(_fields(kind))}.",
        )
    repeated = _repeated_keys(node)
    if repeated:
        raise SpecError("\n".join(f"{origin}:{line}: {key}: given twice" for key, line in repeated))
    return build_spec(kind, data, origin=origin, node=node)


def build_spec(
    kind: type[Spec],
    data: Mapping[str, Any],
    *,
    origin: str = "",
    node: yaml.Node | None = None,
) -> Spec:
    """Make a spec from plain data.

    Args:
        kind: such as `ClusterSpec`, `ImageSpec` or `JobSpec`.
        data: the fields, as YAML or JSON gives them.
        origin: file name for messages, or empty.
        node: the YAML node of `data`, for line numbers.

    Raises:
        SpecError: with a line for each thing that is wrong.
    """
    unknown: list[str] = _python_names(kind, data, origin, node)
    try:
        spec: Spec = _adapter(kind).validate_python(dict(data))
    except ValidationError as error:
        details = _merge_unions(error.errors())
        lines: list[str] = [_explain(kind, detail, origin, node) for detail in details]
        raise SpecError("\n".join(dict.fromkeys([*lines, *unknown]))) from None
    if unknown:
        raise SpecError("\n".join(unknown))
    return spec


@functools.cache
def _renamed(kind: Any) -> tuple[str, ...]:
    known = _fields(kind)
    return tuple(each.name for each in dataclasses.fields(kind) if each.name not in known)


def _python_names(
    kind: Any, data: Mapping[str, Any], origin: str, node: yaml.Node | None
) -> list[str]:
    """What is wrong about fields that have the name of Python, where YAML has another."""
    names = [name for name in _renamed(kind) if name in data]
    details = [ErrorDetails(type="extra_forbidden", loc=(n,), msg="", input=None) for n in names]
    return [_explain(kind, detail, origin, node) for detail in details]


def _is_alternative(part: int | str) -> bool:
    """Whether pydantic put this into a place to tell a number from a range of numbers."""
    return part in ("int", "constrained-int") or str(part).startswith("function-after[")


def _merge_unions(details: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """Keep the first error of a place, of the alternative that was meant."""
    first: dict[Location, ErrorDetails] = {}
    for detail in details:
        location = detail["loc"]
        place = tuple(part for part in location if not _is_alternative(part))
        if place != location:
            of_number = location[-1] in ("int", "constrained-int")
            # Who writes a mapping means the range, who writes something else the number.
            if of_number and isinstance(detail["input"], Mapping):
                continue
            if detail["type"] == "dataclass_type":
                continue
        first.setdefault(place, ErrorDetails(**{**detail, "loc": place}))
    return list(first.values())


def _explain(kind: type[Any], detail: ErrorDetails, origin: str, node: yaml.Node | None) -> str:
    location = detail["loc"]
    place = _line_of(node, location)
    prefix = f"{origin}:{place}: " if origin and place else f"{origin}: " if origin else ""
    field = ".".join(str(part) for part in location if part != "[key]")
    if detail["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        known = _fields(_type_at(kind, location[:-1]))
        near = difflib.get_close_matches(str(location[-1]), known, n=1)
        remedy = f"did you mean {near[0]!r}?" if near else f"known fields: {', '.join(known)}"
        return f"{prefix}{field}: unknown field; {remedy}"
    if detail["type"] == "missing":
        return f"{prefix}{field}: missing; this field is required"
    message = detail["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if detail["type"] == "string_pattern_mismatch" and "[a-z0-9._-]" in message:
        message = (
            "a name has 1 to 40 lower-case letters, digits, '.', '_' or '-', "
            "and begins and ends with a letter or digit"
        )
    if detail["type"] == "enum":
        near = difflib.get_close_matches(
            str(detail["input"]), str(detail.get("ctx", {}).get("expected", "")).split("'"), n=1
        )
        message += f"; did you mean {near[0]!r}?" if near else ""
    return f"{prefix}{field}: {_show(detail['input'])}: {message}"


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _kind_of(data: Any) -> str:
    names = {type(None): "nothing", list: "a list", str: "a text"}
    return names.get(type(data), f"a {type(data).__name__}")


def _fields(kind: Any) -> list[str]:
    """The YAML names of a dataclass's fields; of several alternatives the one that has some."""
    if not dataclasses.is_dataclass(kind):
        found = [each for each in typing.get_args(kind) if dataclasses.is_dataclass(each)]
        return _fields(found[0]) if found else []
    schema = _adapter(kind).json_schema()
    return list(schema.get("properties", {}))


def _type_at(kind: Any, location: Location) -> Any:
    """Follow a location through nested dataclasses and mappings of dataclasses."""
    for part in location:
        if dataclasses.is_dataclass(kind):
            kind = typing.get_type_hints(kind).get(str(part))
        else:
            arguments = typing.get_args(kind)
            kind = arguments[-1] if arguments else None
    return kind


def _line_of(node: yaml.Node | None, location: Location) -> int | None:
    """The line of a place, 1-based; of the nearest enclosing one where it is missing."""
    line = node.start_mark.line + 1 if node else None
    for part in location:
        if isinstance(node, yaml.MappingNode):
            pair = next((p for p in node.value if p[0].value == str(part)), None)
            if pair is None:
                break
            line, node = pair[0].start_mark.line + 1, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            if part >= len(node.value):
                break
            node = node.value[part]
            line = node.start_mark.line + 1
    return line


def lines_of(path: Path, places: Sequence[Location]) -> list[int]:
    """The lines of places in a YAML file that `read_spec` has read, 1-based."""
    node = yaml.compose(path.read_text("utf-8"), Loader=yaml.SafeLoader)
    return [_line_of(node, place) or 1 for place in places]


def _children(node: yaml.Node | None) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [each for pair in node.value for each in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _line_of_cycle(
    node: yaml.Node | None, above: tuple[int, ...] = (), whole: set[int] | None = None
) -> int | None:
    """The line of something that contains itself, if there is such a thing."""
    whole = set() if whole is None else whole
    for child in _children(node):
        if id(child) in (*above, id(node)):
            return int(child.start_mark.line) + 1
        if id(child) not in whole:
            line = _line_of_cycle(child, (*above, id(node)), whole)
            if line:
                return line
    whole.add(id(node))
    return None


def _repeated_keys(node: yaml.Node | None, seen: set[int] | None = None) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    nodes = set() if seen is None else seen
    if id(node) in nodes:
        return found
    nodes.add(id(node))
    if isinstance(node, yaml.MappingNode):
        keys: set[str] = set()
        for key, _ in node.value:
            if key.value in keys:
                found.append((key.value, key.start_mark.line + 1))
            keys.add(key.value)
    for child in _children(node):
        found += _repeated_keys(child, nodes)
    return found


def spec_to_dict(spec: Any) -> dict[str, Any]:
    """A spec as plain data that `build_spec` reads back; sizes as text, enums as values."""
    data: dict[str, Any] = _adapter(type(spec)).dump_python(spec, mode="json", by_alias=True)
    return data


def spec_from_json(kind: type[Spec], text: str) -> Spec:
    """Read back what was stored as JSON of `spec_to_dict`."""
    return build_spec(kind, json.loads(text))


def json_schema(kind: type[Any]) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a spec, for editors."""
    schema = _adapter(kind).json_schema(by_alias=True)
    _close_mappings(schema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _close_mappings(schema: Any) -> None:
    """Refuse keys that fit no pattern, as the reader does; pydantic leaves this out."""
    if isinstance(schema, dict):
        if "patternProperties" in schema:
            schema.setdefault("additionalProperties", False)
        for part in schema.values():
            _close_mappings(part)
