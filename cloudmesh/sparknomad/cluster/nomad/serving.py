"""The REST service as a job of the cluster that it serves.

It is in a namespace of its own: what it keeps on its host is read by no token of another role
than an operator's.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cloudmesh.sparknomad.access_tokens import AccessToken
from cloudmesh.sparknomad.cluster.nomad import uploads
from cloudmesh.sparknomad.cluster.nomad.access import Access
from cloudmesh.sparknomad.cluster.nomad.client import Nomad, NotThereError
from cloudmesh.sparknomad.cluster.nomad.plans import SERVICE, service_job
from cloudmesh.sparknomad.cluster.nomad.record import NomadCluster
from cloudmesh.sparknomad.cluster.nomad.registering import register_job
from cloudmesh.sparknomad.cluster.nomad.roles import SERVICE_POLICY, SERVICE_RULES
from cloudmesh.sparknomad.cluster.nomad.variables import LIMIT
from cloudmesh.sparknomad.cluster.serving import ClusterService, ServiceHost, ServiceStatus
from cloudmesh.sparknomad.errors import (
    ClusterError,
    ConflictError,
    InputError,
    NotFoundError,
    UnreachableError,
)
from cloudmesh.sparknomad.incluster.allocations import ENDED
from cloudmesh.sparknomad.incluster.webhdfs import WebHdfsError
from cloudmesh.sparknomad.waiting import Deadline, wait_until

__all__ = ["NAMESPACE", "NomadService"]

NAMESPACE = "sparknomad-service"
_ABOUT = "the REST service of a sparknomad cluster"
_VARIABLE = f"nomad/jobs/{SERVICE}"
_STATE = "alloc/data/service"


class NomadService(ServiceHost):
    """The service of one cluster.

    Args:
        name: of the cluster.
        cluster: what is remembered of it.
        nomad: a client that may do all.
        certificate: makes a certificate and its key, as PEM; both empty on loopback.
        authority: what these are checked against.
    """

    def __init__(
        self,
        name: str,
        cluster: NomadCluster,
        nomad: Nomad,
        certificate: Callable[[], tuple[str, str]],
        authority: Path | None,
    ) -> None:
        self._name = name
        self._cluster = cluster
        self._servers = nomad
        self._nomad = nomad.within(NAMESPACE)
        self._certificate = certificate
        self._authority = authority

    # start and stop

    def start(self, service: ClusterService, deadline: Deadline) -> ServiceStatus:
        """See `ServiceHost.start`."""
        own = bool(service.certificate)
        pair = (service.certificate, service.key) if own else self._certificate()
        items = {
            "setup": json.dumps(dict(service.setup)),
            "tokens": _text(service.tokens),
            "accessor": service.accessor,
            "cert": pair[0],
            "key": pair[1],
            "own": "yes" if own else "",
        }
        size = sum(len(f"{key}{value}".encode()) for key, value in items.items())
        if size > LIMIT:
            raise InputError(
                f"What the service is given has {size:,} bytes; at most {LIMIT:,} fit.",
                hint="Give it fewer storage profiles.",
            )
        try:
            hdfs = Access(self._servers, self._cluster.part("").name).hdfs()
            uploads.bring_file(hdfs, service.packages, service.sha256)
        except WebHdfsError as error:
            raise UnreachableError(
                f"The service's packages could not be brought into the cluster: {error}",
                hint="See `cms sparknomad cluster status`; deploy the cluster again.",
            ) from error
        self._servers.put_namespace(NAMESPACE, _ABOUT)
        self._nomad.put_policy(SERVICE_POLICY, SERVICE_RULES, SERVICE)
        job = service_job(
            self._cluster,
            namespace=NAMESPACE,
            packages=service.sha256,
            port=service.port,
            tls=bool(pair[0]),
            mark=hashlib.sha256(f"{service.accessor}{pair[0]}".encode()).hexdigest()[:16],
        )
        before = {each["ID"] for each in self._allocations()}
        self._nomad.put_variable(_VARIABLE, items)
        register_job(self._nomad, job)

        def answering() -> ServiceStatus | None:
            found = self._allocations()
            self._check_failed(each for each in found if each["ID"] not in before)
            if any(each["ID"] in before and each["ClientStatus"] not in ENDED for each in found):
                return None  # that of another start
            status = self._status(items, found)
            return status if status.url else None

        return wait_until(answering, f"the service of cluster {self._name!r}", deadline)

    def _check_failed(self, allocations: Iterable[Mapping[str, Any]]) -> None:
        for each in allocations:
            if each["ClientStatus"] == "failed" or _restarts(each) > 1:
                raise ClusterError(
                    f"The service of cluster {self._name!r} does not start: {self._words(each)}",
                    hint=f"`cms sparknomad service stop --cluster={self._name}` removes it.",
                )

    def _words(self, allocation: Mapping[str, Any]) -> str:
        told = self._nomad.task_log(allocation["ID"], SERVICE, "stderr").decode(errors="replace")
        return " ".join(told.strip().splitlines()[-3:]) or "it says nothing"

    def status(self) -> ServiceStatus | None:
        """See `ServiceHost.status`."""
        items = self._items()
        return None if items is None else self._status(items, self._allocations())

    def _status(
        self, items: Mapping[str, str], allocations: Sequence[Mapping[str, Any]]
    ) -> ServiceStatus:
        place = self._nomad.service(SERVICE, NAMESPACE)
        running = [one for one in allocations if one["ClientStatus"] == "running"]
        if place and any(_is_healthy(each) for each in running):
            host, _, port = place[0].rpartition(":")
            scheme = "https" if items["cert"] else "http"
            url = f"{scheme}://{self._nomad.outside.get(host, host)}:{port}/v1"
            checked = "" if items["own"] or not self._authority else str(self._authority)
            return ServiceStatus(self._name, "running", url, checked if items["cert"] else "")
        latest = next(iter(allocations), None)
        if latest and latest["ClientStatus"] == "failed":
            return ServiceStatus(self._name, "failed", reason=self._words(latest))
        return ServiceStatus(self._name, "starting", reason=self._why_waiting(latest))

    def _why_waiting(self, latest: Mapping[str, Any] | None) -> str:
        if latest is not None:
            return "it has not answered yet"
        for evaluation in self._nomad.evaluations(SERVICE):
            for problem in (evaluation.get("FailedTGAllocs") or {}).values():
                missing = ", ".join(problem.get("DimensionExhausted") or {}) or "a fitting host"
                return f"no host has room for it: {missing}"
        return "it is being placed"

    def stop(self, deadline: Deadline) -> bool:
        """See `ServiceHost.stop`."""
        found = self._items() is not None
        try:
            self._nomad.stop(SERVICE)
        except NotThereError:
            if not found:
                return False

        def ended() -> bool:
            return all(each["ClientStatus"] in ENDED for each in self._allocations())

        wait_until(ended, "the service to end", deadline)
        self._nomad.delete_policy(SERVICE_POLICY)
        self._nomad.delete_variable(_VARIABLE)
        return found

    # what is kept for it

    def accessor(self) -> str:
        """See `ServiceHost.accessor`."""
        return (self._items() or {}).get("accessor", "")

    def tokens(self) -> Sequence[AccessToken] | None:
        """See `ServiceHost.tokens`."""
        items = self._items()
        return None if items is None else _tokens(items)

    def change_tokens(
        self,
        change: Callable[[Sequence[AccessToken]], Sequence[AccessToken]],
        deadline: Deadline,
    ) -> None:
        """See `ServiceHost.change_tokens`."""
        found = self._nomad.variable(_VARIABLE)
        if found is None:
            raise NotFoundError(f"There is no service in cluster {self._name!r}.")
        text = _text(change(_tokens(found.items)))
        if not self._nomad.replace_variable(
            _VARIABLE, {**found.items, "tokens": text}, found.index
        ):
            raise ConflictError(
                "Somebody else changes the service's tokens now.", hint="Call the same again."
            )
        digest = hashlib.sha256(text.encode()).hexdigest()

        def known() -> bool:
            running = [one for one in self._allocations() if one["ClientStatus"] == "running"]
            told = [self._nomad.read_json(one["ID"], _STATE, "tokens.json") for one in running]
            return all((each or {}).get("sha256") == digest for each in told)

        wait_until(known, "the service to know its tokens", deadline)

    def _items(self) -> Mapping[str, str] | None:
        found = self._nomad.variable(_VARIABLE)
        return None if found is None else found.items

    def _allocations(self) -> list[dict[str, Any]]:
        try:
            return self._nomad.allocations(SERVICE)
        except NotThereError:
            return []


def _text(tokens: Sequence[AccessToken]) -> str:
    return json.dumps([dataclasses.asdict(each) for each in tokens])


def _tokens(items: Mapping[str, str]) -> list[AccessToken]:
    return [AccessToken.read(each) for each in json.loads(items["tokens"])]


def _is_healthy(allocation: Mapping[str, Any]) -> bool:
    return bool((allocation.get("DeploymentStatus") or {}).get("Healthy"))


def _restarts(allocation: Mapping[str, Any]) -> int:
    states = (allocation.get("TaskStates") or {}).values()
    return max((int(each.get("Restarts") or 0) for each in states), default=0)
