"""The main path on a real Nomad through the command: deploy, build, run, look, destroy."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from acceptance.conftest import Command, ended

from cloudmesh.sparknomad.model import ImageRecord

pytestmark = pytest.mark.nomad
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def deployed(
    root: None, image: ImageRecord, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Command]:
    """A cluster `default` of two workers, by the exec driver."""
    with ended(Command(tmp_path_factory.mktemp("nomad home"), cache)) as command:
        command.ok("cluster", "deploy", "--driver=exec")
        yield command


def write(directory: Path, text: str) -> str:
    program = directory / "program.py"
    program.write_text(text)
    return str(program)


def test_a_deployed_cluster_tells_its_addresses_and_they_answer(deployed: Command) -> None:
    status = deployed.ok("cluster", "status", "--output=json").json()
    assert (status["state"], status["workers"]) == ("running", 2)
    endpoints = deployed.ok("cluster", "ui", "--output=json").json()
    for name in ("Spark master UI", "Spark History Server", "HDFS NameNode UI", "Nomad"):
        with urllib.request.urlopen(endpoints[name], timeout=20) as answer:
            assert answer.status == 200, name


def test_nomad_refuses_whoever_has_no_token(deployed: Command) -> None:
    address = deployed.ok("cluster", "ui", "--output=json").json()["Nomad"]
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{address}/v1/jobs", timeout=20)


def test_token_and_secret_are_readable_by_their_owner_alone(deployed: Command) -> None:
    home = deployed.home / ".cloudmesh" / "sparknomad"
    record = home / "clusters" / "default" / "cluster.json"
    assert stat.S_IMODE(record.stat().st_mode) == 0o600
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "state.db").stat().st_mode) == 0o600


def test_no_secret_is_in_a_job_an_argument_or_a_log(deployed: Command) -> None:
    import psutil

    record = json.loads(
        (deployed.home / ".cloudmesh/sparknomad/clusters/default/cluster.json").read_text()
    )
    secrets = (record["token"], record["spark_secret"])
    request = urllib.request.Request(
        f"http://127.0.0.1:{record['ports']['http']}/v1/job/spark-worker",
        headers={"X-Nomad-Token": record["token"]},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        texts = [answer.read().decode()]
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess):  # it ended after it was listed
            texts.append(" ".join(process.cmdline()))
    texts.append(deployed.ok("cluster", "logs").out)
    for secret in secrets:
        assert not [text[:200] for text in texts if secret in text]


def test_the_flights_job_runs_on_a_file_of_this_machine(deployed: Command, tmp_path: Path) -> None:
    flights = tmp_path / "flights.csv"
    lines = ["year,month,carrier,dep_delay"]
    lines += [f"2013,{month},{carrier},{month}" for month in (1, 2) for carrier in ("AA", "UA")]
    flights.write_text("\n".join(lines) + "\n")
    done = deployed.ok("job", "run", str(EXAMPLES / "delays.yaml"), "--param", f"input={flights}")
    assert "4 flights" in done.out
    assert ["AA", "1.0", "2.0"] in [line.split()[:3] for line in done.out.splitlines()]
    run = deployed.ok("job", "runs", "--limit=1", "--quiet", "--output=json").json()[0]["run"]
    report = deployed.ok("job", "report", run, "--output=json").json()
    assert report["input_records"] >= 4
    assert report["executors"] >= 1


def test_a_table_without_a_place_is_whole_and_goes_with_its_run(
    deployed: Command, tmp_path: Path
) -> None:
    program = write(
        tmp_path,
        "from pyspark.sql import SparkSession\n"
        "spark = SparkSession.builder.getOrCreate()\n"
        "spark.range(100).repartition(4).write.saveAsTable('kept')\n"
        "print(spark.table('kept').count())",
    )
    assert deployed.ok("job", "run", program).out == "100\n"
    assert deployed.ok("storage", "list", "cluster:warehouses/", "--output=json").json() == []


def test_the_event_log_reaches_the_history_server(deployed: Command, tmp_path: Path) -> None:
    program = write(
        tmp_path,
        "from pyspark.sql import SparkSession\n"
        "print(SparkSession.builder.getOrCreate().range(10).count())",
    )
    run = deployed.ok("job", "run", program, "--detach").out.strip()
    deployed.ok("job", "wait", run)
    application = deployed.ok("job", "report", run, "--output=json").json()["application_id"]
    address = deployed.ok("cluster", "ui", "--output=json").json()["Spark History Server"]
    give_up = time.monotonic() + 60
    while True:
        with urllib.request.urlopen(f"{address}/api/v1/applications", timeout=20) as answer:
            if application in [each["id"] for each in json.load(answer)]:
                return
        assert time.monotonic() < give_up
        time.sleep(0.5)


def test_large_arguments_pass(deployed: Command, tmp_path: Path) -> None:
    (tmp_path / "p.py").write_text("import sys, hashlib; print(len(sys.argv[1]))")
    (tmp_path / "job.yaml").write_text(
        "job: large\nprogram: p.py\nparameters: {text: {type: string}}\narguments: ['{text}']\n"
    )
    # One word of a command line has 128 KiB at most: the limit of 1 MiB is tried in Python.
    text = "x" * 120_000
    done = deployed.ok("job", "run", str(tmp_path / "job.yaml"), "--param", f"text={text}")
    assert done.out == "120000\n"


def test_a_job_too_large_for_the_cluster_is_refused(deployed: Command, tmp_path: Path) -> None:
    write(tmp_path, "")
    (tmp_path / "job.yaml").write_text(
        "job: large\nprogram: program.py\nresources: {executors: {memory: 64g}}\n"
    )
    done = deployed("job", "run", str(tmp_path / "job.yaml"))
    assert done.code == 2
    assert "resources.executors.memory: 64g" in done.err
    (tmp_path / "job.yaml").write_text(
        "job: large\nprogram: program.py\nresources: {driver: {memory: 9t}}\n"
    )
    done = deployed("job", "run", str(tmp_path / "job.yaml"))
    assert done.code == 2
    assert "resources.driver.memory: 9t" in done.err


def test_a_run_that_finds_no_room_is_given_up(deployed: Command, tmp_path: Path) -> None:
    holder, waiter = tmp_path / "holder.py", tmp_path / "waiter.py"
    session = "from pyspark.sql import SparkSession\nSparkSession.builder.getOrCreate()\n"
    holder.write_text(f"{session}import time\nprint('held', flush=True)\ntime.sleep(600)\n")
    waiter.write_text(session)
    held = deployed.ok("job", "run", str(holder), "--detach").out.strip()
    try:
        give_up = time.monotonic() + 120
        while "held" not in deployed.ok("job", "logs", held).out:
            assert time.monotonic() < give_up
        done = deployed("job", "run", str(waiter), "--queue-timeout=2s")
        assert done.code == 3
        assert "no resources after 2 s: waits for room" in done.err
    finally:
        deployed.ok("job", "cancel", held)


def test_a_driver_that_nomad_cannot_place_is_given_up(deployed: Command, tmp_path: Path) -> None:
    import psutil

    write(tmp_path, "")
    # It would fit an empty host; the cluster's own tasks leave less.
    memory = psutil.virtual_memory().total // 1024**2 * 3 // 4
    (tmp_path / "job.yaml").write_text(
        f"job: large\nprogram: program.py\nresources: {{driver: {{memory: {memory}m}}}}\n"
    )
    done = deployed("job", "run", str(tmp_path / "job.yaml"), "--queue-timeout=2s")
    assert done.code == 3
    assert "no resources after 2 s: waits for room: memory exhausted on 1 host" in done.err
    run = deployed.ok("job", "runs", "--job=large", "--output=json").json()[0]
    assert (run["state"], run["attempts"]) == ("failed", 0)


def test_a_full_driver_is_told_as_out_of_memory(deployed: Command, tmp_path: Path) -> None:
    program = write(tmp_path, "x = [bytearray(1 << 20) for _ in range(20_000)]")
    done = deployed("job", "run", program, "--quiet")
    assert done.code == 3
    assert "out of memory" in done.err


COMING_AND_GOING = """
import time
from pyspark.sql import SparkSession
context = SparkSession.builder.getOrCreate().sparkContext
infos = context._jsc.sc().statusTracker().getExecutorInfos
print(context.parallelize(range(8), 8).map(lambda n: time.sleep(1) or 1).sum(), flush=True)
most, give_up = len(infos()) - 1, time.time() + 60
while len(infos()) > 1 and time.time() < give_up:
    time.sleep(0.2)
