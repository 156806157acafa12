"""Bringing a run's inputs into its cluster before its program starts, where that pays."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path[:0] = [str(Path(__file__).resolve().parent)]

if TYPE_CHECKING:
    from cloudmesh.sparknomad.incluster import hdfs_names, run_progress, staged, transfers
else:
    import hdfs_names
    import run_progress
    import staged
    import transfers

__all__ = ["Brought", "InputError", "Inputs", "Settings"]

_CHANGES = 5
"""How often an input may change while it is brought, before that is given up."""

_WINDOW_SECONDS = 7 * 24 * 3600
_NEAR_SECONDS = 0.02
_MEGABYTE = 1e6

_HINTS = {
    "denied": "check the credentials of its storage, and what they allow",
    "missing": "check the URL, and that the bucket exists",
    "name": "give the object another name, or read it directly (--stage=never)",
    "full": "remove what is staged (`storage evict`), or read it directly (--stage=never)",
}


class InputError(Exception):
    """An input that can't be had, however often it is tried."""


@dataclass(frozen=True)
class Settings:
    """Of one cluster.

    Attributes:
        prefix: what stands before a path of its files in a URL, such as ``hdfs://host:port``.
        copies: of each block of what is staged.
        quota: bytes that all staged inputs may have; ``None`` for half of the disk.
        cores: that the cluster has.
    """

    prefix: str
    copies: int = 1
    quota: int | None = None
    cores: int = 1


@dataclass(frozen=True)
class Brought:
    """What became of one input.

    Attributes:
        name: of the parameter.
        url: what the program is given.
        report: what was measured, for the run's report.
    """

    name: str
    url: str
    report: Mapping[str, Any] = field(default_factory=dict)


