"""From a request's arguments to a verb of the manager, and from what it returns to JSON."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cloudmesh.sparknomad.errors import ForbiddenError, InputError, NotFoundError
from cloudmesh.sparknomad.job.naming import is_path
from cloudmesh.sparknomad.job.parameters import check_job
from cloudmesh.sparknomad.manager import Sparknomad
from cloudmesh.sparknomad.model import RunState
from cloudmesh.sparknomad.output import to_plain
from cloudmesh.sparknomad.pipeline.pipelines import job_finder, refuse_wrong
from cloudmesh.sparknomad.service.arguments import (
    decoded,
    default_places,
    defined,
    named,
    without_places,
)
from cloudmesh.sparknomad.spec_pipelines import PipelineSpec
from cloudmesh.sparknomad.specfile import build_spec, spec_to_dict
from cloudmesh.sparknomad.specs import (
    ClusterSpec,
    Dependencies,
    ImageSpec,
    JobSpec,
    Stage,
)
from cloudmesh.sparknomad.verbs.access import refuse_paths

__all__ = ["CALLS", "Calls"]

_REQUIREMENT = re.compile(r"[A-Za-z0-9][^\s:/]*")


@dataclasses.dataclass(frozen=True)
class Calls:
    """The verbs as the service calls them: no path of a caller's is one of this machine.

    Attributes:
        manager: does them.
        files: where the programs of jobs are kept that callers have defined.
        allow_local: whether runs may go to clusters that share this machine's files.
    """

    manager: Sparknomad
    files: Path
    allow_local: bool = False

    # clusters and images

    def cluster_list(self) -> Any:
        """See `Sparknomad.cluster_list`."""
        return self.manager.cluster_list()

    def cluster_status(self, name: str) -> Any:
        """See `Sparknomad.cluster_status`."""
        return self.manager.cluster_status(name)

    def cluster_deploy(self, name: str, body: Mapping[str, Any], timeout: float = 600.0) -> Any:
        """See `Sparknomad.cluster_deploy`."""
        spec = build_spec(ClusterSpec, named(body, "cluster", name), origin="the request")
        for host in spec.hosts:
            if host.key:
                raise InputError(
                    "hosts: key: names a file of the service's machine.",
                    hint="Let ~/.ssh/config of the service's user name the key.",
                )
        self._refuse_local(spec.provider)
        return self.manager.cluster_deploy(spec, timeout=timeout)

    def cluster_destroy(self, name: str, force: bool = False, timeout: float = 120.0) -> Any:
        """See `Sparknomad.cluster_destroy`."""
        return {"found": self.manager.cluster_destroy(name, force=force, timeout=timeout)}

    def cluster_scale(
        self, name: str, workers: int, site: str | None = None, timeout: float = 600.0
    ) -> Any:
        """See `Sparknomad.cluster_scale`."""
        return self.manager.cluster_scale(name, workers, site=site, timeout=timeout)

    def image_list(self) -> Any:
        """See `Sparknomad.image_list`."""
        return self.manager.image_list()

    def image_inspect(self, name: str) -> Any:
        """See `Sparknomad.image_inspect`."""
        return self.manager.image_inspect(name)

    def image_build(self, name: str, body: Mapping[str, Any]) -> Any:
        """See `Sparknomad.image_build`."""
        spec = build_spec(ImageSpec, named(body, "image", name), origin="the request")
        for line in spec.requirements:
            if not _REQUIREMENT.fullmatch(line.replace(" ", "")):
                raise InputError(
                    f"requirements: {line!r}: must be a package and its version, such as "
                    "'numpy>=2'; options, paths and URLs are not taken from a request."
                )
        return self.manager.image_build(spec)

    # jobs

    def job_list(self) -> Any:
        """See `Sparknomad.job_list`."""
        return [without_places(spec) for spec in self.manager.job_list()]

    def job_show(self, job: str) -> Any:
        """See `Sparknomad.job_show`."""
        return without_places(self.manager.job_show(defined("job", job)))

    def job_define(self, job: str, body: Mapping[str, Any]) -> Any:
        """See `Sparknomad.job_define`; the files come with the request."""
        files = decoded(body["files"])
        spec = build_spec(JobSpec, named(body["spec"], "job", job), origin="the request")
        needs = spec.dependencies
        for name in (spec.program, *needs.python, *needs.jars, *needs.files):
            if name not in files:
                raise InputError(f"{name!r}: is no file that came with the request.")
        directory = self._keep(files)
        spec = dataclasses.replace(
            spec,
            program=str(directory / spec.program),
            dependencies=Dependencies(
                python=tuple(str(directory / name) for name in needs.python),
                jars=tuple(str(directory / name) for name in needs.jars),
                files=tuple(str(directory / name) for name in needs.files),
            ),
        )
        check_job(spec)
        refuse_paths(spec.parameters, default_places(spec.parameters))
        self.manager.store.put_job(spec)
        return without_places(spec)

    def _keep(self, files: Mapping[str, bytes]) -> Path:
        """Write files below a name of their content: a job that is redefined keeps its runs."""
        digest = hashlib.sha256()
        for name in sorted(files):
            digest.update(f"{name}:{len(files[name])}:".encode() + files[name])
        directory = self.files / digest.hexdigest()[:32]
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, content in files.items():
            partial = directory / f".{name}.part"
            partial.write_bytes(content)
            partial.replace(directory / name)
        return directory

    def job_remove(self, job: str) -> Any:
        """See `Sparknomad.job_remove`."""
        self.manager.job_remove(job)
        return {"job": job}

    # runs

    def job_runs(
        self,
        job: str | None = None,
        state: str | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> Any:
        """See `Sparknomad.job_runs`."""
        chosen = RunState(state) if state else None
        return self.manager.job_runs(job=job, state=chosen, limit=limit, after=after)

    def job_run(
        self,
        job: str,
        values: Mapping[str, Any] | None = None,
        cluster: str | None = None,
        site: str | None = None,
        timeout: float | None = None,
        queue_timeout: float | None = None,
        stage: Mapping[str, str] | None = None,
        run: str | None = None,
    ) -> Any:
        """See `Sparknomad.job_run`."""
        return self.manager.job_run(
            defined("job", job),
            values or {},
            cluster=cluster,
            site=site,
            timeout=timeout,
            queue_timeout=queue_timeout,
            stage={name: Stage(mode) for name, mode in (stage or {}).items()},
            run=run,
        )

    def job_status(self, run: str) -> Any:
        """See `Sparknomad.job_status`."""
        return self.manager.job_status(run)

    def job_cancel(self, run: str) -> Any:
        """See `Sparknomad.job_cancel`."""
        return self.manager.job_cancel(run)

    def _refuse_local(self, provider: str) -> None:
        if provider == "local" and not self.allow_local:
            raise ForbiddenError(
                "On the embedded cluster programs run as the service's own user; requests may "
                "not use it.",
                hint="`service start --allow-local` lets them, for a service of your own.",
            )

    # pipelines

    def pipeline_list(self) -> Any:
        """See `Sparknomad.pipeline_list`."""
        return [spec_to_dict(spec) for spec in self.manager.pipeline_list()]

    def pipeline_show(self, pipeline: str) -> Any:
        """See `Sparknomad.pipeline_show`."""
        return spec_to_dict(self.manager.pipeline_show(defined("pipeline", pipeline)))

    def pipeline_define(self, pipeline: str, body: Mapping[str, Any]) -> Any:
        """See `Sparknomad.pipeline_define`; its jobs are defined ones."""
        document = named(body, "pipeline", pipeline)
        spec = build_spec(PipelineSpec, document, origin="the request")
        for name, step in spec.steps.items():
            if is_path(step.job):
                raise InputError(
                    f"steps.{name}.job: {step.job!r}: must be the name of a defined job.",
                    hint="PUT /v1/jobs/NAME defines one with its files.",
                )
        if spec.notify:
            raise InputError("notify: is not taken from a request.")
        refuse_paths(spec.parameters, default_places(spec.parameters))
        refuse_wrong(spec, job_finder(self.manager.job_show))
        self.manager.pipeline_keep(spec)
        return spec_to_dict(spec)

    def pipeline_remove(self, pipeline: str) -> Any:
        """See `Sparknomad.pipeline_remove`."""
        self.manager.pipeline_remove(pipeline)
        return {"pipeline": pipeline}

    def pipeline_runs(
        self, pipeline: str | None = None, limit: int = 100, after: str | None = None
    ) -> Any:
        """See `Sparknomad.pipeline_runs`."""
        return self.manager.pipeline_runs(pipeline=pipeline, limit=limit, after=after)

    def pipeline_run(
        self,
        pipeline: str,
        values: Mapping[str, Any] | None = None,
        cluster: str | None = None,
        site: str | None = None,
        reuse: bool = False,
        run: str | None = None,
    ) -> Any:
        """See `Sparknomad.pipeline_run`."""
        return self.manager.pipeline_run(
            defined("pipeline", pipeline),
            values or {},
            cluster=cluster,
            site=site,
            reuse=reuse,
            run=run,
        )

    def pipeline_status(self, run: str) -> Any:
        """See `Sparknomad.pipeline_status`."""
        return self.manager.pipeline_status(run)

    def pipeline_cancel(self, run: str) -> Any:
        """See `Sparknomad.pipeline_cancel`."""
        return self.manager.pipeline_cancel(run)

    def pipeline_resume(self, run: str) -> Any:
        """See `Sparknomad.pipeline_resume`."""
        return self.manager.pipeline_resume(run)

    def pipeline_report(self, run: str) -> Any:
        """See `Sparknomad.pipeline_report`."""
        return self.manager.pipeline_report(run)

    def pipeline_schedules(self) -> Any:
        """See `Sparknomad.pipeline_schedules`."""
        return self.manager.pipeline_schedules()

    def pipeline_schedule(
        self,
        pipeline: str,
        schedule: str,
        values: Mapping[str, Any] | None = None,
        time_zone: str = "UTC",
        overlap: str = "skip",
        cluster: str | None = None,
        site: str | None = None,
        run: str | None = None,
    ) -> Any:
        """See `Sparknomad.pipeline_schedule`."""
        return self.manager.pipeline_schedule(
            defined("pipeline", pipeline),
            values or {},
            schedule=schedule,
            time_zone=time_zone,
            overlap=overlap,
            cluster=cluster,
            site=site,
            run=run,
        )

    def pipeline_unschedule(self, schedule: str) -> Any:
        """See `Sparknomad.pipeline_unschedule`."""
        self.manager.pipeline_unschedule(schedule)
        return {"schedule": schedule}

    # storage

    def storage_profiles(self) -> Any:
        """See `Sparknomad.storage_profile_list`; nothing of their credentials is told."""
        profiles = self.manager.storage_profile_list()
        return [
            {"name": each.name, "kind": each.kind, "url": each.url, "region": each.region,
             "site": each.site}
            for each in profiles
        ]  # fmt: skip

    def storage_check(self, subjects: Sequence[str] = ()) -> Any:
        """See `Sparknomad.storage_check`; only names of profiles are taken."""
        known = {each.name for each in self.manager.storage_profile_list()}
        for name in subjects:
            if name not in known:
                raise NotFoundError(
                    f"There is no storage profile {name!r}.",
                    hint="GET /v1/storage/profiles lists the profiles.",
                )
        return self.manager.storage_check(subjects)

    def storage_staged(self, name: str, site: str | None = None) -> Any:
        """See `Sparknomad.storage_staged`."""
        return self.manager.storage_staged(cluster=name, site=site)

    def storage_evict(self, name: str, site: str | None = None) -> Any:
        """See `Sparknomad.storage_evict`."""
        return self.manager.storage_evict(cluster=name, site=site)

    def call(self, verb: str, arguments: Mapping[str, Any]) -> Any:
        """Do a verb; what it returns, as JSON knows it."""
        function: Callable[..., Any] = getattr(self, verb)
        return to_plain(function(**arguments))


CALLS = frozenset(
    name
    for name, member in vars(Calls).items()
    if callable(member) and not name.startswith("_") and name != "call"
)
"""The verbs that a request can call."""
