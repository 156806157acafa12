"""What every provider must do; a provider joins by a subclass with a `harness` fixture.

::

    class TestMine(ProviderConformance):
        @pytest.fixture(scope="class")
        def harness(self, tmp_path_factory):
            ...
            yield Harness(provider, spec, runtime)
"""

from __future__ import annotations

import json
import textwrap
import time
import uuid
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from cloudmesh.sparknomad.cluster.provider import ClusterProvider
from cloudmesh.sparknomad.errors import InputError, NotFoundError
from cloudmesh.sparknomad.model import (
    ClusterState,
    LogStream,
    RunState,
    RunStatus,
    Runtime,
    Submission,
)
from cloudmesh.sparknomad.specfile import build_spec
from cloudmesh.sparknomad.specs import ClusterSpec, JobSpec

SECONDS = 180.0

HOSTILE = (
    "",
    "two words",
    'quo"te',
    "apo'strophe",
    "back\\slash\\",
    "$HOME `id` $(id)",
    "line\nbreak\r\ttab",
    "ünï→𝄞",
    "--looks=like-option",
    "{json: [1, 2]}",
    "*",
    "x" * 200_000,
)


@dataclass(frozen=True)
class Harness:
    """A deployed cluster.

    Attributes:
        provider: under test.
        spec: of the cluster, which is deployed.
        runtime: what it was deployed with.
        spark: whether programs can use Spark.
    """

    provider: ClusterProvider
    spec: ClusterSpec
    runtime: Runtime | None
    spark: bool = True

    def submit(self, directory: Path, program: str, *arguments: str, **fields: Any) -> str:
        """Submit a program's text as a run; its id is returned."""
        return self.submit_as(
            f"run-{uuid.uuid4().hex[:12]}", directory, program, *arguments, **fields
        )

    def submit_as(
        self, run: str, directory: Path, program: str, *arguments: str, **fields: Any
    ) -> str:
        """Submit with an id of our own."""
        path = directory / "program.py"
        path.write_text(textwrap.dedent(program), "utf-8")
        timeout = fields.pop("timeout", None)
        job = build_spec(JobSpec, {"job": "conformance", "program": str(path), **fields})
        self.provider.submit(self.spec, Submission(run, job, arguments, timeout))
        return run

    def wait(self, run: str, *states: RunState) -> RunStatus:
        """Wait until a run is in one of the states, or has ended."""
        give_up = time.monotonic() + SECONDS
        while True:
            status = self.provider.run_status(self.spec.cluster, run)
            if status.state in states or status.state.is_terminal:
                return status
            assert time.monotonic() < give_up, f"run {run} is still {status}"
            time.sleep(0.1)

    def output(self, run: str, stream: LogStream, *, follow: bool = True) -> str:
        """All of one stream."""
        chunks = self.provider.logs(self.spec.cluster, run, streams=[stream], follow=follow)
        return b"".join(chunk.data for chunk in chunks).decode()


