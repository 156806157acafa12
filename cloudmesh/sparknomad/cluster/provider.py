"""The contract of what runs a cluster.

Public methods are concrete: they validate, lock, bound and prove. A provider fills the hooks
that begin with ``_``. `tests/conformance/` holds the suite that every provider passes;
``docs/write-a-provider.md`` leads through writing one.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from cloudmesh.sparknomad.cluster.context import ProviderContext
from cloudmesh.sparknomad.cluster.fitting import check_fit
from cloudmesh.sparknomad.cluster.operations import HostOperations
from cloudmesh.sparknomad.cluster.pipelines import RunsPipelines
from cloudmesh.sparknomad.cluster.serving import ServesApi
from cloudmesh.sparknomad.cluster.shareable import Shareable
from cloudmesh.sparknomad.cluster.sites import SiteStatus
from cloudmesh.sparknomad.errors import (
    ClusterError,
    InputError,
    LeftoverError,
    NotFoundError,
    SpecError,
    WaitTimeoutError,
)
from cloudmesh.sparknomad.incluster.staged import Catalog
from cloudmesh.sparknomad.model import (
    ClusterStatus,
    LogChunk,
    LogStream,
    Plan,
    PlanStep,
    RunStatus,
    Runtime,
    Submission,
)
from cloudmesh.sparknomad.model_storage import ClusterStorage
from cloudmesh.sparknomad.processes import exclusive
from cloudmesh.sparknomad.specs import NAME_PATTERN, ClusterSpec
from cloudmesh.sparknomad.waiting import Deadline, wait_until

__all__ = ["ClusterProvider", "ProviderContext"]


class ClusterProvider(Shareable, RunsPipelines, ServesApi, ABC):
    """What runs clusters and runs.

    Args:
        context: directories, and where progress goes.
    """

    name: ClassVar[str]
    """The provider's name in specs and on the command line."""

    runtime: ClassVar[type | None] = None
    """Which kind of `Runtime` it deploys; ``None`` if it needs none."""

    shares_files: ClassVar[bool] = True
    """Whether programs see this machine's files; else a run's local inputs are brought there."""

    scales: ClassVar[bool] = False
    """Whether workers can come and go with the runs that can use them."""

    def __init__(self, context: ProviderContext) -> None:
        self.context = context

    # plan

    def plan(self, spec: ClusterSpec, runtime: Runtime | None) -> Plan:
        """What `deploy` would do; touches nothing.

        Args:
            spec: the cluster.
            runtime: what it would run, or ``None`` where that is not built yet.
        """
        self._check(spec)
        return Plan(f"deploy cluster {spec.cluster!r}", tuple(self._plan(spec, runtime)))

    def plan_run(self, spec: ClusterSpec, submission: Submission) -> Plan:
        """What `submit` would send; touches nothing."""
        self._check_fit(spec, submission)
        return Plan(f"run {submission.run!r}", tuple(self._plan_run(spec, submission)))

    # clusters

    def deploy(
        self, spec: ClusterSpec, runtime: Runtime | None, *, timeout: float
    ) -> ClusterStatus:
        """Bring a cluster to what its spec says; complete or repair a half-done one.

        Args:
            spec: the cluster.
            runtime: what it runs, of the kind that `runtime` names.
            timeout: seconds after which to give up.

        Raises:
            SpecError: if the spec is not for this provider.
            ConflictError: if another command changes this cluster now.
            WaitTimeoutError: if it is not whole in time; it can be deployed again.
        """
        self._check(spec)
        if self.runtime is not None and not isinstance(runtime, self.runtime):
            raise ClusterError(f"provider {self.name!r} needs a {self.runtime.__name__}")
        deadline = Deadline(timeout)
        with self._locked(spec.cluster):
            self._deploy(spec, runtime, deadline)
            return self._settled(spec, deadline)

    def status(self, name: str) -> ClusterStatus:
        """The cluster as it is now, asked of what runs it.

        Raises:
            NotFoundError: if this provider has no such cluster.
        """
        self._exists(name)
        return self._status(name)

    def scale(self, spec: ClusterSpec, *, timeout: float) -> ClusterStatus:
        """Bring the number of workers to ``spec.workers``; everything else stays.

        Raises:
            NotFoundError: if there is no such cluster.
            WaitTimeoutError: if the workers are not there in time.
        """
        self._check(spec)
        self._exists(spec.cluster)
        deadline = Deadline(timeout)
        with self._locked(spec.cluster):
            self._scale(spec, deadline)
            return self._settled(spec, deadline)

    def destroy(self, name: str, *, timeout: float) -> None:
        """End a cluster with all its runs, and prove that nothing is left.

        Works on a half-deployed cluster, and again on one that is gone.

        Raises:
            LeftoverError: if something is still there; it can be tried again.
        """
        self._check_name(name)
        with self._locked(name):
            self._destroy(name, Deadline(timeout))
            left = self._leftovers(name)
            if not left:
                # Only while it is held: who waits for it would hold a file that nobody sees.
                self._lock_file(name).unlink(missing_ok=True)
        if left:
            raise LeftoverError(
                f"Cluster {name!r} is not gone: {len(left)} left: " + "; ".join(left[:20]),
                hint=f"Run `cms sparknomad cluster destroy {name}` again, or end these by hand.",
            )

    def leftovers(self, name: str) -> Sequence[str]:
        """What of a cluster is on this machine, each for a person; empty when it is gone."""
        self._check_name(name)
        return self._leftovers(name)

    # runs

    def submit(self, spec: ClusterSpec, submission: Submission) -> RunStatus:
        """Send a run. Sent again with the same id, it is still one run.

        Raises:
            NotFoundError: if there is no such cluster.
            InputError: if no worker of it could ever hold one of the run's executors.
            UnreachableError: if the cluster does not answer.
        """
        self._exists(spec.cluster)
        self._check_fit(spec, submission)
        return self._submit(spec, submission)

    def run_status(self, cluster: str, run: str) -> RunStatus:
        """Where a run stands.

        Raises:
            NotFoundError: if the cluster does not know this run.
        """
        self._exists(cluster)
        return self._run_status(cluster, run)

    def logs(
        self,
        cluster: str,
        run: str,
        *,
        streams: Sequence[LogStream] = (LogStream.STDOUT, LogStream.STDERR),
        follow: bool = False,
    ) -> Iterator[LogChunk]:
        """A run's output.

        1. The chunks of one stream are in order, without gap or repetition.
        2. Chunks of different streams come in any order.
        3. Without `follow`, it ends at what has been written when it is called.
        4. With `follow`, it ends when the run is terminal and everything was yielded.
        5. It may be called while the run is pending: then it yields nothing, or waits.
        6. All of a stream that was retried is there: the attempts follow one another.

        Raises:
            NotFoundError: if the cluster does not know this run.
        """
        self._exists(cluster)
        return self._logs(cluster, run, tuple(streams), follow)

    def cancel(self, cluster: str, run: str, *, timeout: float) -> RunStatus:
        """End a run and wait until it has ended; nothing happens to one that has.

        Raises:
            NotFoundError: if the cluster does not know this run.
            WaitTimeoutError: if it still runs after the timeout.
        """
        self._exists(cluster)
        if not self._run_status(cluster, run).state.is_terminal:
            self._cancel(cluster, run)

        def ended() -> RunStatus | None:
            status = self._run_status(cluster, run)
            return status if status.state.is_terminal else None

        return wait_until(ended, f"run {run!r} to end", Deadline(timeout))

    def reconcile(self, cluster: str) -> Sequence[RunStatus]:
        """All runs that the cluster knows, so that a lost store can be made again."""
        self._exists(cluster)
        return self._reconcile(cluster)

    def cluster_logs(self, cluster: str) -> Iterator[tuple[str, bytes]]:
        """The last output of each component: its name, and up to 64 KiB."""
        self._exists(cluster)
        return self._cluster_logs(cluster)

    def storage(self, cluster: str, site: str = "") -> ClusterStorage | None:
        """The cluster's own storage, or ``None`` if runs use this machine's files.

        Args:
            cluster: its name.
            site: whose storage is meant; the first one's if not given.
        """
        self._exists(cluster)
        return self._storage(cluster, site)

    def staged(self, cluster: str, site: str = "") -> Catalog | None:
        """What is staged in the cluster, or ``None`` if it has no room for that.

        Args:
            cluster: its name.
            site: where; the first one if not given.
        """
        self._exists(cluster)
        return self._staged(cluster, site)

    def sites(self, cluster: str) -> Sequence[SiteStatus]:
        """The cluster's sites as they are now; none for a cluster without."""
        self._exists(cluster)
        return self._sites(cluster)

    def hosts(self, cluster: str) -> HostOperations | None:
        """What can be done with the cluster's hosts, or ``None`` if it has none of its own."""
        return None

    # hooks

    def _storage(self, cluster: str, site: str) -> ClusterStorage | None:
        return None

    def _staged(self, cluster: str, site: str) -> Catalog | None:
        return None

    def _sites(self, cluster: str) -> Sequence[SiteStatus]:
        return ()

    @abstractmethod
    def _plan(self, spec: ClusterSpec, runtime: Runtime | None) -> Sequence[PlanStep]: ...

    @abstractmethod
    def _plan_run(self, spec: ClusterSpec, submission: Submission) -> Sequence[PlanStep]: ...

    @abstractmethod
    def _known(self, name: str) -> bool:
        """Whether there is anything of such a cluster, half-deployed or whole."""

    @abstractmethod
    def _deploy(self, spec: ClusterSpec, runtime: Runtime | None, deadline: Deadline) -> None:
        """Start what is missing, change what differs, leave what is right."""

    @abstractmethod
    def _status(self, name: str) -> ClusterStatus: ...

    @abstractmethod
    def _scale(self, spec: ClusterSpec, deadline: Deadline) -> None: ...

    @abstractmethod
    def _destroy(self, name: str, deadline: Deadline) -> None: ...

    @abstractmethod
    def _leftovers(self, name: str) -> Sequence[str]: ...

    @abstractmethod
    def _submit(self, spec: ClusterSpec, submission: Submission) -> RunStatus: ...

    @abstractmethod
    def _run_status(self, cluster: str, run: str) -> RunStatus: ...

    @abstractmethod
    def _logs(
        self, cluster: str, run: str, streams: Sequence[LogStream], follow: bool
    ) -> Iterator[LogChunk]: ...

    @abstractmethod
    def _cancel(self, cluster: str, run: str) -> None:
        """Tell a run to end; need not wait."""

    @abstractmethod
    def _reconcile(self, cluster: str) -> Sequence[RunStatus]: ...

    @abstractmethod
    def _cluster_logs(self, cluster: str) -> Iterator[tuple[str, bytes]]: ...

    # shared

    def _directory(self, name: str) -> Path:
        return self.context.clusters / name

    def _lock_file(self, name: str) -> Path:
        return self.context.clusters / f".{name}.lock"

    def _locked(self, name: str):  # type: ignore[no-untyped-def]
        return exclusive(self._lock_file(name), f"cluster {name!r}")

    def _check_name(self, name: str) -> None:
        if not re.fullmatch(NAME_PATTERN, name):
            raise InputError(
                f"{name!r} is no name of a cluster: 1 to 40 lower-case letters, digits, '.', "
                "'_' or '-', beginning and ending with a letter or digit."
            )

    def _check(self, spec: ClusterSpec) -> None:
        self._check_name(spec.cluster)
        if spec.provider != self.name:
            raise SpecError(
                f"cluster {spec.cluster!r}: provider: {spec.provider!r}: this is {self.name!r}"
            )
        if spec.scales and not self.scales:
            field = "idle" if spec.idle is not None else "workers"
            raise SpecError(
                f"cluster {spec.cluster!r}: {field}: provider {self.name!r} can't let what runs "
                "come and go by itself",
                hint="Give a fixed number of workers and no idle, or use provider: nomad.",
            )

    def _exists(self, name: str) -> None:
        self._check_name(name)
        if not self._known(name):
            raise NotFoundError(
                f"There is no cluster {name!r}.",
                hint=f"`cms sparknomad cluster deploy {name}` makes one; `cluster list` lists.",
            )

    def _settled(self, spec: ClusterSpec, deadline: Deadline) -> ClusterStatus:
        name, workers = spec.cluster, spec.all_workers

        def whole() -> ClusterStatus | None:
            return status if (status := self._status(name)).serves(spec) else None

        try:
            return wait_until(whole, f"cluster {name!r} with {workers} workers", deadline)
        except WaitTimeoutError as error:
            raise WaitTimeoutError(
                f"{error.message} It is {self._status(name).reason or 'not whole'}.",
                hint=f"See `cms sparknomad cluster logs {name}`; deploying it again goes on.",
            ) from None

    def _driver_limit(self, spec: ClusterSpec) -> int | None:
        """The largest Java heap in bytes that a run's driver can have; ``None`` for any."""
        del spec
        return None

    def _check_fit(self, spec: ClusterSpec, submission: Submission) -> None:
        """Refuse a run that could only wait for ever."""
        check_fit(spec, submission, self._driver_limit(spec))

    @staticmethod
    def _unknown_run(cluster: str, run: str) -> NotFoundError:
        return NotFoundError(f"Cluster {cluster!r} does not know a run {run!r}.")
