"""What a user writes as YAML: clusters, images, jobs.

Frozen dataclasses, validated by pydantic. `specfile` reads them from files and turns what is
wrong into errors with line numbers; the JSON Schemas in ``schemas/`` are made from them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import Enum
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic.dataclasses import dataclass

from cloudmesh.sparknomad.spec_hosts import (
    SITE_PATTERN,
    HostSpec,
    Role,
    SiteSpec,
    WorkerRange,
    host_entry,
    placed,
)
from cloudmesh.sparknomad.spec_images import ImageSpec, Variant
from cloudmesh.sparknomad.spec_types import (
    CONFIGURATION,
    NAME_PATTERN,
    PARAMETER_PATTERN,
    Count,
    Duration,
    Name,
    Scalar,
    Size,
    Text,
    Workers,
)
from cloudmesh.sparknomad.units import parse_duration, parse_size

__all__ = [
    "CONFIGURATION",
    "ClusterSpec",
    "Dependencies",
    "DriverResources",
    "ExecutorRange",
    "ExecutorResources",
    "Exists",
    "HostSpec",
    "ImageSpec",
    "JobSpec",
    "NAME_PATTERN",
    "Name",
    "PARAMETER_PATTERN",
    "ParameterSpec",
    "ParameterType",
    "Part",
    "Resources",
    "Retries",
    "ROLES",
    "Role",
    "SiteSpec",
    "Stage",
    "Startup",
    "TaskDriver",
    "Text",
    "Variant",
    "WorkerRange",
    "Write",
]


ROLES = ("operator", "submitter", "reader")
"""What a token may be: see ``docs/how-to/share-a-cluster.md``."""


class ParameterType(Enum):
    """The types that a job's parameter can have."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    URI = "uri"
    DATE = "date"
    CHOICE = "choice"


class TaskDriver(Enum):
    """How Nomad runs the cluster's tasks."""

    AUTO = "auto"
    DOCKER = "docker"
    EXEC = "exec"
    RAW_EXEC = "raw_exec"


class Stage(Enum):
    """Whether an input is brought into the cluster before the program starts.

    ``auto`` decides from how often it was read, how far it is and whether there is room.
    """

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class Write(Enum):
    """How an output gets to its storage.

    ``direct``: the program writes it there; ``staged``: into the cluster, and from there when
    the program has succeeded.
    """

    DIRECT = "direct"
    STAGED = "staged"


class Exists(Enum):
    """What happens where something is at the place of a staged output, in Spark's words."""

    ERROR = "error"
    OVERWRITE = "overwrite"
    APPEND = "append"


class Startup(Enum):
    """What a job's Java machines are tuned for.

    ``fast`` compiles with C1 only, best for jobs of seconds; ``throughput`` compiles fully
    everywhere; ``balanced`` is fast on the driver and full on the executors.
    """

    FAST = "fast"
    BALANCED = "balanced"
    THROUGHPUT = "throughput"


@dataclass(frozen=True, config=CONFIGURATION)
class ParameterSpec:
    """One parameter of a job.

    Attributes:
        type: what its values are.
        required: whether a run must give it.
        default: the value when a run does not give it.
        minimum: smallest allowed integer, number or date (inclusive).
        maximum: largest allowed integer, number or date (inclusive).
        pattern: regular expression that a string or uri must match as a whole.
        choices: the allowed values of a choice.
        stage: of a uri that is read: whether it is brought into the cluster first.
        write: of a uri that is written: directly, or by way of the cluster.
        exists: of a uri that is written by way of the cluster: what to do if it is there.
        description: one line for the help.
    """

    type: ParameterType = ParameterType.STRING
    required: bool = False
    default: Scalar = None
    minimum: Scalar = None
    maximum: Scalar = None
    pattern: str | None = None
    choices: tuple[Text, ...] = ()
    stage: Stage | None = None
    write: Write | None = None
    exists: Exists = Exists.ERROR
    description: str = ""


@dataclass(frozen=True, config=CONFIGURATION)
class DriverResources:
    """What the driver of a run gets: ``cores``, and the Java heap ``memory``."""

    cores: Count = 1
    memory: Size = parse_size("1g")


@dataclass(frozen=True, config=CONFIGURATION)
class ExecutorRange:
    """Executors that come and go with the work that waits.

    Attributes:
        max: how many there are at most.
        min: how many there are at least.
    """

    max: Count
    min: Annotated[int, Field(strict=True, ge=0, le=10_000)] = 0

    @model_validator(mode="after")
    def _ordered(self) -> ExecutorRange:
        if self.min > self.max:
            raise ValueError(f"min must be at most max, which is {self.max}")
        return self


@dataclass(frozen=True, config=CONFIGURATION)
class ExecutorResources:
    """What the executors of a run get.

    Attributes:
        count: how many, or ``{min: 1, max: 8}`` for as many as there is work for; without it,
            as many as the cluster can hold.
        cores: of each.
        memory: the Java heap of each.
    """

    count: Count | ExecutorRange | None = None
    cores: Count = 1
    memory: Size = parse_size("1g")


@dataclass(frozen=True, config=CONFIGURATION)
class Resources:
    """What a run gets of its cluster."""

    driver: DriverResources = field(default_factory=DriverResources)
    executors: ExecutorResources = field(default_factory=ExecutorResources)


@dataclass(frozen=True, config=CONFIGURATION)
class Dependencies:
    """Files that a program needs beside itself, as paths on this machine.

    Attributes:
        python: ``.py``, ``.zip``, ``.whl`` or ``.egg``, put on the Python path of driver and
            executors.
        jars: put on the class path of driver and executors.
        files: put into the working directory of driver and executors.
    """

    python: tuple[str, ...] = ()
    jars: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


