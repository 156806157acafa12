"""Makes the class-data-sharing archive of an image, inside it: ``warm.py DIRECTORY``.

Every server and a small job are run once to see which classes they load; Java then writes
those, parsed and verified, into one archive that all of them map at their start. The archive
serves only the very Java and class path that it was made with.
See https://docs.oracle.com/en/java/javase/17/vm/class-data-sharing.html
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent)]

import java_options  # noqa: E402
import sockets  # noqa: E402
import sparkconf  # noqa: E402

__all__ = ["main"]

_HOST = "127.0.0.1"
_SECONDS = 180


class Warm:
    """One making of an archive.

    Args:
        directory: for class lists, logs and the archive.
        classes: connector classes to have in it.
    """

    def __init__(self, directory: Path, classes: list[str]) -> None:
        self.directory = directory
        self.classes = classes
        self.lists: list[Path] = []
        self.processes: list[subprocess.Popen[bytes]] = []

    def java(self, name: str, *arguments: str, heap: str = "512m") -> list[str]:
        """A Java command that lists the classes it loads."""
        listed = self.directory / f"{name}.classes"
        self.lists.append(listed)
        return [*self.plain_java(heap), *self.listing(listed), *arguments]

    def plain_java(self, heap: str) -> list[str]:
        """A Java command with the image's class path."""
        home = os.environ["JAVA_HOME"]
        return [
            f"{home}/bin/java",
            f"-Xmx{heap}",
            *java_options.module_options(home),
            f"-Dhadoop.log.dir={self.directory}",
            "-cp",
            sparkconf.IMAGE_CLASS_PATH,
        ]

    def listing(self, path: Path) -> list[str]:
        """Options that write the list of loaded classes."""
        return ["-Xshare:off", f"-XX:DumpLoadedClassList={path}", "-XX:+UseSerialGC"]

    def start(self, name: str, *arguments: str) -> None:
        """Start a server."""
        log = (self.directory / f"{name}.log").open("wb")
        command = self.java(name, *arguments)
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.directory)
        self.processes.append(process)

    def stop(self) -> None:
        """End the servers, so that they write their lists."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(60)

    def make(self) -> Path:
        """Run everything once, then write the archive."""
        ports = sockets.free_ports(9, _HOST)
        try:
            self._spark(ports)
            self._hdfs(ports)
        except (OSError, subprocess.SubprocessError) as error:
            self._tell_logs()
            raise SystemExit(f"a server did not come up: {error}") from None
        finally:
            self.stop()
        return self._dump()

    def _tell_logs(self) -> None:
        """Show why a server did not come up: the logs go away with the directory."""
        for log in sorted(self.directory.glob("*.log")):
            lines = log.read_text("utf-8", "replace").splitlines()
            shown = [line for line in lines if "Caused by" in line or "Error" in line][-3:]
            for line in [*shown, *lines[-2:]]:
                print(f"{log.stem}: {line[:300]}", file=sys.stderr)

    def _spark(self, ports: list[int]) -> None:
        spark = "org.apache.spark.deploy"
        master, ui, worker_ui = ports[:3]
        at = ("--host", _HOST)
        self.start(
            "master",
            f"{spark}.master.Master",
            *(*at, "--port", str(master), "--webui-port", str(ui)),
        )
        _wait_for(f"http://{_HOST}:{ui}/json/", self.processes[-1])
        self.start(
            "worker",
            f"{spark}.worker.Worker",
            *(*at, "--webui-port", str(worker_ui), "--cores", "1", "--memory", "1g"),
            *("--work-dir", str(self.directory / "work"), f"spark://{_HOST}:{master}"),
        )
        executor = self.directory / "executor.classes"
        self.lists.append(executor)
        events = self.directory / "events"
        events.mkdir()
        options = {
            "spark.driver.host": _HOST,
            "spark.driver.bindAddress": _HOST,
            "spark.ui.enabled": "false",
            "spark.eventLog.enabled": "true",
            "spark.eventLog.dir": events.as_uri(),
            "spark.sql.shuffle.partitions": "2",
            "spark.executor.extraJavaOptions": " ".join(self.listing(executor)),
            "spark.authenticate": "false",
        }
        confs = [word for key, value in options.items() for word in ("--conf", f"{key}={value}")]
        job = str(Path(__file__).with_name("check_job.py"))
        command = self.java(
            "driver",
            f"{spark}.SparkSubmit",
            *("--master", f"spark://{_HOST}:{master}", *confs, job),
            *(str(self.directory), *self.classes),
            heap="1g",
        )
        subprocess.run(command, check=True, cwd=self.directory, timeout=_SECONDS)
        history = ports[3]
        options_of_history = (
            f"-Dspark.history.fs.logDirectory={events.as_uri()}",
            f"-Dspark.history.ui.port={history}",
        )
        self.start("history", *options_of_history, f"{spark}.history.HistoryServer")
        _wait_for(f"http://{_HOST}:{history}/api/v1/applications", self.processes[-1])

    def _hdfs(self, ports: list[int]) -> None:
        server = "org.apache.hadoop.hdfs.server"
        rpc, http, data, data_http, data_ipc = ports[4:9]
        names = (self.directory / "names").as_uri()
        shared = [f"-D{key}={value}" for key, value in sparkconf.HDFS_OPTIONS.items()]
        options = (
            *("-fs", f"hdfs://{_HOST}:{rpc}", "-D", f"dfs.namenode.name.dir={names}"),
            *("-D", f"dfs.namenode.http-address={_HOST}:{http}"),
            *shared,
        )
        formatted = self.java("format", f"{server}.namenode.NameNode", *options, "-format")
        subprocess.run(formatted, check=True, cwd=self.directory, timeout=_SECONDS)
        self.start("namenode", f"{server}.namenode.NameNode", *options)
        _wait_for(f"http://{_HOST}:{http}/jmx?qry=none", self.processes[-1])
        blocks = self.directory / "blocks"
        blocks.mkdir(mode=0o700)
        self.start(
            "datanode",
            f"{server}.datanode.DataNode",
            *("-fs", f"hdfs://{_HOST}:{rpc}", "-D", f"dfs.datanode.data.dir={blocks.as_uri()}"),
            *shared,
            *("-D", f"dfs.datanode.address={_HOST}:{data}"),
            *("-D", f"dfs.datanode.http.address={_HOST}:{data_http}"),
            *("-D", f"dfs.datanode.ipc.address={_HOST}:{data_ipc}"),
        )
        _write_and_read(f"{_HOST}:{http}", self.directory)

    def _dump(self) -> Path:
        seen: dict[str, None] = {}
        for listed in self.lists:
            for line in listed.read_text("utf-8").splitlines():
                if not line.startswith("#"):
                    seen.setdefault(line)
        merged = self.directory / "all.classes"
        merged.write_text("\n".join(seen) + "\n", "utf-8")
        archive = self.directory / "spark.jsa"
        command = [
            *self.plain_java("2g"),
            "-Xshare:dump",
            "-XX:+UseG1GC",
            f"-XX:SharedClassListFile={merged}",
            f"-XX:SharedArchiveFile={archive}",
        ]
        with (self.directory / "dump.log").open("wb") as log:
            subprocess.run(command, check=True, stdout=log, stderr=log, timeout=600)
        return archive


def compile_python(directory: Path) -> None:
    """Compile PySpark and our own code where ``PYTHONPYCACHEPREFIX`` will point to."""
    library = Path(os.environ["SPARK_HOME"]) / "python" / "lib"
    sources = [library / "pyspark.zip" / "pyspark", *library.glob("py4j-*.zip")]
    command = [sys.executable, "-m", "compileall", "-q", "--invalidation-mode=unchecked-hash"]
    subprocess.run(
        [*command, *map(str, [*sources, *_standard_library()])],
        check=False,  # some of PySpark's files are for other Python versions
        env={**os.environ, "PYTHONPYCACHEPREFIX": str(directory / "pycache")},
        stdout=subprocess.DEVNULL,
    )


def _standard_library() -> list[Path]:
    import json as module

    return [Path(module.__file__).parents[1]]


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    give_up = time.monotonic() + _SECONDS
    while True:
        try:
            opener.open(url, timeout=10).close()
            return
        except OSError:
            if time.monotonic() > give_up or process.poll() is not None:
                raise
            time.sleep(0.2)


def _write_and_read(address: str, directory: Path) -> None:
    import webhdfs

    hdfs = webhdfs.WebHdfs(address, patience=_SECONDS)
    source = directory / "probe"
    source.write_bytes(b"0" * 100_000)
    hdfs.put(source, "/sparknomad/probe")
    hdfs.get("/sparknomad/probe", directory / "probe.back")


def main(argv: list[str]) -> None:
    """Entry point; prints the archive's path and the number of classes as JSON."""
    warm = Warm(Path(argv[0]), argv[1:])
    compile_python(Path(argv[0]))
    archive = warm.make()
    print(json.dumps({"archive": str(archive), "size": archive.stat().st_size}))


if __name__ == "__main__":
    main(sys.argv[1:])
