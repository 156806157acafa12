"""Checks an image from inside: ``check.py DIRECTORY CLASS...``.

Runs ``check_job.py`` with the class-data-sharing archive enforced: Java does not start if the
archive can't be used. Prints what the job prints.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent)]

import java_options  # noqa: E402
import sparkconf  # noqa: E402

__all__ = ["main"]


def main(argv: list[str]) -> None:
    """Become the check's Java machine."""
    place = Path(__file__).resolve().parent
    home = os.environ["JAVA_HOME"]
    command = [
        f"{home}/bin/java",
        "-Xmx768m",
        *java_options.module_options(home),
        "-Xshare:on",
        f"-XX:SharedArchiveFile={place / 'spark.jsa'}",
        *("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
        java_options.logging_option(),
        f"-Djava.io.tmpdir={argv[0]}",
        *("-cp", sparkconf.IMAGE_CLASS_PATH, "org.apache.spark.deploy.SparkSubmit"),
        *("--master", "local[2]", "--conf", "spark.ui.enabled=false"),
        *("--conf", "spark.sql.shuffle.partitions=2"),
        *("--conf", f"spark.local.dir={argv[0]}"),
        *("--conf", "spark.driver.host=127.0.0.1"),
        *("--conf", "spark.driver.bindAddress=127.0.0.1"),
        str(place / "check_job.py"),
        *argv,
    ]
    # A container without a network can't find the address of its own name.
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    os.chdir(argv[0])
    os.execv(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
