"""Running programs inside an image before and after it is built."""

from __future__ import annotations

import os
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cloudmesh.sparknomad.errors import ImageError
from cloudmesh.sparknomad.image.base import SPARK_ID
from cloudmesh.sparknomad.incluster.sparkconf import IMAGE_ENVIRONMENT
from cloudmesh.sparknomad.namespaces import namespace_problem
from cloudmesh.sparknomad.processes import scratch

__all__ = ["DockerSandbox", "NamespaceSandbox", "Sandbox", "can_enter"]

_SECONDS = 900
_SCALA = {"4": "2.13", "3": "2.12"}


def can_enter() -> bool:
    """Whether this process may make the namespaces that `NamespaceSandbox` needs."""
    return not namespace_problem()


class Sandbox(ABC):
    """Runs one program in an image, as its user, with one writable directory ``/local``."""

    @abstractmethod
    def command(self, directory: Path, program: Sequence[str], scala: str) -> list[str]:
        """The command of this machine that runs `program` there."""

    def environment(self, directory: Path, scala: str) -> dict[str, str]:
        """The environment of the command."""
        return {
            **IMAGE_ENVIRONMENT,
            "SPARK_SCALA_VERSION": scala,
            "SPARK_LOCAL_IP": "127.0.0.1",
            "NOMAD_TASK_DIR": str(directory / "local"),
            "NOMAD_SECRETS_DIR": str(directory / "secrets"),
            "NOMAD_ALLOC_DIR": str(directory / "alloc"),
        }

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """Directories as a Nomad task has them, owned by the image's user."""
        with scratch("sparknomad-image-") as directory:
            directory.chmod(0o755)
            for part in ("local", "secrets", "alloc", "tmp"):
                (directory / part).mkdir()
                if os.geteuid() == 0:
                    os.chown(directory / part, SPARK_ID, SPARK_ID)
                else:
                    (directory / part).chmod(0o777)
            yield directory

    def run(self, directory: Path, program: Sequence[str], *, spark: str) -> str:
        """Run a program to its end.

        Args:
            directory: from `workspace`.
            program: path and arguments inside the image.
            spark: Spark's version, for its scripts' environment.

        Returns:
            Its standard output.

        Raises:
            ImageError: with its last lines, if it fails.
        """
        scala = _SCALA[spark[0]]
        try:
            done = subprocess.run(
                self.command(directory, program, scala),
                capture_output=True,
                text=True,
                check=False,
                timeout=_SECONDS,
                env=self.environment(directory, scala),
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired as error:
            raise ImageError(
                f"{program[0]} did not end within {_SECONDS} s in the image."
            ) from error
        if done.returncode:
            told = [line for line in done.stderr.splitlines() if line.strip()][-40:]
            raise ImageError(
                f"{' '.join(program[:2])} failed in the image (exit code {done.returncode}):\n  "
                + "\n  ".join(told)
            )
        return done.stdout


class NamespaceSandbox(Sandbox):
    """Enters an unpacked image by namespaces of its own; needs root and no daemon.

    Args:
        rootfs: the unpacked image.
    """

    def __init__(self, rootfs: Path) -> None:
        self.rootfs = rootfs

    def command(self, directory: Path, program: Sequence[str], scala: str) -> list[str]:
        """See `Sandbox`."""
        enter = str(self.rootfs / "opt/sparknomad/enter")
        return ["/bin/sh", enter, str(self.rootfs), str(SPARK_ID), str(SPARK_ID), *program]

    def environment(self, directory: Path, scala: str) -> dict[str, str]:
        """See `Sandbox`."""
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return {**super().environment(directory, scala), "PATH": path}


class DockerSandbox(Sandbox):
    """Runs a container of a loaded image.

    Args:
        tag: the image in Docker.
        docker: the ``docker`` command line's start.
    """

    def __init__(self, tag: str, docker: Sequence[str] = ("docker",)) -> None:
        self.tag = tag
        self.docker = list(docker)

    def command(self, directory: Path, program: Sequence[str], scala: str) -> list[str]:
        """See `Sandbox`."""
        mounts = [f"--volume={directory / part}:/{part}" for part in ("local", "secrets", "alloc")]
        inside = {
            "SPARK_SCALA_VERSION": scala,
            "SPARK_LOCAL_IP": "127.0.0.1",
            "NOMAD_TASK_DIR": "/local",
            "NOMAD_SECRETS_DIR": "/secrets",
            "NOMAD_ALLOC_DIR": "/alloc",
        }
        names = [f"--env={key}={value}" for key, value in inside.items()]
        options = ["--rm", "--network=host", "--cap-drop=ALL", "--label=sparknomad.sandbox=1"]
        return [*self.docker, "run", *options, *mounts, *names, self.tag, *program]

    def environment(self, directory: Path, scala: str) -> dict[str, str]:
        """See `Sandbox`; the container has an environment of its own."""
        return dict(os.environ)
