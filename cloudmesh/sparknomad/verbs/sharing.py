"""The verbs about clusters that several people or machines use: tokens, bundles, rotation."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloudmesh.sparknomad.bundles import (
    Bundle,
    IssuedToken,
    TokenInfo,
    read_bundle,
    refuse_existing,
    write_bundle,
)
from cloudmesh.sparknomad.errors import ConflictError
from cloudmesh.sparknomad.model import ClusterState, Plan, RunRecord, RunState
from cloudmesh.sparknomad.output import to_plain
from cloudmesh.sparknomad.specfile import build_spec, spec_to_dict
from cloudmesh.sparknomad.specs import ClusterSpec
from cloudmesh.sparknomad.state_bundles import PIPELINE_RUNS, SCHEDULES, rows_of, take_over
from cloudmesh.sparknomad.verbs.core import Core

if TYPE_CHECKING:
    from cloudmesh.sparknomad.compute.groups import Group

__all__ = ["NAMESPACE", "ROTATE_SECONDS", "SharingVerbs"]

NAMESPACE = "runs"
"""Of Nomad, where a token's runs are if nothing else is said."""

ROTATE_SECONDS = 300.0


class SharingVerbs(Core):
    """Letting others use a cluster, and taking it over."""

    def cluster_token_create(
        self,
        name: str,
        role: str,
        *,
        namespace: str = NAMESPACE,
        label: str = "",
        ttl: float | None = None,
        bundle: Path | None = None,
        passphrase: str = "",
    ) -> IssuedToken:
        """Make a token with the rights of a role.

        Args:
            name: of the cluster.
            role: ``operator``, ``submitter`` or ``reader``.
            namespace: of Nomad, in which it is good; made if it is not there.
            label: to know it by.
            ttl: seconds after which it ends by itself.
            bundle: a file for its user, to be written for `cluster_import`.
            passphrase: of that file.
        """
        record = self._cluster(name)
        provider = self._provider(record.provider)
        if bundle:
            refuse_existing(bundle)
        issued = provider.token_create(name, role, namespace=namespace, label=label, ttl=ttl)
        if not bundle:
            return issued
        try:
            files = provider.token_files(name, issued, ttl)
            spec = {**spec_to_dict(record.spec), "hosts": [], "conf": {}}
            write_bundle(Bundle(name, record.provider, role, spec, files), bundle, passphrase)
        except BaseException:
            # A token that nobody was told of would only lie about.
            with contextlib.suppress(Exception):
                provider.token_revoke(name, issued.token.accessor)
            raise
        return dataclasses.replace(issued, bundle=str(bundle))

    def cluster_token_list(self, name: str) -> list[TokenInfo]:
        """All tokens of a cluster, without their secrets."""
        return self._provider(self._cluster(name).provider).token_list(name)

    def cluster_token_revoke(self, name: str, accessor: str) -> None:
        """End a token at once."""
        self._provider(self._cluster(name).provider).token_revoke(name, accessor)

    def cluster_export(
        self, name: str, path: Path, passphrase: str, *, history: bool = False
    ) -> None:
        """Write everything that another machine needs to take over a cluster.

        Args:
            name: of the cluster.
            path: of the file, which must not be there yet.
            passphrase: that it is encrypted with.
            history: also the history of its runs, and of those of pipelines.
        """
        record = self._cluster(name)
        refuse_existing(path)
        files = self._provider(record.provider).export_files(name)
        found = self.store.runs(cluster=name) if history else []
        bundle = Bundle(
            name,
            record.provider,
            "",
            spec_to_dict(record.spec),
            files,
            tuple(to_plain(run) for run in reversed(found)),
            rows_of(self.store, PIPELINE_RUNS, name) if history else (),
            self._exported_groups(record.spec),
            rows_of(self.store, SCHEDULES, name),
        )
        write_bundle(bundle, path, passphrase)

    def _exported_groups(self, spec: ClusterSpec) -> tuple[Mapping[str, Any], ...]:
        """The groups that a cluster's hosts are of, with what their machines' tags tell."""
        from cloudmesh.sparknomad.compute.groups import Groups

        groups = Groups(self.paths.home / "compute")
        names = dict.fromkeys(host.compute for host in spec.hosts if host.compute)
        found = [group for name in names if (group := groups.find(name))]
        return tuple({**each.document, "owner": groups.owner_of(each)} for each in found)

    def _groups_of(self, bundle: Bundle) -> list[Group]:
        """The groups in a bundle.

        Raises:
            ConflictError: if there is another group of such a name here.
        """
        from cloudmesh.sparknomad.compute.groups import Group, Groups

        groups = Groups(self.paths.home / "compute")
        found = [Group.read(document) for document in bundle.groups]
        for group in found:
            known = groups.find(group.name)
            if known and groups.owner_of(known) != group.owner:
                raise ConflictError(
                    f"There is another group {group.name!r} on this machine.",
                    hint="Take the bundle over in another configuration directory: "
                    "CLOUDMESH_CONFIG_DIR=DIRECTORY.",
                )
        return found

    def _take_groups(self, taken: Sequence[Group]) -> None:
        """Manage the machines of groups from here, too; those that are known here stay known."""
        from cloudmesh.sparknomad.compute.groups import Groups

        groups = Groups(self.paths.home / "compute")
        for group in taken:
            with groups.held(group.name):
                known = groups.find(group.name)
                groups.write(group.joined(known) if known else group)

    def cluster_import(self, path: Path, passphrase: str, *, name: str = "") -> Bundle:
        """Take over a cluster, or get a token's use of it, from a bundle.

        Args:
            path: of the file.
            passphrase: that it was encrypted with.
            name: of the cluster on this machine; as it was if not given.

        Returns:
            What was in the file, under its name here.

        Raises:
            ConflictError: if there is another cluster of this name.
        """
        bundle = read_bundle(path, passphrase)
        return self.cluster_adopt(dataclasses.replace(bundle, name=name or bundle.name), str(path))

    def cluster_adopt(self, bundle: Bundle, origin: str = "a bundle") -> Bundle:
        """Do what `cluster_import` does with a bundle that was read before.

        Args:
            bundle: with the name that the cluster is to have here.
            origin: where it comes from, for messages.
        """
        spec = build_spec(ClusterSpec, {**bundle.spec, "cluster": bundle.name}, origin=origin)
        found = self.store.find_cluster(bundle.name)
        if found and found.provider != bundle.provider:
            raise ConflictError(
                f"There is another cluster {bundle.name!r} on this machine.",
                hint="Give this one another name: --name=NAME.",
            )
        groups = self._groups_of(bundle)
        self._provider(bundle.provider).adopt(bundle.name, bundle)
        self._take_groups(groups)
        self.store.put_cluster(spec, ClusterState.RUNNING)
        take_over(self.store, SCHEDULES, bundle.schedules, bundle.name)
        take_over(self.store, PIPELINE_RUNS, bundle.pipelines, bundle.name)
        for run in bundle.runs:
            with contextlib.suppress(ConflictError):
                self.store.add_run(_run(run, bundle.name))
        return bundle

    def cluster_forget(self, name: str, *, force: bool = False) -> None:
        """Remove what this machine has of a cluster, which goes on.

        Args:
            name: of the cluster.
            force: also where it is managed from here; export it first.
        """
        record = self._cluster(name)
        provider = self._provider(record.provider)
        if not force and not provider.role(name):
            raise ConflictError(
                f"Cluster {name!r} is managed from this machine; nobody could destroy it.",
                hint="Destroy it, or write a bundle (`cluster export`) and use --force.",
            )
        provider.forget(name)
        self.store.forget_cluster(name)

    def cluster_rotation(self, name: str, *, certificates: bool, gossip: bool) -> Plan:
        """What `cluster_rotate` would do; nothing is touched."""
        provider = self._provider(self._cluster(name).provider)
        return provider.rotation(name, certificates=certificates, gossip=gossip)

    def cluster_rotate(
        self,
        name: str,
        *,
        certificates: bool = True,
        gossip: bool = True,
        timeout: float = ROTATE_SECONDS,
    ) -> list[TokenInfo]:
        """Replace a cluster's certificates, its authority and its key of gossip.

        Everything goes on meanwhile. Interrupted, it goes on where it was when called again.

        Returns:
            The tokens whose bundles are of no use any more.
        """
        provider = self._provider(self._cluster(name).provider)
        return provider.rotate(name, certificates=certificates, gossip=gossip, timeout=timeout)


def _run(data: Mapping[str, Any], cluster: str) -> RunRecord:
    fields = {field.name for field in dataclasses.fields(RunRecord)}
    kept = {key: value for key, value in data.items() if key in fields}
    return RunRecord(**{**kept, "cluster": cluster, "state": RunState(data["state"])})