class Inputs:
    """The inputs of one run.

    Args:
        catalog: of the cluster.
        agent: gives the transfer agent, started when it is asked for first.
        run: the run's id.
        settings: of the cluster.
        say: tells the user something.
        before_moving: is called before executors are needed.
    """

    def __init__(
        self,
        catalog: staged.Catalog,
        agent: Callable[[], transfers.Agent],
        run: str,
        settings: Settings,
        say: Callable[[str], None],
        before_moving: Callable[[], None] = lambda: None,
    ) -> None:
        self.catalog = catalog
        self.agent = agent
        self.run = run
        self.settings = settings
        self.say = say
        self.before_moving = before_moving

    def bring(self, wanted: Mapping[str, Any]) -> Brought:
        """Bring one input, or find that it is here, or that it is better read where it is.

        Args:
            wanted: ``name``, ``source`` (as Hadoop names it), ``shown`` (as the user does),
                ``origin``, ``mode`` (auto, always or never), and perhaps ``pin`` and ``ttl``.

        Raises:
            InputError: if it can't be had.
            transfers.TransferError: if it could not be had now.
        """
        begun = time.monotonic()
        try:
            brought = self._bring(wanted)
        except transfers.TransferError as error:
            if error.is_transient:
                raise
            hint = _HINTS.get(error.failure)
            raise InputError(
                f"input {wanted['name']} ({wanted['shown']}): {error.reason}"
                + (f"; {hint}" if hint else "")
            ) from None
        report = {
            "source": wanted["shown"],
            "mode": wanted["mode"],
            **brought.report,
            "seconds": round(time.monotonic() - begun, 3),
        }
        return replace(brought, report=report)

    def _bring(self, wanted: Mapping[str, Any]) -> Brought:
        for _ in range(_CHANGES):
            listing = self.agent().look(wanted["source"])
            if not listing.found:
                return self._nothing(wanted)
            found = self._found(wanted, listing)
            if found is not None:
                return found
            self.say(f"{wanted['shown']} changed while it was staged: staging it anew")
        raise transfers.TransferError("changed", f"it changed {_CHANGES} times while it was read")

    def _nothing(self, wanted: Mapping[str, Any]) -> Brought:
        if wanted.get("declared"):
            raise transfers.TransferError("missing", "there is nothing of this name")
        return self._direct(wanted, "there is nothing to read", None)

    def _direct(
        self, wanted: Mapping[str, Any], reason: str, listing: transfers.Listing | None
    ) -> Brought:
        sizes = {"objects": len(listing.objects), "bytes": listing.size} if listing else {}
        report = {"staged": False, "from_cache": False, "reason": reason, **sizes}
        return Brought(wanted["name"], wanted["source"], report)

    def _found(self, wanted: Mapping[str, Any], listing: transfers.Listing) -> Brought | None:
        """Use what is staged, or stage it, or not; ``None`` if it changed meanwhile."""
        origin = wanted["origin"]
        files = [(each.name, each.size, each.version) for each in listing.objects]
        key = staged.key_of(origin, files)
        seen = self.catalog.count_use(origin, _WINDOW_SECONDS)
        while True:
            entry = self.catalog.acquire(key, self.run)
            if entry is not None:
                return self._here(wanted, listing, entry)
            reason = self._why_not(wanted, listing, seen)
            if reason:
                return self._direct(wanted, reason, listing)
            if self.catalog.locks.take(key, self.run):
                break
            self.say(f"{wanted['shown']} is being staged by another run: waiting for it")
            self.catalog.locks.wait_for(key, time.sleep)
        try:
            # Another run may have brought it between our look and our lock.
            entry = self.catalog.acquire(key, self.run)
            if entry is not None:
                return self._here(wanted, listing, entry)
            return self._fetch(wanted, listing, key, files)
        finally:
            self.catalog.locks.give_back(key)

    def _here(
        self, wanted: Mapping[str, Any], listing: transfers.Listing, entry: staged.Entry
    ) -> Brought:
        """Use what is staged already, and let it stay as long as is asked now."""
        changes: dict[str, Any] = {}
        if wanted.get("pin") and not entry.pin:
            changes["pin"] = True
        if wanted.get("ttl") is not None and wanted["ttl"] != entry.ttl:
            changes["ttl"] = wanted["ttl"]
        if changes:
            self.catalog.change(entry.key, **changes)
        return self._staged(wanted, listing, entry, {"from_cache": True})

    def _why_not(self, wanted: Mapping[str, Any], listing: transfers.Listing, seen: int) -> str:
        """Why an input is better read where it is; empty if it is to be staged.

        Raises:
            transfers.TransferError: if it has to be staged, and can't be.
        """
        problem = hdfs_names.bad_name(each.name for each in listing.objects)
        if problem:
            if wanted["mode"] == "always":
                raise transfers.TransferError("name", problem)
            return problem
        if wanted["mode"] == "auto":
            near = self._is_near(wanted, listing)
            if seen < (2 if near else 1):
                times = "for the first time" if not seen else f"for the {seen + 1}. time"
                where = "near" if near else "far"
                return f"read {times} in a week from a storage that is {where}: not worth a copy"
        return ""

    def _is_near(self, wanted: Mapping[str, Any], listing: transfers.Listing) -> bool:
        """Whether the storage answers at once: the second question costs no connection."""
        first = listing.seconds
        again = self.agent().look(wanted["source"], limit=1).seconds
        return min(first, again) < _NEAR_SECONDS

    def _fetch(
        self,
        wanted: Mapping[str, Any],
        listing: transfers.Listing,
        key: str,
        files: Sequence[tuple[str, int, str]],
    ) -> Brought | None:
        self.catalog.sweep()
        brought = self.catalog.files.used(self.catalog.partial(key))
        need = max(0, listing.size - brought)
        full = self.catalog.make_room(need, self.settings.quota, self.settings.copies)
        known = self.catalog.known(wanted["origin"])
        missing = [each for each in listing.objects if _identity(each) not in known]
        if full:
            if wanted["mode"] == "auto":
                return self._direct(wanted, full, listing)
            raise transfers.TransferError("full", full)
        begun = time.monotonic()
        self.say(
            f"staging {wanted['shown']}: {len(listing.objects):,} objects, "
            f"{listing.size / _MEGABYTE:,.1f} MB"
            + (f", {len(missing):,} of them new" if len(missing) < len(files) else "")
        )
        try:
            try:
                moved = self._move(wanted, listing, key, known)
            except transfers.TransferError as error:
                if error.failure != "missing" or len(missing) == len(files):
                    raise
                # What was to be copied in the cluster has been removed meanwhile.
                missing = list(listing.objects)
                moved = self._move(wanted, listing, key, {})
        except transfers.TransferError as error:
            if error.failure == "changed":
                self.catalog.abandon(key)
                return None
            if not error.is_transient:
                self.catalog.abandon(key)
            raise
        if not self._is_unchanged(wanted, files):
            self.catalog.abandon(key)
            return None
        seconds = time.monotonic() - begun
        entry = staged.Entry(
            key,
            wanted["shown"],
            wanted["origin"],
            len(files),
            listing.size,
            time.time(),
            round(seconds, 3),
            bool(wanted.get("pin")),
            wanted.get("ttl"),
        )
        self.catalog.publish(entry, files)
        kept = self.catalog.acquire(key, self.run)
        if kept is None:
            return None
        measured = {
            "from_cache": False,
            "fetched_objects": len(missing),
            "fetched_bytes": sum(each.size for each in missing),
            "transfer_seconds": round(seconds, 3),
            "nodes": run_progress.nodes(moved),
        }
        return self._staged(wanted, listing, kept, measured)

    def _is_unchanged(
        self, wanted: Mapping[str, Any], files: Sequence[tuple[str, int, str]]
    ) -> bool:
        listing = self.agent().look(wanted["source"])
        return sorted(files) == sorted((o.name, o.size, o.version) for o in listing.objects)

    def _move(
        self,
        wanted: Mapping[str, Any],
        listing: transfers.Listing,
        key: str,
        known: Mapping[tuple[str, int, str], str],
    ) -> list[dict[str, Any]]:
        place = f"{self.catalog.partial(key)}/data"
        ranges = f"{self.settings.prefix}{self.catalog.partial(key)}/ranges"
        cores, total = self.settings.cores, listing.size
        whole: dict[str, list[transfers.Shard]] = {}
        for each in listing.objects:
            here = known.get(_identity(each))
            if here is not None:
                # Its version belongs to the source: a copy of it in the cluster has another.
                each = replace(each, source=f"{self.settings.prefix}{here}", version="")
            target = f"{place}/{each.name}"
            goal = f"{self.settings.prefix}{target}"
            shards = transfers.shards_of(each, goal, ranges, cores, total)
            if len(shards) == 1 or self.catalog.files.size(target) != each.size:
                whole[target] = shards
        every = [shard for group in whole.values() for shard in group]
        if self.agent().spreads(every):
            self.before_moving()
        name = f"{self.run} staging {wanted['name']}"
        moved = self.agent().move(
            every, name, cores=cores, tell=run_progress.teller(self.say, wanted["shown"], total)
        )
        transfers.check_moved(moved)
        for target, group in whole.items():
            if len(group) > 1:
                parts = [s.target.removeprefix(self.settings.prefix) for s in group]
                self._join(target, parts, group[0].size)
        if any(len(group) > 1 for group in whole.values()):
            self.catalog.files.delete(f"{self.catalog.partial(key)}/ranges")
        return moved

    def _join(self, target: str, parts: Sequence[str], size: int) -> None:
        """Make one file of its ranges; a join that was interrupted goes on."""
        files = self.catalog.files
        first = parts[0]
        left = [part for part in parts[1:] if files.size(part) is not None]
        files.concat(first, left)
        joined = files.size(first)
        if joined != size:
            files.delete(first)
            raise transfers.TransferError(
                "unreachable", f"{target} was put together with {joined} of {size} bytes"
            )
        if not files.rename(first, target):
            raise transfers.TransferError("unreachable", f"{target} could not be put together")

    def _staged(
        self,
        wanted: Mapping[str, Any],
        listing: transfers.Listing,
        entry: staged.Entry,
        report: Mapping[str, Any],
    ) -> Brought:
        path = self.catalog.data(entry.key) + _rest(wanted["source"], listing)
        told: dict[str, Any] = {"staged": True, "objects": entry.objects, "bytes": entry.bytes}
        told |= {"requests": listing.requests, "key": entry.key}
        reason = "it was here already" if report.get("from_cache") else "it was brought"
        return Brought(
            wanted["name"],
            f"{self.settings.prefix}{path}",
            {**told, "reason": reason, "fetched_bytes": 0, **report},
        )


def _identity(each: transfers.Object) -> tuple[str, int, str]:
    return (each.name, each.size, each.version)


def _rest(source: str, listing: transfers.Listing) -> str:
    """What of a source's path comes below the root of its names."""
    root = transfers.normal(listing.root).rstrip("/")
    source = transfers.normal(source)
    return source[len(root) :] if source.startswith(root) else ""
