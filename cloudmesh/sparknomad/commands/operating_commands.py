"""Commands about a cluster's hosts while it runs."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

from cloudmesh.sparknomad.commands.cluster_commands import cluster_spec, show_cluster, show_logs
from cloudmesh.sparknomad.commands.shared import (
    Arguments,
    make_manager,
    make_output,
    number_of,
    timeout_of,
)
from cloudmesh.sparknomad.errors import DependencyError
from cloudmesh.sparknomad.manager import DEPLOY_SECONDS, DRAIN_SECONDS

__all__ = ["VERBS"]


def _cluster_diff(arguments: Arguments) -> int:
    manager = make_manager(arguments)
    changes = manager.cluster_diff(cluster_spec(arguments, manager))
    columns = {
        "WHAT": lambda change: change.subject,
        "NOW": lambda change: change.before or "-",
        "THEN": lambda change: change.after or "-",
    }
    make_output(arguments).rows(changes, columns, empty="nothing would change")
    return 1 if changes else 0


def _cluster_add_hosts(arguments: Arguments) -> int:
    options = {
        "user": arguments["--user"],
        "port": number_of(arguments, "--port"),
        "key": arguments["--key"],
        "jump": arguments["--jump"],
        "role": arguments["--role"],
        "host_key": arguments["--host-key"],
        "site": arguments["--site"],
    }
    timeout = timeout_of(arguments, DEPLOY_SECONDS)
    assert timeout is not None
    status = make_manager(arguments).cluster_add_hosts(
        arguments["NAME"],
        arguments["HOST"],
        options,
        workers=number_of(arguments, "--workers"),
        timeout=timeout,
    )
    return show_cluster(make_output(arguments), status)


def _cluster_remove_hosts(arguments: Arguments) -> int:
    timeout = timeout_of(arguments, DRAIN_SECONDS)
    assert timeout is not None
    manager = make_manager(arguments)
    told = manager.cluster_remove_hosts(
        arguments["NAME"], arguments["HOST"], force=arguments["--force"], timeout=timeout
    )
    for line in told:
        manager.say(line)
    manager.say(
        f"{', '.join(arguments['HOST'])}: no part of cluster {arguments['NAME']!r} any more"
    )
    if not make_output(arguments).is_table:
        answer = {"cluster": arguments["NAME"], "hosts": arguments["HOST"], "left": told}
        make_output(arguments).data(answer)
    return 0


def _cluster_drain(arguments: Arguments) -> int:
    timeout = timeout_of(arguments, DRAIN_SECONDS)
    assert timeout is not None
    (host,) = arguments["HOST"]
    status = make_manager(arguments).cluster_drain(
        arguments["NAME"], host, undo=arguments["--undo"], timeout=timeout
    )
    return show_cluster(make_output(arguments), status)


def _cluster_logs(arguments: Arguments) -> int:
    manager, name = make_manager(arguments), arguments["NAME"] or "default"
    hosts = arguments["HOST"]
    logs = manager.cluster_host_logs(name, hosts[0]) if hosts else manager.cluster_logs(name)
    return show_logs(make_output(arguments), logs)


def _cluster_ssh(arguments: Arguments) -> int:
    (host,) = arguments["HOST"]
    command = [word for word in arguments["COMMAND"] if word != "--"]
    words = make_manager(arguments).cluster_ssh(arguments["NAME"], host, command)
    try:
        return subprocess.run(words, check=False).returncode
    except FileNotFoundError:
        raise DependencyError(
            "There is no program `ssh` on this machine.", hint="Debian: openssh-client."
        ) from None


def _cluster_upgrade(arguments: Arguments) -> int:
    timeout = timeout_of(arguments, 3 * DEPLOY_SECONDS)
    assert timeout is not None
    status = make_manager(arguments).cluster_upgrade(
        arguments["NAME"], image=arguments["--image"], timeout=timeout
    )
    return show_cluster(make_output(arguments), status)


VERBS: dict[str, Callable[[Arguments], int]] = {
    "diff": _cluster_diff,
    "add-hosts": _cluster_add_hosts,
    "remove-hosts": _cluster_remove_hosts,
    "drain": _cluster_drain,
    "logs": _cluster_logs,
    "ssh": _cluster_ssh,
    "upgrade": _cluster_upgrade,
}
