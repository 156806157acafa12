"""Building images: layers made once and kept, an archive for Docker, a tree for hosts."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from cloudmesh.sparknomad.errors import DependencyError, ImageError
from cloudmesh.sparknomad.image import docker, foreign
from cloudmesh.sparknomad.image.agent import build_agent
from cloudmesh.sparknomad.image.base import DEBIAN_PYTHON, SPARK_ID, base_key, base_layers
from cloudmesh.sparknomad.image.fill import fill_code, fill_connectors, fill_spark
from cloudmesh.sparknomad.image.java import find_java
from cloudmesh.sparknomad.image.layers import Layer, key_of
from cloudmesh.sparknomad.image.packages import pip_install
from cloudmesh.sparknomad.image.recipe import (
    INCLUSTER,
    Recipe,
    make_recipe,
)
from cloudmesh.sparknomad.image.sandbox import (
    DockerSandbox,
    NamespaceSandbox,
    Sandbox,
    can_enter,
)
from cloudmesh.sparknomad.image.spark import fetch_connectors, fetch_spark
from cloudmesh.sparknomad.image.store import PENDING, WHOLE, ImageStore
from cloudmesh.sparknomad.incluster.sparkconf import IMAGE_ENVIRONMENT
from cloudmesh.sparknomad.model import ImageRecord, ImageRuntime, Plan, PlanStep
from cloudmesh.sparknomad.namespaces import namespace_problem
from cloudmesh.sparknomad.processes import scratch, write_private
from cloudmesh.sparknomad.specfile import build_spec, spec_to_dict
from cloudmesh.sparknomad.specs import ImageSpec, TaskDriver, Variant

__all__ = ["CONNECTORS", "Images"]

CONNECTORS: Mapping[str, str] = {
    "s3a": "org.apache.hadoop.fs.s3a.S3AFileSystem",
    "gs": "com.google.cloud.hadoop.fs.gcs.GoogleHadoopFileSystem",
    "abfs": "org.apache.hadoop.fs.azurebfs.AzureBlobFileSystem",
    "wasb": "org.apache.hadoop.fs.azure.NativeAzureFileSystem",
    "hdfs": "org.apache.hadoop.hdfs.DistributedFileSystem",
}


class Images(ImageStore):
    """The images of this machine, and how they are built.

    Args:
        cache: where layers and images are kept.
        say: shows one line of progress.
        java: a Java home of the user's choice, for fetching connectors.
    """

    def __init__(self, cache: Path, say: Callable[[str], None], java: str = "") -> None:
        super().__init__(cache, say)
        self.java = java

    # plan

    def plan(self, spec: ImageSpec) -> Plan:
        """What `build` would do; touches nothing."""
        recipe = self._recipe(spec)
        line = recipe.line
        base = "Debian bookworm from Debian's packages" if spec.base == "debian" else spec.base
        left_out = "" if spec.variant is Variant.FULL else ", without ML, Hive and RocksDB"
        named = {
            "spark": f"Spark {line.spark} (Scala {line.scala}, Hadoop {line.hadoop}){left_out}",
            "connectors": f"connectors of S3, GCS, Azure and HDFS for Hadoop {line.hadoop}",
            "archive": "class-data-sharing archive of all of Spark's and HDFS's processes",
            "sparknomad": "what sparknomad runs inside the cluster",
            "requirements": "Python: " + (", ".join(spec.requirements) or "no requirements"),
        }
        steps = [PlanStep(f"layer base: {base}"), PlanStep("layer java: Java 17, cut by jlink")]
        for name, title in named.items():
            here = "kept from before" if self.store.find(recipe.keys[name]) else "to be made"
            steps.append(PlanStep(f"layer {name}: {title} ({here})"))
        config = json.dumps(self._config(recipe, {}), indent=2)
        steps.append(PlanStep(f"tag {recipe.tag}", config, "json"))
        steps.append(PlanStep("check it: start it, SQL and Parquet, load every connector"))
        return Plan(f"build image {spec.image!r} ({recipe.image_id[:12]})", tuple(steps))

    # build

    def build(self, spec: ImageSpec) -> ImageRecord:
        """Build an image, check it, and load it into Docker where a daemon answers.

        Raises:
            DependencyError: if a program that it needs is missing.
            ImageError: if a layer can't be made, or the image fails its check.
        """
        if spec.base != "debian":
            foreign.require(spec.base, self.say)
        recipe = self._recipe(spec)
        with self._changing(spec.image), self.store.in_use():
            found = self._find(spec.image)
            if found and found.image_id == recipe.image_id and self._whole(found):
                self.say(f"image {spec.image!r} is up to date ({recipe.image_id[:12]})")
                return self._loaded(found)
            built = self._build(recipe)
            if found and found.image_id != built.image_id:
                self._supersede(found)
            self._prune(spec.image)
            return built

    def _recipe(self, spec: ImageSpec) -> Recipe:
        """What an image is made of now; a base of Docker by its id, where Docker can tell it."""
        base_id = base_key()
        if spec.base != "debian":
            known = self._details(spec.image).get("base", "") if self._find(spec.image) else ""
            there = not docker.daemon_problem() and docker.has_image(spec.base)
            base_id = docker.inspect(spec.base)[0] if there else known
        return make_recipe(spec, self.machine, base_id)

    def _build(self, recipe: Recipe) -> ImageRecord:
        problem = docker.daemon_problem()
        if problem and not can_enter():
            raise DependencyError(
                f"An image is built as root, or with Docker; {namespace_problem()}, and {problem}.",
                hint="Start Docker and let this user use it, or run this as root.",
            )
        layers, config = self._layers(recipe)
        record = ImageRecord(
            name=recipe.spec.image,
            image_id=recipe.image_id,
            spark=recipe.line.spark,
            created=time.time(),
            size=sum(layer.size for layer in layers),
            tag=recipe.tag,
            docker=False,
            unpacked=False,
        )
        directory = self._directory(recipe.spec.image)
        directory.mkdir(parents=True, exist_ok=True)
        details = {
            "record": asdict(record),
            "spec": spec_to_dict(recipe.spec),
            "layers": [layer.key for layer in layers],
            "config": config,
            "base": recipe.base_id,
        }
        pending = directory / PENDING
        write_private(pending, json.dumps(details))
        candidate = self._loaded(record, details)
        self.say("checking the image")
        versions = self._check(candidate, details)
        details["record"] = asdict(replace(record, versions=versions))
        write_private(directory / WHOLE, json.dumps(details, indent=2))
        pending.unlink()
        return self.inspect(recipe.spec.image)

    def _layers(self, recipe: Recipe) -> tuple[list[Layer], dict[str, Any]]:
        """All layers; those that need nothing of one another are made at the same time."""
        with ThreadPoolExecutor(2) as pool:
            spark = pool.submit(self._spark_layer, recipe)
            rest = pool.submit(self._own_layers, recipe)
            # The longest is done by this thread: the user's interrupt ends it at once.
            base, java, python, base_config = self._base(recipe.spec)
            connectors, code = rest.result()
            lower = [base, java, spark.result(), connectors]
        requirements = self.store.layer(
            "requirements",
            key_of(recipe.keys["requirements"], python),
            lambda tree: self._fill_requirements(tree, recipe.spec.requirements, python),
        )
        archive = self._archive_layer(recipe, [*lower, code])
        return [*lower, archive, code, requirements], self._config(recipe, base_config)

    def _base(self, spec: ImageSpec) -> tuple[Layer, Layer, str, dict[str, Any]]:
        """The system's layer and Java's, its Python's version, and what Docker says of it."""
        base, java = base_layers(self.store, self.say)
        if spec.base == "debian":
            return base, java, DEBIAN_PYTHON, {}
        base, python, config = foreign.base_layer(self.store, spec.base, self.say)
        return base, java, python, config

    def _spark_layer(self, recipe: Recipe) -> Layer:
        spec, line = recipe.spec, recipe.line
        spark_home = fetch_spark(line, self.cache, self.say)
        return self.store.layer(
            f"spark {line.spark}",
            recipe.keys["spark"],
            lambda tree: fill_spark(tree, spark_home, spec.variant, self.machine),
        )

    def _own_layers(self, recipe: Recipe) -> tuple[Layer, Layer]:
        """The connectors and our own code; Ivy fetches for both, one after the other."""
        spec, line = recipe.spec, recipe.line
        spark_home = fetch_spark(line, self.cache, self.say)
        java_home = find_java(self.cache, self.say, configured=self.java)
        fetched = fetch_connectors(line, self.cache, java_home, self.say)
        connectors = self.store.layer(
            f"connectors for Hadoop {line.hadoop}",
            recipe.keys["connectors"],
            lambda tree: fill_connectors(tree, fetched, spark_home, spec.variant, self.machine),
        )
        code = self.store.layer(
            "sparknomad",
            recipe.keys["sparknomad"],
            lambda tree: fill_code(tree, build_agent(line, self.cache, java_home, self.say)),
        )
        return connectors, code

    def _archive_layer(self, recipe: Recipe, lower: list[Layer]) -> Layer:
        key = recipe.keys["archive"]
        found = self.store.find(key)
        if found:
            return found
        self.say("layer archive: running every process once for Java's class-data sharing")

        def fill(tree: Path) -> None:
            with self._trial(recipe, lower) as sandbox, sandbox.workspace() as work:
                program = ["/usr/bin/env", "python3", f"/{INCLUSTER}/warm.py", "/local"]
                sandbox.run(work, [*program, *CONNECTORS.values()], spark=recipe.line.spark)
                (tree / INCLUSTER).mkdir(parents=True)
                shutil.copyfile(work / "local" / "spark.jsa", tree / INCLUSTER / "spark.jsa")
                shutil.copytree(work / "local" / "pycache", tree / "opt/pycache")

        return self.store.layer("class-data-sharing archive", key, fill)

    @contextmanager
    def _trial(self, recipe: Recipe, layers: Sequence[Layer]) -> Iterator[Sandbox]:
        """A sandbox of layers that are no image yet; nothing of it is left."""
        if can_enter():
            with scratch("trial-", self.cache) as rootfs:
                self._unpack(layers, rootfs)
                yield NamespaceSandbox(rootfs)
            return
        tag = f"sparknomad/trial:{recipe.image_id[:12]}"
        config = self._config(recipe, {})
        try:
            docker.load_archive(
                lambda sink: docker.write_archive(sink, tag, layers, config, self._architecture)
            )
            yield DockerSandbox(tag)
        finally:
            docker.remove_image(tag)

    def _fill_requirements(self, tree: Path, requirements: Sequence[str], python: str) -> None:
        target = tree / "opt/python"
        target.mkdir(parents=True)
        if requirements:
            self.say(f"layer requirements: {', '.join(requirements)}")
            options = ["--only-binary=:all:", f"--python-version={python}", "--no-compile"]
            pip_install(requirements, target, *options)

    def _config(self, recipe: Recipe, base: Mapping[str, Any]) -> dict[str, Any]:
        """The image's configuration in Docker; labels by the OCI's annotation names."""
        inherited = dict(pair.split("=", 1) for pair in base.get("Env") or [])
        scala = {"SPARK_SCALA_VERSION": recipe.line.scala}
        environment = {**inherited, **IMAGE_ENVIRONMENT, **scala}
        label = "org.opencontainers.image"
        return {
            "User": f"{SPARK_ID}:{SPARK_ID}",
            "Env": [f"{key}={value}" for key, value in environment.items()],
            "Entrypoint": [f"/{INCLUSTER}/bin/tini", "-g", "--"],
            "Cmd": ["python3", f"/{INCLUSTER}/check.py", "/home/spark"],
            "WorkingDir": "/home/spark",
            "Labels": {
                f"{label}.title": "sparknomad",
                f"{label}.description": f"Apache Spark {recipe.line.spark}, standalone",
                f"{label}.version": recipe.line.spark,
                f"{label}.licenses": "Apache-2.0",
                f"{label}.base.name": recipe.spec.base,
                "sparknomad.image": recipe.spec.image,
                "sparknomad.id": recipe.image_id,
            },
        }

    # check

    def check(self, name: str) -> Mapping[str, str]:
        """Start an image and run a small job in it; see `CONNECTORS`.

        Returns:
            The versions that it told.

        Raises:
            ImageError: if anything in it does not work.
        """
        record = self.inspect(name)
        details = self._details(name)
        return self._check(self._loaded(record, details), details)

    def _check(self, record: ImageRecord, details: Mapping[str, Any]) -> Mapping[str, str]:
        sandbox = self._sandbox(record, details)
        with sandbox.workspace() as work:
            program = ["/usr/bin/env", "python3", f"/{INCLUSTER}/check.py", "/local"]
            told = sandbox.run(work, [*program, *CONNECTORS.values()], spark=record.spark)
        try:
            versions: dict[str, str] = json.loads(told.strip().splitlines()[-1])
        except (ValueError, IndexError) as error:
            raise ImageError(f"The image's check said {told[-500:]!r}.") from error
        if versions.get("spark") != record.spark:
            raise ImageError(f"The image runs Spark {versions.get('spark')}, not {record.spark}.")
        return versions

    def _sandbox(self, record: ImageRecord, details: Mapping[str, Any]) -> Sandbox:
        if record.docker:
            return DockerSandbox(record.tag)
        return NamespaceSandbox(self._rootfs(record, details))

    # where it runs

    def planned(self, name: str, driver: TaskDriver) -> ImageRuntime:
        """What `runtime` would give; nothing is built, loaded or unpacked.

        Raises:
            NotFoundError: if there is none of this name, and it is not ``default``.
        """
        record = self._find(name) if name == "default" else self.inspect(name)
        with_docker = driver is TaskDriver.DOCKER or (
            driver is TaskDriver.AUTO and not docker.daemon_problem()
        )
        if record is None:
            planned = self._recipe(build_spec(ImageSpec, {"image": name}))
            tag, spark = planned.tag, planned.line.spark
            return ImageRuntime(planned.image_id, tag if with_docker else "", spark)
        rootfs = None if with_docker else self._rootfs_path(record)
        return ImageRuntime(
            record.image_id, record.tag if with_docker else "", record.spark, rootfs
        )

    def runtime(
        self,
        name: str,
        driver: TaskDriver,
        user: Path | None = None,
        *,
        packed: bool = False,
    ) -> ImageRuntime:
        """An image ready to be run by a task driver; built first if it is the first use.

        Args:
            name: the image.
            driver: that runs it.
            user: the directory of the cluster that runs it: while it is there, what it runs
                stays, also when an image of that name is built anew.
            packed: whether it is to be sent to hosts, and not run here.

        Raises:
            NotFoundError: if there is none of this name, and it is not ``default``.
        """
        record = self._find(name)
        if record is None:
            if name != "default":
                self.inspect(name)
            self.say("there is no image yet: building the default one")
            record = self.build(build_spec(ImageSpec, {"image": name}))
        spec = build_spec(ImageSpec, self._details(name)["spec"])
        if self._recipe(spec).image_id != record.image_id:
            self.say(f"image {name!r} was built by another sparknomad: building it again")
            record = self.build(spec)
        if user is not None:
            self._add_user(record, user)
        details = self._details(name)
        if packed:
            layers = self._packed(details)
            return ImageRuntime(record.image_id, record.tag, record.spark, layers=layers)
        problem = docker.daemon_problem()
        use_docker = driver is TaskDriver.DOCKER or (driver is TaskDriver.AUTO and not problem)
        if use_docker:
            if problem:
                raise DependencyError(
                    f"The docker driver was asked for, but: {problem}.",
                    hint="Start Docker, or deploy with --driver=exec.",
                )
            self._load(record, details)
            return ImageRuntime(record.image_id, record.tag, record.spark)
        rootfs = self._rootfs(record, details)
        return ImageRuntime(record.image_id, "", record.spark, rootfs)