@dataclass(frozen=True, config=CONFIGURATION)
class Retries:
    """How often a run is started anew.

    Attributes:
        infrastructure: after the loss of a process, a host or the cluster's services.
        program: after the program ended with an exit code above zero.
    """

    infrastructure: Annotated[int, Field(strict=True, ge=0, le=100)] = 3
    program: Annotated[int, Field(strict=True, ge=0, le=100)] = 0


@dataclass(frozen=True, config=CONFIGURATION)
class JobSpec:
    """A parameterized job.

    Attributes:
        job: its name: lower-case letters, digits, ``.``, ``_`` and ``-``, at most 40.
        program: a ``.py`` or ``.jar`` on this machine, relative to the job file.
        main_class: ``class:`` in YAML: the main class of a jar.
        parameters: by name; see `ParameterSpec`.
        arguments: what the program is called with; ``{name}`` stands for a parameter's value,
            ``{{`` and ``}}`` for braces. An argument that is only ``{name}`` is left out, with
            the option before it, when the parameter has no value.
        resources: of driver and executors.
        conf: Spark configuration.
        dependencies: files that the program needs.
        retries: budgets for infrastructure and program.
        timeout: the program is ended when it has run for so long.
        queue_timeout: the run fails when it found no room in the cluster for so long.
        startup: what the Java machines are tuned for.
        description: one line for lists.
    """

    job: Name
    program: Annotated[str, Field(min_length=1)]
    main_class: Annotated[str | None, Field(alias="class")] = None
    parameters: Mapping[Annotated[str, Field(pattern=PARAMETER_PATTERN)], ParameterSpec] = field(
        default_factory=dict
    )
    arguments: tuple[Text, ...] = ()
    resources: Resources = field(default_factory=Resources)
    conf: Mapping[Annotated[str, Field(pattern=r"^spark\.\S+$")], Text] = field(
        default_factory=dict
    )
    dependencies: Dependencies = field(default_factory=Dependencies)
    retries: Retries = field(default_factory=Retries)
    timeout: Duration | None = None
    queue_timeout: Duration = parse_duration("1h")
    startup: Startup = Startup.BALANCED
    description: str = ""


@dataclass(frozen=True)
class Part:
    """What a cluster has at one of its sites.

    Attributes:
        workers: number of Spark workers, or how many there are at least.
        most: how many there may be.
        cores: of each.
        memory: of each, in bytes.
    """

    workers: int
    most: int
    cores: int
    memory: int


@dataclass(frozen=True, config=CONFIGURATION)
class ClusterSpec:
    """A cluster.

    Attributes:
        cluster: its name.
        provider: what runs it: ``nomad``, ``local`` or one that a package adds.
        workers: number of Spark workers, or ``{min: 1, max: 8}`` for as many as there is work
            for.
        idle: when no run has been there for so long, everything but Nomad is stopped, also what
            is in the cluster's own storage; the next run starts it again.
        cores: that each worker offers.
        memory: that each worker offers to executors.
        image: name of the image that it runs.
        driver: the Nomad task driver; ``auto`` takes docker where a Docker daemon answers,
            else exec, which needs root.
        staging: room for staged inputs; half of the disks if not given.
        conf: Spark configuration of the cluster's own daemons.
        hosts: machines that are reached by SSH; without any, this machine.
        sites: groups of hosts that are near each other, by name; `workers`, `cores` and
            `memory` are those of each.
        servers: on how many of them Nomad keeps the cluster's state.
        min_workers: a host that fails does not stop the deploy if so many workers come up;
            without it, all have to.
        firewall: whether hosts accept connections to Spark and HDFS from each other only.
        directory: where everything lies on the hosts.
    """

    cluster: Name = "default"
    provider: Name = "nomad"
    workers: Workers | WorkerRange = 2
    idle: Duration | None = None
    cores: Count = 1
    memory: Size = parse_size("2g")
    image: Name = "default"
    driver: TaskDriver = TaskDriver.AUTO
    staging: Size | None = None
    conf: Mapping[Annotated[str, Field(pattern=r"^spark\.\S+$")], Text] = field(
        default_factory=dict
    )
    hosts: tuple[Annotated[HostSpec, BeforeValidator(host_entry)], ...] = ()
    sites: Mapping[Annotated[str, Field(pattern=SITE_PATTERN)], SiteSpec] = field(
        default_factory=dict
    )
    servers: Literal[1, 3, 5] = 1
    min_workers: Annotated[int, Field(strict=True, ge=1, le=1000)] | None = None
    firewall: bool = True
    directory: Annotated[str, Field(pattern=r"^/[\w./-]+$")] = "/var/lib/sparknomad"

    @model_validator(mode="after")
    def _placed(self) -> ClusterSpec:
        hosts, sites = placed(self.hosts, self.sites)
        object.__setattr__(self, "hosts", hosts)
        object.__setattr__(self, "sites", sites)
        return self

    @property
    def scales(self) -> bool:
        """Whether workers come and go, or everything, by what there is to do."""
        return self.idle is not None or any(p.most > p.workers for p in self.parts.values())

    @property
    def all_workers(self) -> int:
        """The number of Spark workers at all sites, or how many there are at least."""
        return sum(site.workers for site in self.parts.values())

    @property
    def parts(self) -> Mapping[str, Part]:
        """What there is at each site, by name; without sites under an empty one."""
        return {
            name: Part(
                *_bounds(site.workers or self.workers),
                site.cores or self.cores,
                site.memory or self.memory,
            )
            for name, site in (self.sites or {"": SiteSpec()}).items()
        }


def _bounds(workers: int | WorkerRange) -> tuple[int, int]:
    return (workers, workers) if isinstance(workers, int) else (workers.min, workers.max)
