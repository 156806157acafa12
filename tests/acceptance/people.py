"""People with a bundle of a cluster, and requests of those who try to get more than that."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acceptance.conftest import Command

from cloudmesh.sparknomad.client import Remote
from cloudmesh.sparknomad.cluster.nomad.client import Nomad
from cloudmesh.sparknomad.cluster.nomad.hosts.pki import Certificate

if TYPE_CHECKING:
    from acceptance.test_hosts import Rack

__all__ = [
    "HDFS", "PASSPHRASE", "SECONDS", "Person", "Team", "allocation_of", "directory_of",
    "gets_no_more_of_nomad", "gets_no_more_of_the_gateway", "hello", "two_steps", "upgraded",
    "words",
]  # fmt: skip

EXAMPLES = Path(__file__).parents[2] / "examples"
PASSPHRASE = "correct horse battery\n"
SECONDS = """
import sys, time
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
end, rounds = time.time() + float(sys.argv[1]), 0
while time.time() < end:
    found = spark.range(1000).repartition(4).groupBy("id").count().count()
    assert found == 1000, found
    rounds += 1
print("right", flush=True)
"""


def directory_of(command: Command, name: str = "default") -> Path:
    return command.home / ".cloudmesh/sparknomad/clusters" / name


@dataclass(frozen=True)
class Person:
    """Somebody with a bundle: their own home, certificate and token."""

    command: Command
    namespace: str

    @property
    def record(self) -> dict[str, Any]:
        record: dict[str, Any] = json.loads(
            (directory_of(self.command) / "cluster.json").read_text()
        )
        return record

    @property
    def certificate(self) -> Certificate:
        tls = directory_of(self.command) / "tls"
        return Certificate(tls / "operator.pem", tls / "operator-key.pem", tls / "ca.pem")

    def context(self) -> ssl.SSLContext:
        shown = self.certificate
        context = ssl.create_default_context(cafile=str(shown.authority))
        context.load_cert_chain(shown.certificate, shown.key)
        return context

    def ask(
        self, address: str, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, str]:
        """The answer to a request, word for word as it is written here."""
        connection = http.client.HTTPSConnection(address, context=self.context(), timeout=20)
        text = body if isinstance(body, bytes) else json.dumps(body).encode() if body else None
        try:
            token = {"X-Nomad-Token": self.record["token"]}
            connection.request(method, path, body=text, headers={**token, **headers})
            answer = connection.getresponse()
            return answer.status, answer.read().decode("utf-8", "replace")
        finally:
            connection.close()


@dataclass(frozen=True)
class Team:
    """A cluster on two hosts, and the people who use it."""

    rack: Rack
    cache: Path
    passphrase: Path
    place: Path

    @property
    def operator(self) -> Command:
        return self.rack.command

    @property
    def nomad(self) -> str:
        return f"{self.rack.lab.hosts[0].address}:4646"

    def client(self, namespace: str = "default") -> Nomad:
        """Nomad, as who deployed the cluster."""
        tls = self.rack.directory / "tls"
        shown = Certificate(tls / "operator.pem", tls / "operator-key.pem", tls / "ca.pem")
        token = json.loads((self.rack.directory / "cluster.json").read_text())["token"]
        return Nomad(f"https://{self.nomad}", token, shown, namespace=namespace)

    def gateway(self) -> str:
        return self.client().service("gateway")[0]

    def secret(self) -> str:
        return f"--passphrase-file={self.passphrase}"

    def invite(self, who: str, role: str, *more: str, namespace: str = "runs") -> Person:
        bundle = self.place / f"{who}.bundle"
        create = ("cluster", "token", "create", f"--role={role}", f"--label={who}")
        options = (f"--bundle={bundle}", f"--namespace={namespace}", self.secret(), *more)
        made = self.operator.ok(*create, *options, "--output=json").json()
        assert made["secret"] is None and made["role"] == role
        assert stat.S_IMODE(bundle.stat().st_mode) == 0o600
        home = self.place / who
        home.mkdir()
        command = Command(home, self.cache)
        command.ok("cluster", "import", str(bundle), self.secret())
        return Person(command, namespace)


def words(person: Person | Command) -> tuple[str, ...]:
    command = person.command if isinstance(person, Person) else person
    path = command.home / "words.txt"
    path.write_text("to be or not to be\n")
    return ("job", "run", str(EXAMPLES / "wordcount.py"), "--param", f"input={path}")


def two_steps(command: Command, seconds: int) -> str:
    """A pipeline of two steps, the first of which takes so long."""
    (command.home / "wait.py").write_text(
        "import sys, time\ntime.sleep(float(sys.argv[1]))\nprint('waited')\n"
    )
    job = {"job": "wait", "program": "wait.py", "arguments": ["{seconds}"],
           "parameters": {"seconds": {"type": "integer", "default": 0}}}  # fmt: skip
    (command.home / "wait.yaml").write_text(json.dumps(job))
    two = {"one": {"job": "wait.yaml", "parameters": {"seconds": seconds}},
           "two": {"job": "wait.yaml", "after": ["one"]}}  # fmt: skip
    path = command.home / "two.yaml"
    path.write_text(json.dumps({"pipeline": "two", "steps": two}))
    return str(path)


def hello(remote: Remote, place: Path) -> str:
    """Define a job; its name."""
    (place / "hello.py").write_text("import sys\nprint('hello', *sys.argv[1:])\n")
    spec = {"job": "hello", "program": "hello.py", "arguments": ["{whom}"],
            "parameters": {"whom": {"default": "world"}}}  # fmt: skip
    (place / "hello.yaml").write_text(json.dumps(spec))
    return remote.job_define(place / "hello.yaml").job


def allocation_of(nomad: Nomad, job: str) -> str:
    return str(nomad.allocations(job)[0]["ID"])


RAW = {
    "Job": {
        "ID": "evil", "Name": "evil", "Type": "batch", "Datacenters": ["dc1"],
        "TaskGroups": [{"Name": "g", "Tasks": [
            {"Name": "t", "Driver": "exec", "Config": {"command": "/usr/bin/id"}}]}],
    }
}  # fmt: skip


def nomad_attempts(team: Team) -> list[tuple[str, str, Any]]:
    """Requests of which none is a submitter's or a reader's business."""
    nomad = team.client()
    hdfs = allocation_of(nomad, "hdfs")
    node = nomad.nodes()[0]["ID"]
    drain = {"DrainSpec": {"Deadline": 1}, "MarkEligible": False}
    parent = next(
        job["ID"] for job in team.client("runs").jobs("run-any-") if job.get("ParameterizedJob")
    )
    policy = {"Name": "sparknomad-operator-x", "Rules": 'namespace "*" { policy = "write" }'}
    return [
        ("POST", "/v1/jobs", RAW),
        ("POST", "/v1/jobs?namespace=runs", {"Job": {**RAW["Job"], "Namespace": "runs"}}),
        ("PUT", "/v1/job/evil/plan?namespace=runs", {**RAW, "Diff": True}),
        ("POST", "/v1/jobs/parse?namespace=runs", {"JobHCL": 'job "x" {}'}),
        ("DELETE", "/v1/job/hdfs", None),
        ("DELETE", f"/v1/job/{parent}?namespace=runs&purge=true", None),
        ("POST", "/v1/job/spark-worker/scale", {"Count": 0, "Target": {"Group": "worker"}}),
        ("POST", "/v1/job/hdfs/evaluate", {"JobID": "hdfs"}),
        ("GET", "/v1/var/nomad/jobs", None),
        ("GET", "/v1/var/nomad/jobs?namespace=runs", None),
        ("GET", "/v1/var/nomad/jobs/gateway", None),
        ("GET", "/v1/var/sparknomad/credentials/a/b?namespace=runs", None),
        ("GET", "/v1/var/sparknomad/credentials/a/b", None),
        ("PUT", "/v1/var/nomad/jobs?namespace=runs", {"Path": "nomad/jobs", "Items": {"a": "b"}}),
        ("PUT", "/v1/var/nomad/jobs/gateway", {"Path": "nomad/jobs/gateway", "Items": {"a": "b"}}),
        ("GET", f"/v1/client/fs/ls/{hdfs}?path=/", None),
        ("GET", f"/v1/client/fs/cat/{hdfs}?path=alloc/logs/namenode.stderr.0", None),
        ("GET", f"/v1/client/fs/logs/{hdfs}?task=namenode&type=stderr&plain=true", None),
        ("POST", f"/v1/client/allocation/{hdfs}/signal", {"Signal": "SIGKILL"}),
        ("POST", f"/v1/client/allocation/{hdfs}/restart", {}),
        ("POST", f"/v1/allocation/{hdfs}/stop", {}),
        ("POST", f"/v1/node/{node}/drain", drain),
        ("POST", f"/v1/node/{node}/eligibility", {"Eligibility": "ineligible"}),
        ("POST", f"/v1/node/{node}/purge", None),
        ("GET", "/v1/acl/tokens", None),
        ("POST", "/v1/acl/token", {"Name": "evil", "Type": "management"}),
        ("POST", "/v1/acl/policy/sparknomad-operator-x", policy),
        ("POST", "/v1/acl/bootstrap", {}),
        ("POST", "/v1/namespace/evil", {"Name": "evil"}),
        ("DELETE", "/v1/namespace/runs", None),
        ("GET", "/v1/agent/self", None),
        ("GET", "/v1/agent/keyring/list", None),
        ("GET", "/v1/agent/monitor?plain=true", None),
        ("GET", "/v1/agent/pprof/cmdline", None),
        ("GET", "/v1/operator/snapshot", None),
        ("GET", "/v1/operator/raft/configuration", None),
        ("GET", "/v1/operator/keyring/keys", None),
        ("PUT", "/v1/system/gc", None),
        ("GET", "/v1/jobs?namespace=other-team", None),
        ("GET", "/v1/allocations?namespace=other-team", None),
    ]  # fmt: skip


def gets_no_more_of_nomad(team: Team, person: Person) -> None:
    """None of these requests is served."""
    given = {}
    for method, path, body in nomad_attempts(team):
        code, text = person.ask(team.nomad, method, path, body)
        empty = code == 200 and method == "GET" and text in ("[]", "null")
        refused = code == 403 or text.startswith("Permission denied")
        if code not in (400, 404) and not refused and not empty:
            given[f"{method} {path}"] = (code, text[:200])
        elif code in (400, 404):  # what is not there is no secret, but must not be a way
            assert "bootstrap" in path or "ermission" in text or "already" in text, (path, text)
    assert not given
    code, text = person.ask(team.nomad, "GET", "/v1/vars?namespace=*")
    assert code == 403 or (code, json.loads(text)) == (200, []), text
    status = team.operator.ok("cluster", "status", "--output=json").json()
    assert status["state"] == "running"


def upgraded(person: Person, address: str, path: str) -> str:
    """What comes over a WebSocket, as far as it was let in."""
    host, _, port = address.partition(":")
    with (
        socket.create_connection((host, int(port)), 10) as raw,
        person.context().wrap_socket(raw, server_hostname=host) as connection,
    ):
        connection.sendall(
            f"GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            f"Sec-WebSocket-Version: 13\r\nX-Nomad-Token: {person.record['token']}\r\n\r\n".encode()
        )
        told = b""
        connection.settimeout(3)
        try:
            while block := connection.recv(65536):
                told += block
        except (TimeoutError, OSError):
            pass
    assert b"ermission" in told or b"403" in told, told
    return told.decode("utf-8", "replace")


HDFS = "/webhdfs/v1/sparknomad"
GATEWAY: list[tuple[str, str, str, int]] = [
    # role, method, path, what it must be answered with
    ("reader", "GET", f"{HDFS}?op=LISTSTATUS", 200),
    ("reader", "PUT", f"{HDFS}/inputs/evil?op=MKDIRS", 403),
    ("reader", "PUT", f"{HDFS}/inputs/evil.part?op=CREATE&noredirect=true", 403),
    ("reader", "POST", f"{HDFS}/inputs/evil?op=APPEND", 403),
    ("reader", "DELETE", f"{HDFS}/inputs?op=DELETE&recursive=true", 403),
    ("reader", "GET", "/webhdfs/v1/?op=LISTSTATUS", 403),
    ("reader", "GET", f"{HDFS}/../?op=LISTSTATUS", 403),
    ("reader", "GET", f"{HDFS}/%2e%2e/?op=LISTSTATUS", 403),
    ("reader", "GET", f"{HDFS}/%252e%252e/?op=LISTSTATUS", 403),
    ("reader", "GET", f"{HDFS}/..;/?op=LISTSTATUS", 403),
    ("reader", "GET", f"{HDFS}/x%2f..%2f..?op=LISTSTATUS", 403),
    ("reader", "GET", f"{HDFS}?op=GETDELEGATIONTOKEN", 403),
    ("reader", "GET", f"{HDFS}?op=LISTSTATUS&op=GETDELEGATIONTOKEN", 403),
    ("reader", "GET", f"{HDFS}?op=LISTSTATUS&OP=GETXATTRS", 403),
    ("reader", "GET", f"{HDFS}?OP=LISTSTATUS&DoAs=root&User.Name=root", 200),
    ("reader", "GET", "/service/hdfs-http/webhdfs/v1/?op=LISTSTATUS", 404),
    ("reader", "GET", "/service/hdfs-http/%77ebhdfs/v1/?op=LISTSTATUS&user.name=spark", 404),
    ("reader", "GET", "/service/hdfs-http//webhdfs/v1/?op=LISTSTATUS", 404),
    ("reader", "GET", "/service/hdfs-http/imagetransfer?getimage=1&txid=latest", 403),
    ("reader", "GET", "/service/hdfs-http/logLevel?log=org&level=TRACE", 403),
    ("reader", "GET", "/service/hdfs-http/conf", 403),
    ("reader", "GET", "/service/hdfs-http/jmx?qry=Hadoop:service=NameNode,name=NameNodeInfo", 200),
    ("reader", "GET", "/service/spark-master-ui/json/", 200),
    ("reader", "POST", "/service/spark-master-ui/app/kill/?id=x&terminate=true", 403),
    ("reader", "GET", "/service/spark-master-ui/app/kill/?id=x&terminate=true", 403),
    ("reader", "GET", "/service/nomad/v1/jobs", 404),
    ("reader", "GET", "/service/spark-worker-ui/", 404),
    ("reader", "GET", "/to/127.0.0.1:22/webhdfs/v1/sparknomad/x?op=OPEN", 404),
    ("reader", "GET", "http://127.0.0.1:4646/v1/jobs", 404),
    ("submitter", "PUT", f"{HDFS}/inputs/mine?op=MKDIRS", 200),
    ("submitter", "PUT", f"{HDFS}/inputs/%2e%2e/events/x?op=MKDIRS", 403),
    ("submitter", "PUT", f"{HDFS}/inputs/..%2fevents?op=MKDIRS", 403),
    ("submitter", "PUT", f"{HDFS}/events/x?op=MKDIRS", 403),
    ("submitter", "PUT", f"{HDFS}/staged/x?op=MKDIRS", 403),
    ("submitter", "PUT", f"{HDFS}/inputsx/x?op=MKDIRS", 403),
    ("submitter", "PUT", f"{HDFS}/inputs/x?op=CREATE&overwrite=true&noredirect=true", 403),
    ("submitter", "PUT", f"{HDFS}/inputs/x?op=CREATE&noredirect=true", 403),
    ("submitter", "POST", f"{HDFS}/inputs/x?op=APPEND", 403),
    ("submitter", "POST", f"{HDFS}/events/x.part?op=APPEND", 403),
    ("submitter", "PUT", f"{HDFS}/inputs/x?op=SETOWNER&owner=root", 403),
    ("submitter", "PUT", f"{HDFS}/inputs/x?op=SETPERMISSION&permission=777", 403),
    ("submitter", "PUT", f"{HDFS}/inputs/x?op=CREATESYMLINK&destination=/", 403),
    ("submitter", "PUT", f"{HDFS}/inputs/x.part?op=RENAME&destination=/evil", 403),
    ("submitter", "PUT", f"{HDFS}/inputs/x.part?op=RENAME&destination=/sparknomad/events/x", 403),
    ("submitter", "PUT",
     f"{HDFS}/inputs/x.part?op=RENAME&destination=/sparknomad/inputs/../events/x", 403),
    ("submitter", "PUT",
     f"{HDFS}/inputs/x.part?op=RENAME&destination=/sparknomad/inputs/y&renameoptions=OVERWRITE",
     403),
    ("submitter", "PUT", f"{HDFS}/events?op=RENAME&destination=/sparknomad/inputs/y", 403),
    ("submitter", "POST", f"{HDFS}/inputs/x?op=CONCAT&sources=/sparknomad/events/y", 403),
    ("submitter", "DELETE", f"{HDFS}/inputs?op=DELETE&recursive=true", 403),
    ("submitter", "DELETE", f"{HDFS}/artifacts/x?op=DELETE", 403),
    ("submitter", "DELETE", f"{HDFS}?op=DELETE&recursive=true", 403),
]  # fmt: skip


def gets_no_more_of_the_gateway(team: Team, people: Mapping[str, Person]) -> None:
    """Each of these requests gets what it is due."""
    gateway = team.gateway()
    wrong = {}
    for role, method, path, expected in GATEWAY:
        code, text = people[role].ask(gateway, method, path)
        if code != expected:
            wrong[f"{role}: {method} {path}"] = (code, expected, text[:200])
    assert not wrong
    code, text = people["reader"].ask(gateway, "GET", f"{HDFS}/inputs?op=GETFILESTATUS")
    assert json.loads(text)["FileStatus"]["owner"] == "spark"
