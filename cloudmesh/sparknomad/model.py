"""What the layers tell each other: states, answers of providers, plans.

Plain frozen dataclasses; those that a user writes as YAML are in `specs`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from cloudmesh.sparknomad.model_storage import LocalInput, RunStaging, RunStorage
from cloudmesh.sparknomad.packing import Packed
from cloudmesh.sparknomad.specs import ClusterSpec, JobSpec

__all__ = [
    "Change",
    "ClusterRecord",
    "ClusterState",
    "ClusterStatus",
    "Component",
    "HostRuntime",
    "ImageRecord",
    "ImageRuntime",
    "LogChunk",
    "LogStream",
    "Plan",
    "PlanStep",
    "RunRecord",
    "RunState",
    "RunStatus",
    "Runtime",
    "Submission",
]


class ClusterState(Enum):
    """The state of a cluster, as its provider sees it."""

    DEPLOYING = "deploying"
    RUNNING = "running"
    DEGRADED = "degraded"
    STOPPED = "stopped"
    DESTROYING = "destroying"
    DESTROYED = "destroyed"

    @property
    def is_terminal(self) -> bool:
        """Whether nothing can follow."""
        return self is ClusterState.DESTROYED


class RunState(Enum):
    """The state of a run."""

    PENDING = "pending"
    STAGING = "staging"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"

    @property
    def is_terminal(self) -> bool:
        """Whether nothing can follow."""
        return self in _TERMINAL


_TERMINAL = frozenset({RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED, RunState.LOST})


class LogStream(Enum):
    """Which of a program's two streams."""

    STDOUT = "stdout"
    STDERR = "stderr"


@dataclass(frozen=True)
class HostRuntime:
    """Spark and Java as directories on this machine.

    Attributes:
        spark_version: such as ``4.1.4``.
        spark_home: holds ``jars/`` and ``python/``.
        java_home: holds ``bin/java``.
        python: the interpreter that runs drivers and Python workers.
    """

    spark_version: str
    spark_home: Path
    java_home: Path
    python: Path


@dataclass(frozen=True)
class ImageRuntime:
    """A built image, as a provider installs it.

    Attributes:
        image_id: the digest of the image's recipe, 64 hexadecimal digits.
        tag: the image's name in Docker, or an empty string where it was not loaded.
        spark: the version of Spark in it.
        rootfs: the unpacked image, or ``None`` where it was not unpacked.
        layers: compressed, the lowest first, where the image is to be sent to hosts.
    """

    image_id: str
    tag: str
    spark: str
    rootfs: Path | None = None
    layers: tuple[Packed, ...] = ()


Runtime = HostRuntime | ImageRuntime


@dataclass(frozen=True)
class Component:
    """One part of a cluster: an agent, a master, a worker, a server of the storage.

    Attributes:
        kind: such as ``master``, ``worker``, ``namenode``, ``nomad``.
        name: unique within its cluster.
        healthy: whether it answers.
        address: ``host:port`` or URL, or an empty string.
        detail: for a person: process id, allocation, why it is not healthy.
    """

    kind: str
    name: str
    healthy: bool
    address: str = ""
    detail: str = ""


@dataclass(frozen=True)
class ClusterStatus:
    """A provider's answer about one cluster."""

    name: str
    provider: str
    state: ClusterState
    workers: int
    workers_wanted: int
    components: tuple[Component, ...] = ()
    endpoints: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""

    def serves(self, spec: ClusterSpec) -> bool:
        """Whether it is as its spec says, or whole but for hosts that it may do without."""
        if spec.min_workers is not None and self.state is ClusterState.DEGRADED:
            parts = [part for part in self.components if part.kind != "host"]
            works = len(parts) < len(self.components) and all(part.healthy for part in parts)
            return works and self.workers >= spec.min_workers
        least = spec.all_workers
        whole = self.workers >= least if spec.scales else self.workers == least
        return self.state is ClusterState.RUNNING and whole


