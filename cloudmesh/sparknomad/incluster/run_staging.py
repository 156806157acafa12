"""What a run needs before its program starts: its files, and a cluster with room."""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

sys.path[:0] = [str(Path(__file__).resolve().parent)]

import direct  # noqa: E402
import webhdfs  # noqa: E402

if TYPE_CHECKING:
    from cloudmesh.sparknomad.incluster.run_attempt import explain
else:
    from run_attempt import explain

__all__ = [
    "InfrastructureError",
    "Room",
    "Workers",
    "drop_tables",
    "fetch",
    "fetch_all",
    "find_room",
    "find_workers",
    "keep",
    "megabytes",
]

_ODD = (OSError, http.client.HTTPException, ValueError, LookupError, TypeError, AttributeError)
"""What a server that is ending, or is another one, can make of an answer."""

_PATIENCE_SECONDS = 120
_QUICK_SECONDS = 5


class InfrastructureError(Exception):
    """Something beside the program failed; counts against the infrastructure budget."""


def fetch_all(
    definition: dict[str, Any], run: dict[str, Any], cluster: dict[str, Any], directory: Path
) -> tuple[Path, list[str]]:
    """Bring the program with all it needs into the run's directory.

    Returns:
        Where the program is (a directory if there is none), and its arguments.

    Raises:
        InfrastructureError: if something is not there.
    """
    work = directory / "work"
    work.mkdir(exist_ok=True)
    program = fetch(definition["program"], work, cluster) if definition["program"] else work
    for group in ("python", "jars", "files"):
        for artifact in definition[group]:
            fetch(artifact, work, cluster)
    arguments = run.get("arguments")
    if "arguments_sha256" in run:
        listed = {"name": ".arguments.json", "sha256": run["arguments_sha256"]}
        text = fetch(listed, directory, cluster).read_text("utf-8", "surrogatepass")
        arguments = json.loads(text)
    return program, [_resolve(argument, cluster.get("storage")) for argument in arguments or ()]


def _resolve(argument: str, storage: str | None) -> str:
    """Put the cluster's own storage in the place of ``cluster:``."""
    return re.sub(r"^(|[^=]*=)cluster:/", rf"\1{storage}/", argument) if storage else argument


def fetch(artifact: dict[str, str], into: Path, cluster: dict[str, Any]) -> Path:
    """Bring one file, unless it is there unchanged.

    Raises:
        InfrastructureError: if it is not there, or not what it should be.
    """
    target = into / artifact["name"]
    if target.exists() and _sha256(target) == artifact["sha256"]:
        return target
    source = f"{cluster['artifacts']}/{artifact['sha256']}"
    partial = target.with_name(target.name + ".part")
    try:
        if cluster.get("hdfs"):
            _storage(cluster).get(source, partial)
        else:
            shutil.copyfile(source, partial)
    except _ODD as error:
        partial.unlink(missing_ok=True)
        raise InfrastructureError(
            f"{artifact['name']} could not be fetched: {explain(error)}"
        ) from error
    if _sha256(partial) != artifact["sha256"]:
        partial.unlink()
        raise InfrastructureError(f"{artifact['name']} arrived damaged from {source}")
    partial.replace(target)
    return target


def keep(events: Path, outcome: Path, run: str, cluster: dict[str, Any]) -> str:
    """Upload event logs and the outcome, and remove the run's tables, where the cluster has them.

    Returns:
        What went wrong first; empty if nothing did.
    """
    if not cluster.get("events"):
        return ""
    place = f"{cluster['runs']}/{run}.json"
    steps: list[Callable[[], object]] = [
        lambda: _keep_events(events, cluster),
        lambda: _storage(cluster).put(outcome, place),
        # An executor that was still writing when the run ended may have made it again.
        lambda: _storage(cluster).delete(cluster["warehouse"]),
    ]
    problems = [problem for step in steps if (problem := _problem(step))]
    return problems[0] if problems else ""


def drop_tables(cluster: dict[str, Any]) -> None:
    """Remove the run's tables before its end is told, if the storage answers at once."""
    if cluster.get("events"):
        quick = webhdfs.WebHdfs(cluster["hdfs"], timeout=_QUICK_SECONDS, patience=0)
        _problem(lambda: quick.delete(cluster["warehouse"]))


def _keep_events(events: Path, cluster: dict[str, Any]) -> None:
    for log in sorted(events.glob("*")) if events.is_dir() else []:
        if log.is_file():
            log.chmod(0o644)
            name = log.name.removesuffix(".inprogress")
            _storage(cluster).put(log, f"{cluster['events']}/{name}")


def _problem(step: Callable[[], object]) -> str:
    try:
        step()
    except _ODD as error:
        return explain(error)
    return ""


def _storage(cluster: dict[str, Any]) -> webhdfs.WebHdfs:
    return webhdfs.WebHdfs(cluster["hdfs"], patience=_PATIENCE_SECONDS)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for block in iter(lambda: stream.read(1024 * 1024), b""):
            digest.update(block)
    return digest.hexdigest()


class Room(NamedTuple):
    """Whether the cluster has room for an executor.

    Attributes:
        missing: why it could have none even if nothing else ran; empty if it could.
        busy: why it has none now; empty if it has.
    """

    missing: str = ""
    busy: str = ""


def find_room(master_ui: str, wanted: dict[str, int]) -> Room:
    """Ask the Spark master for room.

    Args:
        master_ui: the URL of the master's page.
        wanted: ``cores`` and ``memory`` of an executor.
    """
    url = f"{master_ui}/json/"
    try:
        workers = direct.get_json(url, timeout=10)["workers"]
        alive = [worker for worker in workers if worker["state"] == "ALIVE"]
        whole = [(int(w["cores"]), int(w["memory"])) for w in alive]
        free = [(int(w["coresfree"]), int(w["memoryfree"])) for w in alive]
    except _ODD as error:
        return Room(f"the Spark master at {url} did not answer ({explain(error)})")
    if not alive:
        return Room("the Spark master had no live worker")
    cores, size = wanted["cores"], megabytes(wanted["memory"])
    executor = f"an executor of {cores} core{'s' if cores > 1 else ''}, {size} MiB"

    def fits(offers: list[tuple[int, int]]) -> bool:
        return any(has >= cores and holds >= size for has, holds in offers)

    if not fits(whole):
        return Room(f"no worker had room for {executor}")
    if not fits(free):
        offered = ", ".join(f"{has} cores and {holds} MiB" for has, holds in free[:4])
        return Room(busy=f"waits for room for {executor}; free on the workers: {offered}")
    return Room()


class Workers(NamedTuple):
    """The cluster's workers: cores in all, the hosts they are on, how many they are."""

    cores: int = 1
    hosts: frozenset[str] = frozenset()
    number: int = 1

    def are_only_on(self, host: str) -> bool:
        """Whether some are known, and all of them are on one host."""
        return self.hosts == {host}


def find_workers(master_ui: str) -> Workers:
    """Ask the Spark master for its workers; at least one core is told."""
    try:
        told = direct.get_json(f"{master_ui}/json/", timeout=10)["workers"]
        alive = [worker for worker in told if worker["state"] == "ALIVE"]
        cores = sum(int(worker["cores"]) for worker in alive)
        hosts = frozenset(str(worker["host"]) for worker in alive)
        return Workers(max(1, cores), hosts, max(1, len(alive)))
    except _ODD:
        return Workers()


def megabytes(size: int) -> int:
    """Whole MiB, at least one."""
    return max(1, size // 1024**2)
