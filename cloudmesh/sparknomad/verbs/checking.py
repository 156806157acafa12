"""The verbs about trying storages from every worker of a cluster."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cloudmesh.sparknomad.errors import SparknomadError
from cloudmesh.sparknomad.model import RunRecord
from cloudmesh.sparknomad.model_storage import CheckSubject, RunStaging, RunStorage
from cloudmesh.sparknomad.specs import ClusterSpec, ParameterType
from cloudmesh.sparknomad.verbs.staging import StagingVerbs

if TYPE_CHECKING:
    from cloudmesh.sparknomad.storage.checking import CheckStep

__all__ = ["CheckingVerbs"]


class CheckingVerbs(StagingVerbs):
    """Trying a cluster's workers, and storages from each of them."""

    def cluster_check(
        self,
        subjects: Sequence[str] | None = None,
        *,
        cluster: str | None = None,
        site: str | None = None,
        writes: Collection[str] | None = None,
    ) -> list[CheckStep]:
        """Try every worker of a cluster, and storages from each of them.

        Args:
            subjects: URLs or names of profiles; every profile if not given.
            cluster: that which runs go to if not given.
            site: of the cluster; all of them if not given.
            writes: those of them that are written to; all that can be if not given.

        Returns:
            Each step on each worker; what could not even be sent is a step as well.
        """
        if subjects is None:
            subjects = [profile.name for profile in self._profiles.all()]
        groups, steps = self._check_groups(subjects, writes)
        target = self._target_spec(cluster or self._default_cluster())
        for place in [site] if site else list(target.sites) or [""]:
            for storage, checks in groups:
                told = ", ".join(each.name for each in checks)
                where = f" of site {place}" if place else ""
                self.say(f"checking from every worker{where}: {told or 'nodes'}")
                staging = RunStaging(checks=tuple(checks), workers=_least_workers(target, place))
                shown = {"storages": told}
                record = self._move("check", cluster, storage, staging, shown, place)
                steps += self._checked(record, steps)
        return steps

    def job_check(
        self,
        job: str,
        values: Mapping[str, Any],
        *,
        cluster: str | None = None,
        site: str | None = None,
    ) -> list[CheckStep]:
        """Try the storages of a run from every worker, before it is sent.

        Writing is tried where the job declares an output (``write:``).
        """
        from cloudmesh.sparknomad.storage.url import is_storage_url

        spec, bound = self._resolve(job, values)
        urls = {
            name: str(value)
            for name, value in bound.items()
            if name in spec.parameters
            and spec.parameters[name].type is ParameterType.URI
            and is_storage_url(str(value))
        }
        outputs = {urls[name] for name in urls if spec.parameters[name].write is not None}
        return self.cluster_check(
            list(dict.fromkeys(urls.values())), cluster=cluster, site=site, writes=outputs
        )

    def _checked(self, record: RunRecord, known: Sequence[CheckStep]) -> list[CheckStep]:
        from cloudmesh.sparknomad.storage.checking import CheckStep

        told = self._finished(record).report["checks"]
        assert isinstance(told, list)
        nodes = {step.node for step in known if not step.subject}
        return [
            CheckStep(
                each["subject"],
                each["step"],
                each["ok"],
                each["seconds"],
                each["rate"],
                each["detail"],
                "" if each["ok"] else _hint(each),
                each["node"],
            )
            for each in told
            if each["subject"] or each["node"] not in nodes
        ]

    def _check_groups(
        self, names: Sequence[str], writes: Collection[str] | None
    ) -> tuple[list[tuple[RunStorage, list[CheckSubject]]], list[CheckStep]]:
        """Storages that one run can try together, and those that none can."""
        from cloudmesh.sparknomad.storage.checking import CheckStep

        groups: list[tuple[RunStorage, list[CheckSubject]]] = []
        failed: list[CheckStep] = []
        for name in names:
            try:
                storage, subject = self._check_subject(name)
            except SparknomadError as error:
                failed.append(
                    CheckStep(name, "credentials", False, detail=error.message, hint=error.hint)
                )
                continue
            if writes is not None and name not in writes:
                subject = dataclasses.replace(subject, writable=False)
            for index, (merged, subjects) in enumerate(groups):
                both = _merge(merged, storage)
                if both is not None:
                    groups[index] = (both, [*subjects, subject])
                    break
            else:
                groups.append((storage, [subject]))
        return groups or [(RunStorage(), [])], failed

    def _check_subject(self, name: str) -> tuple[RunStorage, CheckSubject]:
        from cloudmesh.sparknomad.storage.reaching import host_and_port
        from cloudmesh.sparknomad.storage.url import CLUSTER, is_storage_url, parse_url

        text = name if is_storage_url(name) or "/" in name else f"{name}:"
        url = parse_url(text)
        if url.profile == CLUSTER:
            return RunStorage(), CheckSubject(name, f"{CLUSTER}:/{url.path}", "", True)
        places, storage = self._places({"storage": text})
        opened = self._profiles.open(url)
        subject = CheckSubject(
            name,
            places["storage"],
            host_and_port(opened.profile.endpoint),
            opened.writable,
            opened.profile.endpoint.startswith("https:"),
            _proxy(storage.conf),
        )
        return storage, subject


def _hint(step: Mapping[str, Any]) -> str:
    """What to do about a step that failed on a worker."""
    from cloudmesh.sparknomad.storage.explain import hint_for

    if step["step"] == "workers":
        return "`cms sparknomad cluster status` tells what is missing, `job runs` what it does."
    return hint_for(step["detail"])


def _least_workers(spec: ClusterSpec, site: str) -> int:
    """How many workers of a cluster, or of one site of it, have to answer."""
    if spec.idle is not None:
        return 1
    workers = spec.parts[site].workers if site in spec.parts else spec.all_workers
    return min(workers, spec.min_workers or workers)


def _proxy(conf: Mapping[str, str]) -> str:
    """``host:port`` of the proxy that Hadoop's keys name; empty if they name none."""
    for key, host in conf.items():
        if key.startswith("spark.hadoop.fs.") and key.endswith("proxy.host") and host:
            port = conf.get(f"{key.removesuffix('host')}port", "")
            return f"{host}:{port or '80'}"
    return ""


def _merge(one: RunStorage, other: RunStorage) -> RunStorage | None:
    """What two storages need in one run; ``None`` if they contradict each other."""
    for ours, theirs in ((one.conf, other.conf), (one.secrets, other.secrets)):
        if any(theirs.get(key, value) != value for key, value in ours.items()):
            return None
    return RunStorage(
        (*one.profiles, *other.profiles),
        {**one.conf, **other.conf},
        {**one.secrets, **other.secrets},
    )
