"""Commands about clusters."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from cloudmesh.sparknomad.commands.shared import (
    Arguments,
    make_manager,
    make_output,
    number_of,
    show_plan,
    timeout_of,
)
from cloudmesh.sparknomad.manager import DEPLOY_SECONDS, DESTROY_SECONDS, Sparknomad
from cloudmesh.sparknomad.output import Output
from cloudmesh.sparknomad.specfile import build_spec, read_spec, spec_to_dict
from cloudmesh.sparknomad.specs import ClusterSpec

__all__ = ["VERBS", "cluster_spec", "show_cluster", "show_logs"]


def _cluster_name(arguments: Arguments) -> str:
    return arguments["NAME"] or "default"


def cluster_spec(arguments: Arguments, manager: Sparknomad) -> ClusterSpec:
    """The spec that a deploy means: a file's, else the deployed one's, changed by options."""
    path = arguments["--spec"]
    if path:
        data: dict[str, Any] = spec_to_dict(read_spec(ClusterSpec, Path(path)))
    else:
        deployed = manager.cluster_spec(_cluster_name(arguments))
        data = spec_to_dict(deployed) if deployed else {}
    if not data and arguments["NAME"] == "local":
        data["provider"] = "local"
    options = {
        "cluster": arguments["NAME"],
        "provider": arguments["--provider"],
        "workers": number_of(arguments, "--workers"),
        "cores": number_of(arguments, "--cores"),
        "memory": arguments["--memory"],
        "image": arguments["--image"],
        "staging": arguments["--staging"],
        "driver": arguments["--driver"],
        "min_workers": number_of(arguments, "--min-workers"),
    }
    data.update({name: value for name, value in options.items() if value is not None})
    return build_spec(ClusterSpec, data, origin=path or "the command line")


def _cluster_deploy(arguments: Arguments) -> int:
    output, manager = make_output(arguments), make_manager(arguments)
    spec = cluster_spec(arguments, manager)
    if arguments["--dry-run"]:
        return show_plan(output, manager.cluster_plan(spec))
    timeout = timeout_of(arguments, DEPLOY_SECONDS)
    assert timeout is not None
    status = manager.cluster_deploy(spec, timeout=timeout)
    return show_cluster(output, status)


def show_cluster(output: Output, status: Any) -> int:
    """Write a cluster's status; the exit code is returned."""
    if not output.is_table:
        output.data(status)
        return 0
    output.record(
        status,
        {
            "cluster": status.name,
            "provider": status.provider,
            "state": status.state,
            "reason": status.reason,
            "workers": f"{status.workers} of {status.workers_wanted}",
            **status.endpoints,
        },
    )
    return 0


def _cluster_list(arguments: Arguments) -> int:
    columns = {
        "CLUSTER": lambda status: status.name,
        "PROVIDER": lambda status: status.provider,
        "STATE": lambda status: status.state,
        "WORKERS": lambda status: f"{status.workers}/{status.workers_wanted}",
        "REASON": lambda status: status.reason,
    }
    empty = "no clusters; `cms sparknomad cluster deploy` makes one"
    make_output(arguments).rows(make_manager(arguments).cluster_list(), columns, empty=empty)
    return 0


def _cluster_status(arguments: Arguments) -> int:
    output = make_output(arguments)
    status = make_manager(arguments).cluster_status(_cluster_name(arguments))
    show_cluster(output, status)
    if output.is_table and status.components:
        columns = {
            "PART": lambda part: part.name,
            "HEALTHY": lambda part: part.healthy,
            "ADDRESS": lambda part: part.address or "-",
            "DETAIL": lambda part: part.detail,
        }
        print()
        output.rows(status.components, columns, empty="")
    return 0


def _cluster_scale(arguments: Arguments) -> int:
    workers = number_of(arguments, "N")
    timeout = timeout_of(arguments, DEPLOY_SECONDS)
    assert workers is not None and timeout is not None
    manager = make_manager(arguments)
    status = manager.cluster_scale(
        arguments["NAME"], workers, site=arguments["--site"], timeout=timeout
    )
    return show_cluster(make_output(arguments), status)


def _cluster_ui(arguments: Arguments) -> int:
    endpoints = dict(make_manager(arguments).cluster_ui(_cluster_name(arguments)))
    make_output(arguments).record(endpoints, endpoints)
    return 0


def show_logs(output: Output, logs: Iterable[tuple[str, bytes]]) -> int:
    """Write what parts have put out; the exit code is returned."""
    if not output.is_table:
        output.data({name: data.decode("utf-8", "replace") for name, data in logs})
        return 0
    for name, data in logs:
        for line in data.decode("utf-8", "replace").splitlines():
            print(f"{name}: {line}")
    return 0


def _cluster_destroy(arguments: Arguments) -> int:
    name = _cluster_name(arguments)
    timeout = timeout_of(arguments, DESTROY_SECONDS)
    assert timeout is not None
    manager = make_manager(arguments)
    found = manager.cluster_destroy(name, force=arguments["--force"], timeout=timeout)
    manager.say(f"cluster {name!r} is gone" if found else f"there is no cluster {name!r}")
    if not make_output(arguments).is_table:
        make_output(arguments).data({"cluster": name, "found": found, "state": "destroyed"})
    return 0


VERBS: dict[str, Callable[[Arguments], int]] = {
    "deploy": _cluster_deploy,
    "list": _cluster_list,
    "status": _cluster_status,
    "scale": _cluster_scale,
    "ui": _cluster_ui,
    "destroy": _cluster_destroy,
}
