"""What a new machine runs as root when it boots. Pure, but for the user's own files."""

from __future__ import annotations

import shlex
from importlib.resources import files
from pathlib import Path

from cloudmesh.sparknomad.compute.machines import MachineRequest, Tags
from cloudmesh.sparknomad.compute.spec import ComputeSpec
from cloudmesh.sparknomad.errors import SpecError

__all__ = ["make_request", "public_key", "user_data"]

_MOST = 8192


def make_request(spec: ComputeSpec, tags: Tags, size: str, image: str) -> MachineRequest:
    """What a compute is asked to create.

    Raises:
        SpecError: if the key or the user's script is not what it should be.
    """
    key = public_key(spec)
    return MachineRequest(tags, size, image, spec.user, key, user_data(spec, key))


def public_key(spec: ComputeSpec) -> str:
    """The public key that belongs to a compute's private one.

    Raises:
        SpecError: if it is not there.
    """
    where = f"compute {spec.name!r}: key"
    if not spec.key:
        raise SpecError(
            f"{where}: missing; machines of a cloud need a key to log in by",
            hint="ssh-keygen -t ed25519 -f ~/.ssh/id_sparknomad; then name it in the compute.",
        )
    path = Path(spec.key).expanduser()
    beside = path.with_name(f"{path.name}.pub")
    for file in (path, beside):
        if not file.is_file():
            raise SpecError(
                f"{where}: {spec.key!r}: there is no file {str(file)!r}",
                hint=f"ssh-keygen -y -f {path} > {beside}" if file is beside else "",
            )
    lines = beside.read_text("utf-8", "replace").strip().splitlines()
    if len(lines) != 1 or len(lines[0].split()) < 2 or "PRIVATE" in lines[0]:
        raise SpecError(f"{where}: {str(beside)!r}: is no public key of SSH")
    return lines[0]


def user_data(spec: ComputeSpec, key: str) -> str:
    """The script, which can run any number of times; nothing in it is secret.

    Args:
        spec: names the user, and a script of its own.
        key: the public key to log in by.

    Raises:
        SpecError: if the user's own script can't be read, or is not one of ``sh``.
    """
    text = (files(__package__) / "authorize.sh").read_text("utf-8")
    assigned = f"user={shlex.quote(spec.user)}\nkey={shlex.quote(key)}\n"
    script = f"#!/bin/sh\n{assigned}{text}"
    if not spec.script:
        return script
    path = Path(spec.script).expanduser()
    try:
        own = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(
            f"compute {spec.name!r}: script: {spec.script!r}: can't be read: {error}"
        ) from None
    if own.startswith("#!") and "sh" not in own.splitlines()[0]:
        raise SpecError(
            f"compute {spec.name!r}: script: {spec.script!r}: must be a script of a shell"
        )
    whole = f"{script}\n{own}"
    if len(whole.encode()) > _MOST:
        raise SpecError(
            f"compute {spec.name!r}: script: {spec.script!r}: too long by "
            f"{len(whole.encode()) - _MOST} bytes: clouds take little",
            hint="Let it fetch the rest from where the machines can reach it.",
        )
    return whole
