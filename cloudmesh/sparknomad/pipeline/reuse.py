"""Telling whether a step would do again what it has done before. Pure but for what it is given."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping

from cloudmesh.sparknomad.cluster.definition import build_definition
from cloudmesh.sparknomad.pipeline.graph import Step
from cloudmesh.sparknomad.specs import ParameterType

__all__ = ["fingerprint", "written"]


def written(step: Step) -> dict[str, str]:
    """The places that a step writes to, by parameter."""
    declared = step.job.parameters
    return {
        name: str(value)
        for name, value in step.values.items()
        if name in declared and declared[name].write is not None
    }


def fingerprint(
    step: Step, run: str, version: Callable[[str], str], made: Mapping[str, str]
) -> str:
    """What is equal for two steps that do the same to the same.

    Args:
        step: with its values.
        run: the id of the pipeline's run, which may stand in them.
        version: tells what changes with the content of a place that is read.
        made: the fingerprints of the steps that write places, by place.

    Raises:
        NotFoundError: if a file of the job, or a place that is read, is not there.
    """
    outputs = written(step)
    told = {}
    for name, value in step.values.items():
        text = str(value).replace(run, "{run}")
        declared = step.job.parameters.get(name)
        if declared is not None and declared.type is ParameterType.URI and name not in outputs:
            place = str(value).rstrip("/")
            # What another step makes is told by that step, wherever it lies.
            text = f"made by {made[place]}" if place in made else f"{text} {version(str(value))}"
        told[name] = text
    document = [build_definition(step.job).digest, sorted(told.items())]
    return hashlib.sha256(json.dumps(document).encode()).hexdigest()
