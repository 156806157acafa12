"""How Spark's processes are started, tried with a real Java."""

from __future__ import annotations

import base64
import os
import shlex
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloudmesh.sparknomad.incluster import java_files, java_options, sparkconf

PROGRAM = """
import java.io.FileInputStream; import java.nio.charset.StandardCharsets; import java.util.*;
public class Tell {
    static String encode(String text) {
        return "-" + Base64.getEncoder().encodeToString(text.getBytes(StandardCharsets.UTF_8));
    }
    public static void main(String[] args) throws Exception {
        if (args.length == 2 && args[0].equals("--properties")) {
            Properties read = new Properties();
            try (FileInputStream in = new FileInputStream(args[1])) { read.load(in); }
            for (String key : read.stringPropertyNames())
                System.out.println(encode(key) + " " + encode(read.getProperty(key)));
        } else for (String arg : args) System.out.println(encode(arg));
    }
}
"""
QUICK = ["-Xshare:auto", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx64m"]
FEW = settings(max_examples=6, suppress_health_check=list(HealthCheck))
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)))
AWKWARD = [
    "",
    " ",
    "a b",
    " lead",
    "trail ",
    "'",
    '"',
    '""',
    '"a b"',
    "\\",
    "\\\\",
    "a\\",
    "\\n",
    '\\"',
    "\n",
    "a\nb",
    "\r\n",
    "\t",
    "a\tb",
    "\f",
    "#",
    "# no comment",
    "!",
    "@file",
    "@@",
    "-cp",
    "--",
    "*",
    "$HOME",
    "`id`",
    "%s",
    "é",
    "日本",
    "\U0001f600",
    "\u2028",
    "\x85",
    "\x7f",
    "a=b:c",
    "\v",
]

Tell = Callable[..., list[str]]


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not (shutil.which("javac") and shutil.which("java")):
        pytest.skip("javac is not installed: install a Java development kit")
    directory = tmp_path_factory.mktemp("java")
    (directory / "Tell.java").write_text(PROGRAM)
    subprocess.run(["javac", "-d", directory, directory / "Tell.java"], check=True)
    return directory


