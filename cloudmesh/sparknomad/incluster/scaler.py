"""Keeps as many workers as there is work for, and stops what is idle: a service of the cluster.

It looks at the runs that have not ended, as Nomad knows them; each says in its metadata how many
executors of which size it can use. More workers are there at once, fewer only after a while: one
at a time, the last that was started, when no executor is on it and HDFS has a copy of everything
elsewhere. Its token may list and read jobs and set counts of the cluster's own; it can start
nothing that is not registered.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

sys.path[:0] = [str(Path(__file__).resolve().parent)]

if TYPE_CHECKING or __package__:
    from cloudmesh.sparknomad.incluster import allocations, direct, hdfs_health, run_private
else:
    import allocations
    import direct
    import hdfs_health
    import run_private

__all__ = ["Executors", "Scaler", "Site", "demand", "executors_of", "main"]

_LOOK_SECONDS = 2.0
_QUIET_SECONDS = 60.0

_ODD = (OSError, ValueError, KeyError, TypeError, IndexError)
_SERVICES = ("spark-worker", "spark-history", "spark-master", "hdfs", "gateway")
"""In the order in which they are stopped."""


@dataclass(frozen=True)
class Site:
    """A site of the cluster, or the whole of one without sites.

    Attributes:
        suffix: of its jobs and services.
        least: workers that are always there.
        most: workers that there may be.
        cores: of each.
        memory_mb: of each.
    """

    suffix: str
    least: int
    most: int
    cores: int
    memory_mb: int


@dataclass(frozen=True)
class Executors:
    """What a run can use: so many executors (``None``: as many as there are), each of a size."""

    count: int | None
    cores: int
    memory_mb: int


def executors_of(meta: Mapping[str, str]) -> Executors:
    """Read a run's metadata: ``COUNT:CORES:MEMORY``; one that says nothing can use one."""
    try:
        count, cores, memory = meta["executors"].split(":")
        return Executors(int(count) if count else None, int(cores), int(memory))
    except (KeyError, ValueError):
        return Executors(1, 1, 1)


