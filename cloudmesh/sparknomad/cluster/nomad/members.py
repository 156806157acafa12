"""Nomad's API about its own servers and nodes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

__all__ = ["Members"]


class Members(ABC):
    """Servers, nodes, and what a job's registration would change."""

    @abstractmethod
    def _request(self, *path: str, method: str = "get", **options: Any) -> Any:
        """Call an endpoint."""

    def members(self) -> dict[str, str]:
        """The servers as they see each other: ``alive``, ``failed`` or ``left``, by name."""
        listed = self._request("agent", "members").json()["Members"]
        return {each["Name"].rpartition(".")[0]: each["Status"] for each in listed}

    def peers(self) -> list[dict[str, Any]]:
        """The servers that keep the state."""
        found: list[dict[str, Any]] = self._request("operator", "raft", "configuration").json()[
            "Servers"
        ]
        return found

    def is_voter(self, name: str) -> bool:
        """Whether a server has a voice."""
        return any(
            peer["Node"].rpartition(".")[0] == name and peer["Voter"] for peer in self.peers()
        )

    def forget_server(self, name: str) -> None:
        """Let a server be none any more; fine if it is none."""
        for peer in self.peers():
            if peer["Node"].rpartition(".")[0] == name or peer["Address"] == name:
                self._request(
                    "operator", "raft", "peer", method="delete", params={"id": peer["ID"]}
                )
        self._request("agent", "force-leave", method="put", params={"node": f"{name}.global"})

    def node_allocations(self, node: str) -> list[dict[str, Any]]:
        """The allocations of one node."""
        found: list[dict[str, Any]] = self._request("node", node, "allocations").json()
        return found

    def set_eligible(self, node: str, eligible: bool) -> None:
        """Whether anything new may be placed on a node."""
        word = "eligible" if eligible else "ineligible"
        body = {"Eligibility": word}
        self._request("node", node, "eligibility", method="post", json=body)

    def drain(self, node: str, seconds: float | None) -> None:
        """Let all that runs on a node go elsewhere within a time; ``None`` ends the draining."""
        wanted = None if seconds is None else {"Deadline": int(seconds * 1e9)}
        body = {"DrainSpec": wanted, "MarkEligible": seconds is None}
        self._request("node", node, "drain", method="post", json=body)

    def purge_node(self, node: str) -> None:
        """Forget a node."""
        self._request("node", node, "purge", method="post")

    def keyring(self) -> dict[str, int]:
        """The keys of gossip, and how many servers have each."""
        told = self._request("agent", "keyring", "list").json()
        return {str(key): int(count) for key, count in (told.get("Keys") or {}).items()}

    def change_keyring(self, what: str, key: str) -> None:
        """``install`` a key of gossip on all servers, ``use`` it, or ``remove`` it."""
        # python-nomad sends no body with DELETE; Nomad looks at the path only.
        self._request("agent", "keyring", what, method="put", json={"Key": key})

    def rollout(self, job: str, version: int) -> str:
        """Where replacing a job's allocations by a version of it stands; empty if not begun."""
        found = self._request("job", quote(job, safe=""), "deployment").json()
        begun = found and found["JobVersion"] >= version
        return str(found["Status"]) if begun else ""

    def would_change(self, job: Mapping[str, Any]) -> list[tuple[str, str, str]]:
        """What registering a job would change: fields with their values before and after."""
        body = {"Job": job, "Diff": True}
        name = quote(str(job["ID"]), safe="")
        diff = self._request("job", name, "plan", method="post", json=body).json()["Diff"]
        return list(_leaves(diff, "")) if diff["Type"] != "None" else []


def _leaves(diff: Mapping[str, Any], place: str) -> Iterator[tuple[str, str, str]]:
    """The fields that differ, of what Nomad tells about two versions of a job."""
    for field in diff.get("Fields") or ():
        if field["Type"] != "None":
            yield f"{place}{field['Name']}", field["Old"], field["New"]
    for kind in ("TaskGroups", "Tasks", "Objects"):
        for inner in diff.get(kind) or ():
            if inner["Type"] != "None":
                yield from _leaves(inner, f"{place}{inner['Name']}.")
