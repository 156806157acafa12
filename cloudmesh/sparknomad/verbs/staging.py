"""The verbs about what is moved inside a cluster.

Each is a run of its own that has no program: it has an id, a state, logs and a report, goes on
without this process, and can be cancelled.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cloudmesh.sparknomad.cluster.definition import TRANSFER
from cloudmesh.sparknomad.errors import (
    ConflictError,
    InputError,
    NotFoundError,
    RunFailedError,
)
from cloudmesh.sparknomad.incluster.staged import Catalog, StagedEntry
from cloudmesh.sparknomad.job.jobs import new_run_id
from cloudmesh.sparknomad.model import (
    ClusterState,
    RunRecord,
    RunState,
    Submission,
)
from cloudmesh.sparknomad.model_storage import (
    RunStaging,
    RunStorage,
    StagedInput,
    StorageCopy,
)
from cloudmesh.sparknomad.specs import (
    ExecutorResources,
    JobSpec,
    Resources,
)
from cloudmesh.sparknomad.verbs.jobs import JobVerbs

if TYPE_CHECKING:
    from cloudmesh.sparknomad.storage.transfer import Transferred

__all__ = ["StagingVerbs"]

_LARGEST_EXECUTOR = 1024**3
_HERE = ("file", "http")
"""Kinds of storage that a cluster's workers may not see as this machine does."""


