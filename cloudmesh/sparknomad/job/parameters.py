"""A job's parameters: from ``name=value`` on a command line to the program's arguments."""

from __future__ import annotations

import datetime
import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from cloudmesh.sparknomad.errors import ParameterError, SpecError
from cloudmesh.sparknomad.job.naming import is_path
from cloudmesh.sparknomad.specs import Exists, JobSpec, ParameterSpec, ParameterType, Write

__all__ = [
    "LARGEST_PARAMETERS",
    "bind",
    "check_job",
    "parse_assignments",
    "render",
]

LARGEST_PARAMETERS = 1024 * 1024
"""Bytes that all arguments of a run may have together, in UTF-8."""

_PATTERN_SECONDS = 1.0
_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_OTHERWISE = re.compile(r"(?<!\\)\{(?!\d*,?\d*\})|\[\[:")
"""What `regex` would take for errors that a text may have, or for a class of characters."""

_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:.+|/.+|\.{0,2}/?.+", re.DOTALL)


def parse_assignments(assignments: Iterable[str]) -> dict[str, str]:
    """Split ``name=value``; the value is everything after the first ``=``, untouched.

    Raises:
        ParameterError: if one has no ``=``, no name, or a name is given twice.
    """
    values: dict[str, str] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals or not name:
            raise ParameterError(
                f"--param={assignment}: not an assignment; write --param NAME=VALUE."
            )
        if name in values:
            raise ParameterError(f"--param {name}=…: the parameter {name!r} is given twice.")
        values[name] = value
    return values


def check_job(spec: JobSpec) -> None:
    """Refuse a job whose parameters or arguments contradict each other.

    Raises:
        SpecError: with a line for each contradiction.
    """
    problems = [
        f"parameters.{name}.{problem}"
        for name, parameter in spec.parameters.items()
        for problem in _contradictions(parameter)
    ]
    for index, argument in enumerate(spec.arguments):
        for token in _PLACEHOLDER.finditer(argument):
            if token[1] is None and token[0] in ("{", "}"):
                problems.append(
                    f"arguments.{index}: {argument!r}: a single {token[0]!r}; write it twice for "
                    "the character itself"
                )
            elif token[1] is not None and token[1] not in spec.parameters:
                problems.append(
                    f"arguments.{index}: {argument!r}: {_unknown(token[1], spec.parameters)}"
                )
    if is_path(spec.job):
        problems.append(f"{spec.job!r}: is the name of a file; take one without its ending")
    if spec.main_class and spec.program.endswith(".py"):
        problems.append(f"class: {spec.main_class!r}: a Python program has no main class")
    if problems:
        raise SpecError("\n".join(f"job {spec.job!r}: {problem}" for problem in problems))


def _pattern_problem(pattern: str) -> str:
    """Why something is no pattern, or would be read otherwise than it looks; empty if it is one."""
    import regex

    if _OTHERWISE.search(pattern):
        return "write '\\{' for the character '{'; '[[:' has no meaning"
    try:
        re.compile(pattern)
        regex.compile(pattern)
    except (re.error, regex.error) as error:
        return f"is not a regular expression: {error}"
    return ""


