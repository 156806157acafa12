"""What a pipeline's run need not do again, and what of it is not kept."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from cloudmesh.sparknomad.errors import CredentialError, NotFoundError, SparknomadError
from cloudmesh.sparknomad.pipeline.graph import Step
from cloudmesh.sparknomad.pipeline.reuse import fingerprint, written
from cloudmesh.sparknomad.spec_pipelines import PipelineSpec
from cloudmesh.sparknomad.state_pipelines import PipelineRecord, RunOfStep
from cloudmesh.sparknomad.verbs.storage import StorageVerbs

__all__ = ["Remembering", "key_of", "kept_places"]


class Remembering:
    """Gives steps the values with which they have been done before.

    Args:
        verbs: look at storages.
        record: of the pipeline's run.
        done: the runs of steps that are not run again; more are added.
        former: runs of former pipelines that count, by their fingerprints.
    """

    def __init__(
        self,
        verbs: StorageVerbs,
        record: PipelineRecord,
        done: dict[str, RunOfStep],
        former: Mapping[str, RunOfStep],
    ) -> None:
        self._verbs = verbs
        self._record = record
        self._done = done
        self._former = former
        self._made: dict[str, str] = {}
        self.fingerprints: dict[str, str] = {}

    def seen(self, step: Step) -> Step:
        """The step, with other values if it is done already."""
        if step.name in self._done:
            step = dataclasses.replace(step, values=self._done[step.name].parameters)
            self._note(step, self._done[step.name].fingerprint)
            return step
        try:
            mark = fingerprint(step, self._record.run, self._version_of, self._made)
        except SparknomadError:  # its run will tell what is wrong, or what is read comes later
            return step
        former = self._former.get(mark)
        if former and self._is_there(step, former):
            self._verbs.say(f"step {step.name}: done before by {former.run}")
            self._done[step.name] = dataclasses.replace(former, step=step.name)
            step = dataclasses.replace(step, values=former.parameters)
        self._note(step, mark)
        return step

    def _note(self, step: Step, mark: str) -> None:
        self.fingerprints[step.name] = mark
        for place in written(step).values() if mark else ():
            self._made[place.rstrip("/")] = mark

    def _is_there(self, step: Step, former: RunOfStep) -> bool:
        places = written(dataclasses.replace(step, values=former.parameters)).values()
        return all(self._has(place, self._record.cluster, former.site) for place in places)

    def _version_of(self, place: str) -> str:
        """What changes with the content of a place that is read."""
        from cloudmesh.sparknomad.storage.url import is_storage_url

        if not is_storage_url(place):
            path = Path(place)
            files = sorted(path.rglob("*")) if path.is_dir() else [path]
            found = [(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files if f.is_file()]
            if not found:
                raise NotFoundError(f"{place}: there is nothing of this name.")
            return hashlib.sha256(repr(found).encode()).hexdigest()
        entries = [
            (str(entry.url), entry.size, entry.version or str(entry.modified))
            for entry in self._verbs.storage_list(place, recursive=True)
        ]
        if not entries:
            raise NotFoundError(f"{place}: there is nothing of this name.")
        return hashlib.sha256(repr(sorted(entries)).encode()).hexdigest()

    def _has(self, place: str, cluster: str, site: str) -> bool:
        """Whether something lies at a place that a step has written."""
        from cloudmesh.sparknomad.storage.profiles import open_storage
        from cloudmesh.sparknomad.storage.url import CLUSTER, is_storage_url, parse_url

        if not is_storage_url(place):
            return Path(place).exists()
        try:
            if place.startswith(f"{CLUSTER}:"):
                storage = open_storage(self._verbs._cluster_storage(cluster, site))
                return storage.find(parse_url(place)) is not None
            return self._verbs.storage_usage(place).objects > 0
        except NotFoundError:
            return False


def key_of(spec: PipelineSpec) -> str:
    """The key that signs what is told of the end.

    Raises:
        CredentialError: if it is not in the environment.
    """
    name = spec.notify.secret if spec.notify else None
    if name is None:
        return ""
    key = os.environ.get(name, "")
    if not key:
        raise CredentialError(
            f"notify.secret: the environment has no variable {name}.",
            hint="Set it to the key that signs what is told, or leave secret out.",
        )
    return key


def kept_places(steps: Sequence[Step], run: str, done: Mapping[str, RunOfStep]) -> tuple[str, ...]:
    """What this run alone writes into the cluster: the places with its id in them."""
    places = (
        place.removeprefix("cluster:").strip("/")
        for step in steps
        if step.name not in done
        for place in written(step).values()
        if place.startswith("cluster:")
    )
    return tuple(place for place in places if run in place)