class StagingVerbs(JobVerbs):
    """Staging, copying and checking inside a cluster."""

    # runs without a program

    def _move(
        self,
        name: str,
        cluster: str | None,
        storage: RunStorage,
        staging: RunStaging,
        parameters: Mapping[str, Any],
        site: str | None,
    ) -> RunRecord:
        """Send a run that only moves data."""
        target = self._target_spec(cluster or self._default_cluster())
        self._wake(target)
        provider = self._provider(target.provider)
        executor = ExecutorResources(memory=min(_LARGEST_EXECUTOR, target.memory))
        job = JobSpec(job=name, program=TRANSFER, resources=Resources(executors=executor))
        near = dict.fromkeys(storage.sites.values(), 0)
        choice = self._choose_site(target, provider, near, executor, site)
        submission = Submission(
            new_run_id(name),
            job,
            (),
            None,
            storage=storage,
            staging=dataclasses.replace(staging, quota=target.staging),
            site=choice.site,
            site_reason=choice.reason,
        )
        return self._send(provider, target, submission, parameters)

    def _places(self, urls: Mapping[str, str]) -> tuple[dict[str, str], RunStorage]:
        """URLs as Hadoop names them, by the same keys, and what reaching them needs."""
        from cloudmesh.sparknomad.storage.running import resolve_storage
        from cloudmesh.sparknomad.storage.url import is_storage_url

        plain = [url for url in urls.values() if not is_storage_url(url)]
        if plain:
            raise InputError(
                f"{plain[0]!r} is no URL of a storage.",
                hint="Give PROFILE:path or a URL such as s3://bucket/path. A file of this machine "
                "is brought into the cluster by `storage put FILE cluster:inputs/`.",
            )
        return resolve_storage(urls, self._profiles.open)

    # staging

    def storage_stage(
        self,
        urls: Sequence[str],
        *,
        cluster: str | None = None,
        pin: bool = False,
        ttl: float | None = None,
        site: str | None = None,
    ) -> RunRecord:
        """Bring inputs into a cluster before any run needs them.

        Args:
            urls: objects, directories or patterns.
            cluster: where to; that which runs go to if not given.
            pin: whether they stay until they are unstaged.
            ttl: seconds after their last use when they go.
            site: of the cluster; the one that they are near if not given.

        Returns:
            The run that brings them; see `job_wait`.
        """
        places, storage = self._places({f"input{number}": url for number, url in enumerate(urls)})
        inputs = tuple(
            StagedInput(
                f"input{number}",
                places[f"input{number}"],
                url,
                storage.origins[f"input{number}"],
                "always",
                "",
                pin=pin,
                ttl=ttl,
            )
            for number, url in enumerate(urls)
            if f"input{number}" in storage.origins
        )
        if not inputs:
            raise InputError("Nothing to stage: what is given lies in the cluster already.")
        shown = {"urls": " ".join(urls)}
        return self._move("stage", cluster, storage, RunStaging(inputs), shown, site)

    def _catalog(self, cluster: str | None, site: str | None) -> Catalog:
        record = self._cluster(cluster or self._default_cluster())
        found = self._provider(record.provider).staged(record.name, site or "")
        if found is None:
            raise InputError(f"Cluster {record.name!r} has no room for staged inputs.")
        return found

    def storage_staged(
        self, *, cluster: str | None = None, site: str | None = None
    ) -> list[StagedEntry]:
        """What is staged in a cluster, at its first site if none is named; the last used first."""
        return self._catalog(cluster, site).all()

    def storage_unstage(
        self,
        url: str,
        *,
        cluster: str | None = None,
        site: str | None = None,
        force: bool = False,
    ) -> list[StagedEntry]:
        """Remove what was staged of a URL, in all of its versions.

        Args:
            url: as it was given when it was staged.
            cluster: where.
            site: of the cluster; the first if not given.
            force: also what a run reads now; that run will fail.

        Raises:
            NotFoundError: if nothing of it is staged.
            ConflictError: if a run reads it.
        """
        catalog = self._catalog(cluster, site)
        found = [each for each in catalog.all() if url in (each.entry.source, each.entry.key)]
        if not found:
            raise NotFoundError(
                f"{url}: nothing of it is staged.",
                hint="`cms sparknomad storage staged` shows what is.",
            )
        for each in found:
            if not catalog.evict(each.entry.key, force=force):
                raise ConflictError(
                    f"{url}: is being read by {', '.join(each.users) or 'a run'}.",
                    hint="Wait for it, or use --force: the run will fail.",
                )
        return found

    def storage_evict(
        self, *, cluster: str | None = None, site: str | None = None
    ) -> list[StagedEntry]:
        """Remove all that is staged or half so, but what is pinned, being read or being brought.

        Returns:
            What was removed.
        """
        catalog = self._catalog(cluster, site)
        catalog.sweep(patience=0)
        loose = [each for each in catalog.all() if not each.entry.pin and not each.users]
        return [each for each in loose if catalog.evict(each.entry.key)]

    # copying

    def storage_copy(
        self, source: str, target: str, *, cluster: str | None = None, site: str | None = None
    ) -> Transferred:
        """Copy an object, a directory or what fits a pattern, and prove that it has arrived.

        Between two clouds it is copied in a cluster if one is deployed: no byte passes this
        machine. Otherwise this machine copies it.

        Args:
            source: a URL, ``PROFILE:path`` or a path of this machine.
            target: such as well; a directory where it ends in a slash, or where `source` is one.
            cluster: where to copy it.
            site: of the cluster; the one that either is near if not given.
        """
        chosen = cluster or self._copying_cluster(source, target)
        if chosen is None:
            return super().storage_copy(source, target)
        return self._copied(self._send_copy(source, target, chosen, site))

    def _copying_cluster(self, source: str, target: str) -> str | None:
        """The cluster that can copy this; ``None`` if this machine has to."""
        from cloudmesh.sparknomad.storage.url import CLUSTER, is_storage_url, parse_url

        if not (is_storage_url(source) and is_storage_url(target)):
            return None
        for url in (parse_url(source), parse_url(target)):
            if url.profile != CLUSTER and self._profiles.of(url).kind in _HERE:
                return None
        name = self._default_cluster()
        try:
            record = self._cluster(name)
        except NotFoundError:
            self.say("no cluster is deployed: this machine copies it")
            return None
        shares = self._provider(record.provider).shares_files
        if shares or record.state is not ClusterState.RUNNING:
            return None
        return name

    def _send_copy(self, source: str, target: str, cluster: str, site: str | None) -> RunRecord:
        places, storage = self._places({"source": source, "target": self._directory(target)})
        copied = StorageCopy(places["source"], places["target"], source, target)
        shown = {"source": source, "target": target}
        return self._move("copy", cluster, storage, RunStaging(copies=(copied,)), shown, site)

    def _directory(self, target: str) -> str:
        """A target that is a directory already is meant as one."""
        from cloudmesh.sparknomad.errors import DependencyError

        if target.endswith("/") or target.endswith(":"):
            return target
        try:
            storage, url = self._opened(target)
            return f"{target}/" if self._as_directory(storage, url).is_directory else target
        except DependencyError:  # this machine need not reach what the cluster does
            return target

    def _copied(self, record: RunRecord) -> Transferred:
        from cloudmesh.sparknomad.storage.transfer import Transferred

        told = self._finished(record).report["copies"]
        assert isinstance(told, list)
        (done,) = told
        return Transferred(
            done["objects"], done["skipped"], done["size"], done["seconds"], done["verified"]
        )

    def _finished(self, record: RunRecord) -> RunRecord:
        """Wait for a run that moves data.

        Raises:
            RunFailedError: if it failed.
        """
        from cloudmesh.sparknomad.storage.explain import hint_for

        self.say(f"run {record.run} on cluster {record.cluster}")
        ended = self.job_wait(record.run)
        if ended.state is not RunState.SUCCEEDED:
            raise RunFailedError(
                f"run {ended.run} {ended.state.value}: {ended.reason}",
                hint=hint_for(ended.reason) or f"See `cms sparknomad job logs {ended.run}`.",
            )
        return ended
