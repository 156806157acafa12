"""What an image is made of."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudmesh.sparknomad.errors import NotFoundError, SpecError
from cloudmesh.sparknomad.image.layers import key_of
from cloudmesh.sparknomad.image.lines import LINES, find_line
from cloudmesh.sparknomad.image.recipe import (
    Recipe,
    class_path_manifest,
    incluster_files,
    is_cut,
    make_recipe,
)
from cloudmesh.sparknomad.image.requirements import read_requirements
from cloudmesh.sparknomad.specfile import build_spec
from cloudmesh.sparknomad.specs import ImageSpec, Variant

jars = st.lists(st.from_regex(r"[A-Za-z0-9_.+-]{1,90}\.jar", fullmatch=True), unique=True)


def recipe(machine: str = "x86_64", **fields: object) -> Recipe:
    return make_recipe(build_spec(ImageSpec, fields), machine)


def unfolded(manifest: bytes) -> list[str]:
    lines = manifest.replace(b"\r\n ", b"").decode().split("\r\n")
    assert lines[0] == "Manifest-Version: 1.0"
    assert lines[2:] == ["", ""]
    return lines[1].removeprefix("Class-Path:").split()


@given(jars)
def test_a_manifest_unfolds_to_all_jars_in_order(names: list[str]) -> None:
    assert unfolded(class_path_manifest(names)) == [f"../lib/{name}" for name in sorted(names)]


@given(jars)
def test_no_line_of_a_manifest_is_longer_than_72_bytes(names: list[str]) -> None:
    lines = class_path_manifest(names).split(b"\r\n")
    assert max(map(len, lines)) <= 72


@given(jars, st.randoms())
def test_a_manifest_does_not_depend_on_the_order_of_files(names: list[str], random: object) -> None:
    shuffled = sorted(names, key=lambda name: random.random())
    assert class_path_manifest(shuffled) == class_path_manifest(names)


@given(jars)
def test_the_minicluster_comes_after_sparks_own_hadoop(names: list[str]) -> None:
    hadoop = [f"hadoop-client-{part}-3.4.2.jar" for part in ("minicluster", "runtime", "api")]
    ordered = unfolded(class_path_manifest([*hadoop, *names]))
    places = [ordered.index(f"../lib/{jar}") for jar in hadoop]
    assert places == sorted(places, reverse=True)


def test_what_is_loaded_most_comes_first() -> None:
    jars = ["aircompressor-2.jar", "netty-common-4.jar", "spark-core_2.13-4.1.4.jar", "zstd-1.jar"]
    ordered = unfolded(class_path_manifest(jars))
    assert ordered == [f"../lib/{jars[place]}" for place in (2, 1, 0, 3)]


@pytest.mark.parametrize(
    "jar",
    [
        "spark-mllib_2.13-4.1.4.jar",
        "spark-graphx_2.12-3.5.9.jar",
        "hive-exec-2.3.10-core.jar",
        "rocksdbjni-9.8.4.jar",
        "kubernetes-client-7.1.0.jar",
        "spark-yarn_2.13-4.1.4.jar",
        "scala-compiler-2.13.16.jar",
        "derby-10.16.1.1.jar",
        "jline-3.27.1-jdk8.jar",
    ],
)
def test_slim_leaves_out_what_full_has(jar: str) -> None:
    assert is_cut(jar, Variant.SLIM, "x86_64")
    assert not is_cut(jar, Variant.FULL, "x86_64")


@pytest.mark.parametrize(
    "jar",
    [
        "spark-core_2.13-4.1.4.jar",
        "spark-sql_2.13-4.1.4.jar",
        "scala-library-2.13.16.jar",
        "scala-reflect-2.13.16.jar",
        "hive-storage-api-2.8.1.jar",
        "netty-common-4.2.jar",
        "spark-streaming_2.13-4.1.4.jar",
        "parquet-column-1.16.jar",
        "py4j-0.10.9.9.jar",
        "commons-pool2-2.12.0.jar",
    ],
)
def test_slim_keeps_what_sql_needs(jar: str) -> None:
    assert not is_cut(jar, Variant.SLIM, "x86_64")


@pytest.mark.parametrize("variant", list(Variant))
def test_native_code_of_other_systems_is_always_left_out(variant: Variant) -> None:
    jar = "netty-transport-native-epoll-4.2.7-linux-{}.jar"
    assert is_cut(jar.format("aarch_64"), variant, "x86_64")
    assert is_cut(jar.format("x86_64"), variant, "aarch64")
    assert is_cut(jar.format("riscv64"), variant, "x86_64")
    assert not is_cut(jar.format("x86_64"), variant, "x86_64")
    assert not is_cut(jar.format("aarch_64"), variant, "aarch64")
    assert is_cut("netty-transport-native-kqueue-4.2.7-osx-x86_64.jar", variant, "x86_64")


def test_an_image_id_is_stable_and_names_the_tag() -> None:
    assert recipe() == recipe()
    assert recipe(image="ml").tag == f"sparknomad/ml:{recipe(image='ml').image_id[:12]}"
    assert len(recipe().image_id) == 64


def test_requirements_change_the_image_but_no_lower_layer() -> None:
    plain, more = recipe(), recipe(requirements=["pandas"])
    assert plain.image_id != more.image_id
    changed = {name for name in plain.keys if plain.keys[name] != more.keys[name]}
    assert changed == {"requirements"}


def test_the_order_of_requirements_does_not_matter() -> None:
    assert recipe(requirements=["a", "b"]).image_id == recipe(requirements=["b", "a"]).image_id


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ({"variant": "full"}, {"sparknomad", "requirements"}),
        ({"spark": "3.5"}, set()),
        ({"base": "ubuntu:24.04"}, {"spark", "connectors", "sparknomad", "requirements"}),
        ({"image": "other"}, {"spark", "connectors", "archive", "sparknomad", "requirements"}),
    ],
)
def test_what_a_field_leaves_as_it_was(fields: dict[str, object], kept: set[str]) -> None:
    plain, other = recipe(), recipe(**fields)
    assert plain.image_id != other.image_id
    assert {name for name in plain.keys if plain.keys[name] == other.keys[name]} == kept


def test_another_machine_is_another_image() -> None:
    assert recipe("aarch64").image_id != recipe("x86_64").image_id


def test_our_code_in_the_image_is_ours_and_whole() -> None:
    names = [path.name for path in incluster_files()]
    assert {"driver.py", "sparkconf.py", "report.py", "log4j2.properties", "enter"} <= set(names)
    assert names == sorted(names)
    assert not [name for name in names if name.startswith("__")]


@pytest.mark.parametrize("name", sorted(LINES))
def test_every_line_is_pinned(name: str) -> None:
    line = find_line(name)
    assert len(line.sha256) == 64
    assert line.spark.startswith(name + ".")
    assert build_spec(ImageSpec, {"spark": name}).spark == name


def test_an_unknown_line_is_refused() -> None:
    with pytest.raises(SpecError, match=r"spark: '2\.4': no such line; known: 3\.5, 4\.1"):
        find_line("2.4")


def test_keys_do_not_depend_on_the_hash_seed() -> None:
    import sys

    script = "from cloudmesh.sparknomad.image.layers import key_of; print(key_of({'a', }, 'b'))"
    told = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "1"},
    )
    assert told.stdout.strip() == key_of({"a"}, "b")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "requirements.txt"


def test_requirements_are_one_a_line_with_comments(file: Path) -> None:
    file.write_text(
        "# all\n\npandas>=2  # for frames\n  numpy \nx @ https://h/x.whl#sha256=1\n #more\n"
    )
    assert read_requirements(file) == ["pandas>=2", "numpy", "x @ https://h/x.whl#sha256=1"]


@pytest.mark.parametrize("line", ["-r other.txt", "--index-url x", "-e .", "  -c c.txt"])
def test_options_in_requirements_are_refused(file: Path, line: str) -> None:
    file.write_text(f"pandas\n{line}\n")
    with pytest.raises(SpecError, match=r"requirements\.txt:2: "):
        read_requirements(file)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        pytest.param(b"pandas\t# tab\n", ["pandas"], id="a tab before a comment"),
        pytest.param(b"pandas \\\n>=2\n", ["pandas >=2"], id="a continued line"),
        pytest.param(b"\xef\xbb\xbfpandas\n", ["pandas"], id="a byte order mark"),
    ],
)
def test_requirements_are_read_as_pip_reads_them(
    file: Path, content: bytes, found: list[str]
) -> None:
    file.write_bytes(content)
    assert "".join(read_requirements(file)).split() == "".join(found).split()


def test_an_option_after_a_requirement_is_refused(file: Path) -> None:
    file.write_text("pandas==2.2.0 --hash=sha256:abc\n")
    with pytest.raises(SpecError):
        read_requirements(file)


def test_a_missing_and_an_unreadable_file_are_told_apart(file: Path) -> None:
    with pytest.raises(NotFoundError, match=r"requirements\.txt"):
        read_requirements(file)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(SpecError, match="can't be read"):
        read_requirements(file)


def test_the_line_of_a_continued_option_is_its_first(file: Path) -> None:
    file.write_text("pandas\nnumpy \\\n  --hash=sha256:abc\n")
    with pytest.raises(SpecError, match=r"requirements\.txt:2: "):
        read_requirements(file)


def test_the_class_that_webhdfs_of_spark_3_5_needs_is_kept() -> None:
    assert not is_cut("jakarta.xml.bind-api-2.3.2.jar", Variant.SLIM, "x86_64")
    assert is_cut("jakarta.xml.bind-api-4.0.2.jar", Variant.SLIM, "x86_64")


def test_another_docker_image_under_the_same_name_is_another_base() -> None:
    spec = build_spec(ImageSpec, {"image": "default", "base": "ubuntu:24.04"})
    old, new = (make_recipe(spec, "x86_64", base_id) for base_id in ("sha256:1", "sha256:2"))
    assert old.image_id != new.image_id
    changed = {name for name in old.keys if old.keys[name] != new.keys[name]}
    assert changed == {"archive"}
