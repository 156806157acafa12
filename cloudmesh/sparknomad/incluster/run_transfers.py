"""The inputs and outputs of a run that go through its cluster's own storage."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path[:0] = [str(Path(__file__).resolve().parent)]

import java_files  # noqa: E402
import sparkconf  # noqa: E402

if TYPE_CHECKING:
    from cloudmesh.sparknomad.incluster import (
        localfiles,
        locks,
        run_children,
        run_copies,
        run_inputs,
        run_outputs,
        run_staging,
        staged,
        transfers,
        webhdfs,
    )
else:
    import localfiles
    import locks
    import run_children
    import run_copies
    import run_inputs
    import run_outputs
    import run_staging
    import staged
    import transfers
    import webhdfs

__all__ = ["RunTransfers", "cluster_files"]

_PATIENCE_SECONDS = 60
_END_SECONDS = 20
_WORKERS_SECONDS = 30
_CHANGES = {
    # Its tasks are no part of the run's own measurements, and it uses every worker.
    "spark.eventLog.enabled": "false",
    "spark.cores.max": None,
    "spark.submit.pyFiles": None,
    "spark.files": None,
    "spark.dynamicAllocation.enabled": "false",
    # An object that is read once needs no question before it.
    "spark.hadoop.fs.s3a.connection.maximum": "64",
    "spark.hadoop.fs.s3a.threads.max": "16",
    # Without this, Google's connector tells no checksums.
    "spark.hadoop.fs.gs.checksum.type": "CRC32C",
}


def cluster_files(cluster: Mapping[str, Any]) -> locks.Files:
    """The cluster's own storage."""
    if cluster.get("hdfs"):
        return webhdfs.WebHdfs(cluster["hdfs"], patience=_PATIENCE_SECONDS)
    return localfiles.LocalFiles(Path(cluster["staging"]["root"]).parent)


def _copies(workers: run_staging.Workers, least: int = 1) -> int:
    """How many copies each block has of what is staged.

    Args:
        workers: that there are now.
        least: where workers go by themselves, one copy would go with one.
    """
    return max(least, min(2, len(workers.hosts)))


def _missing(answered: int, wanted: int) -> dict[str, Any]:
    """The step of a check that tells of workers that did not take part."""
    detail = f"{answered} of {wanted} workers answered: the others are away, or have no room"
    told = {"node": "cluster", "subject": "", "step": "workers", "detail": detail}
    return {**told, "ok": False, "seconds": 0.0, "rate": 0.0}


class _Java:
    """The agent's process, as `transfers.Agent` sees it."""

    def __init__(self, child: run_children.Child) -> None:
        self._child = child

    def poll(self) -> int | None:
        return self._child.poll()

    def write(self, line: bytes) -> None:
        stream = self._child.process.stdin
        assert stream is not None
        stream.write(line)
        stream.flush()


