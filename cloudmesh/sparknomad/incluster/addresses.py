"""Where the cluster's servers are, for a run: they may move while it waits, and while it runs."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path[:0] = [str(Path(__file__).resolve().parent)]

if TYPE_CHECKING or __package__:
    from cloudmesh.sparknomad.incluster import run_private
else:
    import run_private

__all__ = ["Servers", "find_servers", "server_places"]

_NAMES = {
    "master": "spark-master",
    "master_ui": "spark-master-ui",
    "hdfs": "hdfs",
    "hdfs_http": "hdfs-http",
}
_LOOK_SECONDS = 2.0
_MOVED_SECONDS = 10.0


def find_servers() -> dict[str, str]:
    """The addresses of a Nomad task's servers, by what they are; empty where one is not known.

    Nomad's templates know those of the task's own namespace only, and keep them up to date; a
    task of another namespace asks.
    """
    local = Path(os.environ["NOMAD_TASK_DIR"])
    found: dict[str, str] = json.loads((local / "services.json").read_text("utf-8"))
    if found["master"] or os.environ["NOMAD_NAMESPACE"] == "default":
        return found
    private = Path(os.environ["NOMAD_SECRETS_DIR"])
    site = os.environ.get("NOMAD_META_site")
    suffix = f"-{site}" if site else ""
    for key, name in _NAMES.items():
        found[key] = run_private.server_address(
            os.environ["SPARKNOMAD_NOMAD"], private, f"{name}{suffix}"
        )
    return found


def server_places(found: Mapping[str, str]) -> dict[str, str]:
    """What of a run's ``cluster.json`` depends on where the servers are."""
    return {
        "master": f"spark://{found['master']}",
        "master_ui": f"http://{found['master_ui']}",
        "hdfs": found["hdfs_http"],
        "storage": f"hdfs://{found['hdfs']}/sparknomad",
    }


class Servers:
    """Sees whether a run's servers have moved.

    A Spark application does not outlive its master's address: a master that comes back elsewhere
    knows no application, and its workers have left them.

    Args:
        cluster: the run's ``cluster.json``; it is changed.
        find: gives the addresses.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        cluster: dict[str, Any],
        find: Callable[[], Mapping[str, str]] = find_servers,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._find = find
        self._clock = clock
        self._looked = clock()
        self._since: float | None = None

    def renew(self) -> bool:
        """Use the servers where they are now; whether that is elsewhere."""
        self._since = None
        places = self._elsewhere()
        self._cluster.update(places)
        if places:
            self._cluster["staging"]["prefix"] = places["storage"].rpartition("/")[0]
        return bool(places)

    def have_moved(self) -> bool:
        """Whether they have been elsewhere for some seconds; looked at now and then."""
        now = self._clock()
        if now - self._looked < _LOOK_SECONDS:
            return False
        self._looked = now
        if not self._elsewhere():
            self._since = None
            return False
        self._since = now if self._since is None else self._since
        return now - self._since >= _MOVED_SECONDS

    def _elsewhere(self) -> dict[str, str]:
        """The places that differ from those in use; none while one is not known."""
        if not self._cluster.get("moves"):
            return {}
        try:
            found = self._find()
        except (OSError, ValueError, KeyError):  # Nomad writes it just now, or is away
            return {}
        if not all(found.get(name) for name in _NAMES):
            return {}
        places = server_places(found)
        return places if any(self._cluster[key] != places[key] for key in places) else {}
