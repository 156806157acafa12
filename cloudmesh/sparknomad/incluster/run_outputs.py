"""Bringing what a run wrote into its cluster to where it belongs, after its program has ended."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path[:0] = [str(Path(__file__).resolve().parent)]

if TYPE_CHECKING:
    from cloudmesh.sparknomad.incluster import run_inputs, run_parts, run_progress, transfers
    from cloudmesh.sparknomad.incluster.locks import Files
else:
    import run_inputs
    import run_parts
    import run_progress
    import transfers

__all__ = ["Outputs"]

_LAST = "_SUCCESS"
"""The name that tells a reader that everything else is there: it is written when it is."""


class Outputs:
    """The staged outputs of one run.

    Args:
        files: the cluster's storage.
        place: the directory in it that the run writes to.
        agent: gives the transfer agent.
        settings: of the cluster.
        done: a file that remembers what has been uploaded, when this is interrupted.
        say: tells the user something.
    """

    def __init__(
        self,
        files: Files,
        place: str,
        agent: Callable[[], transfers.Agent],
        settings: run_inputs.Settings,
        done: Path,
        say: Callable[[str], None],
    ) -> None:
        self.files = files
        self.place = place
        self.agent = agent
        self.settings = settings
        self.done = done
        self.say = say

    def url(self, name: str) -> str:
        """Where the program writes the output of a parameter."""
        return f"{self.settings.prefix}{self.place}/{name}"

    def check(self, wanted: Mapping[str, Any]) -> None:
        """Refuse an output whose place is taken, before anything is computed.

        Raises:
            run_inputs.InputError: if there is something, and nothing was said about that.
            transfers.TransferError: if the storage does not tell.
        """
        self.files.delete(f"{self.place}/{wanted['name']}")
        if wanted["exists"] != "error":
            return
        try:
            found = self.agent().look(wanted["target"], limit=1)
        except transfers.TransferError as error:
            if error.failure != "missing" and not error.is_transient:
                raise run_inputs.InputError(
                    f"output {wanted['name']} ({wanted['shown']}): {error.reason}"
                ) from None
            raise
        if found.found and (found.is_file or found.objects):
            raise run_inputs.InputError(
                f"output {wanted['name']} ({wanted['shown']}): there is something already; say "
                "`exists: overwrite` or `exists: append` in the job, or give another place"
            )

    def upload(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Bring one output to its place; what was uploaded before an interruption is not again.

        Returns:
            What was measured, for the run's report.

        Raises:
            transfers.TransferError: if it could not be brought there.
        """
        begun = time.monotonic()
        name, target = wanted["name"], wanted["target"].rstrip("/")
        listing = self.agent().look(self.url(name))
        if not listing.found:
            return {"target": wanted["shown"], "objects": 0, "bytes": 0, "seconds": 0.0}
        before = self._before(wanted)
        done = self._done()
        shards = {
            each.name: transfers.Shard(
                each.source,
                target if listing.is_file else f"{target}/{each.name}",
                0,
                each.size,
                each.size,
            )
            for each in listing.objects
        }
        last = [each for each in shards if each.rpartition("/")[2] == _LAST]
        left = [each for each in shards if shards[each].target not in done and each not in last]
        self.say(
            f"writing {wanted['shown']}: {len(left):,} objects, "
            f"{sum(shards[each].length for each in left) / 1e6:,.1f} MB"
        )
        # A reader waits for the mark: it must not see that of the old output while the new comes.
        marks = [each for each in before if each.rpartition("/")[2] == _LAST]
        self._remove_old(marks, done)
        moved = self._move(wanted, [shards[each] for each in left], done)
        self._remove_old(before, {shard.target for shard in shards.values()} | set(marks))
        moved += self._move(wanted, [shards[each] for each in last], done)
        self.files.delete(f"{self.place}/{name}")
        return {
            "target": wanted["shown"],
            "objects": len(shards),
            "bytes": listing.size,
            "seconds": round(time.monotonic() - begun, 3),
            "nodes": run_progress.nodes(moved),
        }

    def _before(self, wanted: Mapping[str, Any]) -> list[str]:
        """What lies at the place and is to go."""
        if wanted["exists"] != "overwrite":
            return []
        found = self.agent().look(wanted["target"])
        return [each.source for each in found.objects]

    def _remove_old(self, before: Sequence[str], now: set[str]) -> None:
        kept = {transfers.normal(each) for each in now}
        old = [source for source in before if transfers.normal(source) not in kept]
        if old:
            self.agent().remove(old)

    def _move(
        self, wanted: Mapping[str, Any], shards: Sequence[transfers.Shard], done: set[str]
    ) -> list[dict[str, Any]]:
        if not shards:
            return []
        moved = run_parts.Parts(self.agent, self.done.with_name("outgoing-parts.json")).move(
            shards,
            f"output {wanted['name']}",
            cores=self.settings.cores,
            place=True,
        )
        failed = {each["target"] for each in moved if each["failure"]}
        done |= {each["target"] for each in moved} - failed
        self.done.write_text(json.dumps(sorted(done)), "utf-8")
        transfers.check_moved(moved)
        return moved

    def _done(self) -> set[str]:
        try:
            return set(json.loads(self.done.read_text("utf-8")))
        except (OSError, ValueError):
            return set()