print(most, len(infos()) - 1)
"""


def test_executors_come_with_the_work_and_go_after_it(deployed: Command, tmp_path: Path) -> None:
    write(tmp_path, COMING_AND_GOING)
    job = tmp_path / "job.yaml"
    resources = "resources: {executors: {count: {min: 0, max: 2}}}\n"
    conf = "conf: {spark.dynamicAllocation.executorIdleTimeout: 2s}\n"
    job.write_text(f"job: elastic\nprogram: program.py\n{resources}{conf}")
    assert deployed.ok("job", "run", str(job), "--quiet").out.splitlines() == ["8", "2 0"]
    job.write_text("job: elastic\nprogram: program.py\n" + resources.replace("min: 0", "min: 3"))
    done = deployed("job", "run", str(job))
    assert done.code == 2 and "min must be at most max, which is 2" in done.err


@pytest.mark.parametrize("count", [3, pytest.param(12, marks=pytest.mark.slow)])
def test_runs_at_once_all_succeed_once(deployed: Command, tmp_path: Path, count: int) -> None:
    program = write(
        tmp_path,
        "from pyspark.sql import SparkSession\n"
        "print(SparkSession.builder.getOrCreate().range(10).count())",
    )
    with ThreadPoolExecutor(count) as pool:
        started = list(
            pool.map(lambda _: deployed.ok("job", "run", program, "--detach"), range(count))
        )
    runs = {done.out.strip() for done in started}
    assert len(runs) == count
    for run in runs:
        assert deployed("job", "wait", run, "--timeout=280s").code == 0
        assert deployed.ok("job", "logs", run).out == "10\n"
    listed = deployed.ok("job", "runs", "--limit=all", "--output=json").json()
    assert len([each for each in listed if each["run"] in runs]) == count


def test_a_destroyed_cluster_leaves_nothing(
    root: None, image: ImageRecord, command: Command, tmp_path: Path
) -> None:
    command.ok("cluster", "deploy", "--driver=exec", "--workers=1")
    command.ok("job", "run", write(tmp_path, "import time; time.sleep(600)"), "--detach")
    command.ok("cluster", "destroy", "--force")
    directory = command.home / ".cloudmesh/sparknomad/clusters/default"
    assert not directory.exists()
    assert str(directory) not in Path("/proc/self/mounts").read_text()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes()
        except OSError:
            continue
        if int(process.name) != os.getpid():
            assert str(directory).encode() not in environment, process
    assert command.ok("cluster", "list", "--output=json").json() == []
