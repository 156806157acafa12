"""The verbs about clusters."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from cloudmesh.sparknomad.cluster.provider import ClusterProvider
from cloudmesh.sparknomad.cluster.registry import provider_names
from cloudmesh.sparknomad.cluster.sites import Choice, choose_site
from cloudmesh.sparknomad.errors import (
    ConflictError,
    ForbiddenError,
    InputError,
    NotFoundError,
    SparknomadError,
    TrustError,
)
from cloudmesh.sparknomad.model import (
    ClusterRecord,
    ClusterState,
    ClusterStatus,
    HostRuntime,
    ImageRuntime,
    Plan,
    Runtime,
)
from cloudmesh.sparknomad.specs import ClusterSpec, ExecutorResources
from cloudmesh.sparknomad.verbs.core import LOCAL
from cloudmesh.sparknomad.verbs.idling import IdleVerbs

__all__ = ["DEPLOY_SECONDS", "DESTROY_SECONDS", "ClusterVerbs"]

DEPLOY_SECONDS = 600.0
DESTROY_SECONDS = 120.0


class ClusterVerbs(IdleVerbs):
    """Deploying, looking at, changing and destroying clusters."""

    def _runtime(self, provider: ClusterProvider, spec: ClusterSpec) -> Runtime | None:
        if provider.runtime is None:
            return None
        if provider.runtime is HostRuntime:
            from cloudmesh.sparknomad.image.host import host_runtime

            return host_runtime(self.paths.cache, self.say, self.configuration.java)
        user = self.paths.home / "clusters" / spec.cluster
        return self._images().runtime(spec.image, spec.driver, user, packed=bool(spec.hosts))

    def cluster_spec(self, name: str) -> ClusterSpec | None:
        """What a cluster was deployed as, or ``None`` if there is none."""
        record = self.store.find_cluster(name)
        return record.spec if record else None

    def cluster_plan(self, spec: ClusterSpec) -> Plan:
        """What `cluster_deploy` would do; nothing is touched."""
        provider = self._provider(spec.provider)
        needs_image = provider.runtime is ImageRuntime
        runtime = self._images().planned(spec.image, spec.driver) if needs_image else None
        return provider.plan(self._planned_machines(spec), runtime)

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
        provider.check_allowed(spec.cluster, "deploy it")
        runtime = self._runtime(provider, spec)
        self.store.put_cluster(spec, ClusterState.DEPLOYING)
        try:
            if found:
                self._renew_ended(found, provider)
            machines = self._with_machines(spec, create=True, timeout=timeout)
            status = provider.deploy(machines, runtime, timeout=timeout)
        except (ConflictError, InputError):
            if found:  # refused: what is deployed is what was asked for before
                self.store.put_cluster(found.spec, found.state)
            raise
        self.store.put_cluster(spec, status.state)
        return status

    def cluster_list(self) -> list[ClusterStatus]:
        """All clusters with what their providers say of them now."""
        return [self._status_of(record) for record in self.store.clusters()]

    def _status_of(self, record: ClusterRecord) -> ClusterStatus:
        try:
            status = self._provider(record.provider).status(record.name)
            return self._with_reason(record, status)
        except NotFoundError:
            reason = "nothing of it is on this machine; deploy or destroy it"
        except TrustError as error:
            reason = f"{error.message} {error.hint}"
        except SparknomadError as error:
            reason = error.message
        state = record.state
        if state is ClusterState.RUNNING:
            state = ClusterState.STOPPED
        wanted = record.spec.all_workers
        return ClusterStatus(record.name, record.provider, state, 0, wanted, reason=reason)

    def cluster_status(self, name: str) -> ClusterStatus:
        """One cluster with its components and addresses, as they are now."""
        return self._status_of(self._cluster(name))

    def cluster_scale(
        self, name: str, workers: int, *, site: str | None = None, timeout: float = DEPLOY_SECONDS
    ) -> ClusterStatus:
        """Change the number of workers of a running cluster.

        Args:
            name: of the cluster.
            workers: how many there should be.
            site: at which site; each one if not given.
            timeout: seconds after which to give up.
        """
        record = self._cluster(name)
        if not 1 <= workers <= 1000:
            raise InputError(f"workers: {workers}: must be 1 to 1000")
        spec = _with_workers(record.spec, workers, site)
        machines = self._with_machines(spec, create=False, timeout=timeout)
        status = self._provider(record.provider).scale(machines, timeout=timeout)
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
        for provider_name in providers if record else ():
            self._provider(provider_name).check_allowed(name, "destroy it")
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

    def _target_spec(self, name: str) -> ClusterSpec:
        """The cluster of a run; the embedded one need not be there yet.

        Raises:
            ForbiddenError: if it shares this machine's files, and the callers may not use them.
        """
        record = self.store.find_cluster(name)
        if record is None and name != LOCAL:
            record = self._cluster(name)
        spec = record.spec if record else ClusterSpec(cluster=LOCAL, provider=LOCAL)
        if not self.access.embedded and self._provider(spec.provider).shares_files:
            raise ForbiddenError(
                "On the embedded cluster programs run as the service's own user; requests may "
                "not use it.",
                hint="`service start --allow-local` lets them, for a service of your own.",
            )
        return spec

    def _choose_site(
        self,
        target: ClusterSpec,
        provider: ClusterProvider,
        near: Mapping[str, int],
        executors: ExecutorResources,
        site: str | None,
    ) -> Choice:
        """Where in a cluster a run goes; see `choose_site`."""
        if not target.sites and not site:
            return Choice("")
        choice = choose_site(
            provider.sites(target.cluster) if target.sites else (),
            near,
            cores=executors.cores,
            memory=executors.memory,
            forced=site or "",
        )
        if not site:
            self.say(f"site {choice.site}: {choice.reason}")
        return choice

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


def _with_workers(spec: ClusterSpec, workers: int, site: str | None) -> ClusterSpec:
    """A spec with another number of workers, at one site or at each."""
    if any(part.most > part.workers for part in spec.parts.values()):
        raise InputError(
            f"Cluster {spec.cluster!r}: its workers come and go by themselves.",
            hint="Deploy it with other bounds, or with a fixed number: workers: 4.",
        )
    if site and site not in spec.sites:
        known = ", ".join(spec.sites) or "none"
        raise NotFoundError(f"Cluster {spec.cluster!r} has no site {site!r}; its sites: {known}.")
    if site:
        there = dataclasses.replace(spec.sites[site], workers=workers)
        return dataclasses.replace(spec, sites={**spec.sites, site: there})
    sites = {name: dataclasses.replace(each, workers=None) for name, each in spec.sites.items()}
    return dataclasses.replace(spec, workers=workers, sites=sites)
