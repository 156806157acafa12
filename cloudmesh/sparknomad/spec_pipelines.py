"""What a user writes of a pipeline: jobs in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import Enum
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from cloudmesh.sparknomad.spec_types import (
    CONFIGURATION,
    NAME_PATTERN,
    PARAMETER_PATTERN,
    Duration,
    Name,
    Scalar,
    Text,
)
from cloudmesh.sparknomad.specs import ParameterSpec

__all__ = ["STEP_PATTERN", "NotifySpec", "PipelineSpec", "StepSpec", "When"]

STEP_PATTERN = r"^[a-z]([a-z0-9_-]{0,38}[a-z0-9])?$"

Step = Annotated[str, Field(pattern=STEP_PATTERN)]
Variable = Annotated[str, Field(pattern=PARAMETER_PATTERN)]


class When(Enum):
    """On which outcome of the steps before it a step is run.

    ``succeeded``: all of them succeeded; ``failed``: one of them failed; ``always``: all have
    ended, however.
    """

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ALWAYS = "always"


@dataclass(frozen=True, config=CONFIGURATION)
class StepSpec:
    """A job of a pipeline.

    Attributes:
        job: the name of a defined job, a job file or a program; a path is relative to the
            pipeline's file.
        parameters: the values of the job's parameters. In a text ``{name}`` stands for a
            parameter of the pipeline or a variable of the matrix, ``{run}`` for the id of the
            pipeline's run, and ``{steps.NAME.PARAMETER}`` for what a parameter of another step
            is, which this one then waits for; ``{{`` and ``}}`` stand for braces.
        after: steps that have to end first, beside those whose parameters it uses.
        when: on which outcome of those before it.
        matrix: lists of values: the step is run once for each combination of them.
        retries: how often a failed run is sent again, beside the job's own retries.
        timeout: instead of the job's own.
        site: of the cluster; that of its largest input if not given.
        stage: as ``job run --stage``, for every input: ``auto``, ``always`` or ``never``.
    """

    job: Annotated[str, Field(min_length=1)]
    parameters: Mapping[Variable, Scalar] = field(default_factory=dict)
    after: tuple[Step, ...] = ()
    when: When = When.SUCCEEDED
    matrix: Mapping[Variable, Annotated[tuple[Scalar, ...], Field(min_length=1)]] = field(
        default_factory=dict
    )
    retries: Annotated[int, Field(strict=True, ge=0, le=20)] = 0
    timeout: Duration | None = None
    site: Annotated[str, Field(pattern=NAME_PATTERN)] | None = None
    stage: Annotated[str, Field(pattern="^(auto|always|never)$")] | None = None


@dataclass(frozen=True, config=CONFIGURATION)
class NotifySpec:
    """A web server that is told of a pipeline's end.

    Attributes:
        url: that is sent a POST with JSON.
        secret: the name of the environment variable with the key that signs it, when the pipeline
            is sent.
    """

    url: Annotated[str, Field(pattern=r"^https?://[^\s/]+\S*$")]
    secret: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None


@dataclass(frozen=True, config=CONFIGURATION)
class PipelineSpec:
    """Jobs in order: a directed acyclic graph.

    Attributes:
        pipeline: its name.
        steps: by name; see `StepSpec`.
        parameters: by name, as those of a job.
        concurrency: how many steps run at a time at most.
        timeout: what still runs then is ended.
        notify: who is told of the end.
        keep: how long what its steps write to ``cluster:`` URLs stays after it has succeeded; as
            long as the cluster if not given.
        description: one line for lists.
    """

    pipeline: Name
    steps: Annotated[Mapping[Step, StepSpec], Field(min_length=1)]
    parameters: Mapping[Variable, ParameterSpec] = field(default_factory=dict)
    concurrency: Annotated[int, Field(strict=True, ge=1, le=1000)] = 8
    timeout: Duration | None = None
    notify: NotifySpec | None = None
    keep: Duration | None = None
    description: Text = ""
