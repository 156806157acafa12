"""Writing a big object by several workers: each writes parts of it, and it is seen when whole.

What a storage holds of an upload that is never completed is paid for, but not seen. Therefore
uploads are written down before the first part is sent, and aborted by whoever comes next.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path[:0] = [str(Path(__file__).resolve().parent)]

if TYPE_CHECKING:
    from cloudmesh.sparknomad.incluster import transfers
    from cloudmesh.sparknomad.incluster.transfers import Shard
else:
    import transfers
    from transfers import Shard

__all__ = ["Parts", "cut"]

_LEAST_BYTES = 256 * transfers.MEGABYTE
"""What is smaller is written by one worker."""

_SMALLEST, _LARGEST = 16 * transfers.MEGABYTE, 128 * transfers.MEGABYTE
_MOST_PARTS = 1000
"""What Swift's S3 takes; Amazon's takes ten times as many."""

_PARTS_FOR_A_CORE = 3


class Parts:
    """Moves objects, big ones in parts where the target's storage can put these together.

    Args:
        agent: gives the transfer agent.
        pending: a file that remembers the uploads that have begun.
    """

    def __init__(self, agent: Callable[[], transfers.Agent], pending: Path) -> None:
        self.agent = agent
        self.pending = pending

    def move(
        self,
        shards: Sequence[Shard],
        name: str,
        *,
        cores: int,
        place: bool = False,
        tell: Callable[[int], None] = lambda done: None,
    ) -> list[dict[str, Any]]:
        """Move whole objects; see `transfers.Agent.move`.

        Returns:
            What became of each object, or of each part of one; an object that could not be put
            together has a failure.

        Raises:
            transfers.TransferError: if the agent ended, or Spark gave up.
        """
        self.abort()  # what an attempt before this one has left
        uploads = self._begin([shard for shard in shards if shard.size >= _LEAST_BYTES])
        wanted: list[Shard] = []
        for shard in shards:
            upload = uploads.get(shard.target)
            wanted += cut(shard, upload, cores) if upload else [shard]
        if not wanted:
            return []
        agent = self.agent()
        if not uploads:
            return agent.move(wanted, name, cores=cores, place=place, tell=tell)
        try:
            moved = agent.move(wanted, name, cores=cores, place=place, tell=tell)
            return [*moved, *self._complete(shards, uploads, moved)]
        finally:
            if agent.is_running:  # one that is told to end aborts them itself
                self.abort()

    def _begin(self, big: Sequence[Shard]) -> dict[str, str]:
        if not big:
            return {}
        begun = self.agent().uploads("begin", [{"target": shard.target} for shard in big])
        uploads = {each["target"]: each["upload"] for each in begun if each["upload"]}
        self._remember(uploads)
        return uploads

    def _complete(
        self, shards: Sequence[Shard], uploads: dict[str, str], moved: list[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        """Put together what has all of its parts; a row for each of these objects."""
        sizes = {shard.target: shard for shard in shards}
        failed = {each["target"] for each in moved if each["failure"]}
        ready = [target for target in uploads if target not in failed]
        parts: dict[str, list[dict[str, Any]]] = {target: [] for target in ready}
        for each in moved:
            if each["target"] in parts:
                made = {"number": each["part"], "handle": each["handle"], "digest": each["digest"]}
                parts[each["target"]].append(made)
        asked = [
            {"target": t, "upload": uploads[t], "size": sizes[t].size, "parts": parts[t]}
            for t in ready
        ]
        completed = self.agent().uploads("complete", asked) if asked else []
        for each in completed:
            uploads.pop(each["target"])
        self._remember(uploads)
        return [
            {
                "source": sizes[each["target"]].source,
                "target": each["target"],
                "proven": each["proven"],
                "failure": each["failure"],
                "reason": each["reason"],
                "bytes": 0,
            }
            for each in completed
        ]

    def _remember(self, uploads: Mapping[str, str]) -> None:
        if uploads:
            self.pending.write_text(json.dumps(uploads), "utf-8")
        else:
            self.pending.unlink(missing_ok=True)

    def abort(self) -> None:
        """Give up what has begun and was not completed; what can't be is tried the next time."""
        try:
            uploads: dict[str, str] = json.loads(self.pending.read_text("utf-8"))
        except (OSError, ValueError):
            return
        asked = [{"target": target, "upload": upload} for target, upload in uploads.items()]
        with contextlib.suppress(transfers.TransferError):
            left = self.agent().uploads("abort", asked)
            self._remember({t: upload for t, upload in uploads.items() if upload in left})


def cut(shard: Shard, upload: str, cores: int) -> list[Shard]:
    """The parts of an object: some for each core, and no more than storages take.

    Args:
        shard: the whole object.
        upload: what the storage calls its upload.
        cores: that the cluster has.
    """
    wanted = shard.size // max(1, cores * _PARTS_FOR_A_CORE)
    length = max(_SMALLEST, min(_LARGEST, wanted), -(-shard.size // _MOST_PARTS))
    return [
        replace(
            shard,
            start=start,
            length=min(length, shard.size - start),
            upload=upload,
            part=number,
        )
        for number, start in enumerate(range(0, shard.size, length), start=1)
    ]