class ProviderConformance:
    """The contract of `ClusterProvider`, seen from outside."""

    # plans

    def test_a_plan_names_its_steps_and_touches_nothing(self, harness: Harness) -> None:
        spec = replace(harness.spec, cluster="only-planned")
        plan = harness.provider.plan(spec, harness.runtime)
        assert plan.steps
        assert all(step.title for step in plan.steps)
        assert not harness.provider.leftovers("only-planned")

    # names

    def test_an_unknown_cluster_is_not_found(self, harness: Harness) -> None:
        with pytest.raises(NotFoundError, match="no cluster 'nowhere'"):
            harness.provider.status("nowhere")

    def test_an_unknown_run_is_not_found(self, harness: Harness) -> None:
        with pytest.raises(NotFoundError, match="run 'none'"):
            harness.provider.run_status(harness.spec.cluster, "none")

    @pytest.mark.parametrize("name", ["", "Upper", "a/b", "..", "x" * 41, "-a", "a b"])
    def test_a_wrong_name_is_refused(self, harness: Harness, name: str) -> None:
        with pytest.raises(InputError):
            harness.provider.status(name)

    # clusters

    def test_a_deployed_cluster_is_running_with_its_workers(self, harness: Harness) -> None:
        status = harness.provider.status(harness.spec.cluster)
        assert status.state is ClusterState.RUNNING, status.reason
        assert status.workers == status.workers_wanted == harness.spec.workers
        assert all(part.healthy for part in status.components)

    def test_deploying_again_changes_nothing(self, harness: Harness) -> None:
        before = harness.provider.status(harness.spec.cluster)
        after = harness.provider.deploy(harness.spec, harness.runtime, timeout=SECONDS)
        assert after.endpoints == before.endpoints
        assert {part.name for part in after.components} == {p.name for p in before.components}

    def test_the_number_of_workers_changes_both_ways(self, harness: Harness) -> None:
        more = replace(harness.spec, workers=harness.spec.workers + 1)
        assert harness.provider.scale(more, timeout=SECONDS).workers == more.workers
        fewer = replace(harness.spec, workers=harness.spec.workers - 1)
        status = harness.provider.scale(fewer, timeout=SECONDS)
        assert (status.workers, status.state) == (fewer.workers, ClusterState.RUNNING)
        back = harness.provider.scale(harness.spec, timeout=SECONDS)
        assert back.workers == harness.spec.workers

    def test_every_component_has_a_log(self, harness: Harness) -> None:
        assert dict(harness.provider.cluster_logs(harness.spec.cluster))

    # runs

    def test_a_program_succeeds_with_its_streams_apart(
        self, harness: Harness, tmp_path: Path
    ) -> None:
        program = """
            import sys
            print("to stdout")
            print("to stderr", file=sys.stderr)
        """
        run = harness.submit(tmp_path, program)
        status = harness.wait(run)
        assert status.state is RunState.SUCCEEDED, status
        assert (status.exit_code, status.reason, status.attempts) == (0, "", 1)
        assert status.started is not None and status.finished is not None
        assert status.started <= status.finished
        assert status.report["compute_seconds"]
        assert harness.output(run, LogStream.STDOUT) == "to stdout\n"
        assert "to stderr\n" in harness.output(run, LogStream.STDERR)
        assert "to stdout" not in harness.output(run, LogStream.STDERR)

    def test_arguments_arrive_as_they_were_given(self, harness: Harness, tmp_path: Path) -> None:
        program = "import json, sys; print(json.dumps(sys.argv[1:]))"
        run = harness.submit(tmp_path, program, *self.arguments(harness))
        assert harness.wait(run).state is RunState.SUCCEEDED
        assert json.loads(harness.output(run, LogStream.STDOUT)) == list(self.arguments(harness))

    def arguments(self, harness: Harness) -> Sequence[str]:
        """What `test_arguments_arrive_as_they_were_given` passes."""
        return HOSTILE

    def test_a_failing_program_tells_its_exit_code_and_last_line(
        self, harness: Harness, tmp_path: Path
    ) -> None:
        program = """
            import sys
            print("the last words", file=sys.stderr)
            sys.exit(7)
        """
        status = harness.wait(harness.submit(tmp_path, program))
        assert status.state is RunState.FAILED
        assert status.exit_code == 7
        assert "exit code 7" in status.reason and "the last words" in status.reason

    def test_a_failing_program_is_retried_as_often_as_its_budget_says(
        self, harness: Harness, tmp_path: Path
    ) -> None:
        run = harness.submit(
            tmp_path, "print('again'); raise SystemExit(3)", retries={"program": 1}
        )
        status = harness.wait(run)
        assert status.state is RunState.FAILED
        assert status.attempts == 2
        assert harness.output(run, LogStream.STDOUT) == "again\nagain\n"

    def test_a_program_is_ended_at_its_timeout(self, harness: Harness, tmp_path: Path) -> None:
        run = harness.submit(tmp_path, "import time; time.sleep(600)", timeout=6.0)
        status = harness.wait(run)
        assert status.state is RunState.FAILED
        assert "timeout" in status.reason

    def test_one_id_is_one_run(self, harness: Harness, tmp_path: Path) -> None:
        run = harness.submit(tmp_path, "print('once')")
        harness.submit_as(run, tmp_path, "print('once')")
        assert harness.wait(run).state is RunState.SUCCEEDED
        harness.submit_as(run, tmp_path, "print('once')")
        assert harness.wait(run).state is RunState.SUCCEEDED
        assert harness.output(run, LogStream.STDOUT) == "once\n"

    def test_a_run_is_cancelled_and_stays_so(self, harness: Harness, tmp_path: Path) -> None:
        run = harness.submit(tmp_path, "import time; print('begun', flush=True); time.sleep(600)")
        harness.wait(run, RunState.RUNNING)
        provider, cluster = harness.provider, harness.spec.cluster
        assert provider.cancel(cluster, run, timeout=SECONDS).state is RunState.CANCELLED
        assert provider.cancel(cluster, run, timeout=SECONDS).state is RunState.CANCELLED
        assert provider.run_status(cluster, run).state is RunState.CANCELLED

    def test_output_can_be_followed_while_the_program_runs(
        self, harness: Harness, tmp_path: Path
    ) -> None:
        program = """
            import time
            print("first", flush=True)
            time.sleep(3)
            print("last", flush=True)
        """
        run = harness.submit(tmp_path, program)
        provider, cluster = harness.provider, harness.spec.cluster
        chunks = provider.logs(cluster, run, streams=[LogStream.STDOUT], follow=True)
        first = next(chunks).data
        assert first == b"first\n"
        assert not provider.run_status(cluster, run).state.is_terminal
        assert first + b"".join(chunk.data for chunk in chunks) == b"first\nlast\n"
        assert provider.run_status(cluster, run).state.is_terminal

    def test_a_burst_of_output_just_before_the_end_is_whole(
        self, harness: Harness, tmp_path: Path
    ) -> None:
        program = "for number in range(20_000): print(number)"
        run = harness.submit(tmp_path, program)
        expected = "".join(f"{number}\n" for number in range(20_000))
        assert harness.output(run, LogStream.STDOUT) == expected
        assert harness.output(run, LogStream.STDOUT, follow=False) == expected

    def test_all_runs_are_told_again_for_a_lost_store(
        self, harness: Harness, tmp_path: Path
    ) -> None:
        run = harness.submit(tmp_path, "pass")
        harness.wait(run)
        told = {status.run: status for status in harness.provider.reconcile(harness.spec.cluster)}
        assert told[run].state is RunState.SUCCEEDED

    def test_an_executor_larger_than_any_worker_is_refused(
        self, harness: Harness, tmp_path: Path
    ) -> None:
        cores = harness.spec.cores + 1
        with pytest.raises(InputError, match=rf"cores: {cores}"):
            harness.submit(tmp_path, "pass", resources={"executors": {"cores": cores}})

    # Spark

    def test_spark_computes_on_the_workers(self, harness: Harness, tmp_path: Path) -> None:
        if not harness.spark:
            pytest.skip("this provider runs programs without Spark")
        program = """
            from pyspark.sql import SparkSession, functions as F
            spark = SparkSession.builder.getOrCreate()
            numbers = spark.range(1000)
            total = numbers.select(F.sum("id")).first()[0]
            squares = spark.sparkContext.parallelize(range(10), 2).map(lambda n: n * n).sum()
            print(total, squares)
        """
        run = harness.submit(tmp_path, program)
        status = harness.wait(run)
        assert status.state is RunState.SUCCEEDED, harness.output(run, LogStream.STDERR)
        assert harness.output(run, LogStream.STDOUT) == "499500 285\n"
        assert status.report["tasks"]
        assert status.report["executors"]

    def test_dependencies_reach_driver_and_executors(
        self, harness: Harness, tmp_path: Path
    ) -> None:
        if not harness.spark:
            pytest.skip("this provider runs programs without Spark")
        with zipfile.ZipFile(tmp_path / "extra.zip", "w") as archive:
            archive.writestr("extra.py", "def triple(n): return 3 * n\n")
        (tmp_path / "factor.txt").write_text("5")
        program = """
            from pathlib import Path
            from pyspark import SparkFiles
            from pyspark.sql import SparkSession
            import extra
            context = SparkSession.builder.getOrCreate().sparkContext
            def work(n):
                import extra
                return extra.triple(n) * int(open(SparkFiles.get("factor.txt")).read())
            here = int(Path("factor.txt").read_text())
            print(extra.triple(1), here, context.parallelize([1, 2], 2).map(work).sum())
        """
        needs = {"python": [str(tmp_path / "extra.zip")], "files": [str(tmp_path / "factor.txt")]}
        run = harness.submit(tmp_path, program, dependencies=needs)
        status = harness.wait(run)
        assert status.state is RunState.SUCCEEDED, harness.output(run, LogStream.STDERR)
        assert harness.output(run, LogStream.STDOUT) == "3 5 45\n"

    # the end

    def test_a_destroyed_cluster_leaves_nothing_and_can_be_destroyed_again(
        self, harness: Harness, tmp_path: Path
    ) -> None:
        provider = harness.provider
        spec = replace(harness.spec, cluster="short-lived", workers=1)
        provider.deploy(spec, harness.runtime, timeout=SECONDS)
        other = replace(harness, spec=spec)
        run = other.submit(tmp_path, "import time; time.sleep(600)")
        other.wait(run, RunState.RUNNING)
        provider.destroy("short-lived", timeout=SECONDS)
        assert not provider.leftovers("short-lived")
        with pytest.raises(NotFoundError):
            provider.status("short-lived")
        provider.destroy("short-lived", timeout=SECONDS)
