"""The verbs about jobs and their runs."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cloudmesh.sparknomad.cluster.provider import ClusterProvider
from cloudmesh.sparknomad.errors import (
    InputError,
    NotFoundError,
    SparknomadError,
    UnreachableError,
)
from cloudmesh.sparknomad.job.jobs import (
    local_outputs,
    make_submission,
    new_run_id,
    read_job,
    resolve_job,
)
from cloudmesh.sparknomad.job.naming import is_path
from cloudmesh.sparknomad.job.staging import plan_staging
from cloudmesh.sparknomad.model import (
    HostRuntime,
    LogChunk,
    LogStream,
    Plan,
    RunRecord,
    RunState,
    RunStatus,
    Submission,
)
from cloudmesh.sparknomad.model_storage import OUTPUTS, RunStorage
from cloudmesh.sparknomad.specs import ClusterSpec, JobSpec, Stage
from cloudmesh.sparknomad.verbs.access import refuse_paths
from cloudmesh.sparknomad.verbs.clusters import ClusterVerbs
from cloudmesh.sparknomad.verbs.storage import StorageVerbs
from cloudmesh.sparknomad.waiting import Deadline, wait_until

__all__ = ["JobVerbs", "storable"]

_CANCEL_SECONDS = 60.0


@dataclasses.dataclass(frozen=True)
class _Prepared:
    """A run before it is sent: by whom, where, what, its parameters, and where its output goes."""

    provider: ClusterProvider
    target: ClusterSpec
    submission: Submission
    bound: Mapping[str, Any]
    outputs: Mapping[str, str]


class JobVerbs(ClusterVerbs, StorageVerbs):
    """Defining jobs, running them, and looking after their runs."""

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

    def job_plan(
        self,
        job: str,
        values: Mapping[str, Any],
        *,
        cluster: str | None = None,
        timeout: float | None = None,
        queue_timeout: float | None = None,
        stage: Mapping[str, Stage] | None = None,
        site: str | None = None,
    ) -> Plan:
        """What `job_run` would send; nothing is touched."""
        prepared = self._prepare(job, values, cluster, timeout, queue_timeout, stage or {}, site)
        return prepared.provider.plan_run(prepared.target, prepared.submission)

    def _prepare(
        self,
        job: str,
        values: Mapping[str, Any],
        cluster: str | None,
        timeout: float | None,
        queue_timeout: float | None,
        stage: Mapping[str, Stage],
        site: str | None,
        run: str | None = None,
    ) -> _Prepared:
        """Find what a run needs, and refuse what does not fit; nothing is touched."""
        spec, bound = self._resolve(job, values)
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
        near = self._near(spec, bound, storage, target)
        choice = self._choose_site(target, provider, near, spec.resources.executors, site)
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
        submission = dataclasses.replace(submission, site=choice.site, site_reason=choice.reason)
        outputs = {} if provider.shares_files else local_outputs(spec, bound)
        texts = {name: str(path) for name, path in outputs.items()}
        return _Prepared(provider, target, submission, bound, texts)

    def _resolve(self, job: str, values: Mapping[str, Any]) -> tuple[JobSpec, dict[str, Any]]:
        """Find a job, and bind its parameters.

        Raises:
            ParameterError: if they do not fit.
            InputError: if one names a place that the callers may not use.
        """
        spec, bound = resolve_job(job, values, self.job_show, self._is_storage)
        if not self.access.places:
            refuse_paths(spec.parameters, bound)
        return spec, bound

    def _near(
        self,
        spec: JobSpec,
        bound: Mapping[str, Any],
        storage: RunStorage,
        target: ClusterSpec,
    ) -> dict[str, int]:
        """The bytes of a run's inputs by the site that they are near; 0 where they are unknown."""
        found: dict[str, int] = {}
        for name, site in storage.sites.items():
            if site not in target.sites or spec.parameters[name].write is not None:
                continue
            try:
                size = self.storage_usage(str(bound[name])).size
            except NotFoundError:  # an output that the job does not declare
                continue
            except SparknomadError as error:  # the cluster may reach what this machine can't
                self.say(f"{name}: how much it is was not found: {error.message}")
                size = 0
            found[site] = found.get(site, 0) + size
        return found

    def job_run(
        self,
        job: str,
        values: Mapping[str, Any],
        *,
        cluster: str | None = None,
        timeout: float | None = None,
        queue_timeout: float | None = None,
        stage: Mapping[str, Stage] | None = None,
        site: str | None = None,
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
            site: of the cluster; that of the largest input, or the next best, if not given.
            run: its id, when a former call with this id may have been lost on the way.

        Raises:
            InputError: if the parameters do not fit; nothing was sent.
            UnreachableError: if the cluster does not answer; whether it has taken the run is
                asked later.
        """
        self._wake(self._target_spec(cluster or self._default_cluster()))
        prepared = self._prepare(
            job, values, cluster, timeout, queue_timeout, stage or {}, site, run
        )
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
            parameters=storable(parameters),
            outputs=outputs or {},
            site=submission.site,
        )
        provider.plan_run(target, submission)
        self._ensure_started(target)
        submission = self._with_connectors(provider, submission)
        if self._has_run(record.run):
            self.store.reopen_run(record.run)
        else:
            self.store.add_run(record)
        try:
            status = provider.submit(target, submission)
        except UnreachableError:  # it may have been taken: `_refresh` finds out
            raise
        except SparknomadError as error:
            lost = RunStatus(record.run, RunState.LOST, f"was not sent: {error.message}")
            self.store.update_run(record, lost)
            raise
        return self.store.update_run(record, status)

    def _with_connectors(self, provider: ClusterProvider, submission: Submission) -> Submission:
        """Fetch the connectors where Spark is not an image, which has them."""
        from cloudmesh.sparknomad.incluster.sparkconf import names_own_class

        conf = submission.storage.conf
        needs_agent = submission.staging.wanted or names_own_class(conf)
        if provider.runtime is not HostRuntime or not (conf or needs_agent):
            return submission
        from cloudmesh.sparknomad.image.host import host_agent, host_connectors

        place = host_connectors(self.paths.cache, self.say, self.configuration.java)
        storage = dataclasses.replace(submission.storage, connectors=place)
        staging = submission.staging
        if needs_agent:
            agent = host_agent(self.paths.cache, self.say, self.configuration.java)
            staging = dataclasses.replace(staging, agent=agent)
        return dataclasses.replace(submission, storage=storage, staging=staging)

    def job_runs(
        self,
        *,
        job: str | None = None,
        state: RunState | None = None,
        limit: int | None = None,
        after: str | None = None,
    ) -> list[RunRecord]:
        """Runs, the newest first; those that have not ended are asked about.

        Args:
            job: only of this job.
            state: only in this state.
            limit: at most so many.
            after: the run that was the last of those that were told before.

        Raises:
            NotFoundError: if that run is not known.
        """
        for cluster in {record.cluster for record in self._active_everywhere()}:
            for record in self._active(cluster):
                self._refresh(record)
        states = [state] if state else ()
        return self.store.runs(job=job, states=states, limit=limit, after=after)

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
            place = f"{OUTPUTS}/{run}/{name}"
            if self._fetch_output(record.cluster, place, path, record.site):
                fetched[name] = path
        return fetched

    def job_logs(
        self,
        run: str,
        *,
        follow: bool = False,
        streams: Sequence[LogStream] = (LogStream.STDOUT, LogStream.STDERR),
    ) -> Iterator[LogChunk]:
        """The output of a run's program; see `ClusterProvider.logs`.

        A run whose submission was interrupted has none.
        """
        record = self.store.run(run)
        cluster = self._cluster(record.cluster)
        provider = self._provider(cluster.provider)
        chunks = provider.logs(record.cluster, run, streams=streams, follow=follow)
        return self._output_of(record, chunks)

    def _output_of(self, record: RunRecord, chunks: Iterator[LogChunk]) -> Iterator[LogChunk]:
        try:
            yield from chunks
        except NotFoundError:
            began = record.started is not None
            if began or (record.state.is_terminal and record.state is not RunState.LOST):
                raise
            self.say(f"cluster {record.cluster!r} does not have run {record.run}: it was not sent")

    def job_cancel(self, run: str, *, timeout: float = _CANCEL_SECONDS) -> RunRecord:
        """End a run; nothing happens to one that has ended."""
        record = self._refresh(self.store.run(run))
        if record.state.is_terminal:
            return record
        cluster = self._cluster(record.cluster)
        provider = self._provider(cluster.provider)
        status = provider.cancel(record.cluster, run, timeout=timeout)
        return self.store.update_run(record, status)


def storable(bound: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters for the history: long values are cut, the run itself gets them whole."""
    return {
        name: value if len(str(value)) <= 1000 else str(value)[:997] + "..."
        for name, value in bound.items()
    }
