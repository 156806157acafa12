"""Nomad's API: python-nomad, with what it lacks as small requesters of its own kind."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, TypeVar
from urllib.parse import quote

from cloudmesh.sparknomad.cluster.nomad.acl import Acl
from cloudmesh.sparknomad.cluster.nomad.hosts.distrust import explain
from cloudmesh.sparknomad.cluster.nomad.hosts.pki import Certificate
from cloudmesh.sparknomad.cluster.nomad.members import Members
from cloudmesh.sparknomad.cluster.nomad.variables import ChangedError, NotThereError, Variables
from cloudmesh.sparknomad.errors import ClusterError, UnreachableError

__all__ = ["Nomad", "NotThereError", "probed", "serving", "tasks_of"]

Answer = TypeVar("Answer")
_TIMEOUT_SECONDS = 30
# Of several servers one that is off is noticed soon: another answers instead.
_CONNECT_SECONDS, _READ_SECONDS = 3, 15
_ELECTION_SECONDS = 12
_ELECTION = ("No cluster leader", "rpc error", "failed to get conn", "EOF", "leadership")
_BLOCK = 1024 * 1024


def serving(addresses: Sequence[str], certificate: Certificate | None) -> str:
    """The first of several servers that answers and knows a leader; empty if none does."""
    found = probed(addresses, certificate)
    return next((each for each in addresses if found[each]), "")


def probed(addresses: Sequence[str], certificate: Certificate | None) -> dict[str, bool]:
    """Which of several servers answer and know a leader."""
    import requests

    def leads(address: str) -> bool:
        with requests.Session() as session:
            session.trust_env = False
            try:
                answer = session.get(
                    f"{address}/v1/status/leader",
                    timeout=_CONNECT_SECONDS,
                    verify=str(certificate.authority) if certificate else True,
                    cert=(str(certificate.certificate), str(certificate.key))
                    if certificate
                    else None,
                )
                return answer.ok and bool(answer.json())
            except (requests.RequestException, ValueError):
                return False

    with ThreadPoolExecutor(len(addresses)) as pool:
        return dict(zip(addresses, pool.map(leads, addresses), strict=True))


class Nomad(Acl, Members, Variables):
    """One Nomad cluster.

    Args:
        address: such as ``http://127.0.0.1:4646``.
        token: the ACL token, or an empty string.
        certificate: that we show, and by whose authority the cluster's are checked.
        namespace: whose jobs, allocations and Variables are meant.
        others: addresses of more servers, asked when this one does not answer.
        outside: where we reach a host, by the address at which the others do.
    """

    def __init__(
        self,
        address: str,
        token: str,
        certificate: Certificate | None = None,
        *,
        namespace: str = "default",
        others: Sequence[str] = (),
        outside: Mapping[str, str] | None = None,
    ) -> None:
        self.address = address
        self.token = token
        self.certificate = certificate
        self.namespace = namespace
        self.outside = outside or {}
        self._servers = (address, *others)

    def within(self, namespace: str) -> Nomad:
        """A client of the same Nomad for another namespace."""
        if namespace == self.namespace:
            return self
        others = [each for each in self._servers if each != self.address]
        other = Nomad(
            self.address,
            self.token,
            self.certificate,
            namespace=namespace,
            others=others,
            outside=self.outside,
        )
        other.__dict__["_session"] = self._session
        return other

    @cached_property
    def _session(self) -> Any:
        import requests
        from requests.adapters import HTTPAdapter
        from urllib3.util.retry import Retry

        session = requests.Session()
        # No proxy of the environment may stand between us and our own agent.
        session.trust_env = False
        retry = Retry(
            total=0 if len(self._servers) > 1 else 4,
            read=2,
            other=0,  # what is wrong with certificates does not get better
            backoff_factor=0.1,
            status_forcelist=(502, 503, 504),
            allowed_methods=("GET", "HEAD"),
            raise_on_status=False,
        )
        session.mount("http://", HTTPAdapter(max_retries=retry))
        session.mount("https://", HTTPAdapter(max_retries=retry))
        return session

    @cached_property
    def _nomad(self) -> Any:
        import nomad

        shown = self.certificate
        return nomad.Nomad(
            address=self.address,
            token=self.token,
            namespace=self.namespace,
            timeout=_TIMEOUT_SECONDS
            if len(self._servers) == 1
            else (_CONNECT_SECONDS, _READ_SECONDS),
            verify=str(shown.authority) if shown else True,
            cert=(str(shown.certificate), str(shown.key)) if shown else (),
            session=self._session,
        )

    def _call(self, what: str, function: Callable[[], Answer]) -> Answer:
        """Call it; where there are several servers, also while one is lost and one is elected."""
        give_up = time.monotonic() + (_ELECTION_SECONDS if len(self._servers) > 1 else 0)
        while True:
            try:
                return self._once(what, function)
            except UnreachableError:
                if time.monotonic() >= give_up:
                    raise
            self._turn()
            time.sleep(0.2)

    def _turn(self) -> None:
        """Turn to a server that serves."""
        found = serving(self._servers, self.certificate)
        if found and found != self.address:
            self.address = found
            self.__dict__.pop("_nomad", None)

    def _once(self, what: str, function: Callable[[], Answer]) -> Answer:
        from nomad.api.exceptions import BaseNomadException, URLNotFoundNomadException

        try:
            return function()
        except URLNotFoundNomadException as error:
            raise NotThereError(f"Nomad knows no {what}.") from error
        except BaseNomadException as error:
            answer = error.nomad_resp
            status = getattr(answer, "status_code", None)
            if status is None:
                explain(answer, self.address, self.certificate)
                raise UnreachableError(
                    f"Nomad at {self.address} does not answer: {answer}",
                    hint="`cms sparknomad cluster deploy` starts it again.",
                ) from error
            text = str(answer.text).strip()
            if status == 404 or "not found" in text[:80]:
                raise NotThereError(f"Nomad knows no {what}: {text}") from error
            if status >= 500 and any(word in text for word in _ELECTION):
                raise UnreachableError(f"Nomad does not serve now: {text}") from error
            kind = ChangedError if status == 409 else ClusterError
            raise kind(f"Nomad refused {what} (HTTP {status}): {text}") from error

    def _request(self, *path: str, method: str = "get", **options: Any) -> Any:
        """Call an endpoint that python-nomad has not, through its own requester."""
        from nomad.api.base import Requester

        class Endpoint(Requester):  # type: ignore[misc]
            ENDPOINT = path[0]

        def ask() -> Any:
            endpoint = Endpoint(**self._nomad.requester_settings)
            return endpoint.request(*path[1:], method=method, **options)

        return self._call("/".join(path), ask)

    # the agent

    def leader(self) -> str:
        """The address of the leader; empty while there is none."""
        if len(self._servers) > 1:
            self._turn()
        try:
            return str(self._request("status", "leader").json())
        except ClusterError:
            return ""

    def bootstrap(self) -> None:
        """Make our token the token of management; fine if it was done before."""
        try:
            self._request("acl", "bootstrap", method="post", json={"BootstrapSecret": self.token})
        except ClusterError as error:
            if "already" not in error.message:
                raise

    def who(self) -> dict[str, Any]:
        """What Nomad knows of our token; any token may ask."""
        found: dict[str, Any] = self._request("acl", "token", "self").json()
        return found

    def self_info(self) -> dict[str, Any]:
        """What the agent tells of itself."""
        info: dict[str, Any] = self._request("agent", "self").json()
        return info

    def nodes(self) -> list[dict[str, Any]]:
        """All nodes with their resources."""
        found: list[dict[str, Any]] = self._call("nodes", lambda: self._nomad.nodes.get_nodes())
        return found

    def snapshot(self) -> None:
        """Let this very server write its state, so that a restarted agent has it at once.

        Without it, it knows no node until it has heard a leader; and an agent whose own server
        does not know it ends its tasks.
        """
        self._request("operator", "snapshot", params={"stale": ""})

    # services

    def service(self, name: str, namespace: str = "default") -> list[str]:
        """The addresses of a service; the cluster's own servers are in the default namespace."""
        try:
            found = self._request("service", name, params={"namespace": namespace}).json()
        except NotThereError:
            return []
        return [f"{entry['Address']}:{entry['Port']}" for entry in found]

    # jobs

    def parse(self, hcl: str, variables: str) -> dict[str, Any]:
        """Let Nomad turn HCL2 with variables into a job."""
        body = {"JobHCL": hcl, "Variables": variables, "Canonicalize": True}
        parsed: dict[str, Any] = self._request("jobs", "parse", method="post", json=body).json()
        return parsed

    def register(self, job: Mapping[str, Any]) -> str:
        """Register a job; the same job again changes nothing.

        Returns:
            The id of the evaluation.
        """
        body = {"Job": {**job, "Namespace": self.namespace}}
        answer = self._request("jobs", method="post", json=body).json()
        return str(answer.get("EvalID", ""))

    def job(self, job: str) -> dict[str, Any]:
        """One job."""
        found: dict[str, Any] = self._request("job", quote(job, safe="")).json()
        return found

    def signal(self, allocation: str, name: str) -> None:
        """Send a signal to the tasks of an allocation."""
        self._request(
            "client", "allocation", allocation, "signal", method="post", json={"Signal": name}
        )

    def jobs(self, prefix: str = "") -> list[dict[str, Any]]:
        """All jobs, with dispatched ones and those that have ended."""
        found: list[dict[str, Any]] = self._request(
            "jobs", params={"prefix": prefix, "meta": "true"}
        ).json()
        return found

    def dispatch(self, job: str, payload: bytes, meta: Mapping[str, str], token: str) -> str:
        """Dispatch a parameterized job; with the same token it is done once.

        Returns:
            The id of the dispatched job.
        """
        # python-nomad sends the token in the body, where Nomad ignores it.
        answer = self._request(
            "job",
            quote(job, safe=""),
            "dispatch",
            method="post",
            params={"idempotency_token": token},
            json={"Payload": base64.b64encode(payload).decode(), "Meta": dict(meta)},
        ).json()
        return str(answer["DispatchedJobID"])

    def stop(self, job: str) -> None:
        """Stop a job; its allocations stay readable."""
        self._request("job", quote(job, safe=""), method="delete")

    def scale(self, job: str, group: str, count: int) -> None:
        """Change how many there are of a group of a job."""
        body = {"Target": {"Group": group}, "Count": count}
        self._request("job", quote(job, safe=""), "scale", method="post", json=body)

    def allocations(self, job: str) -> list[dict[str, Any]]:
        """The allocations of a job, the newest first."""
        found: list[dict[str, Any]] = self._request(
            "job", quote(job, safe=""), "allocations"
        ).json()
        return sorted(found, key=lambda each: -each["CreateIndex"])

    def allocation(self, allocation: str) -> dict[str, Any]:
        """One allocation, with its ports."""
        found: dict[str, Any] = self._request("allocation", allocation).json()
        return found

    def all_allocations(self) -> list[dict[str, Any]]:
        """The allocations of all jobs."""
        found: list[dict[str, Any]] = self._request("allocations").json()
        return found

    def evaluations(self, job: str) -> list[dict[str, Any]]:
        """The evaluations of a job, the newest first."""
        found: list[dict[str, Any]] = self._request(
            "job", quote(job, safe=""), "evaluations"
        ).json()
        return sorted(found, key=lambda each: -each["CreateIndex"])

    # files of allocations

    def sizes(self, allocation: str, directory: str) -> dict[str, int]:
        """The sizes of the files in a directory of an allocation; empty if it is not there."""
        try:
            listed = self._request("client", "fs", "ls", allocation, params={"path": directory})
        except (NotThereError, ClusterError) as error:
            if isinstance(error, UnreachableError):
                raise
            return {}
        return {entry["Name"]: int(entry["Size"]) for entry in listed.json() or ()}

    def read(self, allocation: str, path: str, offset: int, limit: int) -> bytes:
        """Some bytes of a file that `sizes` has listed.

        Nomad answers with the text of an error where there is no such file, and says 200.
        """
        parameters = {"path": path, "offset": offset, "limit": min(limit, _BLOCK)}
        answer = self._request("client", "fs", "readat", allocation, params=parameters)
        content: bytes = answer.content
        return content

    def read_json(self, allocation: str, directory: str, name: str) -> dict[str, Any] | None:
        """A JSON file of an allocation, or ``None`` if it is not there."""
        size = self.sizes(allocation, directory).get(name)
        if not size:
            return None
        content = self.read(allocation, f"{directory}/{name}", 0, max(size, _BLOCK))
        try:
            document: dict[str, Any] = json.loads(content)
        except ValueError:
            return None
        return document

    def task_log(self, allocation: str, task: str, stream: str) -> bytes:
        """The last 64 KiB of what a task wrote, as far as Nomad has kept it."""
        names = self.sizes(allocation, "alloc/logs")
        numbered = [name for name in names if name.startswith(f"{task}.{stream}.")]
        numbered.sort(key=lambda name: int(name.rsplit(".", 1)[1]))
        if not numbered:
            return b""
        last = numbered[-1]
        start = max(0, names[last] - 65536)
        return self.read(allocation, f"alloc/logs/{last}", start, 65536) if names[last] else b""


def tasks_of(allocation: Mapping[str, Any]) -> Sequence[str]:
    """The names of an allocation's tasks that have begun."""
    return sorted(allocation.get("TaskStates") or {})
