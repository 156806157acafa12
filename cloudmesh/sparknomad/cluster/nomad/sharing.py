"""Tokens with fewer rights, and bundles, for clusters on Nomad."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from cloudmesh.sparknomad.bundles import Bundle, IssuedToken, TokenInfo
from cloudmesh.sparknomad.cluster.nomad import roles, shared_runs
from cloudmesh.sparknomad.cluster.nomad.client import NotThereError
from cloudmesh.sparknomad.cluster.nomad.hosts.pki import LIFETIME
from cloudmesh.sparknomad.cluster.nomad.record import HostRecord, NomadCluster
from cloudmesh.sparknomad.cluster.nomad.scheduling import Scheduling
from cloudmesh.sparknomad.cluster.nomad.serving import NomadService
from cloudmesh.sparknomad.cluster.serving import ServiceHost
from cloudmesh.sparknomad.errors import ConflictError, InputError, NotFoundError
from cloudmesh.sparknomad.model import Plan
from cloudmesh.sparknomad.processes import write_private
from cloudmesh.sparknomad.waiting import Deadline

__all__ = ["Sharing"]

_PREPARE_SECONDS = 60.0
_FILE = re.compile(
    r"cluster\.json|known_hosts|rotation\.json|tls/(next/)?[A-Za-z0-9][A-Za-z0-9._-]*"
)
_ACCESSOR = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Sharing(Scheduling):
    """The part of the provider that lets others use a cluster."""

    def service(self, cluster: str) -> ServiceHost | None:
        """The cluster's own REST service."""
        self._exists(cluster)
        self.check_allowed(cluster, "run a service in it")
        record, nomad = self._read(cluster), self._nomad(cluster)
        installation = self._installation(cluster, record)
        return NomadService(
            cluster,
            record,
            nomad,
            lambda: installation.service_certificate(record),
            installation.authority,
        )

    # tokens

    def token_create(
        self, name: str, role: str, *, namespace: str, label: str, ttl: float | None
    ) -> IssuedToken:
        """Make a token with the rights of a role."""
        self._exists(name)
        self.check_allowed(name, "make tokens")
        roles.check(role, namespace)
        cluster, nomad = self._read(name), self._nomad(name)
        self.context.say(f"preparing namespace {namespace} for runs")
        shared_runs.prepare_namespace(nomad, cluster, namespace, Deadline(_PREPARE_SECONDS))
        policy = roles.policy_name(role, namespace)
        nomad.put_policy(policy, roles.policy_rules(role, namespace), about=f"sparknomad: {role}")
        body: dict[str, Any] = {"Name": label, "Type": "client", "Policies": [policy]}
        if ttl is not None:
            body["ExpirationTTL"] = f"{max(1, round(ttl))}s"
        made = nomad.create_token(body)
        return IssuedToken(_info(made), str(made["SecretID"]), cluster.address)

    def token_list(self, name: str) -> list[TokenInfo]:
        """All tokens of a cluster."""
        self._exists(name)
        self.check_allowed(name, "list its tokens")
        return sorted(map(_info, self._nomad(name).tokens()), key=lambda token: token.created)

    def token_revoke(self, name: str, accessor: str) -> None:
        """End a token."""
        self._exists(name)
        self.check_allowed(name, "revoke tokens")
        nomad = self._nomad(name)
        if not _ACCESSOR.fullmatch(accessor):
            raise InputError(f"ACCESSOR: {accessor!r}: is no accessor; `token list` shows them.")
        if nomad.who()["AccessorID"] == accessor:
            raise ConflictError(
                "This is the token by which this machine manages the cluster; without it nobody "
                "could.",
            )
        if all(each["AccessorID"] != accessor for each in nomad.tokens()):
            raise NotFoundError(
                f"Cluster {name!r} has no token {accessor}.",
                hint=f"`cms sparknomad cluster token list {name}` lists them.",
            )
        try:
            nomad.delete_token(accessor)
        except NotThereError:
            return

    # bundles

    def export_files(self, name: str) -> dict[str, str]:
        """The files that another machine needs to take over, by name."""
        self._exists(name)
        self.check_allowed(name, "export it")
        directory = self._directory(name)
        with self._locked(name):
            found = {
                path.relative_to(directory).as_posix(): path
                for path in (*directory.iterdir(), *(directory / "tls").rglob("*"))
            }
            return {
                place: path.read_text("utf-8")
                for place, path in sorted(found.items())
                if path.is_file() and _FILE.fullmatch(place)
            }

    def token_files(
        self, name: str, token: IssuedToken, ttl: float | None, *, inside: bool = False
    ) -> dict[str, str]:
        """The files that a token's user needs, by name."""
        cluster = self._read(name)
        lifetime = LIFETIME if ttl is None else min(LIFETIME, timedelta(seconds=ttl))
        files = self._installation(name, cluster).token_files(lifetime)
        if files:
            files["tls/token"] = token.secret
        for_user = cluster.changed(
            data="",
            binary="",
            token=token.secret,
            spark_secret="",
            gossip_key="",
            pid=0,
            created=0.0,
            hosts=tuple(_public(host, inside) for host in cluster.hosts),
            role=token.token.role,
            namespace=token.token.namespace,
        )
        return {"cluster.json": json.dumps(asdict(for_user), indent=1), **files}

    def adopt(self, name: str, bundle: Bundle) -> None:
        """Take over a cluster; one that is known here is brought up to date."""
        self._check_name(name)
        strange = [place for place in bundle.files if not _FILE.fullmatch(place)]
        if strange or "cluster.json" not in bundle.files:
            raise InputError(f"The bundle does not hold what it should: {', '.join(strange)}")
        directory = self._directory(name)
        with self._locked(name):
            brought = _record(bundle.files["cluster.json"])
            found = self._find(name)
            if found and found.identity != brought.identity:
                raise ConflictError(
                    f"There is another cluster {name!r} on this machine.",
                    hint="Give this one another name: --name=NAME.",
                )
            if found and not found.role and brought.role:
                raise ConflictError(
                    f"This machine manages cluster {name!r}; a {brought.role}'s bundle would "
                    "take its rights away.",
                    hint="Give it another name: --name=NAME.",
                )
            (directory / "tls").mkdir(mode=0o700, parents=True, exist_ok=True)
            directory.chmod(0o700)
            # The record comes last: without it there is no cluster.
            for place in sorted(bundle.files, key=lambda place: place == "cluster.json"):
                (directory / place).parent.mkdir(mode=0o700, exist_ok=True)
                write_private(directory / place, bundle.files[place])

    def forget(self, name: str) -> None:
        """Remove what is here of a cluster, which goes on."""
        self._check_name(name)
        with self._locked(name):
            shutil.rmtree(self._directory(name), ignore_errors=True)
            self._lock_file(name).unlink(missing_ok=True)

    # rotation

    def rotation(self, name: str, *, certificates: bool, gossip: bool) -> Plan:
        """What `rotate` would do."""
        self._exists(name)
        self.check_allowed(name, "rotate its certificates")
        cluster = self._read(name)
        steps = self._installation(name, cluster).rotation(cluster, certificates, gossip)
        return Plan(f"rotate the keys of cluster {name!r}", tuple(steps))

    def rotate(
        self, name: str, *, certificates: bool, gossip: bool, timeout: float
    ) -> list[TokenInfo]:
        """Replace certificates and the key of gossip, while everything goes on."""
        self._exists(name)
        self.check_allowed(name, "rotate its certificates")
        with self._locked(name):
            cluster = self._read(name)
            installation = self._installation(name, cluster)
            installation.rotate(cluster, certificates, gossip, Deadline(timeout))
            tokens = map(_info, installation.client(self._read(name)).tokens())
            return [token for token in tokens if certificates and token.role in roles.ROLES]


def _public(host: HostRecord, inside: bool) -> HostRecord:
    """What whoever does not log in to a host needs of it."""
    return HostRecord(
        host.name, host.address, server=host.server, worker=host.worker, inside=inside
    )


def _record(text: str) -> NomadCluster:
    try:
        document = json.loads(text)
        hosts = tuple(HostRecord(**each) for each in document.pop("hosts", ()))
        return NomadCluster(**document, hosts=hosts)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"The bundle's record is not understood: {error}",
            hint="It may be of a newer version: install that.",
        ) from None


def _info(token: Mapping[str, Any]) -> TokenInfo:
    role, namespace = roles.role_of(token)
    return TokenInfo(
        accessor=str(token["AccessorID"]),
        role=role,
        namespace=namespace,
        label=str(token.get("Name") or ""),
        created=str(token.get("CreateTime") or ""),
        expires=token.get("ExpirationTime") or None,
    )
