"""From a pipeline's spec to single steps with their values and their order. Pure."""

from __future__ import annotations

import dataclasses
import difflib
import graphlib
import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cloudmesh.sparknomad.errors import ParameterError, SpecError
from cloudmesh.sparknomad.job.naming import is_path
from cloudmesh.sparknomad.job.parameters import bind
from cloudmesh.sparknomad.spec_pipelines import PipelineSpec, StepSpec
from cloudmesh.sparknomad.specs import JobSpec

__all__ = ["Step", "bind_pipeline", "check_pipeline", "expand", "order"]

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_REFERENCE = re.compile(r"steps\.([^.]+)\.(.+)")
_LARGEST = 2000
"""Steps that a pipeline may have when its matrices are written out."""

Find = Callable[[str], JobSpec]


@dataclass(frozen=True)
class Step:
    """One step of a pipeline's run, with the values of its matrix.

    Attributes:
        name: of the step, with the values of its matrix: ``query[n=3]``.
        spec: of which it is one.
        job: that it runs.
        values: of the job's parameters.
        needs: the names of the steps that have to end first.
        variables: of the matrix.
    """

    name: str
    spec: StepSpec
    job: JobSpec
    values: Mapping[str, Any]
    needs: tuple[str, ...] = ()
    variables: Mapping[str, Any] = field(default_factory=dict)


def _tokens(value: Any) -> Iterator[str]:
    for token in _TOKEN.finditer(value) if isinstance(value, str) else ():
        if token[1] is not None:
            yield token[1]


def _references(step: StepSpec) -> list[tuple[str, str, str]]:
    """The step's parameter, and which one of which other step it uses."""
    found = []
    for name, value in step.parameters.items():
        for token in _tokens(value):
            reference = _REFERENCE.fullmatch(token)
            if reference:
                found.append((name, reference[1], reference[2]))
    return found


def order(spec: PipelineSpec) -> dict[str, tuple[str, ...]]:
    """The names of the steps that each one waits for."""
    return {
        name: tuple(dict.fromkeys([*(other for _, other, _ in _references(step)), *step.after]))
        for name, step in spec.steps.items()
    }


# what is wrong


def check_pipeline(spec: PipelineSpec, find: Find) -> list[tuple[tuple[str, ...], str]]:
    """Everything that is wrong with a pipeline before values are known.

    Args:
        spec: the pipeline.
        find: gives the job that a step names.

    Returns:
        Where in the spec, and what.
    """
    problems: list[tuple[tuple[str, ...], str]] = []
    if is_path(spec.pipeline):
        told = f"{spec.pipeline!r}: is the name of a file; take one without its ending"
        problems.append((("pipeline",), told))
    jobs: dict[str, JobSpec] = {}
    for name, step in spec.steps.items():
        try:
            jobs[name] = find(step.job)
        except Exception as error:  # each has its own reason, none hides the others
            problems.append((("steps", name, "job"), getattr(error, "message", str(error))))
    for name, step in spec.steps.items():
        problems += _step_problems(spec, name, step, jobs)
    problems += _cycle_problems(spec)
    if not problems:
        problems += _bounds_problems(spec)
    return problems


def _step_problems(
    spec: PipelineSpec, name: str, step: StepSpec, jobs: Mapping[str, JobSpec]
) -> Iterator[tuple[tuple[str, ...], str]]:
    place = ("steps", name)
    for other in step.after:
        if other not in spec.steps:
            yield (*place, "after"), f"{other!r}: {_unknown('step', other, spec.steps)}"
    both = sorted(set(step.matrix) & (set(spec.parameters) | {"run"}))
    if both:
        yield (*place, "matrix", both[0]), "the pipeline has a parameter of this name"
    job = jobs.get(name)
    for parameter, value in step.parameters.items():
        where = (*place, "parameters", parameter)
        if job is not None and job.parameters and parameter not in job.parameters:
            yield where, _unknown(f"parameter of job {job.job!r}", parameter, job.parameters)
        yield from ((where, told) for told in _value_problems(spec, step, value, jobs))
    if job is None:
        return
    for parameter, declared in job.parameters.items():
        if declared.required and parameter not in step.parameters:
            told = f"job {job.job!r} requires a {declared.type.value}"
            yield (*place, "parameters"), f"{parameter}: missing; {told}"


def _value_problems(
    spec: PipelineSpec, step: StepSpec, value: Any, jobs: Mapping[str, JobSpec]
) -> Iterator[str]:
    if isinstance(value, str):
        for match in _TOKEN.finditer(value):
            if match[1] is None and match[0] in ("{", "}"):
                yield f"{value!r}: a single {match[0]!r}; write it twice for the character itself"
    known = [*spec.parameters, *step.matrix, "run"]
    for token in _tokens(value):
        reference = _REFERENCE.fullmatch(token)
        if not reference:
            if token not in known:
                yield f"{{{token}}}: {_unknown('parameter or variable', token, known)}"
            continue
        other, parameter = reference[1], reference[2]
        if other not in spec.steps:
            yield f"{{{token}}}: {_unknown('step', other, spec.steps)}"
        elif other in jobs and jobs[other].parameters:
            has = jobs[other].parameters
            if parameter not in has:
                yield f"{{{token}}}: {_unknown(f'parameter of step {other!r}', parameter, has)}"
        if other in spec.steps and spec.steps[other].matrix and _is_ambiguous(spec, step, other):
            yield (
                f"{{{token}}}: step {other!r} is run once for each of its matrix; write the same "
                "matrix here, or use its directory"
            )


def _is_ambiguous(spec: PipelineSpec, step: StepSpec, other: str) -> bool:
    """Whether it can't be told which of another step's runs is meant."""
    return any(step.matrix.get(name) != values for name, values in spec.steps[other].matrix.items())


