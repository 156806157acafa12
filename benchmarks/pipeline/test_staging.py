"""Staging against rclone, and against reading a slow source directly."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sysconfig
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import Comparison
from presets import PRESET
from stores import Server, add_profile
from tool import Tool

pytestmark = pytest.mark.nomad
OBJECTS = 16
SLOW_BYTES_A_SECOND, SLOW_DELAY = 20_000_000, 0.05

PROGRAM = """
import argparse
from pyspark.sql import SparkSession
parser = argparse.ArgumentParser()
parser.add_argument("--input")
given = parser.parse_args()
spark = SparkSession.builder.getOrCreate()
print(spark.read.text(given.input).count())
spark.stop()
"""
JOB = """
job: lines
program: lines.py
parameters:
  input: {type: uri, required: true, stage: always}
arguments: ["--input", "{input}"]
"""


@dataclass(frozen=True)
class Lab:
    command: Tool
    server: Server

    def tool(self, *words: str) -> str:
        return self.command("sparknomad", *words)

    def upload(self, name: str, size: int) -> None:
        path = self.command.home / "object"
        line = secrets.token_hex(49) + "\n"
        with path.open("w") as sink:
            for _ in range(size // 99 // 1000):
                sink.write(line * 1000)
        self.tool("storage", "put", str(path), f"near:{name}")
        path.unlink()


@pytest.fixture
def staging(lab: tuple[Tool, Server]) -> Lab:
    tool, server = lab
    (tool.home / "lines.py").write_text(PROGRAM)
    (tool.home / "lines.yaml").write_text(JOB)
    return Lab(tool, server)


def rclone(server: Server, target: Path) -> None:
    """Copy the objects of ``bulk/`` to this machine's disk."""
    program = Path(sysconfig.get_path("scripts"), "rclone")
    variables = {
        "TYPE": "s3",
        "PROVIDER": "Other",
        "ENDPOINT": server.endpoint,
        "ACCESS_KEY_ID": server.access_key,
        "SECRET_ACCESS_KEY": server.secret_key,
        "FORCE_PATH_STYLE": "true",
    }
    environment = {f"RCLONE_CONFIG_LAB_{name}": value for name, value in variables.items()}
    subprocess.run(
        [program, "copy", "--config=", "lab:lab/bulk", str(target)],
        env={"PATH": os.environ["PATH"], "HOME": str(target.parent), **environment},
        check=True,
    )


@pytest.mark.parametrize("workers", PRESET.workers)
def test_staging_objects(
    staging: Lab, workers: int, tmp_path: Path, results: list[dict[str, Any]]
) -> None:
    staging.tool("cluster", "scale", "default", str(workers))
    if not staging.tool("storage", "list", "near:", "--output=json").count("bulk"):
        for number in range(OBJECTS):
            staging.upload(f"bulk/{number}", PRESET.staged_bytes // OBJECTS)
    compared = Comparison(
        f"stage {PRESET.staged_bytes / 1e6:g} MB, {workers} workers, against rclone copy", "<= 1.11"
    )
    transfers = []

    def stage() -> None:
        staging.tool("storage", "stage", "near:bulk/")
        run = json.loads(staging.tool("job", "runs", "--limit=1", "--output=json"))[0]
        told = run["report"]["inputs"]["input0"]
        transfers.append(told["transfer_seconds"])
        staging.tool("storage", "evict")

    def bare() -> None:
        rclone(staging.server, tmp_path / "copied")
        shutil.rmtree(tmp_path / "copied")

    compared.alternate(min(PRESET.rounds, 3), staged=stage, rclone=bare)
    compared.seconds["transfer alone"] = transfers
    results.append(compared.summary())


class Throttle:
    """A TCP proxy that delays each connection and shares a rate among all of them."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self.listener.getsockname()[1]
        self.guard = threading.Lock()
        self.free_at = time.monotonic()

    def serve(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.target))
            for one, other, slow in ((client, server, False), (server, client, True)):
                threading.Thread(target=self.pump, args=(one, other, slow), daemon=True).start()

    def pump(self, source: socket.socket, sink: socket.socket, slow: bool) -> None:
        try:
            while data := source.recv(64 * 1024):
                if slow:
                    self.wait(len(data))
                else:
                    time.sleep(SLOW_DELAY)  # a request needs the way there and back
                sink.sendall(data)
        except OSError:
            pass
        finally:
            for each in (source, sink):
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
            source.close()  # each direction closes what it reads

    def wait(self, size: int) -> None:
        with self.guard:
            now = time.monotonic()
            self.free_at = max(now, self.free_at) + size / SLOW_BYTES_A_SECOND
            pause = self.free_at - now
        time.sleep(pause)


@contextmanager
def throttled(server: Server) -> Iterator[str]:
    throttle = Throttle(int(server.endpoint.rpartition(":")[2]))
    threading.Thread(target=throttle.serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{throttle.port}"
    finally:
        throttle.listener.close()


def test_three_runs_over_a_slow_source(staging: Lab, results: list[dict[str, Any]]) -> None:
    staging.tool("cluster", "scale", "default", "2")
    staging.upload("slow.txt", PRESET.throttled_bytes)
    words = ("job", "run", "lines.yaml", "--param", "input=slow:slow.txt")
    with throttled(staging.server) as endpoint:
        add_profile(staging.command, "slow", staging.server, endpoint)

        def three(mode: str) -> None:
            for _ in range(3):
                staging.tool(*words, f"--stage={mode}")
            staging.tool("storage", "evict")

        compared = Comparison(
            f"three runs over {PRESET.throttled_bytes / 1e6:g} MB behind 20 MB/s and 50 ms",
            "<= 0.5",
        )
        rounds = min(PRESET.long_rounds, 2)
        compared.alternate(rounds, staged=lambda: three("always"), direct=lambda: three("never"))
        results.append(compared.summary())


def test_a_second_run_against_data_in_hdfs(staging: Lab, results: list[dict[str, Any]]) -> None:
    staging.tool("cluster", "scale", "default", "2")
    staging.upload("again.txt", PRESET.local_bytes)
    staging.tool("storage", "copy", "near:again.txt", "cluster:inputs/again.txt")
    staging.tool("storage", "stage", "near:again.txt", "--pin")
    words = ("job", "run", "lines.yaml", "--param")
    compared = Comparison(
        f"a run over {PRESET.local_bytes / 1e6:g} MB staged before, against data in HDFS", "<= 1.1"
    )
    compared.alternate(
        PRESET.rounds,
        staged=lambda: staging.tool(*words, "input=near:again.txt"),
        hdfs=lambda: staging.tool(*words, "input=cluster:inputs/again.txt"),
    )
    results.append(compared.summary())
