"""Commands about the REST service."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from cloudmesh.sparknomad.access_tokens import FIRST
from cloudmesh.sparknomad.commands.shared import (
    Arguments,
    make_manager,
    make_output,
    number_of,
    tell,
    timeout_of,
)
from cloudmesh.sparknomad.contract import contract_text
from cloudmesh.sparknomad.errors import InputError, NotFoundError
from cloudmesh.sparknomad.manager import SERVICE_PORT, SERVICE_SECONDS
from cloudmesh.sparknomad.output import to_plain, when

__all__ = ["VERBS"]


def _start(arguments: Arguments) -> int:
    if arguments["--cluster"]:
        return _start_in_cluster(arguments)
    for option in ("--storage", "--timeout"):
        if arguments[option]:
            raise InputError(
                f"{option}: goes with --cluster=NAME only.",
                hint="On this machine the service has this user's storage profiles.",
            )
    from cloudmesh.sparknomad.service.running import Binding, serve

    manager, default = make_manager(arguments), Binding()
    certificate, key = arguments["--tls-cert"], arguments["--tls-key"]
    port = number_of(arguments, "--port")
    binding = Binding(
        arguments["--host"] or default.host,
        default.port if port is None else port,
        Path(certificate) if certificate else None,
        Path(key) if key else None,
    )
    serve(manager.paths, binding, manager.say, allow_local=arguments["--allow-local"])
    return 0


def _start_in_cluster(arguments: Arguments) -> int:
    name, manager, output = arguments["--cluster"], make_manager(arguments), make_output(arguments)
    for option in ("--host", "--allow-local"):
        if arguments[option]:
            raise InputError(
                f"{option}: goes with a service on this machine only, not with --cluster.",
                hint="In a cluster it listens on the host that runs it.",
            )
    certificate, key = arguments["--tls-cert"], arguments["--tls-key"]
    port = number_of(arguments, "--port")
    status, secret = manager.service_start(
        name,
        port=SERVICE_PORT if port is None else port,
        storage=arguments["--storage"],
        certificate=Path(certificate) if certificate else None,
        key=Path(key) if key else None,
        timeout=timeout_of(arguments, None) or SERVICE_SECONDS,
    )
    if secret:
        manager.say(f"token {FIRST!r} of an operator is shown once")
    shown = {"url": status.url, "ca": status.ca, "secret": secret}
    output.record(shown, shown)
    return 0


def _stop(arguments: Arguments) -> int:
    from cloudmesh.sparknomad.service.running import stop_service

    manager, name = make_manager(arguments), arguments["--cluster"]
    found = manager.service_stop(name) if name else stop_service(manager.paths)
    manager.say("the service has ended" if found else "no service runs")
    if not make_output(arguments).is_table:
        make_output(arguments).data({"found": found})
    return 0


def _status(arguments: Arguments) -> int:
    from cloudmesh.sparknomad.service.running import find_running

    if arguments["--cluster"]:
        status = make_manager(arguments).service_status(arguments["--cluster"])
        make_output(arguments).record(status, to_plain(status))
        return 0 if status.state == "running" else 1
    running = find_running(make_manager(arguments).paths)
    if running is None:
        raise NotFoundError(
            "No service runs on this machine.", hint="cms sparknomad service start starts one."
        )
    shown = {"url": running.url, "pid": running.process.pid}
    make_output(arguments).record(shown, shown)
    return 0


def _token_create(arguments: Arguments) -> int:
    from cloudmesh.sparknomad.service.running import open_store

    manager, output = make_manager(arguments), make_output(arguments)
    name, role = arguments["NAME"], arguments["--role"]
    ttl = timeout_of(arguments, None, "--ttl")
    cluster = arguments["--cluster"]
    secret = (
        manager.service_token_create(cluster, name, role, ttl=ttl)
        if cluster
        else open_store(manager.paths).create_token(name, role, ttl)
    )
    if output.is_table:
        manager.say(f"token {name!r} of a {role}, shown once")
        print(secret)
    else:
        output.data({"name": name, "role": role, "secret": secret})
    return 0


def _token_list(arguments: Arguments) -> int:
    from cloudmesh.sparknomad.service.running import open_store
    from cloudmesh.sparknomad.service.store import Token

    columns = {
        "NAME": lambda token: token.name,
        "ROLE": lambda token: token.role,
        "CREATED": lambda token: when(token.created),
        "EXPIRES": lambda token: when(token.expires) if token.expires else "-",
    }
    manager, cluster = make_manager(arguments), arguments["--cluster"]
    known = manager.service_token_list(cluster) if cluster else open_store(manager.paths).tokens()
    found = [Token(each.name, each.role, each.created, each.expires) for each in known]
    make_output(arguments).rows(found, columns, empty="no tokens")
    return 0


def _token_revoke(arguments: Arguments) -> int:
    from cloudmesh.sparknomad.service.running import open_store

    manager, name = make_manager(arguments), arguments["NAME"]
    if arguments["--cluster"]:
        manager.service_token_revoke(arguments["--cluster"], name)
    else:
        open_store(manager.paths).revoke_token(name)
    tell(arguments, manager, f"token {name!r} is revoked", "name", "NAME")
    return 0


def _token(arguments: Arguments) -> int:
    for verb, function in (("create", _token_create), ("list", _token_list)):
        if arguments[verb]:
            return function(arguments)
    return _token_revoke(arguments)


def _spec(arguments: Arguments) -> int:
    del arguments
    sys.stdout.write(contract_text())
    return 0


VERBS: dict[str, Callable[[Arguments], int]] = {
    "start": _start,
    "stop": _stop,
    "status": _status,
    "token": _token,
    "spec": _spec,
}
