"""The credentials of a run's storages, as a Nomad Variable that only this job's tasks may read."""

from __future__ import annotations

import hashlib
import json
import secrets

from cloudmesh.sparknomad.cluster.nomad.client import Nomad
from cloudmesh.sparknomad.cluster.nomad.variables import LIMIT
from cloudmesh.sparknomad.errors import InputError
from cloudmesh.sparknomad.model import Submission

__all__ = ["DIRECTORY", "LASTING", "digest", "directory", "put"]

DIRECTORY = "sparknomad/credentials"
"""Where such Variables lie."""

LASTING = "sparknomad/scheduled"
"""Where those lie that the runs of all launches of a schedule read, and that none removes."""


_RULES = (
    'namespace "default" {{ variables {{\n'
    f'  path "{DIRECTORY}/{{0}}/*" {{{{ capabilities = ["read", "destroy"] }}}}\n'
    f'  path "{LASTING}/{{0}}/*" {{{{ capabilities = ["read"] }}}}\n'
    "}} }}"
)


def put(
    nomad: Nomad,
    job: str,
    submission: Submission,
    *,
    shared: bool = False,
    lasting: bool = False,
) -> str:
    """Write a run's credentials, and let the tasks of its job read and remove them.

    Args:
        nomad: the cluster's.
        job: the id of the parameterized job.
        submission: the run.
        shared: whether the job is one for many, whose tasks have their rights already.
        lasting: whether more than one run reads them.

    Returns:
        The Variable's path.
    """
    text = json.dumps(dict(submission.storage.secrets))
    if len(text.encode()) > LIMIT:
        raise InputError(
            f"The credentials of {', '.join(submission.storage.profiles)} have "
            f"{len(text.encode()):,} bytes; at most {LIMIT:,} fit."
        )
    own = directory(job)
    if shared:
        # Others may send runs of this job, whose tasks may read what they know the path of.
        path = f"{own}/{secrets.token_hex(16)}"
    else:
        nomad.put_policy(f"sparknomad-run-{digest(job)}", _RULES.format(digest(job)), job)
        place = f"{LASTING}/{digest(job)}" if lasting else own
        path = f"{place}/{digest(submission.run)}"
    nomad.put_variable(path, {"storage": text})
    return path


def directory(job: str) -> str:
    """Where the Variables of a job's runs lie."""
    return f"{DIRECTORY}/{digest(job)}"


def digest(name: str) -> str:
    """A name in the few characters that paths of Variables may have."""
    return hashlib.sha256(name.encode()).hexdigest()[:32]
