"""What all verbs share: where files are, the store, providers, and runs as they stand."""

from __future__ import annotations

import dataclasses
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from cloudmesh.sparknomad.cluster.provider import ClusterProvider, ProviderContext
from cloudmesh.sparknomad.cluster.registry import make_provider
from cloudmesh.sparknomad.configuration import Configuration, read_configuration
from cloudmesh.sparknomad.errors import InputError, NotFoundError, UnreachableError
from cloudmesh.sparknomad.model import ClusterRecord, ClusterState, RunRecord, RunState, RunStatus
from cloudmesh.sparknomad.paths import Paths
from cloudmesh.sparknomad.state import Store
from cloudmesh.sparknomad.verbs.access import Access

if TYPE_CHECKING:
    from cloudmesh.sparknomad.image.builder import Images
    from cloudmesh.sparknomad.storage.profile import StorageProfile

__all__ = ["LOCAL", "Core", "silent", "unseen"]

LOCAL = "local"
"""Name of the embedded cluster that starts when a run needs it."""


def silent(message: str) -> None:
    """Show nobody what is done."""
    del message


def unseen(subject: str, state: str) -> None:
    """Show nobody what something is doing now."""
    del subject, state


class Core:
    """What every verb works with.

    Args:
        paths: where files are kept; found in the environment if not given.
        say: shows one line of progress to the user.
        accept_host_key: asked about a host's unknown key, with its name and fingerprint; without
            it, only known ones are trusted.
        show: shows what a host is doing now, where somebody watches.
        access: what the callers may use of this machine; all of it if not given.
    """

    def __init__(
        self,
        paths: Paths | None = None,
        *,
        say: Callable[[str], None] = silent,
        accept_host_key: Callable[[str, str], bool] | None = None,
        show: Callable[[str, str], None] = unseen,
        access: Access | None = None,
    ) -> None:
        self.access = access or Access()
        self.show = show
        self.paths = paths or Paths.from_environment()
        self.say = say
        self.accept_host_key = accept_host_key or (lambda name, fingerprint: False)
        self.store = Store(self.paths.state)
        self._providers: dict[str, ClusterProvider] = {}

    @property
    def configuration(self) -> Configuration:
        """Our section of ``cloudmesh.yaml``."""
        return read_configuration(self.paths.configuration)

    def _provider(self, name: str) -> ClusterProvider:
        if name not in self._providers:
            clusters = self.paths.home / "clusters"
            clusters.mkdir(mode=0o700, exist_ok=True)
            context = ProviderContext(
                clusters,
                self.paths.cache,
                self.say,
                self.configuration,
                self.accept_host_key,
                self._is_gone,
                self.show,
                self._power_off,
            )
            self._providers[name] = make_provider(name, context)
        return self._providers[name]

    @abstractmethod
    def _is_gone(self, labels: Mapping[str, str]) -> bool:
        """Whether a host is proven not to exist any more, by the labels that it was given."""

    @abstractmethod
    def _power_off(self, labels: Mapping[str, str]) -> str:
        """The command by which a host ends itself, by its labels; empty if it stays on."""

    def _cluster(self, name: str) -> ClusterRecord:
        record = self.store.find_cluster(name)
        if record is None:
            known = ", ".join(cluster.name for cluster in self.store.clusters()) or "none"
            raise NotFoundError(
                f"There is no cluster {name!r}; known: {known}.",
                hint=f"`cms sparknomad cluster deploy {name}` makes one.",
            )
        return record

    def _images(self) -> Images:
        from cloudmesh.sparknomad.image.builder import Images

        return Images(self.paths.cache, self.say, self.configuration.java)

    def _default_cluster(self) -> str:
        if not self.access.embedded:
            return "default"
        found = self.store.find_cluster("default")
        return "default" if found and found.state is not ClusterState.DESTROYING else LOCAL

    def _cluster_storage(self, cluster: str | None = None, site: str = "") -> StorageProfile:
        from cloudmesh.sparknomad.storage.profile import StorageProfile

        record = self._cluster(cluster or self._default_cluster())
        place = self._provider(record.provider).storage(record.name, site)
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

    def _has_run(self, run: str) -> bool:
        try:
            self.store.run(run)
        except NotFoundError:
            return False
        return True

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

    def _active(self, cluster: str) -> list[RunRecord]:
        states = [state for state in RunState if not state.is_terminal]
        return self.store.runs(cluster=cluster, states=states)

    def _active_everywhere(self) -> list[RunRecord]:
        return self.store.runs(states=[state for state in RunState if not state.is_terminal])

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
