"""What may be known of HDFS from its NameNode's own words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cloudmesh.sparknomad.incluster.hdfs_health import SETTLED_SECONDS, Health, Settled, health


def beans(
    contacts: tuple[int, ...] = (0, 0), in_service: int | None = None, **told: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    nodes = {f"h:{i}": {"lastContact": seconds} for i, seconds in enumerate(contacts)}
    system = {
        "MissingBlocks": 0,
        "UnderReplicatedBlocks": 0,
        "PendingReplicationBlocks": 0,
        "NumInServiceLiveDataNodes": len(nodes) if in_service is None else in_service,
    }
    return {**system, **told}, {"LiveNodes": json.dumps(nodes), "Safemode": ""}


def test_blocks_that_are_copied_still_lack_a_copy() -> None:
    told = health(*beans(UnderReplicatedBlocks=2, PendingReplicationBlocks=3, MissingBlocks=1))
    assert told == Health(2, 1, 5) and not told.is_whole


def test_nothing_is_certain_while_a_node_is_silent() -> None:
    assert health(*beans((0, 10))) is None
    assert health(*beans((0, 9))) == Health(2, 0, 0)


def test_nothing_is_certain_while_the_blocks_of_a_lost_node_are_counted() -> None:
    assert health(*beans((0, 0), in_service=3)) is None


def test_nothing_is_certain_in_safe_mode() -> None:
    system, info = beans()
    assert health(system, {**info, "Safemode": "Safe mode is ON."}) is None


@pytest.mark.parametrize(
    ("told", "whole"),
    [
        (Health(2, 0, 0), True),
        (Health(2, 0, 1), False),
        (Health(1, 0, 1), True),
        (Health(1, 1, 1), False),
    ],
)
def test_one_node_alone_cannot_keep_two_copies(told: Health, whole: bool) -> None:
    assert told.is_whole == whole


def test_what_is_broken_off_begins_anew() -> None:
    now = 0.0
    settled = Settled(lambda: now)
    assert not settled.has(True)
    now = SETTLED_SECONDS - 1
    assert not settled.has(True)
    assert not settled.has(False)
    now = SETTLED_SECONDS + 1
    assert not settled.has(True)
    now = 2 * SETTLED_SECONDS + 1
    assert settled.has(True)
