"""What Nomad lets a token do, by its role: ACL policies with nothing more than is needed. Pure.

A token of management may do all. The others see one namespace of Nomad, where their runs are,
and of the cluster's own namespace only where its servers are.
https://developer.hashicorp.com/nomad/docs/other-specifications/acl-policy
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cloudmesh.sparknomad.cluster.nomad.vault import DIRECTORY
from cloudmesh.sparknomad.errors import ForbiddenError, InputError
from cloudmesh.sparknomad.incluster.run_private import ENDED
from cloudmesh.sparknomad.specs import ROLES

__all__ = [
    "CLUSTER_NAMESPACE",
    "ENDED_POLICY",
    "IDLE_POLICY",
    "IDLE_RULES",
    "KEYS",
    "ROLES",
    "PIPELINE_POLICY",
    "RUN_POLICY",
    "SCALER_POLICY",
    "SCALER_RULES",
    "SERVICE_POLICY",
    "SERVICE_RULES",
    "check",
    "ended_rules",
    "forbidden",
    "pipeline_rules",
    "policy_name",
    "policy_rules",
    "role_of",
    "run_rules",
]

CLUSTER_NAMESPACE = "default"
"""Where the cluster's own jobs are, and the runs of who deployed it."""

RUN_POLICY = "sparknomad-runs-"
"""The beginning of the names of policies that tasks have in a namespace of runs."""

PIPELINE_POLICY = "sparknomad-"
"""The beginning of the names of policies that tasks of pipelines have."""

ENDED_POLICY = "sparknomad-ended-"
"""The beginning of the names of policies by which tasks see that they are to end."""

_SERVERS = 'namespace "default" { capabilities = ["read-job"] }\n'

KEYS = "sparknomad/pipelines"
"""Where the Variables lie with the keys that sign what is told of a pipeline's end."""

SERVICE_POLICY = "sparknomad-service"

SERVICE_RULES = _SERVERS
"""What the service's task may do itself: find the cluster's servers. It calls with a token."""

SCALER_POLICY = "sparknomad-scaler"

SCALER_RULES = (
    'namespace "*" { capabilities = ["list-jobs", "read-job"] }\n'
    'namespace "default" { capabilities = ["list-jobs", "read-job", "scale-job"] }\n'
)
"""What the task may do that decides how many workers there are."""

IDLE_POLICY = "sparknomad-idle"

IDLE_RULES = _SERVERS
"""What a machine may do that ends when the cluster is idle: see how many scalers there are."""

_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
_POLICY = re.compile(rf"sparknomad-({'|'.join(ROLES)})(?:-([a-z0-9-]+))?")

_SEES = f'{_SERVERS}node {{ policy = "read" }}\n'

_SEES_ITS_END = f'    path "{ENDED}/*" {{ capabilities = ["read", "destroy"] }}\n'

_RULES = {
    "operator": (
        'namespace "*" {\n  policy = "write"\n'
        '  variables { path "*" { capabilities = ["write", "read", "list", "destroy"] } }\n}\n'
        'host_volume "*" { policy = "write" }\n'
        'node { policy = "write" }\nagent { policy = "read" }\noperator { policy = "read" }\n'
    ),
    # To end a run is to send its driver a signal: stopping a job would need submit-job.
    "submitter": (
        f'{_SEES}namespace "@" {{\n  capabilities = ["list-jobs", "read-job", "dispatch-job", '
        '"read-logs", "read-fs", "alloc-lifecycle"]\n'
        f'  variables {{\n    path "{DIRECTORY}/*" {{ capabilities = ["write", "destroy"] }}\n'
        f'    path "{KEYS}/*" {{ capabilities = ["write"] }}\n'
        f'    path "{ENDED}/*" {{ capabilities = ["write", "read"] }}\n  }}\n}}\n'
    ),
    "reader": (
        f'{_SEES}namespace "@" {{\n  capabilities = ["list-jobs", "read-job", "read-logs", '
        '"read-fs"]\n}\n'
    ),
}


def check(role: str, namespace: str) -> None:
    """Refuse what is no role, and namespaces that would give more than the role.

    Raises:
        InputError: with what is allowed.
    """
    if role not in ROLES:
        raise InputError(f"--role={role}: must be one of {', '.join(ROLES)}.")
    if not _NAMESPACE.fullmatch(namespace):
        raise InputError(
            f"--namespace={namespace}: must be 1 to 40 lower-case letters, digits or '-', "
            "beginning and ending with a letter or digit."
        )
    if namespace == CLUSTER_NAMESPACE and role != "reader":
        raise InputError(
            f"--namespace={namespace}: the cluster's own servers are there; only a reader may "
            "be let in.",
            hint="Choose another name, such as that of the team; it is made if it is not there.",
        )


def policy_name(role: str, namespace: str) -> str:
    """The name of a role's policy in a namespace."""
    return f"sparknomad-{role}-{namespace}"


def policy_rules(role: str, namespace: str) -> str:
    """The policy of a role, as HCL."""
    return _RULES[role].replace('"@"', f'"{namespace}"')


def run_rules(namespace: str, credentials: str) -> str:
    """What the tasks of a namespace's runs may do.

    Args:
        namespace: of the runs.
        credentials: the directory of Variables that hold credentials of their storages.
    """
    return (
        f'{_SERVERS}namespace "{namespace}" {{\n  variables {{\n'
        f'    path "{credentials}/*" {{ capabilities = ["read", "destroy"] }}\n'
        f"{_SEES_ITS_END}  }}\n}}\n"
    )


def ended_rules(namespace: str) -> str:
    """What lets the tasks of a namespace's runs see that they are to end before they begin."""
    return f'namespace "{namespace}" {{\n  variables {{\n{_SEES_ITS_END}  }}\n}}\n'


def pipeline_rules(namespace: str) -> str:
    """What the task may do that runs a pipeline: dispatch, read, and end what it has sent.

    Args:
        namespace: of the pipeline and its runs; the cluster's servers are in another.
    """
    servers = "" if namespace == CLUSTER_NAMESPACE else _SERVERS
    return (
        f'{servers}namespace "{namespace}" {{ capabilities = '
        '["list-jobs", "read-job", "dispatch-job", "read-fs", "alloc-lifecycle"]\n'
        f'  variables {{\n    path "{KEYS}/*" {{ capabilities = ["read"] }}\n'
        f'    path "{ENDED}/*" {{ capabilities = ["write", "read", "destroy"] }}\n  }}\n}}\n'
    )


def role_of(token: Mapping[str, Any]) -> tuple[str, str]:
    """The role of a token and its namespace, both empty if it is none of ours."""
    if token.get("Type") == "management":
        return "management", "*"
    for name in token.get("Policies") or ():
        if found := _POLICY.fullmatch(name):
            return found[1], found[2] or ""
    return "", ""


def forbidden(name: str, role: str, what: str) -> ForbiddenError:
    """The error for what a role may not do.

    Args:
        name: of the cluster.
        role: of the token that is here.
        what: was asked, in words such as ``deploy it``.
    """
    may = {
        "operator": "run jobs and pipelines, scale it, and see everything",
        "submitter": "run jobs and pipelines, and see and end those of its namespace",
        "reader": "see the cluster, and the runs of its namespace",
    }[role]
    article = "an" if role == "operator" else "a"
    return ForbiddenError(
        f"This machine has {article} {role}'s token for cluster {name!r}; it may not {what}.",
        hint=f"It may {may}. Ask who deployed the cluster, or import their bundle "
        "(`cluster export` there).",
    )
