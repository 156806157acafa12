"""Whether HDFS could lose a DataNode, read from what its NameNode tells of itself."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Health", "SETTLED_SECONDS", "Settled", "health"]

_CONTACT_SECONDS = 10
"""A DataNode that has not been heard of for so long may be gone."""

SETTLED_SECONDS = 15.0
"""For so long nothing may be missing: a DataNode that has just gone shows after 10 s, and what
lacks copies then is counted every 3 (`dfs.namenode.redundancy.interval.seconds`)."""


@dataclass(frozen=True)
class Health:
    """What HDFS has while all its DataNodes are heard of.

    Attributes:
        nodes: DataNodes.
        missing: blocks without any copy.
        lacking: blocks with too few copies, those that are being copied among them.
    """

    nodes: int
    missing: int
    lacking: int

    @property
    def is_whole(self) -> bool:
        """Whether every block has its copies; a DataNode alone can't keep two."""
        return not self.missing and (not self.lacking or self.nodes == 1)


def health(system: Mapping[str, Any], info: Mapping[str, Any]) -> Health | None:
    """What HDFS has, or ``None`` while it is not certain.

    A DataNode that is silent is left out of the list of those that live some 20 s before the
    NameNode removes its blocks and sees what lacks copies: in between all looks well. It is out
    of the number of those in service only when that is done (`HeartbeatManager`).

    Args:
        system: the NameNode's bean ``FSNamesystem``.
        info: its bean ``NameNodeInfo``.

    Raises:
        KeyError: if a bean tells something else.
        ValueError: if it tells it in another form.
    """
    nodes = json.loads(info["LiveNodes"]).values()
    silent = any(int(node["lastContact"]) >= _CONTACT_SECONDS for node in nodes)
    if info.get("Safemode") or silent or int(system["NumInServiceLiveDataNodes"]) != len(nodes):
        return None
    lacking = int(system["UnderReplicatedBlocks"]) + int(system["PendingReplicationBlocks"])
    return Health(len(nodes), int(system["MissingBlocks"]), lacking)


@dataclass
class Settled:
    """Whether something has held for a while without a break.

    Attributes:
        clock: seconds that never go back.
        seconds: for so long.
    """

    clock: Callable[[], float] = time.monotonic
    seconds: float = SETTLED_SECONDS
    _since: float | None = None

    def has(self, held: bool) -> bool:
        """Take the answer of one look; whether it has been yes for so long."""
        if not held:
            self._since = None
            return False
        if self._since is None:
            self._since = self.clock()
        return self.clock() - self._since >= self.seconds
