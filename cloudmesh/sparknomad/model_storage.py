"""What the layers tell each other of a run's storage, and of what moves between storages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = [
    "CheckSubject",
    "ClusterStorage",
    "INPUTS",
    "LocalInput",
    "OUTPUTS",
    "RunStaging",
    "RunStorage",
    "StagedInput",
    "StagedOutput",
    "StorageCopy",
]

INPUTS = "cluster:/inputs"
"""Where a run finds the files of the user's machine that were brought into the cluster."""

OUTPUTS = "cluster:/outputs"
"""Where a run writes what is then brought to the user's machine."""


@dataclass(frozen=True)
class LocalInput:
    """A file or directory of this machine that a run reads in the cluster.

    Attributes:
        path: where it is here.
        sha256: of its content.
    """

    path: Path
    sha256: str

    def files(self) -> Iterator[tuple[Path, str]]:
        """Each file, and its path below the cluster's inputs."""
        if not self.path.is_dir():
            yield self.path, self.place
            return
        for path in sorted(self.path.rglob("*")):
            if path.is_file():
                yield path, f"{self.place}/{path.relative_to(self.path).as_posix()}"

    @property
    def place(self) -> str:
        """Its path below the cluster's inputs; the name tells Spark how it is compressed."""
        return f"{self.sha256}/{self.path.name}"

    @property
    def url(self) -> str:
        """What the program is given; the driver puts the cluster's own storage in its place."""
        return f"{INPUTS}/{self.place}"


@dataclass(frozen=True)
class ClusterStorage:
    """A cluster's own storage, as this machine reaches it.

    Attributes:
        url: of the directory that is the root of ``cluster:``.
        endpoint: the HTTP address of its NameNode, or of the gateway that leads there.
        ca: path of a file with certificates that the endpoint's is checked against.
        options: what else its kind of storage is told.
    """

    url: str
    endpoint: str
    ca: str = ""
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RunStorage:
    """What Spark needs for the storages that a run names.

    Attributes:
        profiles: their names.
        conf: Spark's keys.
        secrets: Spark's keys whose values nobody else may see.
        connectors: the directory with their connectors, where the runtime has none.
        origins: endpoint and place of each parameter that names one.
        sites: that the storages of parameters are near, where their profiles say it.
    """

    profiles: tuple[str, ...] = ()
    conf: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    connectors: Path | None = None
    origins: Mapping[str, str] = field(default_factory=dict)
    sites: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StagedInput:
    """An input that may be brought into the cluster before the program starts.

    Attributes:
        name: of the parameter.
        source: where it is, as Hadoop names it.
        shown: the same as the user does.
        origin: endpoint and place, which tell it from others of that name.
        mode: ``auto``, ``always`` or ``never``.
        token: stands in the arguments for the place where the program will find it.
        declared: whether the job says that it is an input.
        pin: whether it stays in the cluster until it is asked to go.
        ttl: seconds after its last use when it may go; ``None`` for when room is needed.
    """

    name: str
    source: str
    shown: str
    origin: str
    mode: str
    token: str
    declared: bool = True
    pin: bool = False
    ttl: float | None = None


@dataclass(frozen=True)
class StagedOutput:
    """An output that is written in the cluster, and from there to its place.

    Attributes:
        name: of the parameter.
        target: its place, as Hadoop names it.
        shown: the same as the user does.
        exists: ``error``, ``overwrite`` or ``append``.
        token: stands in the arguments for the place where the program writes it.
    """

    name: str
    target: str
    shown: str
    exists: str
    token: str


@dataclass(frozen=True)
class StorageCopy:
    """A copy from one storage to another inside a cluster.

    Attributes:
        source: as Hadoop names it.
        target: such as well; ends in a slash if it is a directory.
        shown: the source as the user names it.
        target_shown: the target as the user names it.
    """

    source: str
    target: str
    shown: str
    target_shown: str


@dataclass(frozen=True)
class CheckSubject:
    """A storage that is tried from every worker.

    Attributes:
        name: as the user names it.
        url: a directory in it, as Hadoop names it.
        endpoint: ``host:port`` where it answers, or empty if that is not known.
        writable: whether writing is tried too.
        secure: whether it speaks TLS there.
        proxy: ``host:port`` of the proxy by which it is reached, or empty.
    """

    name: str
    url: str
    endpoint: str
    writable: bool
    secure: bool = False
    proxy: str = ""


@dataclass(frozen=True)
class RunStaging:
    """What of a run goes through its cluster's own storage.

    Attributes:
        inputs: that may be brought there first.
        outputs: that are brought away last.
        copies: between storages.
        checks: storages to be tried from every worker; ``None`` to try nothing.
        workers: that should answer a check.
        quota: bytes that all staged inputs of the cluster may have; ``None`` for half of the
            disks.
        agent: the transfer agent's jar, where the runtime has none.
    """

    inputs: tuple[StagedInput, ...] = ()
    outputs: tuple[StagedOutput, ...] = ()
    copies: tuple[StorageCopy, ...] = ()
    checks: tuple[CheckSubject, ...] | None = None
    workers: int = 1
    quota: int | None = None
    agent: Path | None = None

    @property
    def wanted(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.inputs or self.outputs or self.copies or self.checks is not None)
