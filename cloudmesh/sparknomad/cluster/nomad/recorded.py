"""What is remembered of clusters on Nomad, and the way to each one's Nomad."""

from __future__ import annotations

from cloudmesh.sparknomad.cluster.nomad.client import Nomad
from cloudmesh.sparknomad.cluster.nomad.hosts.installation import Hosts
from cloudmesh.sparknomad.cluster.nomad.installation import Installation, ThisMachine
from cloudmesh.sparknomad.cluster.nomad.record import NomadCluster
from cloudmesh.sparknomad.cluster.nomad.roles import forbidden
from cloudmesh.sparknomad.cluster.nomad.wanted import wanted_cluster
from cloudmesh.sparknomad.cluster.provider import ClusterProvider
from cloudmesh.sparknomad.errors import ClusterError, UnreachableError
from cloudmesh.sparknomad.model import ImageRuntime
from cloudmesh.sparknomad.specs import ClusterSpec

__all__ = ["Recorded"]


class Recorded(ClusterProvider):
    """The part of the provider that reads its records."""

    def _known(self, name: str) -> bool:
        return (self._directory(name) / "cluster.json").exists()

    def _find(self, name: str) -> NomadCluster | None:
        return NomadCluster.read(self._directory(name))

    def _read(self, name: str) -> NomadCluster:
        cluster = self._find(name)
        if cluster is None:
            raise ClusterError(f"Cluster {name!r} has no record any more.")
        return cluster

    def _wanted(
        self,
        spec: ClusterSpec,
        image: ImageRuntime | None,
        binary: str = "nomad",
        known: NomadCluster | None = None,
    ) -> NomadCluster:
        data = self._directory(spec.cluster) / "nomad"
        return wanted_cluster(spec, image, data=data, binary=binary, known=known)

    def _installation(self, name: str, cluster: NomadCluster | None) -> Installation:
        kind = Hosts if cluster and cluster.hosts else ThisMachine
        return kind(name, self._directory(name), self.context)

    def _nomad(self, name: str) -> Nomad:
        cluster = self._read(name)
        installation = self._installation(name, cluster)
        client = installation.client(cluster)
        problem = installation.problem(cluster, client)
        if problem:
            raise UnreachableError(
                f"The cluster's Nomad agent does not serve: {problem}.",
                hint="`cms sparknomad cluster deploy` starts it again; its tasks go on meanwhile."
                if not cluster.role
                else "Ask who deployed the cluster.",
            )
        return client

    def _runs_nomad(self, name: str) -> Nomad:
        """A client for the namespace in which runs are sent from here."""
        return self._nomad(name).within(self._read(name).namespace)

    def role(self, name: str) -> str:
        """The role of the token that is here; empty for everything."""
        cluster = self._find(name)
        return cluster.role if cluster else ""

    def check_allowed(self, name: str, what: str) -> None:
        """Refuse what the token that is here may not do."""
        role = self.role(name)
        if role:
            raise forbidden(name, role, what)
