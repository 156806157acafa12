"""The verbs of a manager that runs elsewhere, behind its REST service."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import requests

from cloudmesh.sparknomad.connection import POLL_SECONDS, Connection, error_of, events_of
from cloudmesh.sparknomad.errors import InputError
from cloudmesh.sparknomad.job.jobs import read_job
from cloudmesh.sparknomad.job.naming import is_path
from cloudmesh.sparknomad.model import (
    ClusterStatus,
    ImageRecord,
    LogChunk,
    LogStream,
    RunRecord,
)
from cloudmesh.sparknomad.spec_pipelines import PipelineSpec
from cloudmesh.sparknomad.specfile import build_spec, read_spec, spec_to_dict
from cloudmesh.sparknomad.specs import ClusterSpec, ImageSpec, JobSpec, Stage
from cloudmesh.sparknomad.state_pipelines import PipelineRecord
from cloudmesh.sparknomad.state_schedules import ScheduleRecord
from cloudmesh.sparknomad.storage.checking import CheckStep
from cloudmesh.sparknomad.waiting import Deadline, wait_until

__all__ = ["Remote"]

Kind = TypeVar("Kind")

_PAGE = 1000


class Remote:
    """The verbs that a service carries, with the arguments and answers of the manager's.

    What changes something is sent with a key of its own, so that it is done once though it is
    sent again when the connection breaks. Long work is waited for.

    Args:
        url: of the service, with ``/v1``.
        token: of a reader, a submitter or an operator.
        ca: a file with certificates that the service's is checked against.
        say: shows one line of progress of long work.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        ca: Path | None = None,
        say: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._service = Connection(url, token, ca=ca, say=say)
        self.url = self._service.url

    # clusters and images

    def cluster_list(self) -> list[ClusterStatus]:
        """See `Sparknomad.cluster_list`."""
        return self._service.ask(list[ClusterStatus], "cluster_list")

    def cluster_status(self, name: str) -> ClusterStatus:
        """See `Sparknomad.cluster_status`."""
        return self._service.ask(ClusterStatus, "cluster_status", {"name": name})

    def cluster_deploy(self, spec: ClusterSpec, *, timeout: float = 600.0) -> ClusterStatus:
        """See `Sparknomad.cluster_deploy`."""
        places, body = {"name": spec.cluster}, spec_to_dict(spec)
        answer = self._service.send("cluster_deploy", places, {"timeout": timeout}, body)
        return self._service.wait(ClusterStatus, answer)

    def cluster_destroy(self, name: str, *, force: bool = False, timeout: float = 120.0) -> bool:
        """See `Sparknomad.cluster_destroy`."""
        query = {"force": force, "timeout": timeout}
        answer = self._service.send("cluster_destroy", {"name": name}, query)
        return bool(self._service.wait(dict[str, bool], answer)["found"])

    def cluster_scale(
        self, name: str, workers: int, *, site: str | None = None, timeout: float = 600.0
    ) -> ClusterStatus:
        """See `Sparknomad.cluster_scale`."""
        body = {"workers": workers, "site": site, "timeout": timeout}
        return self._service.wait(
            ClusterStatus, self._service.send("cluster_scale", {"name": name}, None, body)
        )

    def image_list(self) -> list[ImageRecord]:
        """See `Sparknomad.image_list`."""
        return self._service.ask(list[ImageRecord], "image_list")

    def image_inspect(self, name: str) -> ImageRecord:
        """See `Sparknomad.image_inspect`."""
        return self._service.ask(ImageRecord, "image_inspect", {"name": name})

    def image_build(self, spec: ImageSpec) -> ImageRecord:
        """See `Sparknomad.image_build`."""
        answer = self._service.send("image_build", {"name": spec.image}, None, spec_to_dict(spec))
        return self._service.wait(ImageRecord, answer)

    # jobs

    def job_list(self) -> list[JobSpec]:
        """See `Sparknomad.job_list`."""
        return [_spec(JobSpec, each) for each in self._service.send("job_list").json()]

    def job_show(self, job: str) -> JobSpec:
        """See `Sparknomad.job_show`; `job` is the name of a defined one."""
        return _spec(JobSpec, self._service.send("job_show", {"job": job}).json())

    def job_define(self, path: Path) -> JobSpec:
        """See `Sparknomad.job_define`; its files go along."""
        spec = read_job(path)
        needs = spec.dependencies
        paths = [spec.program, *needs.python, *needs.jars, *needs.files]
        named: dict[str, Path] = {}
        for each in map(Path, paths):
            if named.setdefault(each.name, each) != each:
                raise InputError(f"Two files of job {spec.job!r} are named {each.name!r}.")
        document = spec_to_dict(spec)
        document["program"] = Path(spec.program).name
        document["dependencies"] = {
            kind: [Path(each).name for each in listed]
            for kind, listed in document["dependencies"].items()
        }
        content = {
            name: base64.b64encode(each.read_bytes()).decode() for name, each in named.items()
        }
        body = {"spec": document, "files": content}
        return _spec(
            JobSpec, self._service.send("job_define", {"job": spec.job}, None, body).json()
        )

    def job_remove(self, job: str) -> None:
        """See `Sparknomad.job_remove`."""
        self._service.send("job_remove", {"job": job})

    # runs

    def job_run(
        self,
        job: str,
        values: Mapping[str, Any],
        *,
        cluster: str | None = None,
        timeout: float | None = None,
        queue_timeout: float | None = None,
        stage: Mapping[str, Stage] | None = None,
        site: str | None = None,
    ) -> RunRecord:
        """See `Sparknomad.job_run`; `job` is the name of a defined one."""
        _refuse_path(job)
        body = {
            "job": job,
            "values": dict(values),
            "cluster": cluster,
            "site": site,
            "timeout": timeout,
            "queue_timeout": queue_timeout,
            "stage": {name: mode.value for name, mode in (stage or {}).items()},
        }
        return self._service.ask(RunRecord, "job_run", body=body)

    def job_runs(
        self,
        *,
        job: str | None = None,
        state: Any = None,
        limit: int | None = None,
        after: str | None = None,
    ) -> list[RunRecord]:
        """See `Sparknomad.job_runs`."""
        query = {"job": job, "state": state}
        return self._paged(RunRecord, "job_runs", query, limit, after)

    def _paged(
        self,
        kind: type[Kind],
        verb: str,
        query: Mapping[str, Any],
        limit: int | None,
        after: str | None,
    ) -> list[Kind]:
        """Runs of a list of which the service tells only so many at once."""
        found: list[Kind] = []
        while limit is None or len(found) < limit:
            asked = _PAGE if limit is None else min(_PAGE, limit - len(found))
            page = {**query, "limit": asked, "after": after}
            told = self._service.ask(list[kind], verb, query=page)  # type: ignore[valid-type]
            found += told
            if len(told) < asked:
                break
            last: Any = told[-1]
            after = last.run
        return found

    def job_status(self, run: str) -> RunRecord:
        """See `Sparknomad.job_status`."""
        return self._service.ask(RunRecord, "job_status", {"run": run})

    def job_cancel(self, run: str) -> RunRecord:
        """See `Sparknomad.job_cancel`."""
        return self._service.ask(RunRecord, "job_cancel", {"run": run})

    def job_wait(self, run: str, *, timeout: float | None = None) -> RunRecord:
        """See `Sparknomad.job_wait`."""
        return _until(lambda: self.job_status(run), run, timeout)

    def job_logs(self, run: str, *, follow: bool = False) -> Iterator[LogChunk]:
        """See `Sparknomad.job_logs`; goes on where it was when the connection breaks."""
        after = ""
        while True:
            headers = {"Last-Event-ID": after} if after else {}
            try:
                with self._service.send(
                    "job_logs", {"run": run}, {"follow": follow}, headers=headers, stream=True
                ) as answer:
                    for name, data, number in events_of(answer):
                        if name == "end":
                            return
                        if name == "problem":
                            raise error_of(data)
                        after = number or after
                        yield LogChunk(LogStream(name), data.encode("utf-8"))
            except requests.RequestException:
                time.sleep(POLL_SECONDS)

    # pipelines

    def pipeline_list(self) -> list[PipelineSpec]:
        """See `Sparknomad.pipeline_list`."""
        return [_spec(PipelineSpec, each) for each in self._service.send("pipeline_list").json()]

    def pipeline_show(self, pipeline: str) -> PipelineSpec:
        """See `Sparknomad.pipeline_show`; `pipeline` is the name of a defined one."""
        return _spec(
            PipelineSpec, self._service.send("pipeline_show", {"pipeline": pipeline}).json()
        )

    def pipeline_define(self, path: Path) -> PipelineSpec:
        """See `Sparknomad.pipeline_define`; its jobs are names of defined ones."""
        spec = read_spec(PipelineSpec, path)
        places = {"pipeline": spec.pipeline}
        answer = self._service.send("pipeline_define", places, None, spec_to_dict(spec))
        return _spec(PipelineSpec, answer.json())

    def pipeline_remove(self, pipeline: str) -> None:
        """See `Sparknomad.pipeline_remove`."""
        self._service.send("pipeline_remove", {"pipeline": pipeline})

    def pipeline_run(
        self,
        pipeline: str,
        values: Mapping[str, Any],
        *,
        cluster: str | None = None,
        site: str | None = None,
        reuse: bool = False,
    ) -> PipelineRecord:
        """See `Sparknomad.pipeline_run`; `pipeline` is the name of a defined one."""
        _refuse_path(pipeline)
        body = {
            "pipeline": pipeline,
            "values": dict(values),
            "cluster": cluster,
            "site": site,
            "reuse": reuse,
        }
        return self._service.ask(PipelineRecord, "pipeline_run", body=body)

    def pipeline_runs(
        self,
        *,
        pipeline: str | None = None,
        limit: int | None = None,
        after: str | None = None,
    ) -> list[PipelineRecord]:
        """See `Sparknomad.pipeline_runs`."""
        return self._paged(PipelineRecord, "pipeline_runs", {"pipeline": pipeline}, limit, after)

    def pipeline_status(self, run: str) -> PipelineRecord:
        """See `Sparknomad.pipeline_status`."""
        return self._service.ask(PipelineRecord, "pipeline_status", {"run": run})

    def pipeline_cancel(self, run: str) -> PipelineRecord:
        """See `Sparknomad.pipeline_cancel`."""
        return self._service.ask(PipelineRecord, "pipeline_cancel", {"run": run})

    def pipeline_resume(self, run: str) -> PipelineRecord:
        """See `Sparknomad.pipeline_resume`."""
        return self._service.ask(PipelineRecord, "pipeline_resume", {"run": run})

    def pipeline_schedule(
        self,
        pipeline: str,
        values: Mapping[str, Any],
        *,
        schedule: str,
        time_zone: str = "UTC",
        overlap: str = "skip",
        cluster: str | None = None,
        site: str | None = None,
    ) -> ScheduleRecord:
        """See `Sparknomad.pipeline_schedule`; `pipeline` is the name of a defined one."""
        _refuse_path(pipeline)
        body = {
            "pipeline": pipeline,
            "values": dict(values),
            "schedule": schedule,
            "time_zone": time_zone,
            "overlap": overlap,
            "cluster": cluster,
            "site": site,
        }
        return self._service.ask(ScheduleRecord, "pipeline_schedule", body=body)

    def pipeline_schedules(self) -> list[ScheduleRecord]:
        """See `Sparknomad.pipeline_schedules`."""
        return self._service.ask(list[ScheduleRecord], "pipeline_schedules")

    def pipeline_unschedule(self, schedule: str) -> None:
        """See `Sparknomad.pipeline_unschedule`."""
        self._service.send("pipeline_unschedule", {"schedule": schedule})

    def pipeline_wait(self, run: str, *, timeout: float | None = None) -> PipelineRecord:
        """See `Sparknomad.pipeline_wait`."""
        return _until(lambda: self.pipeline_status(run), run, timeout)

    # storage

    def storage_check(self, subjects: Sequence[str] = ()) -> list[CheckStep]:
        """See `Sparknomad.storage_check`; `subjects` are names of profiles there."""
        answer = self._service.send("storage_check", body={"subjects": list(subjects)})
        return self._service.wait(list[CheckStep], answer)


def _spec(kind: type[Kind], data: Mapping[str, Any]) -> Kind:
    return build_spec(kind, data, origin="the service")


def _refuse_path(name: str) -> None:
    if is_path(name):
        raise InputError(
            f"{name!r}: a service runs what is defined there.",
            hint="Define it first: job_define(path), or pipeline_define(path).",
        )


def _until(look: Callable[[], Kind], run: str, timeout: float | None) -> Kind:
    def ended() -> Kind | None:
        record: Any = look()
        return record if record.state.is_terminal else None

    deadline = Deadline(timeout if timeout is not None else float("inf"))
    return wait_until(ended, f"run {run!r} to end", deadline, interval=POLL_SECONDS)
