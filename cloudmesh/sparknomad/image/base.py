"""The base of an image, bootstrapped from Debian's packages, with a Java cut to size.

One run of mmdebstrap makes it: Debian's minimal system with Python, a Java made by jlink of
the modules that Spark needs, and the Java packages removed again.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

from cloudmesh.sparknomad.errors import DependencyError, ImageError
from cloudmesh.sparknomad.image.layers import MTIME, Layer, LayerStore, key_of

__all__ = ["DEBIAN_PYTHON", "SPARK_ID", "SUITE", "base_key", "base_layers", "bootstrap_command"]

SUITE = "bookworm"
DEBIAN_PYTHON = "3.11"
"""The Python of that suite."""

SPARK_ID = 185
"""User and group of everything in the image: the number that Spark's own images use."""

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_JAVA = "opt/java"
_TINI = "usr/bin/tini-static"

# Found by running Spark's and HDFS's daemons, SQL, streaming and every connector on it.
_MODULES = (
    "java.base,java.compiler,java.desktop,java.instrument,java.logging,java.management,"
    "java.naming,java.net.http,java.rmi,java.scripting,java.security.jgss,java.security.sasl,"
    "java.sql,java.transaction.xa,java.xml,jdk.crypto.ec,jdk.crypto.cryptoki,"
    "jdk.incubator.vector,jdk.jfr,jdk.management,jdk.naming.dns,jdk.net,jdk.security.auth,"
    "jdk.security.jgss,jdk.unsupported,jdk.xml.dom,jdk.zipfs,jdk.localedata,jdk.charsets,"
    "jdk.jcmd,jdk.httpserver"
)
_PACKAGES = "usr-is-merged,openjdk-17-jdk-headless,ca-certificates,python3,tini"
_LEFT_OUT = (
    r"\( -path '*/share/man/*' -o -path '*/python3.11/test*' -o -path '*/python3.11/lib2to3*'"
    r" -o -path '*/python3.11/pydoc_data*' -o -path '*/python3.11/unittest/test*' \)"
)


def bootstrap_command(target: Path) -> list[str]:
    """The command that writes the base as a tar.

    Raises:
        DependencyError: on an architecture that Debian's Java is not tried on.
    """
    machine = _ARCHITECTURES.get(platform.machine())
    if machine is None:
        raise DependencyError(f"No image can be built on {platform.machine()!r} machines.")
    jdk = f"/usr/lib/jvm/java-17-openjdk-{machine}"
    jlink = (
        f"{jdk}/bin/jlink --module-path {jdk}/jmods --add-modules {_MODULES} --output /{_JAVA} "
        "--vm=server --strip-java-debug-attributes --no-header-files --no-man-pages --compress=0"
    )
    hooks = (
        f'chroot "$1" {jlink}',
        f'cp --remove-destination "$1/etc/ssl/certs/java/cacerts" "$1/{_JAVA}/lib/security/"',
        'chroot "$1" apt-get -y purge --auto-remove openjdk-17-jdk-headless '
        "openjdk-17-jre-headless ca-certificates-java java-common",
        f'chroot "$1" groupadd -g {SPARK_ID} spark',
        f'chroot "$1" useradd -u {SPARK_ID} -g {SPARK_ID} -m -d /home/spark -s /bin/bash spark',
        f'find "$1/usr/share/man" "$1/usr/lib/python3.11" -depth {_LEFT_OUT} -delete',
        'rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/* "$1"/var/log/* '
        '"$1"/var/cache/debconf/*-old "$1"/var/lib/dpkg/*-old "$1"/var/cache/ldconfig/aux-cache',
        'mkdir -p "$1"/var/cache/apt/archives/partial "$1"/var/lib/apt/lists/partial '
        '"$1"/local "$1"/secrets "$1"/alloc',
        'rm -f "$1"/etc/resolv.conf "$1"/etc/hostname',
        'printf "127.0.0.1 localhost\\n::1 localhost\\n" > "$1"/etc/hosts',
        ': > "$1"/etc/resolv.conf',
    )
    return [
        "mmdebstrap",
        "--variant=minbase",
        "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
        "--skip=output/dev",
        f"--include={_PACKAGES}",
        '--aptopt=Acquire::Languages "none"',
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        "--dpkgopt=path-exclude=/usr/share/info/*",
        "--dpkgopt=path-exclude=/usr/share/lintian/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        "--dpkgopt=path-include=/usr/share/locale/locale.alias",
        *(f"--customize-hook={hook}" for hook in hooks),
        SUITE,
        str(target),
    ]


def base_key() -> str:
    """The key of Debian with Java: it changes with what they are made by."""
    return key_of("debian", SUITE, platform.machine(), bootstrap_command(Path("base.tar")), 1)


def base_layers(store: LayerStore, say: Callable[[str], None]) -> tuple[Layer, Layer]:
    """The layers of Debian with Python, and of Java with the init program.

    Raises:
        DependencyError: if mmdebstrap is not installed.
        ImageError: with its last lines, if it fails.
    """
    key = base_key()
    debian, java = key_of(key, "base"), key_of(key, "java")
    found = store.find(debian), store.find(java)
    if found[0] and found[1]:
        return found[0], found[1]
    scratch = store.directory / f"bootstrap-{key[:12]}.tar"
    store.directory.mkdir(parents=True, exist_ok=True)
    try:
        say(f"bootstrapping Debian {SUITE} with Python and Java 17 from Debian's packages")
        _bootstrap(scratch)
        base = store.layer(
            "debian", debian, lambda tar: _select(scratch, tar, java=False), is_tar=True
        )
        layer = store.layer("java", java, lambda tar: _select(scratch, tar, java=True), is_tar=True)
    finally:
        scratch.unlink(missing_ok=True)
    return base, layer


def _bootstrap(target: Path) -> None:
    if shutil.which("mmdebstrap") is None:
        raise DependencyError(
            "The program mmdebstrap is missing: it makes the image's base of Debian's packages.",
            hint="Install it (Debian: apt-get install mmdebstrap), or name a Docker image with "
            "--base.",
        )
    done = subprocess.run(
        bootstrap_command(target),
        capture_output=True,
        text=True,
        check=False,
        env={
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "SOURCE_DATE_EPOCH": str(MTIME),
            "LC_ALL": "C.UTF-8",
        },
    )
    if done.returncode:
        told = [line for line in done.stderr.splitlines() if line.strip()][-8:]
        raise ImageError(
            "Debian could not be bootstrapped:\n  " + "\n  ".join(told),
            hint="Check that Debian's packages can be reached (apt-get update).",
        )


def _select(source: Path, target: Path, *, java: bool) -> None:
    """Split the bootstrapped tar: Java and the init program, or all the rest."""
    with (
        tarfile.open(source) as whole,
        tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as part,
    ):
        for member in whole:
            name = member.name.removeprefix("./")
            if not name or name == ".":
                continue
            member.name = name
            if (name == _JAVA or name.startswith(f"{_JAVA}/")) != java:
                if java and name == _TINI:
                    member.name = "opt/sparknomad/bin/tini"
                else:
                    continue
            if member.islnk():
                member.linkname = member.linkname.removeprefix("./")
            part.addfile(member, whole.extractfile(member) if member.isreg() else None)