def _contradictions(parameter: ParameterSpec) -> list[str]:
    found = []
    kind = parameter.type
    ordered = kind in (ParameterType.INTEGER, ParameterType.NUMBER, ParameterType.DATE)
    for name in ("minimum", "maximum"):
        if getattr(parameter, name) is not None and not ordered:
            found.append(f"{name}: only an integer, number or date has one, not a {kind.value}")
    if parameter.pattern is not None:
        if kind not in (ParameterType.STRING, ParameterType.URI):
            found.append(f"pattern: only a string or uri has one, not a {kind.value}")
        problem = _pattern_problem(parameter.pattern)
        found += [f"pattern: {parameter.pattern!r}: {problem}"] if problem else []
    if (kind is ParameterType.CHOICE) != bool(parameter.choices):
        found.append("choices: a choice, and only a choice, lists its values here")
    found += _storage_contradictions(parameter)
    if parameter.required and parameter.default is not None:
        found.append("default: a required parameter has none; drop one of the two")
    if not found:
        for name in ("minimum", "maximum", "default"):
            value = getattr(parameter, name)
            if value is not None:
                try:
                    _convert(parameter, value, bounded=name == "default")
                except ValueError as error:
                    found.append(f"{name}: {value!r}: {error}")
    if not found and parameter.minimum is not None and parameter.maximum is not None:
        convert = _CONVERTERS[kind]
        if convert(parameter.minimum) > convert(parameter.maximum):
            found.append(f"minimum: {parameter.minimum!r}: above the maximum {parameter.maximum!r}")
    return found


def _storage_contradictions(parameter: ParameterSpec) -> list[str]:
    found = []
    for name in ("stage", "write"):
        if getattr(parameter, name) is not None and parameter.type is not ParameterType.URI:
            found.append(f"{name}: only a uri has one, not a {parameter.type.value}")
    if parameter.stage is not None and parameter.write is not None:
        found.append("stage: what is written is not read; drop one of stage and write")
    if parameter.exists is not Exists.ERROR and parameter.write is not Write.STAGED:
        found.append("exists: only with `write: staged`; else the program itself decides")
    return found


def bind(spec: JobSpec, values: Mapping[str, Any]) -> dict[str, Any]:
    """Check a run's values against what its job declares, and fill in the defaults.

    Args:
        spec: the job.
        values: by name, as text from a command line or as typed values from YAML or JSON.

    Returns:
        The value of every parameter that has one; dates as ``YYYY-MM-DD``.

    Raises:
        ParameterError: with a line for each thing that is wrong.
    """
    problems: list[str] = []
    bound: dict[str, Any] = {}
    for name in values:
        if name not in spec.parameters:
            problems.append(f"{name}: {_unknown(name, spec.parameters)}")
    for name, parameter in spec.parameters.items():
        given = values.get(name, parameter.default)
        if given is None:
            if parameter.required:
                problems.append(f"{name}: missing; this {parameter.type.value} is required")
            continue
        try:
            bound[name] = _convert(parameter, given)
        except ValueError as error:
            problems.append(f"{name}: {given!r}: {error}")
    if problems:
        raise ParameterError(
            "\n".join(f"parameter {problem}" for problem in problems),
            hint=f"Nothing was sent. `cms sparknomad job show {spec.job}` shows what it takes.",
        )
    return bound


def _unknown(name: str, known: Iterable[str]) -> str:
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        return f"the job has no parameter {name!r}; did you mean {near[0]!r}?"
    listed = ", ".join(names) if names else "none"
    return f"the job has no parameter {name!r}; it has: {listed}"


def _convert(parameter: ParameterSpec, value: Any, *, bounded: bool = True) -> Any:
    converted = _CONVERTERS[parameter.type](value)
    if bounded:
        _check_bounds(parameter, converted)
    return converted


def _check_bounds(parameter: ParameterSpec, value: Any) -> None:
    convert = _CONVERTERS[parameter.type]
    if parameter.minimum is not None and value < convert(parameter.minimum):
        raise ValueError(f"must be at least {parameter.minimum}")
    if parameter.maximum is not None and value > convert(parameter.maximum):
        raise ValueError(f"must be at most {parameter.maximum}")
    if parameter.pattern is not None and not _matches(parameter.pattern, value):
        raise ValueError(f"must match {parameter.pattern!r}")
    if parameter.type is ParameterType.CHOICE and value not in parameter.choices:
        near = difflib.get_close_matches(value, parameter.choices, n=1)
        listed = ", ".join(parameter.choices)
        raise ValueError(
            f"must be one of {listed}" + (f"; did you mean {near[0]!r}?" if near else "")
        )