def _cycle_problems(spec: PipelineSpec) -> Iterator[tuple[tuple[str, ...], str]]:
    edges = {name: [o for o in others if o in spec.steps] for name, others in order(spec).items()}
    try:
        graphlib.TopologicalSorter(edges).prepare()
    except graphlib.CycleError as error:
        circle = list(reversed(error.args[1]))
        yield ("steps", circle[0]), f"a cycle: {' waits for '.join(circle)}"


def _bounds_problems(spec: PipelineSpec) -> Iterator[tuple[tuple[str, ...], str]]:
    sizes = ((len(values) for values in step.matrix.values()) for step in spec.steps.values())
    count = sum(math.prod(size) for size in sizes)
    if count > _LARGEST:
        yield ("steps",), f"{count:,} steps with all their matrices; at most {_LARGEST:,}"


def _unknown(what: str, name: str, known: Any) -> str:
    names = [str(each) for each in known]
    near = difflib.get_close_matches(name, names, n=1)
    remedy = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names) or 'none'}"
    return f"there is no {what} {name!r}; {remedy}"


# values


def bind_pipeline(spec: PipelineSpec, values: Mapping[str, Any]) -> dict[str, Any]:
    """Check the values of a pipeline's parameters, and fill in the defaults; see `bind`."""
    stand_in = JobSpec(spec.pipeline, "pipeline", parameters=dict(spec.parameters))
    try:
        return bind(stand_in, values)
    except ParameterError as error:
        hint = f"Nothing was sent. `cms sparknomad pipeline show {spec.pipeline}` shows them."
        raise ParameterError(error.message.replace("the job", "the pipeline"), hint=hint) from None


def expand(
    spec: PipelineSpec,
    bound: Mapping[str, Any],
    run: str,
    find: Find,
    seen: Callable[[Step], Step] = lambda step: step,
) -> list[Step]:
    """The steps of one run, each after those that it waits for.

    Args:
        spec: a pipeline with which nothing is wrong.
        bound: the values of its parameters.
        run: the id of its run.
        find: gives the job that a step names.
        seen: may give a step other values, before the next ones use them.

    Raises:
        ParameterError: if a value does not fit a job's parameter; every step is told.
        SpecError: if two steps write to one place.
    """
    waits = order(spec)
    made: dict[str, list[Step]] = {}
    problems: list[str] = []
    for name in _in_order(waits):
        step = spec.steps[name]
        made[name] = []
        for variables in _combinations(step):
            needs = tuple(each.name for other in waits[name] for each in made[other]
                          if _matches(each, variables))  # fmt: skip
            single = Step(_named(name, variables), step, find(step.job), {}, needs, variables)
            try:
                values = _values(spec, single, {**bound, **variables, "run": run}, made)
                if single.job.parameters:
                    values = bind(single.job, values)
                filled = dataclasses.replace(single, values=values)
                made[name].append(filled if problems else seen(filled))
            except ParameterError as error:
                problems += [f"step {single.name}: {line}" for line in error.message.splitlines()]
                made[name].append(single)
    if problems:
        raise ParameterError("\n".join(problems), hint="Nothing was sent.")
    steps = [step for name in made for step in made[name]]
    _refuse_two_writers(steps)
    return steps


def _in_order(waits: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """The steps as they are written, but each after those that it waits for."""
    done: list[str] = []
    while len(done) < len(waits):
        ready = (name for name in waits if name not in done)
        done.append(next(name for name in ready if all(other in done for other in waits[name])))
        yield done[-1]


def _combinations(step: StepSpec) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*step.matrix.values()):
        yield dict(zip(step.matrix, values, strict=True))


def _named(name: str, variables: Mapping[str, Any]) -> str:
    told = ",".join(f"{key}={value}" for key, value in variables.items())
    return f"{name}[{told}]" if told else name


def _matches(other: Step, variables: Mapping[str, Any]) -> bool:
    """Whether a step with these variables waits for another: where both have one, it is equal."""
    return all(variables.get(key, value) == value for key, value in other.variables.items())


def _values(
    spec: PipelineSpec, step: Step, known: Mapping[str, Any], made: Mapping[str, Sequence[Step]]
) -> dict[str, Any]:
    def value_of(token: str) -> Any:
        reference = _REFERENCE.fullmatch(token)
        if not reference:
            return known.get(token)
        other = next(s for s in made[reference[1]] if _matches(s, step.variables))
        return other.values.get(reference[2])

    found = {}
    for name, value in step.spec.parameters.items():
        filled = _filled(value, value_of)
        if filled is not None:
            found[name] = filled
    return found


def _filled(value: Any, value_of: Callable[[str], Any]) -> Any:
    """A value whose tokens are replaced; one that is only a token keeps its type, or has none."""
    if not isinstance(value, str):
        return value
    alone = re.fullmatch(r"\{([^{}]+)\}", value)
    if alone:
        return value_of(alone[1])

    def fill(token: re.Match[str]) -> str:
        if token[0] in ("{{", "}}"):
            return token[0][0]
        told = value_of(token[1])
        return "" if told is None else str(told)

    return _TOKEN.sub(fill, value)


def _refuse_two_writers(steps: Sequence[Step]) -> None:
    writers: dict[str, str] = {}
    for step in steps:
        for name, declared in step.job.parameters.items():
            if declared.write is None or name not in step.values:
                continue
            place = str(step.values[name]).rstrip("/")
            other = writers.setdefault(place, step.name)
            if other != step.name:
                raise SpecError(
                    f"steps {other} and {step.name} both write to {place}",
                    hint="Give each its own place, for example with {run} or a variable of the "
                    "matrix in it.",
                )
