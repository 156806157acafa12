"""Letting a cloud's machines end themselves when their cluster is idle.

Nobody outside decides it: the scaler stops what is idle, itself last, and a small loop beside each
machine's agent sees that, by a token that can read the cluster's own jobs. So no key of a cloud is
on any machine.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from cloudmesh.sparknomad.cluster.nomad.client import Nomad
from cloudmesh.sparknomad.cluster.nomad.hosts.scripts import placing, script
from cloudmesh.sparknomad.cluster.nomad.record import HostRecord, NomadCluster
from cloudmesh.sparknomad.cluster.nomad.roles import IDLE_POLICY, IDLE_RULES

__all__ = ["idle_token", "watching"]

_TITLE = "sparknomad machines that end when idle"
_WORKER_ROUNDS = 6
_SERVER_ROUNDS = 18
"""Looks, ten seconds apart, before a machine ends: servers answer until the others have seen it."""


def idle_token(nomad: Nomad) -> str:
    """A new token for the machines; the one of a former deploy ends."""
    nomad.put_policy(IDLE_POLICY, IDLE_RULES, about="see whether the cluster is idle")
    former = [each["AccessorID"] for each in nomad.tokens() if each["Name"] == _TITLE]
    made = nomad.create_token({"Name": _TITLE, "Type": "client", "Policies": [IDLE_POLICY]})
    for accessor in former:
        nomad.delete_token(accessor)
    return str(made["SecretID"])


def watching(cluster: NomadCluster, host: HostRecord, power_off: str, token: str) -> str:
    """A script that starts the loop on one machine; it is to be given by standard input.

    Args:
        cluster: where it lies on its hosts.
        host: the machine.
        power_off: what ends it, a command of its shell.
        token: of `idle_token`.
    """
    place = PurePosixPath(cluster.directory)
    rounds = _SERVER_ROUNDS if host.server else _WORKER_ROUNDS
    loop = script(
        "idle", place=str(place), address=host.address, rounds=str(rounds), power_off=power_off
    )
    files = {f"{place}/idle.sh": loop.encode(), f"{place}/idle-token": token.encode()}
    return placing(files) + script("watch", **cluster.place)