def _matches(pattern: str, value: str) -> bool:
    """Whether a pattern fits, looked at for a bounded time: some take for ever on some texts."""
    import regex

    try:
        # Others go on meanwhile: `concurrent` gives Python's lock away.
        found = regex.fullmatch(pattern, value, timeout=_PATTERN_SECONDS, concurrent=True)
        return found is not None
    except TimeoutError:
        raise ValueError(
            f"can't be compared with {pattern!r} within {_PATTERN_SECONDS:g} s; the job needs a "
            "simpler pattern"
        ) from None


def _string(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float | datetime.date):
        text = str(value)
        if "\0" in text:
            raise ValueError("must not contain the character NUL")
        try:
            # Bytes of a command line that are no UTF-8 pass as they are.
            text.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            raise ValueError("must be a text of Unicode characters, no halves of them") from None
        return text
    raise ValueError("must be a text")


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not re.fullmatch(r"[+-]?\d+", str(value).strip()):
        raise ValueError("must be a whole number")
    return int(value)


def _number(value: Any) -> float:
    try:
        if isinstance(value, bool):
            raise ValueError
        number = float(value)
    except OverflowError:
        raise ValueError("must be a number that fits 64 bits") from None
    except (TypeError, ValueError):
        raise ValueError("must be a number") from None
    if number != number or number in (float("inf"), float("-inf")):
        raise ValueError("must be a finite number")
    return number


def _boolean(value: Any) -> bool:
    text = str(value).strip().lower()
    if text in _TRUE | _FALSE:
        return text in _TRUE
    raise ValueError("must be true or false (yes/no, on/off, 1/0)")


def _uri(value: Any) -> str:
    text = _string(value)
    if not text.strip() or not _URI.fullmatch(text):
        raise ValueError("must be a URL such as s3://bucket/path, or a path")
    return text


def _date(value: Any) -> str:
    try:
        return datetime.date.fromisoformat(str(value)).isoformat()
    except ValueError:
        raise ValueError("must be a date as YYYY-MM-DD") from None


_CONVERTERS: dict[ParameterType, Callable[[Any], Any]] = {
    ParameterType.STRING: _string,
    ParameterType.INTEGER: _integer,
    ParameterType.NUMBER: _number,
    ParameterType.BOOLEAN: _boolean,
    ParameterType.URI: _uri,
    ParameterType.DATE: _date,
    ParameterType.CHOICE: _string,
}


def render(spec: JobSpec, bound: Mapping[str, Any]) -> tuple[str, ...]:
    """Make the program's arguments from bound parameters.

    An argument that is only ``{name}`` is left out where the parameter has no value, together
    with an argument just before it that begins with ``-``; inside a longer argument a
    parameter without value is empty.

    Raises:
        ParameterError: if the arguments exceed `LARGEST_PARAMETERS`.
    """
    rendered: list[str] = []
    option_before = False
    for argument in spec.arguments:
        alone = re.fullmatch(r"\{([^{}]*)\}", argument)
        if alone and alone[1] not in bound:
            if option_before:
                rendered.pop()
            option_before = False
            continue
        option_before = bool(re.fullmatch(r"-[^={}]+", argument))
        rendered.append(_PLACEHOLDER.sub(lambda token: _fill(token, bound), argument))
    size = sum(len(argument.encode("utf-8", "surrogateescape")) for argument in rendered)
    if size > LARGEST_PARAMETERS:
        raise ParameterError(
            f"The arguments have {size:,} bytes; at most {LARGEST_PARAMETERS:,} are allowed.",
            hint="Put large values into a file and pass its URL.",
        )
    return tuple(rendered)


def _fill(token: re.Match[str], bound: Mapping[str, Any]) -> str:
    if token[0] in ("{{", "}}"):
        return token[0][0]
    value = bound.get(token[1])
    if value is None:
        return ""
    return ("true" if value else "false") if isinstance(value, bool) else str(value)
