"""A host whose SSH server hangs, and what it does to the others; nothing is deployed."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path

from lab import lab
from needs import require

from cloudmesh.sparknomad.cluster.nomad.hosts.reached import enter, host_records
from cloudmesh.sparknomad.compute.inventory import Host
from cloudmesh.sparknomad.compute.ssh import HostKeys


def test_a_host_that_hangs_is_given_up_where_it_may_be_missing(root: None, tmp_path: Path) -> None:
    for program in ("sshd", "ip", "nsenter"):
        require(shutil.which(program) or Path("/usr/sbin", program).exists(), program)
    with lab(tmp_path, 3) as hosts:
        records = host_records(
            [
                Host(host.address, user="root", key=str(hosts.key), host_key=host.known_host)
                for host in hosts.hosts
            ]
        )
        keys = HostKeys(tmp_path / "known_hosts", lambda name, fingerprint: False)
        hosts.hosts[1].hang()

        async def reach(spared: int | None) -> tuple[dict[str, str], str]:
            async with enter(records, keys, spared) as reached:
                told = await reached.run("hostname", "asking its name")
                return told, reached.records[1].problem

        begun = time.monotonic()
        told, problem = asyncio.run(reach(1))
        seconds = time.monotonic() - begun
        hosts.hosts[1].hang(still=False)
    assert sorted(told.values()) == ["h1\n", "h3\n"]
    assert "has not answered for" in problem
    print(f"\nwithout the one that hangs after {seconds:.1f} s")
    assert seconds < 15  # to log in to it is given up after 20
