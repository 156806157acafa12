"""Where the cluster's servers are, for a run: they may move while it waits, and while it runs."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path[:0] = [str(Path(__file__).resolve().parent)]

if TYPE_CHECKING or __package__:
    from cloudmesh.sparknomad.incluster import run_private
    from cloudmesh.sparknomad.incluster.run_waiting import in_thread
else:
    import run_private
    from run_waiting import in_thread

__all__ = ["Servers", "find_servers", "server_places"]

_NAMES = {
    "master": "spark-master",
    "master_ui": "spark-master-ui",
    "hdfs": "hdfs",
    "hdfs_http": "hdfs-http",
}
_LOOK_SECONDS = 5.0
_MOVED_SECONDS = 10.0


def find_servers(names: Iterable[str] = tuple(_NAMES)) -> dict[str, str]:
    """The addresses of a Nomad task's servers, by what they are; empty where one is not known.

    Nomad's templates know those of the task's own namespace only, and keep them up to date; a
    task of another namespace asks.

    Args:
        names: which of them are asked for.
    """
    local = Path(os.environ["NOMAD_TASK_DIR"])
    found: dict[str, str] = json.loads((local / "services.json").read_text("utf-8"))
    if found["master"] or os.environ["NOMAD_NAMESPACE"] == "default":
        return found
    private = Path(os.environ["NOMAD_SECRETS_DIR"])
    site = os.environ.get("NOMAD_META_site")
    suffix = f"-{site}" if site else ""
    for key in names:
        found[key] = run_private.server_address(
            os.environ["SPARKNOMAD_NOMAD"], private, f"{_NAMES[key]}{suffix}"
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
    knows no application, and its workers have left them. Without the rest it may go on.

    Args:
        cluster: the run's ``cluster.json``; it is changed.
        find: gives the addresses of some of them, by what they are.
        clock: seconds that never go back.
        start: does something while the program is watched.
    """

    def __init__(
        self,
        cluster: dict[str, Any],
        find: Callable[[Iterable[str]], Mapping[str, str]] = find_servers,
        clock: Callable[[], float] = time.monotonic,
        start: Callable[[Callable[[], bool]], Future[bool]] = in_thread,
    ) -> None:
        self._cluster = cluster
        self._find = find
        self._clock = clock
        self._start = start
        self._looked = clock()
        self._look: Future[bool] | None = None
        self._since: float | None = None

    def renew(self) -> bool:
        """Use the servers where they are now; whether that is elsewhere."""
        self._since = None
        found = self._found(tuple(_NAMES))
        places = server_places(found) if found else {}
        if all(self._cluster[key] == place for key, place in places.items()):
            return False
        self._cluster.update(places)
        self._cluster["staging"]["prefix"] = places["storage"].rpartition("/")[0]
        return True

    def have_moved(self) -> bool:
        """Whether the master has been elsewhere for some seconds; looked at now and then."""
        now = self._clock()
        if self._look is None and now - self._looked >= _LOOK_SECONDS:
            self._looked = now
            self._look = self._start(self._has_master_elsewhere)
        if self._look is None or not self._look.done():
            return False
        elsewhere, self._look = self._look.result(), None
        if not elsewhere:
            self._since = None
            return False
        self._since = now if self._since is None else self._since
        return now - self._since >= _MOVED_SECONDS

    def _has_master_elsewhere(self) -> bool:
        found = self._found(("master",))
        return bool(found) and f"spark://{found['master']}" != self._cluster["master"]

    def _found(self, names: tuple[str, ...]) -> Mapping[str, str]:
        """The addresses; none while one of these is not known."""
        if not self._cluster.get("moves"):
            return {}
        try:
            found = self._find(names)
        except (OSError, ValueError, KeyError):  # Nomad writes it just now, or is away
            return {}
        return found if all(found.get(name) for name in names) else {}
