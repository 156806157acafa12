"""Copying from one storage to another inside a cluster: no byte passes the user's machine."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path[:0] = [str(Path(__file__).resolve().parent)]

if TYPE_CHECKING:
    from cloudmesh.sparknomad.incluster import (
        hdfs_names,
        run_inputs,
        run_parts,
        run_progress,
        transfers,
    )
else:
    import hdfs_names
    import run_inputs
    import run_parts
    import run_progress
    import transfers

__all__ = ["copy"]


def copy(
    agent: Callable[[], transfers.Agent],
    wanted: Mapping[str, Any],
    settings: run_inputs.Settings,
    say: Callable[[str], None],
    pending: Path,
) -> dict[str, Any]:
    """Copy an object, a directory or what fits a pattern.

    What has its size at the target, and was written there after it was changed at the source,
    is not sent again.

    Args:
        agent: gives the transfer agent.
        wanted: ``source`` and ``target`` as Hadoop names them (the target of a directory ends
            in a slash), ``shown``, and ``target_shown``.
        settings: of the cluster.
        say: tells the user something.
        pending: a file that remembers the uploads that have begun.

    Returns:
        What was measured.

    Raises:
        run_inputs.InputError: if there is nothing to copy.
        transfers.TransferError: if it could not be copied.
    """
    begun = time.monotonic()
    listing = agent().look(wanted["source"])
    if not listing.found:
        raise run_inputs.InputError(f"{wanted['shown']}: there is nothing of this name")
    places = _places(listing, wanted["target"])
    _check_names(wanted, places)
    there = _there(agent, wanted["target"], places)
    left = [each for each in listing.objects if not _same(each, there.get(places[each.name]))]
    shards = [
        transfers.Shard(
            each.source,
            places[each.name],
            0,
            each.size,
            each.size,
            each.version,
            verify=True,
        )
        for each in left
    ]
    size = sum(shard.length for shard in shards)
    say(
        f"copying {wanted['shown']} to {wanted['target_shown']}: {len(shards):,} objects, "
        f"{size / 1e6:,.1f} MB"
    )
    tell = run_progress.teller(say, wanted["shown"], size)
    parts = run_parts.Parts(agent, pending)
    moved = parts.move(shards, "copy", cores=settings.cores, tell=tell)
    transfers.check_moved(moved)
    return {
        "source": wanted["shown"],
        "target": wanted["target_shown"],
        "objects": len(shards),
        "skipped": len(listing.objects) - len(shards),
        "size": size,
        "verified": sum(1 for each in moved if each["proven"]),
        "seconds": round(time.monotonic() - begun, 3),
        "nodes": run_progress.nodes(moved),
    }


def _places(listing: transfers.Listing, target: str) -> dict[str, str]:
    """Where each object goes: into a target that is a directory, else to the target itself."""
    if listing.is_file and not target.endswith("/"):
        return {each.name: target for each in listing.objects}
    return {each.name: f"{target.rstrip('/')}/{each.name}" for each in listing.objects}


def _check_names(wanted: Mapping[str, Any], places: Mapping[str, str]) -> None:
    """Refuse names that the target can't have, before anything is moved."""
    if not wanted["target"].startswith(("hdfs:", "file:", "webhdfs:")):
        return
    above = len(wanted["target"].rstrip("/").rpartition("/")[0]) + 1
    problem = hdfs_names.bad_name(place[above:] for place in places.values())
    if problem:
        raise run_inputs.InputError(f"{wanted['shown']}: {problem}; give the object another name")


def _there(
    agent: Callable[[], transfers.Agent], target: str, places: Mapping[str, str]
) -> dict[str, transfers.Object]:
    found = agent().look(target)
    wanted = {transfers.normal(place): place for place in places.values()}
    named = ((wanted.get(transfers.normal(each.source)), each) for each in found.objects)
    return {place: each for place, each in named if place is not None}


def _same(source: transfers.Object, there: transfers.Object | None) -> bool:
    if there is None or there.size != source.size:
        return False
    return there.modified >= source.modified
