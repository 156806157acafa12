"""The computes of a user: ``cloudmesh.sparknomad.compute`` in ``cloudmesh.yaml``."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cloudmesh.sparknomad.compute.compute import Compute
from cloudmesh.sparknomad.compute.groups import Group, Groups
from cloudmesh.sparknomad.compute.registry import load_kind
from cloudmesh.sparknomad.compute.spec import ComputeSpec
from cloudmesh.sparknomad.configuration import compute_section
from cloudmesh.sparknomad.credentials import Owner, find_credentials
from cloudmesh.sparknomad.errors import NotFoundError, SpecError
from cloudmesh.sparknomad.spec_credentials import CredentialSource
from cloudmesh.sparknomad.specfile import build_spec

__all__ = ["LOCAL", "Computes"]

LOCAL = "local"
"""The compute that is always there: this machine."""


class Computes:
    """The computes in a configuration file, and this machine.

    Args:
        path: ``cloudmesh.yaml``; it need not exist.
        groups: what is remembered of machines.
        say: shows one line of progress.
    """

    def __init__(self, path: Path, groups: Groups, say: Callable[[str], None]) -> None:
        self.path = path
        self.groups = groups
        self.say = say

    def names(self) -> list[str]:
        """The names of all computes; this machine is the last."""
        return [*sorted(compute_section(self.path)), LOCAL]

    def find(self, name: str) -> ComputeSpec:
        """What the user says of one compute.

        Raises:
            NotFoundError: if there is none of this name.
            SpecError: if something in it is wrong.
        """
        section = compute_section(self.path)
        if name == LOCAL and name not in section:
            return ComputeSpec(name=LOCAL, kind=LOCAL)
        if name not in section:
            near = difflib.get_close_matches(name, self.names(), n=1)
            remedy = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(self.names())}."
            raise NotFoundError(
                f"There is no compute {name!r}; {remedy}",
                hint=f"Describe it in {self.path} under cloudmesh.sparknomad.compute.{name}",
            )
        return self._read(name, section[name])

    def _read(self, name: str, data: Any) -> ComputeSpec:
        place = f"{self.path}: cloudmesh.sparknomad.compute.{name}"
        if name == LOCAL:
            raise SpecError(f"{place}: this name stands for this machine; take another")
        if not isinstance(data, Mapping):
            raise SpecError(f"{place}: must be a mapping of fields.")
        if "name" in data:
            raise SpecError(f"{place}: name: the name stands before the fields already.")
        spec = build_spec(ComputeSpec, {"name": name, **data}, origin=place)
        problems = _problems(spec)
        if problems:
            raise SpecError("\n".join(f"{place}: {each}" for each in problems))
        return spec

    def open(self, name: str) -> Compute:
        """Open one compute with its credentials.

        Raises:
            NotFoundError: if there is none of this name.
            SpecError: if something in it is wrong.
            CredentialError: if its credentials are not where it says.
            DependencyError: if a package is missing.
        """
        return self._open(self.find(name))

    def of(self, group: Group) -> Compute:
        """Open a group's compute as it was when the group was made; see `open`.

        Where its credentials come from is asked of the configuration, if it still knows it.
        """
        spec = group.compute_spec
        if group.compute in compute_section(self.path):
            spec = dataclasses.replace(spec, credentials=self.find(group.compute).credentials)
        return self._open(spec)

    def _open(self, spec: ComputeSpec) -> Compute:
        kind = load_kind(spec.kind)
        owner = Owner(
            title=f"Compute {spec.name!r}",
            credentials=spec.credentials,
            keyring=f"compute:{spec.name}",
            remedy=f"cloudmesh.sparknomad.compute.{spec.name}.credentials in {self.path}",
            keyring_remedy=f"keyring set sparknomad compute:{spec.name}, with the fields as JSON",
        )
        found = find_credentials(owner, kind.fields(spec), lambda name: kind.files(spec, name))
        return kind(spec, found, self.groups, self.say)


def _problems(spec: ComputeSpec) -> Sequence[str]:
    kind = load_kind(spec.kind)
    found = list(kind.check(spec))
    if found:
        return found
    fields = {field.name for field in kind.fields(spec)}
    for part in ("variables", "values"):
        for name in getattr(spec.credentials, part):
            if name not in fields:
                known = ", ".join(sorted(fields)) or "none"
                found.append(f"credentials.{part}.{name}: unknown for {spec.kind}; known: {known}")
    source = spec.credentials.source
    if source is CredentialSource.FILE and not spec.credentials.path:
        found.append("credentials.path: missing; source 'file' needs it")
    if source is CredentialSource.PLAIN and not spec.credentials.values:
        found.append("credentials.values: missing; source 'plain' needs it")
    if source is not CredentialSource.PLAIN and spec.credentials.values:
        found.append(
            "credentials.values: secrets in plain text, for whoever reads that file: say so by "
            "source: plain, or take environment, files, file or keyring"
        )
    return found
