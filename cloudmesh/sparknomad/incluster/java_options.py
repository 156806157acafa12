"""Options of Spark's Java machines: its modules, a quick start, logging."""

from __future__ import annotations

from pathlib import Path

__all__ = ["java_options", "logging_option", "module_options"]

# What Spark's launcher passes to every Java 17 machine:
# org.apache.spark.launcher.JavaModuleOptions.
_MODULE_OPTIONS = (
    "-XX:+IgnoreUnrecognizedVMOptions",
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
    "--add-opens=java.base/java.lang.invoke=ALL-UNNAMED",
    "--add-opens=java.base/java.lang.reflect=ALL-UNNAMED",
    "--add-opens=java.base/java.io=ALL-UNNAMED",
    "--add-opens=java.base/java.net=ALL-UNNAMED",
    "--add-opens=java.base/java.nio=ALL-UNNAMED",
    "--add-opens=java.base/java.util=ALL-UNNAMED",
    "--add-opens=java.base/java.util.concurrent=ALL-UNNAMED",
    "--add-opens=java.base/java.util.concurrent.atomic=ALL-UNNAMED",
    "--add-opens=java.base/jdk.internal.ref=ALL-UNNAMED",
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
    "--add-opens=java.base/sun.nio.cs=ALL-UNNAMED",
    "--add-opens=java.base/sun.security.action=ALL-UNNAMED",
    "--add-opens=java.base/sun.util.calendar=ALL-UNNAMED",
    "--add-opens=java.security.jgss/sun.security.krb5=ALL-UNNAMED",
    "-Djdk.reflect.useDirectMethodHandle=false",
    "-Dio.netty.tryReflectionSetAccessible=true",
)
_VECTOR = "jdk.incubator.vector"
_C1 = "-XX:TieredStopAtLevel=1"
_SERIAL = "-XX:+UseSerialGC"
# An executor's first seconds go to the second compiler at its usual thresholds: a trivial job
# took 15.2 s with them, 12.5 s with these, 11.0 s without that compiler (medians, 2 cores).
_LATE_C2 = "-XX:CompileThresholdScaling=4"


def module_options(java_home: str) -> list[str]:
    """What Spark wants of Java's modules, less what this Java was built without."""
    options = list(_MODULE_OPTIONS)
    try:
        release = (Path(java_home) / "release").read_text("utf-8")
    except OSError:
        release = _VECTOR
    return [*options, f"--add-modules={_VECTOR}"] if _VECTOR in release else options


def java_options(startup: str, *, driver: bool, archive: str | None = None) -> list[str]:
    """Options that make a Java machine start quickly.

    Args:
        startup: ``fast``, ``balanced`` or ``throughput``.
        driver: whether it is the driver's machine (else an executor's).
        archive: a class-data-sharing archive made for the same class path.
    """
    options = ["-XX:-UsePerfData"]
    if archive:
        options += [f"-XX:SharedArchiveFile={archive}", "-Xshare:auto"]
    if startup != "throughput":
        options.append(_SERIAL)
        options.append(_C1 if startup == "fast" or driver else _LATE_C2)
    return options


def logging_option() -> str:
    """Points Java's logging to our configuration, outside of the class path."""
    return f"-Dlog4j2.configurationFile={Path(__file__).with_name('log4j2.properties').as_uri()}"