def demand(site: Site, runs: Iterable[Executors]) -> int:
    """How many workers the runs of a site can use, within its bounds."""
    total = 0.0
    for run in runs:
        if run.count is None:
            return site.most
        fits = min(site.cores // max(1, run.cores), site.memory_mb // max(1, run.memory_mb))
        total += run.count / max(1, fits)
    return min(max(math.ceil(total), site.least), site.most)


@dataclass
class Scaler:
    """What is decided, and from what.

    Attributes:
        sites: of the cluster.
        ask: what Nomad answers to ``GET`` of a path.
        scale: sets the count of a job's group.
        idle: seconds without any run after which the cluster is stopped; 0 for never.
        page: what a page of the cluster answers.
        clock: seconds that never go back.
    """

    sites: Sequence[Site]
    ask: Callable[[str], Any]
    scale: Callable[[str, str, int], None]
    idle: float = 0.0
    page: Callable[[str], Any] = lambda url: direct.get_json(url, timeout=5)
    clock: Callable[[], float] = time.monotonic
    _enough_since: dict[str, float] = field(default_factory=dict)
    _whole: dict[str, hdfs_health.Settled] = field(default_factory=dict)
    _written: dict[str, int] = field(default_factory=dict)
    _quiet_since: float | None = None

    def look(self) -> bool:
        """Look once, and do what is due; whether the cluster was stopped."""
        runs = self._runs()
        for site in self.sites:
            self._fit(site, [executors for suffix, executors in runs if suffix == site.suffix])
        if runs or (self.idle and self._is_written()):
            self._quiet_since = None
        elif self._quiet_since is None:
            self._quiet_since = self.clock()
        elif self.idle and self.clock() - self._quiet_since >= self.idle:
            self.stop()
            return True
        return False

    def stop(self) -> None:
        """Let nothing run but Nomad and this."""
        for site in self.sites:
            for name in _SERVICES:
                self._set(f"{name}{site.suffix}", 0)

    # looking

    def _runs(self) -> list[tuple[str, Executors]]:
        """The site and the wishes of each run that has not ended."""
        wanted = quote('Status != "dead" and ParentID != ""')
        listed = self.ask(f"/v1/jobs?prefix=run-&namespace=*&meta=true&filter={wanted}")
        lost = self._lost() if listed else set()
        found = []
        for job in listed or ():
            meta = job.get("Meta") or {}
            if meta.get("run") and (job["Namespace"], job["ID"]) not in lost:
                site = meta.get("site") or ""
                found.append((f"-{site}" if site else "", executors_of(meta)))
        return found

    def _lost(self) -> set[tuple[str, str]]:
        """The jobs of runs whose hosts are lost: for Nomad they go on until somebody looks."""
        silent = quote('ClientStatus == "unknown"')
        told = self.ask(f"/v1/allocations?namespace=*&filter={silent}") or ()
        now = time.time()
        gone = (each for each in told if not allocations.may_come_back(each, now))
        return {(each["Namespace"], each["JobID"]) for each in gone}

    def _fit(self, site: Site, runs: Sequence[Executors]) -> None:
        if site.most <= site.least:
            return
        job = f"spark-worker{site.suffix}"
        there = int(self.ask(f"/v1/job/{job}")["TaskGroups"][0]["Count"])
        wanted = demand(site, runs)
        if there == 0:  # it was stopped
            return
        if wanted >= there:
            self._enough_since.pop(site.suffix, None)
            if wanted > there:
                self._set(job, wanted)
            return
        since = self._enough_since.setdefault(site.suffix, self.clock())
        if self.clock() - since >= _QUIET_SECONDS and self._can_spare_last(site, there):
            self._set(job, there - 1)
            # The next one waits as long: HDFS needs 60 s to see that one is gone, and then copies.
            self._enough_since.pop(site.suffix)
            self._whole.pop(site.suffix)

    def _can_spare_last(self, site: Site, count: int) -> bool:
        """Whether no executor is on the worker that Nomad would stop, and HDFS can spare it."""
        told = hdfs_health.health(
            self._bean(site, "FSNamesystem"), self._bean(site, "NameNodeInfo")
        )
        whole = told is not None and told.nodes == count and told.is_whole
        settled = self._whole.setdefault(site.suffix, hdfs_health.Settled(self.clock))
        return settled.has(whole) and not self._is_used(site, count - 1)

    def _is_used(self, site: Site, index: int) -> bool:
        """Whether executors are on the worker of an index, or it can't be told."""
        address = self._address(f"spark-master-ui{site.suffix}")
        if not address:
            return True
        last = self._workers(site, index)
        told = self.page(f"http://{address}/json/")["workers"]
        on_it = [w for w in told if w["state"] == "ALIVE" and f"{w['host']}:{w['port']}" in last]
        return any(int(worker["coresused"]) for worker in on_it)

    def _is_written(self) -> bool:
        """Whether something was written to HDFS since the last look, as by who brings an input."""
        written = False
        for site in self.sites:
            try:
                now = int(self._bean(site, "FSNamesystem")["LastWrittenTransactionId"])
            except _ODD:  # it is away: nobody writes
                continue
            written = written or now != self._written.get(site.suffix, now)
            self._written[site.suffix] = now
        return written

    def _bean(self, site: Site, name: str) -> Any:
        """What the NameNode of a site tells of itself."""
        address = self._address(f"hdfs-http{site.suffix}")
        query = f"/jmx?qry=Hadoop:service=NameNode,name={name}"
        (bean,) = self.page(f"http://{address}{query}")["beans"]
        return bean

    def _workers(self, site: Site, index: int) -> set[str]:
        """The addresses of the worker of an index: Nomad stops the highest first."""
        job = f"spark-worker{site.suffix}"
        placed = self.ask(f"/v1/job/{job}/allocations") or ()
        ids = {
            each["ID"]
            for each in placed
            if each["DesiredStatus"] == "run" and each["Name"].endswith(f"[{index}]")
        }
        services = self.ask(f"/v1/service/{job}") or ()
        return {f"{s['Address']}:{s['Port']}" for s in services if s["AllocID"] in ids}

    def _address(self, service: str) -> str:
        told = self.ask(f"/v1/service/{service}") or ()
        return f"{told[0]['Address']}:{told[0]['Port']}" if told else ""

    def _set(self, job: str, count: int) -> None:
        try:
            groups = (self.ask(f"/v1/job/{job}") or {}).get("TaskGroups") or ()
        except _ODD:
            return
        for group in groups:
            if int(group["Count"]) != count:
                self.scale(job, str(group["Name"]), count)


def main() -> None:
    """Look for ever."""
    address, secrets = os.environ["SPARKNOMAD_NOMAD"], Path(os.environ["NOMAD_SECRETS_DIR"])

    def ask(path: str) -> Any:
        return run_private.ask_nomad(address, secrets, path)

    def scale(job: str, group: str, count: int) -> None:
        body = {"Target": {"Group": group}, "Count": count, "Message": "by sparknomad's scaler"}
        run_private.tell_nomad(address, secrets, f"/v1/job/{job}/scale", body)
        print(f"{job}: {count}", flush=True)

    given = json.loads(os.environ["SPARKNOMAD_SITES"])
    sites = [Site(**each) for each in given]
    scaler = Scaler(sites, ask, scale, float(os.environ.get("SPARKNOMAD_IDLE") or 0))
    while True:
        try:
            if scaler.look():
                print("stopped: nothing was run for a while", flush=True)
                scaler.scale("scaler", "scaler", 0)
        except _ODD as error:
            print(f"not looked: {type(error).__name__}: {error}", flush=True)
        time.sleep(_LOOK_SECONDS)


if __name__ == "__main__":
    main()