@pytest.fixture(scope="module")
def tell(classes: Path) -> Tell:
    """Calls Java with an argument file; what the program says that it was given."""

    def call(arguments: list[str], environment: dict[str, str] | None = None) -> list[str]:
        listed = classes / "args"
        whole = [*QUICK, "-cp", str(classes), "Tell", *arguments]
        java_files.write_private(listed, java_files.argument_file(whole))
        told = subprocess.run(
            ["java", f"@{listed}"],
            capture_output=True,
            text=True,
            check=True,
            env=environment or {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
        )
        return [
            " ".join(base64.b64decode(part[1:]).decode() for part in line.split())
            for line in told.stdout.splitlines()
        ]

    return call


def run_environment(directory: Path, **variables: str) -> dict[str, str]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("LC_ALL", "LANG", "PYTHONPATH"):
            patch.delenv(name, raising=False)
        for name, value in variables.items():
            patch.setenv(name, value)
        return sparkconf.environment(definition(), cluster(directory), directory)


def definition(**changes: Any) -> dict[str, Any]:
    return {
        "job": "j",
        "resources": {
            "driver": {"cores": 1, "memory": 1024**3},
            "executors": {"count": 2, "cores": 3, "memory": 2 * 1024**3},
        },
        "conf": {},
        "startup": "balanced",
        "python": [],
        "jars": [],
        "files": [],
        **changes,
    }


def cluster(directory: Path, **changes: Any) -> dict[str, Any]:
    return {
        "master": "spark://h:7077",
        "host": "127.0.0.1",
        "python": "/py",
        "executor_python": "/epy",
        "spark_home": str(directory / "spark"),
        "conf_dir": str(directory / "conf"),
        "java_home": str(directory / "java"),
        "run": "r",
        **changes,
    }


def counted(directory: Path, count: Any) -> dict[str, str]:
    """The properties that tell how many executors there are."""
    resources = definition()["resources"]
    resources["executors"] = {"count": count, "cores": 2, "memory": 1024**3}
    (directory / "scratch").mkdir(exist_ok=True)
    values = sparkconf.properties(
        definition(resources=resources), cluster(directory), directory, directory / "scratch"
    )
    names = ("spark.cores.max", "spark.dynamicAllocation.")
    return {key: value for key, value in values.items() if key.startswith(names)}


def test_executors_come_and_go_within_their_range(tmp_path: Path) -> None:
    assert counted(tmp_path, None) == {}
    assert counted(tmp_path, 3) == {"spark.cores.max": "6"}
    told = counted(tmp_path, {"min": 0, "max": 4})
    assert told["spark.cores.max"] == "8"
    prefix = "spark.dynamicAllocation."
    assert {key.removeprefix(prefix): value for key, value in told.items() if prefix in key} == {
        "enabled": "true",
        "minExecutors": "0",
        "initialExecutors": "0",
        "maxExecutors": "4",
        "executorIdleTimeout": "30s",
        "shuffleTracking.enabled": "true",
        "shuffleTracking.timeout": "5min",
    }


def test_tables_of_one_attempt_are_where_executors_can_write_them(tmp_path: Path) -> None:
    def place(where: dict[str, Any], attempt: str) -> str:
        scratch = tmp_path / attempt
        scratch.mkdir()
        values = sparkconf.properties(definition(), where, tmp_path, scratch)
        return values["spark.sql.warehouse.dir"]

    own = cluster(tmp_path)
    assert place(own, "attempt-0") == (tmp_path / "attempt-0" / "warehouse").as_uri()
    shared = {"warehouse": "/sparknomad/warehouses/r", "staging": {"prefix": "hdfs://h:1"}}
    found = place({**own, **shared}, "attempt-1")
    assert found == "hdfs://h:1/sparknomad/warehouses/r/attempt-1"


@pytest.mark.parametrize("name", ["plain", "two words", 'it\'s "so"'])
def test_javas_temporary_files_are_where_the_cluster_says(tmp_path: Path, name: str) -> None:
    where = cluster(tmp_path, temporary=str(tmp_path / name))
    option = f"-Djava.io.tmpdir={tmp_path / name}"
    values = sparkconf.properties(definition(), where, tmp_path, tmp_path)
    # Spark takes these apart as a shell does.
    assert option in shlex.split(values["spark.executor.extraJavaOptions"])
    assert option in sparkconf.java_command(definition(), where, tmp_path, tmp_path)
    assert "tmpdir" not in " ".join(
        sparkconf.java_command(definition(), cluster(tmp_path), tmp_path, tmp_path)
    )


def test_awkward_arguments_reach_java_unchanged(tell: Tell) -> None:
    assert tell(AWKWARD) == AWKWARD


def test_a_long_argument_reaches_java_unchanged(tell: Tell) -> None:
    long = 'é"\\ \n' * (200 * 1024 // 6)
    assert len(long.encode()) > 190 * 1024
    assert tell([long, "end"]) == [long, "end"]


@given(st.lists(texts, min_size=1, max_size=40))
@FEW
def test_any_arguments_reach_java_unchanged(tell: Tell, arguments: list[str]) -> None:
    assert tell(["first", *arguments]) == ["first", *arguments]


def test_arguments_beyond_ascii_reach_java_without_a_locale(tell: Tell, tmp_path: Path) -> None:
    environment = run_environment(tmp_path)
    assert environment["LC_ALL"] == "C.UTF-8"
    assert tell(["é日"], environment) == ["é日"]


@pytest.mark.parametrize("locale", ["C", "POSIX", "", "xx_XX.UTF-8"])
def test_arguments_beyond_ascii_reach_java_in_any_locale(
    tell: Tell, tmp_path: Path, locale: str
) -> None:
    assert tell(["é日"], run_environment(tmp_path, LC_ALL=locale)) == ["é日"]


def read_properties(tell: Tell, path: Path) -> dict[str, str]:
    told = subprocess.run(
        ["java", *QUICK, "-cp", str(path.parent), "Tell", "--properties", str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    pairs = [line.split() for line in told.stdout.splitlines()]
    return {
        base64.b64decode(key[1:]).decode(): base64.b64decode(value[1:]).decode()
        for key, value in pairs
    }


def round_trip(tell: Tell, classes: Path, conf: dict[str, str]) -> dict[str, str]:
    shutil.rmtree(classes / "scratch", ignore_errors=True)
    (classes / "scratch").mkdir()
    command = sparkconf.java_command(
        definition(conf=conf), cluster(classes), classes, classes / "scratch"
    )
    listed = classes / "spark.properties"
    shutil.copyfile(command[-1], listed)
    return read_properties(tell, listed)


def test_awkward_values_of_properties_reach_java_unchanged(tell: Tell, classes: Path) -> None:
    conf = {f"spark.k{number}": value for number, value in enumerate(AWKWARD)}
    assert conf.items() <= round_trip(tell, classes, conf).items()


@given(st.lists(texts, max_size=60))
@FEW
def test_any_values_of_properties_reach_java_unchanged(
    tell: Tell, classes: Path, values: list[str]
) -> None:
    conf = {f"spark.k{number}": value for number, value in enumerate(values)}
    assert conf.items() <= round_trip(tell, classes, conf).items()


def test_a_value_that_begins_with_a_tab_reaches_java_unchanged(tell: Tell, classes: Path) -> None:
    assert round_trip(tell, classes, {"spark.k": "\tx"})["spark.k"] == "\tx"


@pytest.mark.parametrize(
    "key", ["spark.a:b", "spark.a=b", "spark.a\\b", "spark.é", "#a", " a b ", "!"]
)
def test_any_key_that_a_spec_may_have_reaches_java(tell: Tell, classes: Path, key: str) -> None:
    assert round_trip(tell, classes, {key: "value"}).get(key) == "value"


def test_a_private_file_is_only_its_owners(tmp_path: Path) -> None:
    java_files.write_private(tmp_path / "f", "é\ud800")
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o600
    assert (tmp_path / "f").read_text("utf-8", "surrogatepass") == "é\ud800"
    java_files.write_private(tmp_path / "f", "x")
    assert (tmp_path / "f").read_text() == "x"


def test_a_private_file_is_private_even_if_it_was_not(tmp_path: Path) -> None:
    (tmp_path / "f").touch(0o644)
    java_files.write_private(tmp_path / "f", "secret")
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o600


def test_secrets_are_in_the_private_file_and_not_in_the_command(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hush\n")
    where = cluster(tmp_path, secret_file=str(tmp_path / "secret"))
    command = sparkconf.java_command(definition(), where, tmp_path, tmp_path)
    assert not [word for word in command if "hush" in word]
    assert "spark.authenticate.secret=hush\n" in Path(command[-1]).read_text()
    assert stat.S_IMODE(Path(command[-1]).stat().st_mode) == 0o600


def test_the_jobs_own_configuration_has_the_last_word(tmp_path: Path) -> None:
    job = definition(conf={"spark.a": "job", "spark.executor.extraJavaOptions": "-Dx=1"})
    where = cluster(tmp_path, conf={"spark.a": "cluster", "spark.b": "cluster"})
    values = sparkconf.properties(job, where, tmp_path, tmp_path)
    assert (values["spark.a"], values["spark.b"]) == ("job", "cluster")
    assert values["spark.executor.extraJavaOptions"].endswith(" -Dx=1")
    assert values["spark.cores.max"] == "6"
    assert (values["spark.executor.memory"], values["spark.driver.memory"]) == ("2048m", "1024m")


def test_a_tiny_memory_is_no_zero(tmp_path: Path) -> None:
    job = definition()
    job["resources"]["executors"]["memory"] = 512 * 1024
    values = sparkconf.properties(job, cluster(tmp_path), tmp_path, tmp_path)
    assert values["spark.executor.memory"] != "0m"


@pytest.mark.parametrize(
    ("startup", "driver", "c1", "serial"),
    [
        ("fast", True, True, True),
        ("fast", False, True, True),
        ("balanced", True, True, True),
        ("balanced", False, False, True),
        ("throughput", True, False, False),
        ("throughput", False, False, False),
    ],
)
def test_java_is_tuned_for_the_jobs_startup(
    startup: str, driver: bool, c1: bool, serial: bool
) -> None:
    options = java_options.java_options(startup, driver=driver, archive="/a.jsa")
    assert ("-XX:TieredStopAtLevel=1" in options) == c1
    assert ("-XX:+UseSerialGC" in options) == serial
    assert "-XX:SharedArchiveFile=/a.jsa" in options


def test_a_java_without_the_vector_module_is_not_asked_for_it(tmp_path: Path) -> None:
    assert "--add-modules=jdk.incubator.vector" in java_options.module_options(str(tmp_path))
    (tmp_path / "release").write_text('MODULES="java.base"\n')
    assert "--add-modules=jdk.incubator.vector" not in java_options.module_options(str(tmp_path))


def test_a_run_gets_only_the_environment_that_it_needs(tmp_path: Path) -> None:
    environment = run_environment(tmp_path, AWS_SECRET_ACCESS_KEY="hush", TZ="UTC")
    assert "hush" not in environment.values()
    assert (environment["TZ"], environment["SPARKNOMAD_RUN"]) == ("UTC", "r")
    assert environment["PYTHONPATH"].split(":")[0] == str(tmp_path / "work")