@dataclass(frozen=True)
class Change:
    """One thing that a deploy would change.

    Attributes:
        subject: what: a field of the spec, ``host NAME``, ``job NAME``, ``image``, ``nomad``.
        before: what it is now, or an empty string.
        after: what it would be, or an empty string.
    """

    subject: str
    before: str
    after: str


@dataclass(frozen=True)
class PlanStep:
    """One thing that `apply` will do.

    Attributes:
        title: what is done, in the imperative.
        body: what is sent or written: a job specification, a configuration, a command.
        language: the language of `body`: ``hcl``, ``json``, ``sh``, ``text``.
    """

    title: str
    body: str = ""
    language: str = "text"


@dataclass(frozen=True)
class Plan:
    """What a verb would do; made without touching anything."""

    title: str
    steps: tuple[PlanStep, ...]


@dataclass(frozen=True)
class Submission:
    """One run of a job, ready to be sent to a provider.

    Attributes:
        run: the id of the run, also its idempotency token.
        job: the definition; paths in it are absolute.
        arguments: the program's arguments, rendered from the parameters.
        timeout: seconds after which the program is ended; ``None`` for never.
        inputs: files of this machine that the arguments name by their `INPUTS` URL.
        queue_timeout: seconds after which a run that found no room fails.
        storage: settings of the storages that the arguments name.
        staging: what goes through the cluster's own storage.
        site: of the cluster where it runs, or empty.
        site_reason: why there, for a person.
    """

    run: str
    job: JobSpec
    arguments: tuple[str, ...]
    timeout: float | None
    inputs: tuple[LocalInput, ...] = ()
    queue_timeout: float = 3600.0
    storage: RunStorage = field(default_factory=RunStorage)
    staging: RunStaging = field(default_factory=RunStaging)
    site: str = ""
    site_reason: str = ""


@dataclass(frozen=True)
class RunStatus:
    """A provider's answer about one run.

    Attributes:
        run: the run's id.
        state: where it stands.
        reason: why it stands there, for a person; empty when there is nothing to say.
        exit_code: the program's exit code once it has ended by itself.
        started: seconds since the epoch when the program was started.
        finished: seconds since the epoch when the run reached its last state.
        attempts: how often the program was started.
        report: what was measured, by name; empty until the run has ended.
    """

    run: str
    state: RunState
    reason: str = ""
    exit_code: int | None = None
    started: float | None = None
    finished: float | None = None
    attempts: int = 0
    report: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class LogChunk:
    """Some bytes of a program's output, in order within their stream.

    Attributes:
        stream: that they are of.
        data: the bytes.
        attempt: which of the run's starts on a host wrote them, from 0. What earlier ones wrote
            comes first, and may be gone with their hosts.
    """

    stream: LogStream
    data: bytes
    attempt: int = 0


@dataclass(frozen=True)
class ClusterRecord:
    """A cluster, as the local store knows it."""

    name: str
    provider: str
    spec: ClusterSpec
    state: ClusterState
    created: float
    updated: float


@dataclass(frozen=True)
class RunRecord:
    """A run, as the local store knows it: what was asked, and the last that was heard.

    Attributes:
        outputs: paths of this machine that its outputs are brought to, by parameter.
        site: of the cluster where it runs, or empty.
    """

    run: str
    job: str
    cluster: str
    state: RunState
    submitted: float
    parameters: Mapping[str, object]
    reason: str = ""
    exit_code: int | None = None
    started: float | None = None
    finished: float | None = None
    attempts: int = 0
    outputs: Mapping[str, str] = field(default_factory=dict)
    site: str = ""
    report: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class ImageRecord:
    """A built image, as its directory in the cache tells it."""

    name: str
    image_id: str
    spark: str
    created: float
    size: int
    tag: str
    docker: bool
    unpacked: bool
    versions: Mapping[str, str] = field(default_factory=dict)
