"""One class, one method for each verb: what every face of sparknomad calls."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudmesh.sparknomad.cluster.provider import ClusterProvider, ProviderContext
from cloudmesh.sparknomad.cluster.registry import make_provider, provider_names
from cloudmesh.sparknomad.configuration import Configuration, read_configuration
from cloudmesh.sparknomad.errors import (
    ConflictError,
    InputError,
    NotFoundError,
    SparknomadError,
    UnreachableError,
)
from cloudmesh.sparknomad.job.jobs import (
    is_path,
    local_outputs,
    make_submission,
    new_run_id,
    read_job,
    resolve_job,
)
from cloudmesh.sparknomad.job.staging import plan_staging
from cloudmesh.sparknomad.manager_staging import StagingVerbs
from cloudmesh.sparknomad.model import (
    OUTPUTS,
    ClusterRecord,
    ClusterState,
    ClusterStatus,
    HostRuntime,
    ImageRecord,
    ImageRuntime,
    LogChunk,
    LogStream,
    Plan,
    RunRecord,
    RunState,
    RunStatus,
    Runtime,
    Submission,
)
from cloudmesh.sparknomad.paths import Paths
from cloudmesh.sparknomad.specs import ClusterSpec, ImageSpec, JobSpec, Stage
from cloudmesh.sparknomad.state import Store
from cloudmesh.sparknomad.waiting import Deadline, wait_until

if TYPE_CHECKING:
    from cloudmesh.sparknomad.image.builder import Images
    from cloudmesh.sparknomad.machine import Check, SetupStep
    from cloudmesh.sparknomad.storage.profile import StorageProfile

__all__ = ["DEPLOY_SECONDS", "DESTROY_SECONDS", "LOCAL", "Sparknomad"]

LOCAL = "local"
"""Name of the embedded cluster that starts when a run needs it."""

DEPLOY_SECONDS = 600.0
DESTROY_SECONDS = 120.0
_CANCEL_SECONDS = 60.0


def _silent(message: str) -> None:
    del message


@dataclasses.dataclass(frozen=True)
class _Prepared:
    """A run before it is sent: by whom, where, what, its parameters, and where its output goes."""

    provider: ClusterProvider
    target: ClusterSpec
    submission: Submission
    bound: Mapping[str, Any]
    outputs: Mapping[str, str]


class Sparknomad(StagingVerbs):
    """Everything that sparknomad can do.

    Args:
        paths: where files are kept; found in the environment if not given.
        say: shows one line of progress to the user.
        accept_host_key: asked about a host's unknown key, with its name and fingerprint; without
            it, only known ones are trusted.
    """

    def __init__(
        self,
        paths: Paths | None = None,
        *,
        say: Callable[[str], None] = _silent,
        accept_host_key: Callable[[str, str], bool] | None = None,
    ) -> None:
        self.paths = paths or Paths.from_environment()
        self.say = say
        self.accept_host_key = accept_host_key or (lambda name, fingerprint: False)
        self.store = Store(self.paths.state)
        self._providers: dict[str, ClusterProvider] = {}

    # shared

    @property
    def configuration(self) -> Configuration:
        """Our section of ``cloudmesh.yaml``."""
        return read_configuration(self.paths.configuration)

    def _provider(self, name: str) -> ClusterProvider:
        if name not in self._providers:
            clusters = self.paths.home / "clusters"
            clusters.mkdir(mode=0o700, exist_ok=True)
            context = ProviderContext(
                clusters, self.paths.cache, self.say, self.configuration, self.accept_host_key
            )
            self._providers[name] = make_provider(name, context)
        return self._providers[name]

    def _cluster(self, name: str) -> ClusterRecord:
        record = self.store.find_cluster(name)
        if record is None:
            known = ", ".join(cluster.name for cluster in self.store.clusters()) or "none"
            raise NotFoundError(
                f"There is no cluster {name!r}; known: {known}.",
                hint=f"`cms sparknomad cluster deploy {name}` makes one.",
            )
        return record

    def _runtime(self, provider: ClusterProvider, spec: ClusterSpec) -> Runtime | None:
        if provider.runtime is None:
            return None
        if provider.runtime is HostRuntime:
            from cloudmesh.sparknomad.image.host import host_runtime

            return host_runtime(self.paths.cache, self.say, self.configuration.java)
        user = self.paths.home / "clusters" / spec.cluster
        return self._images().runtime(spec.image, spec.driver, user, packed=bool(spec.hosts))

    def _images(self) -> Images:
        from cloudmesh.sparknomad.image.builder import Images

        return Images(self.paths.cache, self.say, self.configuration.java)

    # this machine

    def setup(self, *, dry_run: bool = False) -> list[SetupStep]:
        """Find or install Nomad, Java and Spark; with `dry_run`, only tell what would be done."""
        from cloudmesh.sparknomad import machine

        return machine.setup(self.paths, self.configuration, self.say, dry_run=dry_run)

    def doctor(self) -> list[Check]:
        """What is here, what is missing, what to do about it."""
        from cloudmesh.sparknomad import machine

        return machine.doctor(self.paths, self.configuration)

    # clusters

    def cluster_spec(self, name: str) -> ClusterSpec | None:
        """What a cluster was deployed as, or ``None`` if there is none."""
        record = self.store.find_cluster(name)
        return record.spec if record else None

    def cluster_plan(self, spec: ClusterSpec) -> Plan:
        """What `cluster_deploy` would do; nothing is touched."""
        provider = self._provider(spec.provider)
        needs_image = provider.runtime is ImageRuntime
        runtime = self._images().planned(spec.image, spec.driver) if needs_image else None
        return provider.plan(spec, runtime)

    def cluster_deploy(
        self, spec: ClusterSpec, *, timeout: float = DEPLOY_SECONDS
    ) -> ClusterStatus:
        """Bring a cluster to its spec: make it, complete it, repair it or change it.

        Raises:
            ConflictError: if a cluster of this name runs on another provider.
            SparknomadError: if it did not come up; it stays listed and can be deployed again.
        """
        found = self.store.find_cluster(spec.cluster)
        if found and found.provider != spec.provider:
            raise ConflictError(
                f"Cluster {spec.cluster!r} runs on provider {found.provider!r}.",
                hint=f"Destroy it first, or deploy another name on {spec.provider!r}.",
            )
        provider = self._provider(spec.provider)
        runtime = self._runtime(provider, spec)
        self.store.put_cluster(spec, ClusterState.DEPLOYING)
        status = provider.deploy(spec, runtime, timeout=timeout)
        self.store.put_cluster(spec, status.state)
        return status

    def cluster_list(self) -> list[ClusterStatus]:
        """All clusters with what their providers say of them now."""
        return [self._status_of(record) for record in self.store.clusters()]

    def _status_of(self, record: ClusterRecord) -> ClusterStatus:
        try:
            return self._provider(record.provider).status(record.name)
        except NotFoundError:
            reason = "nothing of it is on this machine; deploy or destroy it"
        except SparknomadError as error:
            reason = error.message
        state = record.state
        if state is ClusterState.RUNNING:
            state = ClusterState.STOPPED
        wanted = record.spec.workers
        return ClusterStatus(record.name, record.provider, state, 0, wanted, reason=reason)

    def cluster_status(self, name: str) -> ClusterStatus:
        """One cluster with its components and addresses, as they are now."""
        return self._status_of(self._cluster(name))

    def cluster_scale(
        self, name: str, workers: int, *, timeout: float = DEPLOY_SECONDS
    ) -> ClusterStatus:
        """Change the number of workers of a running cluster."""
        record = self._cluster(name)
        if not 1 <= workers <= 1000:
            raise InputError(f"workers: {workers}: must be 1 to 1000")
        spec = dataclasses.replace(record.spec, workers=workers)
        status = self._provider(record.provider).scale(spec, timeout=timeout)
        self.store.put_cluster(spec, status.state)
        return status

    def cluster_ui(self, name: str) -> Mapping[str, str]:
        """Every address of a cluster, by what it shows."""
        return self.cluster_status(name).endpoints

    def cluster_logs(self, name: str) -> Iterator[tuple[str, bytes]]:
        """The last output of each component of a cluster."""
        record = self._cluster(name)
        return self._provider(record.provider).cluster_logs(name)

    def cluster_destroy(
        self, name: str, *, force: bool = False, timeout: float = DESTROY_SECONDS
    ) -> bool:
        """End a cluster with all its runs; forget it when it is proven gone.

        Args:
            name: the cluster.
            force: also when runs of it are not finished.
            timeout: seconds for an orderly end, before it is ended by force.

        Returns:
            Whether there was such a cluster.

        Raises:
            ConflictError: if runs of it are not finished and `force` was not given.
            LeftoverError: if something of it is still there; it stays listed.
        """
        record = self.store.find_cluster(name)
        found = record is not None
        providers = [record.provider] if record else provider_names()
        if record and not force:
            self._refuse_active(record)
        if record:
            self.store.put_cluster(record.spec, ClusterState.DESTROYING)
        for provider_name in providers:
            try:
                provider = self._provider(provider_name)
            except SparknomadError:
                if record:
                    raise
                continue
            if record or provider.leftovers(name):
                found = True
                provider.destroy(name, timeout=timeout)
        self._close_runs(name)
        self.store.forget_cluster(name)
        return found

    def _active(self, cluster: str) -> list[RunRecord]:
        states = [state for state in RunState if not state.is_terminal]
        return self.store.runs(cluster=cluster, states=states)

    def _refuse_active(self, record: ClusterRecord) -> None:
        active = [self._refresh(run) for run in self._active(record.name)]
        active = [run for run in active if not run.state.is_terminal]
        if active:
            listed = ", ".join(run.run for run in active[:5])
            more = f" and {len(active) - 5} more" if len(active) > 5 else ""
            raise ConflictError(
                f"Cluster {record.name!r} has {len(active)} unfinished runs: {listed}{more}.",
                hint="Wait for them (`job wait`), cancel them (`job cancel`), or use --force.",
            )

    def _close_runs(self, cluster: str) -> None:
        for record in self._active(cluster):
            reason = f"cluster {cluster!r} was destroyed"
            status = RunStatus(
                record.run,
                RunState.CANCELLED,
                reason,
                started=record.started,
                finished=time.time(),
                attempts=record.attempts,
            )
            self.store.update_run(record, status)

    # images

    def image_plan(self, spec: ImageSpec) -> Plan:
        """What `image_build` would do; nothing is touched."""
        return self._images().plan(spec)

    def image_build(self, spec: ImageSpec) -> ImageRecord:
        """Build an image, check it, and load it into Docker where that runs."""
        return self._images().build(spec)

    def image_list(self) -> list[ImageRecord]:
        """All images of this machine."""
        return self._images().records()

    def image_inspect(self, name: str) -> ImageRecord:
        """One image with its versions."""
        return self._images().inspect(name)

    def image_check(self, name: str) -> Mapping[str, str]:
        """Run a small job in an image; the versions that it told."""
        return self._images().check(name)

    def image_save(self, name: str, path: Path) -> Path:
        """Write an image as an archive that ``docker load`` reads."""
        return self._images().save(name, path)

    def image_remove(self, name: str) -> None:
        """Remove an image.

        Raises:
            ConflictError: if a cluster was deployed with it.
        """
        records = self.store.clusters()
        users = [r.name for r in records if r.spec.image == name and r.provider != LOCAL]
        if users:
            raise ConflictError(
                f"Image {name!r} is used by cluster {users[0]!r}.",
                hint=f"Destroy it first: cms sparknomad cluster destroy {users[0]}",
            )
        self._images().remove(name)

    # jobs

    def job_define(self, path: Path) -> JobSpec:
        """Remember a job under its name; a job of that name is replaced."""
        spec = read_job(path)
        self.store.put_job(spec)
        return spec

    def job_list(self) -> list[JobSpec]:
        """All defined jobs."""
        return self.store.jobs()

    def job_show(self, job: str) -> JobSpec:
        """A job by its name or job file.

        Raises:
            NotFoundError: if there is none.
        """
        if is_path(job):
            return read_job(Path(job))
        spec = self.store.find_job(job)
        if spec is None:
            known = ", ".join(other.job for other in self.store.jobs()) or "none"
            raise NotFoundError(
                f"There is no job {job!r}; defined: {known}.",
                hint="Define it (`job define FILE`), or give a job file or a program instead.",
            )
        return spec

    def job_remove(self, job: str) -> None:
        """Forget a job's definition; its runs stay in the history."""
        self.store.remove_job(job)

    # runs

    def job_plan(
        self,
        job: str,
        values: Mapping[str, Any],
        *,
        cluster: str | None = None,
        timeout: float | None = None,
        queue_timeout: float | None = None,
        stage: Mapping[str, Stage] | None = None,
    ) -> Plan:
        """What `job_run` would send; nothing is touched."""
        prepared = self._prepare(job, values, cluster, timeout, queue_timeout, stage or {})
        return prepared.provider.plan_run(prepared.target, prepared.submission)

    def _prepare(
        self,
        job: str,
        values: Mapping[str, Any],
        cluster: str | None,
        timeout: float | None,
        queue_timeout: float | None,
        stage: Mapping[str, Stage],
        run: str | None = None,
    ) -> _Prepared:
        """Find what a run needs, and refuse what does not fit; nothing is touched."""
        spec, bound = resolve_job(job, values, self.job_show, self._is_storage)
        places, storage = self._run_storage(spec, bound)
        target = self._target_spec(cluster or self._default_cluster())
        provider = self._provider(target.provider)
        own = [name for name, place in places.items() if place.startswith("cluster:")]
        if own and provider.shares_files:
            raise InputError(
                f"parameter {own[0]}: cluster {target.cluster!r} has no storage of its own: its "
                "runs use this machine's files.",
                hint="Give a path or a file:// URL, or run it on a Nomad cluster.",
            )
        tokens, staging = plan_staging(spec, bound, places, storage, stage)
        staging = dataclasses.replace(staging, quota=target.staging)
        submission = make_submission(
            spec,
            {**bound, **places, **tokens},
            run or new_run_id(spec.job),
            timeout,
            queue_timeout=queue_timeout,
            upload=not provider.shares_files,
            storage=storage,
            staging=staging,
        )
        outputs = {} if provider.shares_files else local_outputs(spec, bound)
        texts = {name: str(path) for name, path in outputs.items()}
        return _Prepared(provider, target, submission, bound, texts)

    def job_run(
        self,
        job: str,
        values: Mapping[str, Any],
        *,
        cluster: str | None = None,
        timeout: float | None = None,
        queue_timeout: float | None = None,
        stage: Mapping[str, Stage] | None = None,
        run: str | None = None,
    ) -> RunRecord:
        """Send one run of a job; it goes on without this process.

        Args:
            job: a defined job's name, a job file, or a program.
            values: the parameters by name.
            cluster: where; ``default`` if it is deployed, else the embedded ``local``.
            timeout: seconds; instead of the job's own.
            queue_timeout: seconds; instead of the job's own.
            stage: whether inputs are staged, by parameter; under an empty name for all.
            run: its id, when a former call with this id may have been lost on the way.

        Raises:
            InputError: if the parameters do not fit; nothing was sent.
            UnreachableError: if the cluster does not answer; the run is remembered as lost.
        """
        prepared = self._prepare(job, values, cluster, timeout, queue_timeout, stage or {}, run)
        return self._send(
            prepared.provider,
            prepared.target,
            prepared.submission,
            prepared.bound,
            prepared.outputs,
        )

    def _send(
        self,
        provider: ClusterProvider,
        target: ClusterSpec,
        submission: Submission,
        parameters: Mapping[str, Any],
        outputs: Mapping[str, str] | None = None,
    ) -> RunRecord:
        """Remember a run, and send it."""
        record = RunRecord(
            run=submission.run,
            job=submission.job.job,
            cluster=target.cluster,
            state=RunState.PENDING,
            submitted=time.time(),
            parameters=_storable(parameters),
            outputs=outputs or {},
        )
        provider.plan_run(target, submission)
        self._ensure_started(target)
        submission = self._with_connectors(provider, submission)
        if not self._has_run(record.run):
            self.store.add_run(record)
        try:
            status = provider.submit(target, submission)
        except SparknomadError as error:
            lost = RunStatus(record.run, RunState.LOST, f"was not sent: {error.message}")
            self.store.update_run(record, lost)
            raise
        return self.store.update_run(record, status)

    def _with_connectors(self, provider: ClusterProvider, submission: Submission) -> Submission:
        """Fetch the connectors where Spark is not an image, which has them."""
        needs_agent = submission.staging.wanted
        if provider.runtime is not HostRuntime or not (submission.storage.conf or needs_agent):
            return submission
        from cloudmesh.sparknomad.image.host import host_agent, host_connectors

        place = host_connectors(self.paths.cache, self.say, self.configuration.java)
        storage = dataclasses.replace(submission.storage, connectors=place)
        staging = submission.staging
        if needs_agent:
            agent = host_agent(self.paths.cache, self.say, self.configuration.java)
            staging = dataclasses.replace(staging, agent=agent)
        return dataclasses.replace(submission, storage=storage, staging=staging)

    def _has_run(self, run: str) -> bool:
        try:
            self.store.run(run)
        except NotFoundError:
            return False
        return True

    def _default_cluster(self) -> str:
        found = self.store.find_cluster("default")
        return "default" if found and found.state is not ClusterState.DESTROYING else LOCAL

    def _target_spec(self, name: str) -> ClusterSpec:
        """The cluster of a run; the embedded one need not be there yet."""
        record = self.store.find_cluster(name)
        if record is None and name != LOCAL:
            record = self._cluster(name)
        return record.spec if record else ClusterSpec(cluster=LOCAL, provider=LOCAL)

    def _cluster_storage(self, cluster: str | None = None) -> StorageProfile:
        from cloudmesh.sparknomad.storage.profile import StorageProfile

        record = self._cluster(cluster or self._default_cluster())
        place = self._provider(record.provider).storage(record.name)
        if place is None:
            raise InputError(
                f"Cluster {record.name!r} has no storage of its own: its runs use this machine's "
                "files.",
                hint="Give a path or a file:// URL.",
            )
        options = {"user": "spark", **place.options}
        return StorageProfile(
            "cluster", place.url, "hdfs", place.endpoint, ca=place.ca, options=options
        )

    def _ensure_started(self, spec: ClusterSpec) -> None:
        """Start an embedded cluster that does not run."""
        if spec.provider != LOCAL:
            return
        record = self.store.find_cluster(spec.cluster)
        if record is None or self._status_of(record).state is not ClusterState.RUNNING:
            self.say(
                f"starting the embedded cluster {spec.cluster!r}; it stays until "
                f"`cms sparknomad cluster destroy {spec.cluster}`"
            )
            self.cluster_deploy(spec)

    def _refresh(self, record: RunRecord) -> RunRecord:
        """Ask the provider about a run that has not ended."""
        if record.state.is_terminal:
            return record
        cluster = self.store.find_cluster(record.cluster)
        if cluster is None:
            return record
        try:
            status = self._provider(cluster.provider).run_status(record.cluster, record.run)
        except UnreachableError as error:
            return dataclasses.replace(record, reason=f"not known now: {error.message}")
        except NotFoundError:
            if time.time() - record.submitted < 60:
                return record
            status = RunStatus(record.run, RunState.LOST, "the cluster does not know this run")
        return self.store.update_run(record, status)

    def job_runs(
        self,
        *,
        job: str | None = None,
        state: RunState | None = None,
        limit: int | None = None,
    ) -> list[RunRecord]:
        """Runs, the newest first; those that have not ended are asked about.

        Args:
            job: only of this job.
            state: only in this state.
            limit: at most so many.
        """
        for cluster in {record.cluster for record in self._active_everywhere()}:
            for record in self._active(cluster):
                self._refresh(record)
        return self.store.runs(job=job, states=[state] if state else (), limit=limit)

    def _active_everywhere(self) -> list[RunRecord]:
        return self.store.runs(states=[state for state in RunState if not state.is_terminal])

    def job_status(self, run: str) -> RunRecord:
        """One run, as it stands now."""
        return self._refresh(self.store.run(run))

    def job_wait(self, run: str, *, timeout: float | None = None) -> RunRecord:
        """Wait until a run has ended.

        Raises:
            WaitTimeoutError: if it has not after `timeout` seconds; it goes on.
        """

        def ended() -> RunRecord | None:
            record = self.job_status(run)
            return record if record.state.is_terminal else None

        deadline = Deadline(timeout if timeout is not None else float("inf"))
        return wait_until(
            ended,
            f"run {run!r} to end",
            deadline,
            interval=0.2,
            hint="It goes on; wait again, or cancel it with `cms sparknomad job cancel`.",
        )

    def job_fetch(self, run: str) -> Mapping[str, str]:
        """Bring what a run wrote for this machine out of its cluster.

        Returns:
            The paths that were written, by parameter; what was fetched before is left out.
        """
        record = self.store.run(run)
        fetched = {}
        for name, path in record.outputs.items():
            if self._fetch_output(record.cluster, f"{OUTPUTS}/{run}/{name}", path):
                fetched[name] = path
        return fetched

    def job_logs(
        self,
        run: str,
        *,
        follow: bool = False,
        streams: Sequence[LogStream] = (LogStream.STDOUT, LogStream.STDERR),
    ) -> Iterator[LogChunk]:
        """The output of a run's program; see `ClusterProvider.logs`."""
        record = self.store.run(run)
        cluster = self._cluster(record.cluster)
        provider = self._provider(cluster.provider)
        return provider.logs(record.cluster, run, streams=streams, follow=follow)

    def job_cancel(self, run: str, *, timeout: float = _CANCEL_SECONDS) -> RunRecord:
        """End a run; nothing happens to one that has ended."""
        record = self._refresh(self.store.run(run))
        if record.state.is_terminal:
            return record
        cluster = self._cluster(record.cluster)
        provider = self._provider(cluster.provider)
        status = provider.cancel(record.cluster, run, timeout=timeout)
        return self.store.update_run(record, status)


def _storable(bound: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters for the history: long values are cut, the run itself gets them whole."""
    return {
        name: value if len(str(value)) <= 1000 else str(value)[:997] + "..."
        for name, value in bound.items()
    }
