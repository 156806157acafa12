"""Every task that Nomad's exec runs sees the image, by volumes that its host offers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cloudmesh.sparknomad.cluster.definition import build_definition
from cloudmesh.sparknomad.cluster.nomad import plans, shared_runs
from cloudmesh.sparknomad.cluster.nomad.configuration import IMAGE_PARTS, local_configuration
from cloudmesh.sparknomad.cluster.nomad.record import NomadCluster
from cloudmesh.sparknomad.cluster.nomad.wanted import wanted_cluster
from cloudmesh.sparknomad.model import ImageRuntime
from cloudmesh.sparknomad.specfile import build_spec
from cloudmesh.sparknomad.specs import ClusterSpec, JobSpec

RUNTIME = ImageRuntime("a" * 64, "", "4.1.4", Path("/rootfs"))


def record_of(driver: str, **fields: Any) -> NomadCluster:
    document = {"cluster": "c", "driver": driver, **fields}
    return wanted_cluster(build_spec(ClusterSpec, document), RUNTIME, data=Path("d"), binary="n")


def jobs_of(cluster: NomadCluster, program: Path) -> list[plans.NomadJob]:
    definition = build_definition(JobSpec("j", str(program)))
    own = {"namespace": "service", "packages": "p", "port": 1, "tls": False, "mark": "m"}
    return [
        *plans.cluster_jobs(cluster, "4.1.4"),
        plans.run_job(cluster, "4.1.4", definition),
        *plans.shared_jobs(cluster, "4.1.4", "runs"),
        plans.pipeline_job(cluster, "4.1.4"),
        plans.sweep_job(cluster, "4.1.4"),
        plans.service_job(cluster, **own),  # type: ignore[arg-type]
    ]


@pytest.mark.parametrize(
    ("driver", "hosts"), [("exec", []), ("exec", ["h1", "h2"]), ("docker", []), ("raw_exec", [])]
)
def test_every_job_is_given_the_parts_that_its_hosts_offer(
    tmp_path: Path, driver: str, hosts: list[str]
) -> None:
    (tmp_path / "p.py").write_text("")
    cluster = record_of(driver, hosts=hosts, workers={"min": 1, "max": 3}, idle="1h")
    jobs = jobs_of(cluster, tmp_path / "p.py")
    names = {job.name for job in jobs}
    assert {"scaler", "service", "spark-worker", "run", "pipeline", "pipeline-sweep"} <= names
    wanted = list(IMAGE_PARTS) if driver == "exec" else []
    assert {job.name: job.variables["parts"] for job in jobs} == dict.fromkeys(names, wanted)
    for job in jobs:
        assert job.hcl.count('dynamic "volume_mount"') == job.hcl.count('    task "')


def test_what_a_cluster_of_before_offers_is_linked() -> None:
    cluster = record_of("exec")
    before = replace(cluster, mounts=False)
    configured = {
        each.mounts: local_configuration("c", each, memory_mb=1, docker_endpoint="")["client"]
        for each in (cluster, before)
    }
    offered = [name for entry in configured[True]["host_volume"] for name in entry]
    assert offered == [f"image-{part}" for part in IMAGE_PARTS]
    linked = set(configured[True]["chroot_env"].values())
    assert not linked & {f"/{part}" for part in IMAGE_PARTS}
    assert "host_volume" not in configured[False]
    assert {f"/{part}" for part in IMAGE_PARTS} < set(configured[False]["chroot_env"].values())
    assert plans.cluster_jobs(before, "4")[0].variables["parts"] == []
    assert before.runtime != cluster.runtime  # runs of jobs from before are not mixed with these


@pytest.mark.parametrize("sites", [{}, {"east": {"hosts": ["a"]}, "far-west": {"hosts": ["b"]}}])
def test_the_jobs_for_a_tokens_runs_are_found_by_size_and_site(sites: dict[str, Any]) -> None:
    cluster = record_of("exec", sites=sites) if sites else record_of("exec")
    for each in (cluster, replace(cluster, mounts=False)):
        ids = [str(job.variables["job"]) for job in plans.shared_jobs(each, "4.1.4", "runs")]
        found = [shared_runs._ID.fullmatch(name) for name in ids]
        told = {(int(match[1]), match[2] or "") for match in found if match}
        assert told == {(size, site) for size in plans.SHARED_SIZES for site in sites or [""]}