class RunTransfers:
    """What one run brings into its cluster, and out of it.

    Args:
        directory: of the run.
        definition: its job.
        run: its document; ``inputs`` and ``outputs`` say what is to be brought.
        cluster: where it runs.
        children: the run's processes.
        output: where messages go.
        wait_for_room: waits until executors can be had.
    """

    def __init__(
        self,
        directory: Path,
        definition: dict[str, Any],
        run: dict[str, Any],
        cluster: dict[str, Any],
        children: run_children.Children,
        output: run_children.Output,
        wait_for_room: Callable[[], None],
    ) -> None:
        self.directory = directory
        self.definition = definition
        self.run = run
        self.cluster = cluster
        self.children = children
        self.output = output
        self.wait_for_room = wait_for_room
        self.inputs: list[dict[str, Any]] = run.get("inputs", [])
        self.outputs: list[dict[str, Any]] = run.get("outputs", [])
        self.report: dict[str, Any] = {}
        self._child: run_children.Child | None = None
        self._agent: transfers.Agent | None = None
        self._catalog: staged.Catalog | None = None
        self._started = 0
        self._has_room = False

    @property
    def _least_copies(self) -> int:
        return int(self.cluster.get("least_copies", 1))

    @property
    def copies(self) -> list[dict[str, Any]]:
        """What is to be copied."""
        return [self._placed(each) for each in self.run.get("copies", [])]

    @property
    def checks(self) -> list[dict[str, Any]] | None:
        """What is to be tried; ``None`` if this run tries nothing."""
        checks = self.run.get("checks")
        return None if checks is None else [self._placed(each) for each in checks]

    def renew(self) -> None:
        """Ask the cluster's storage where it is now."""
        self.end_agent()
        self._catalog = None

    @property
    def wanted(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.inputs or self.outputs or self.copies or self.checks is not None)

    def _placed(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Put the cluster's own storage in the place of ``cluster:``."""
        own = str(self.cluster.get("storage", "cluster:"))
        return {
            key: f"{own}/{value.removeprefix('cluster:/')}"
            if key in ("source", "target", "url") and str(value).startswith("cluster:/")
            else value
            for key, value in document.items()
        }

    # the agent

    def start(self) -> None:
        """Start the agent before anybody asks it: that takes about a second."""
        if self.inputs or self.outputs or self.copies:
            self.agent()

    def agent(self) -> transfers.Agent:
        """The transfer agent; started if it does not run."""
        if self._agent is None or self._child is None or self._child.poll() is not None:
            self._start_agent({})
        assert self._agent is not None
        return self._agent

    def _start_agent(self, more: Mapping[str, str | None]) -> None:
        self._started += 1
        scratch = self.directory / f"transfer-{self._started}"
        scratch.mkdir(mode=0o700, exist_ok=True)
        workers = run_staging.find_workers(self.cluster["master_ui"])
        changes = {
            **_CHANGES,
            "spark.app.name": f"{self.run['run']} transfer",
            "spark.jars": Path(self.cluster["agent"]).as_uri(),
            "spark.hadoop.dfs.replication": str(_copies(workers, self._least_copies)),
            **more,
        }
        java = sparkconf.agent_command(
            self.definition, self.cluster, self.directory, scratch, changes
        )
        answers = scratch / "answers"
        command = [*java, str(answers)]
        arguments = scratch / "java.args"
        java_files.write_private(arguments, java_files.argument_file(command))
        environment = sparkconf.environment(self.definition, self.cluster, self.directory)
        self._child = self.children.start(
            [f"{self.cluster['java_home']}/bin/java", f"@{arguments}"],
            stdin=subprocess.PIPE,
            directory=self.directory,
            environment=environment,
        )
        alone = workers.are_only_on(self.cluster["host"])
        self._agent = transfers.Agent(_Java(self._child), answers, self._explain, alone=alone)

    def _explain(self) -> str:
        """Why the agent ended: the last that it said."""
        told = [line for line in self.output.tail if "WARN" not in line]
        code = self._child.poll() if self._child else None
        last = f": {told[-1]}" if told else ""
        return f"the transfer agent ended (exit code {code}){last}"

    def _get_room(self) -> None:
        """Wait until executors can be had, unless the agent has some already."""
        if not self._has_room:
            self.wait_for_room()
        self._has_room = True

    def end_agent(self) -> None:
        """Let the agent end: its memory is the program's then."""
        if self._child is not None:
            self._child.close_input()
            self._child.wait(_END_SECONDS)
        self._child = self._agent = None
        self._has_room = False

    # inputs and outputs

    @property
    def catalog(self) -> staged.Catalog:
        """What is staged in the cluster."""
        if self._catalog is None:
            root = self.cluster["staging"]["root"]
            self._catalog = staged.Catalog(cluster_files(self.cluster), root)
        return self._catalog

    def _settings(self) -> run_inputs.Settings:
        staging = self.cluster["staging"]
        workers = run_staging.find_workers(self.cluster["master_ui"])
        return run_inputs.Settings(
            staging["prefix"],
            _copies(workers, self._least_copies),
            staging.get("quota"),
            workers.cores,
        )

    def _outputs(self) -> run_outputs.Outputs:
        return run_outputs.Outputs(
            self.catalog.files,
            f"{self.cluster['staging']['outgoing']}/{self.run['run']}",
            self.agent,
            self._settings(),
            self.directory / "uploaded.json",
            self.output.say,
        )

    def prepare(self) -> dict[str, str]:
        """Bring the inputs, and refuse outputs whose place is taken.

        Returns:
            What stands in the program's arguments, and what it is to be replaced by.

        Raises:
            run_inputs.InputError: if something can't be had or written.
            run_staging.InfrastructureError: if it could not be had now.
        """
        places: dict[str, str] = {}
        inputs = run_inputs.Inputs(
            self.catalog,
            self.agent,
            self.run["run"],
            self._settings(),
            self.output.say,
            self._get_room,
        )
        try:
            if self.checks is not None:
                self.report["checks"] = self._check(self.checks)
            outputs = self._outputs()
            for wanted in self.outputs:
                outputs.check(wanted)
                places[wanted["token"]] = outputs.url(wanted["name"])
            for wanted in self.inputs:
                brought = inputs.bring(wanted)
                places[wanted["token"]] = brought.url
                self.report.setdefault("inputs", {})[brought.name] = dict(brought.report)
            for wanted in self.copies:
                told = run_copies.copy(
                    self.agent,
                    wanted,
                    self._settings(),
                    self.output.say,
                    self.directory / "copied-parts.json",
                )
                self.report.setdefault("copies", []).append(told)
        except transfers.TransferError as error:
            raise run_staging.InfrastructureError(f"a transfer failed: {error.reason}") from error
        finally:
            self.end_agent()
        return places

    def _check(self, subjects: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Try storages from every worker: one executor that takes all of its cores."""
        wanted = int(self.run.get("workers") or 1)
        workers = self._await_workers(wanted)
        cores = str(max(1, workers.cores // max(1, workers.number)))
        self._start_agent({"spark.executor.cores": cores, "spark.task.cpus": cores})
        python = self.cluster["executor_python"]
        steps = self.agent().check(subjects, workers.number, python)
        wanted = max(wanted, workers.number)
        answered = len({step["node"] for step in steps})
        return steps if answered >= wanted else [*steps, _missing(answered, wanted)]

    def _await_workers(self, wanted: int) -> run_staging.Workers:
        """The workers, as soon as there are so many, or when they were waited for in vain."""
        give_up = time.monotonic() + _WORKERS_SECONDS
        while True:
            workers = run_staging.find_workers(self.cluster["master_ui"])
            if workers.number >= wanted or time.monotonic() > give_up:
                return workers
            time.sleep(0.5)

    def upload(self) -> str:
        """Bring the staged outputs to their places.

        Returns:
            Why that can't be done; empty if it was.

        Raises:
            run_staging.InfrastructureError: if it could not be done now.
        """
        outputs = self._outputs()
        try:
            for wanted in self.outputs:
                told = self.report.setdefault("outputs", {})
                if wanted["name"] not in told:
                    told[wanted["name"]] = outputs.upload(wanted)
        except transfers.TransferError as error:
            where = f"what was written is kept in cluster:/outgoing/{self.run['run']}"
            reason = f"an output could not be written: {error.reason} ({where})"
            if error.is_transient:
                raise run_staging.InfrastructureError(reason) from error
            return reason
        finally:
            self.end_agent()
        return ""

    def lost_input(self) -> str:
        """The first input of which the cluster has lost blocks; it is dropped. Empty if none."""
        for told in self.report.get("inputs", {}).values():
            key = told.get("key")
            with contextlib.suppress(OSError):
                if key and not self.catalog.is_whole(key):
                    self.catalog.evict(key, force=True)
                    return str(told["source"])
        return ""

    def release(self) -> None:
        """Give back what is held in the cluster."""
        if self._catalog is not None:
            with contextlib.suppress(OSError):
                self._catalog.release()
            self._catalog = None

    def forget_outputs(self) -> None:
        """Remove what the run has written for later, and what is left of it."""
        if self.outputs:
            place = f"{self.cluster['staging']['outgoing']}/{self.run['run']}"
            with contextlib.suppress(OSError):
                cluster_files(self.cluster).delete(place)

    def save_report(self, path: Path) -> None:
        """Keep what was measured, for a supervisor that goes on."""
        path.write_text(json.dumps(self.report), "utf-8")
