"""A cluster that several people and machines use: roles, bundles, a machine that takes over.

The requests are those of somebody who tries to get more than they were given.
"""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import ssl
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from acceptance.conftest import Command, Done, ended
from acceptance.test_hosts import EXAMPLES, Rack
from lab import lab
from needs import require

from cloudmesh.sparknomad.cluster.nomad.client import Nomad
from cloudmesh.sparknomad.cluster.nomad.hosts.pki import Authority, Certificate
from cloudmesh.sparknomad.model import ImageRecord

pytestmark = pytest.mark.nomad
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
        return Nomad(f"https://{self.nomad}", token, shown, namespace)

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


@pytest.fixture(scope="module")
def team(
    root: None, image: ImageRecord, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Team]:
    for program in ("sshd", "ip", "nsenter", "iptables"):
        require(shutil.which(program) or Path("/usr/sbin", program).exists(), program)
    home, place = tmp_path_factory.mktemp("first home"), tmp_path_factory.mktemp("people")
    passphrase = place / "passphrase"
    passphrase.write_text("correct horse battery\n")
    with lab(tmp_path_factory.mktemp("hosts"), 2) as hosts, ended(Command(home, cache)) as command:
        rack = Rack(hosts, command)
        done = rack.deploy(workers=1)
        assert done.code == 0, done
        yield Team(rack, cache, passphrase, place)


@pytest.fixture(scope="module")
def submitter(team: Team) -> Person:
    return team.invite("sam", "submitter")


@pytest.fixture(scope="module")
def reader(team: Team) -> Person:
    return team.invite("rea", "reader")


@pytest.fixture(scope="module")
def stranger(team: Team) -> Person:
    """A submitter of another team."""
    return team.invite("other", "submitter", namespace="other-team")


def words(person: Person | Command) -> tuple[str, ...]:
    command = person.command if isinstance(person, Person) else person
    path = command.home / "words.txt"
    path.write_text("to be or not to be\n")
    return ("job", "run", str(EXAMPLES / "wordcount.py"), "--param", f"input={path}")


@pytest.fixture(scope="module")
def ran(submitter: Person) -> str:
    """A run of the submitter's."""
    done = submitter.command.ok(*words(submitter))
    assert done.out.splitlines()[0] == "     2  be"
    return done.err.split("run ")[1].split()[0]


# what each may do


def test_a_submitter_runs_jobs_and_sees_them(submitter: Person, ran: str) -> None:
    status = submitter.command.ok("job", "status", ran, "--output=json").json()
    assert (status["state"], status["attempts"]) == ("succeeded", 1)
    assert "2  be" in submitter.command.ok("job", "logs", ran).out
    assert submitter.command.ok("cluster", "status", "--output=json").json()["state"] == "running"


def test_a_submitter_ends_a_run(submitter: Person) -> None:
    program = submitter.command.home / "seconds.py"
    program.write_text(SECONDS)
    words = ("job", "run", str(program), "--detach", "--output=json")
    run = submitter.command.ok(*words, "--param", "seconds=120").json()["run"]
    for _ in range(200):
        status = submitter.command.ok("job", "status", run, "--output=json").json()
        if status["state"] == "running":
            break
    submitter.command.ok("job", "cancel", run)
    status = submitter.command.ok("job", "status", run, "--output=json").json()
    assert status["state"] == "cancelled"


def test_a_reader_sees_the_cluster_and_sends_nothing(reader: Person) -> None:
    assert reader.command.ok("cluster", "status", "--output=json").json()["state"] == "running"
    done = reader.command(*words(reader))
    assert done.code == 1
    assert "a reader's token for cluster 'default'; it may not run jobs" in done.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("cluster", "deploy"), "deploy it"),
        (("cluster", "destroy"), "destroy it"),
        (("cluster", "scale", "default", "2"), "scale it"),
        (("cluster", "logs"), "read the output of its servers"),
        (("cluster", "export", "mine.bundle"), "export it"),
        (("cluster", "rotate"), "rotate its certificates"),
        (("cluster", "token", "create", "--role=operator"), "make tokens"),
        (("cluster", "token", "list"), "list its tokens"),
        (("cluster", "token", "revoke", "default", "0" * 8), "revoke tokens"),
    ],
)
def test_a_submitter_is_told_what_it_may_not_do(
    team: Team, submitter: Person, arguments: tuple[str, ...], told: str
) -> None:
    more = (team.secret(),) if "export" in arguments else ()
    done = submitter.command(*arguments, *more)
    assert done.code == 1
    assert f"a submitter's token for cluster 'default'; it may not {told}" in done.err
    assert "It may run jobs" in done.err


# what they hold


def test_a_tokens_bundle_holds_no_other_secret(team: Team, submitter: Person) -> None:
    ours = json.loads((team.rack.directory / "cluster.json").read_text())
    secrets = [ours["token"], ours["spark_secret"], ours["gossip_key"]]
    secrets += [(team.rack.directory / "tls/ca-key.pem").read_text()]
    secrets += [(team.rack.directory / f"tls/{name}-key.pem").read_text() for name in ("operator",)]
    files = [path for path in directory_of(submitter.command).rglob("*") if path.is_file()]
    assert {path.name for path in files} == {
        "cluster.json", "ca.pem", "operator.pem", "operator-key.pem", "token",
    } | {path.name for path in files if path.parent.name == "runs"}  # fmt: skip
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        assert not [secret for secret in secrets if secret in path.read_text()], path
    assert (
        str(team.rack.lab.key) not in (directory_of(submitter.command) / "cluster.json").read_text()
    )


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


@pytest.mark.parametrize("role", ["submitter", "reader"])
def test_nomad_refuses_what_is_more_than_the_role(
    team: Team, role: str, request: pytest.FixtureRequest
) -> None:
    person: Person = request.getfixturevalue(role)
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
    assert (code, json.loads(text)) == (200, []) or code == 403, text
    status = team.operator.ok("cluster", "status", "--output=json").json()
    assert status["state"] == "running"


def test_a_reader_dispatches_nothing_and_a_submitter_only_runs(
    team: Team, reader: Person, submitter: Person, ran: str
) -> None:
    nomad = team.client("runs")
    parent = next(job["ID"] for job in nomad.jobs("run-any-1g") if job.get("ParameterizedJob"))
    path = f"/v1/job/{parent}/dispatch?namespace=runs"
    body = {"Payload": "e30=", "Meta": {"run": "evil"}}
    assert reader.ask(team.nomad, "POST", path, body)[0] == 403
    own = next(job for job in nomad.jobs("run-any-") if (job.get("Meta") or {}).get("run") == ran)
    allocation = allocation_of(nomad, own["ID"])
    for person in (reader, submitter):
        stop = f"/v1/client/allocation/{allocation}/exec?task=driver&command=%5B%22id%22%5D"
        assert "uid=" not in upgraded(person, team.nomad, f"{stop}&namespace=runs")
        fs = f"/v1/client/fs/cat/{allocation}?namespace=runs&path="
        assert person.ask(team.nomad, "GET", f"{fs}alloc/data/run/stdout")[0] == 200
        code, text = person.ask(team.nomad, "GET", f"{fs}driver/secrets/spark")
        assert code >= 400 and "prohibited" in text, text


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


def test_another_team_reads_neither_secrets_nor_logs(
    team: Team, submitter: Person, stranger: Person, ran: str
) -> None:
    nomad = team.client("runs")
    nomad.put_variable("sparknomad/credentials/one/two", {"storage": "key of the first"})
    child = next(job for job in nomad.jobs("run-any-") if (job.get("Meta") or {}).get("run") == ran)
    allocation = allocation_of(nomad, child["ID"])
    for namespace in ("runs", "other-team", "default"):
        where = f"namespace={namespace}"
        for path in (
            f"/v1/var/sparknomad/credentials/one/two?{where}",
            f"/v1/job/{child['ID'].replace('/', '%2F')}?{where}",
            f"/v1/client/fs/cat/{allocation}?{where}&path=alloc/data/run/stdout",
            f"/v1/client/fs/logs/{allocation}?{where}&task=driver&type=stdout&plain=true",
            f"/v1/client/fs/ls/{allocation}?{where}&path=/",
            f"/v1/allocation/{allocation}?{where}",
        ):
            code, text = stranger.ask(team.nomad, "GET", path)
            assert code in (403, 404) or "not found" in text, (path, code, text)
            assert "key of the first" not in text and "2  be" not in text
    done = stranger.command.ok(*words(stranger))
    assert done.out.splitlines()[0] == "     2  be"


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


def test_the_gateway_refuses_what_is_more_than_the_role(
    team: Team, submitter: Person, reader: Person
) -> None:
    gateway = team.gateway()
    people = {"submitter": submitter, "reader": reader}
    wrong = {}
    for role, method, path, expected in GATEWAY:
        code, text = people[role].ask(gateway, method, path)
        if code != expected:
            wrong[f"{role}: {method} {path}"] = (code, expected, text[:200])
    assert not wrong
    code, text = reader.ask(gateway, "GET", f"{HDFS}/inputs?op=GETFILESTATUS")
    assert json.loads(text)["FileStatus"]["owner"] == "spark"


def test_a_datanode_asks_only_the_name_node_that_it_was_sent_from(
    team: Team, submitter: Person
) -> None:
    gateway = team.gateway()
    path = f"{HDFS}/inputs/file.part?op=CREATE&overwrite=true&noredirect=true"
    code, text = submitter.ask(gateway, "PUT", path)
    assert code == 200, text
    location = json.loads(text)["Location"].partition(gateway)[2]
    assert "namenoderpcaddress=" in location
    before, _, after = location.partition("namenoderpcaddress=")
    elsewhere = f"{before}namenoderpcaddress=127.0.0.1:9&{after.partition('&')[2]}"
    assert submitter.ask(gateway, "PUT", elsewhere, b"x")[0] == 404
    assert submitter.ask(gateway, "PUT", location.replace("inputs", "events"), b"x")[0] == 403
    assert submitter.ask(gateway, "PUT", location, b"x")[0] == 201
    assert submitter.ask(gateway, "DELETE", f"{HDFS}/inputs/file.part?op=DELETE")[0] == 200


# tokens


def test_a_revoked_token_is_of_no_use_and_its_user_is_told(team: Team) -> None:
    person = team.invite("gone", "submitter", "--ttl=1h")
    listed = team.operator.ok("cluster", "token", "list", "--output=json").json()
    mine = next(token for token in listed if token["label"] == "gone")
    assert (mine["role"], mine["namespace"]) == ("submitter", "runs") and mine["expires"]
    assert "gone" in team.operator.ok("cluster", "token", "list").out
    team.operator.ok("cluster", "token", "revoke", "default", mine["accessor"])
    done = person.command(*words(person))
    assert done.code == 1
    assert "the token that is here was revoked or has ended" in done.err
    person.command.ok("cluster", "forget", "default")
    assert not directory_of(person.command).exists()
    again = team.operator("cluster", "token", "revoke", "default", mine["accessor"])
    assert again.code == 4


def test_the_token_that_manages_is_not_revoked(team: Team) -> None:
    listed = team.operator.ok("cluster", "token", "list", "--output=json").json()
    own = next(token for token in listed if token["role"] == "management")
    done = team.operator("cluster", "token", "revoke", "default", own["accessor"])
    assert done.code == 1 and "without it nobody could" in done.err


def test_wrong_roles_and_namespaces_are_refused_before_anything(team: Team) -> None:
    create = ("cluster", "token", "create")
    done = team.operator(*create, "--role=boss")
    assert done.code == 2 and "operator, submitter, reader" in done.err
    done = team.operator(*create, "--role=submitter", "--namespace=default")
    assert done.code == 2 and "only a reader" in done.err
    done = team.operator(*create, "--role=submitter", "--namespace=a b")
    assert done.code == 2


# certificates


def test_an_ended_certificate_and_another_authority_are_told(
    team: Team, submitter: Person, tmp_path: Path
) -> None:
    tls = directory_of(submitter.command) / "tls"
    kept = {path: path.read_text() for path in tls.iterdir()}
    ours = Authority(team.rack.directory / "tls", "default")
    other = Authority(tmp_path / "other", "default")
    other.ensure()

    def told() -> Done:
        done = submitter.command(*words(submitter))
        assert done.code == 1
        return done

    def show(authority: Authority, lifetime: timedelta) -> None:
        certificate, key = authority.sign("cli", lifetime=lifetime)
        (tls / "operator.pem").write_text(certificate)
        (tls / "operator-key.pem").write_text(key)

    try:
        show(ours, timedelta(seconds=-1))
        assert "ended at" in told().err and "asks the operator for a new one" in told().err
        show(other, timedelta(days=1))
        assert "does not trust the authority of this machine's certificate" in told().err
        (tls / "operator.pem").write_text(kept[tls / "operator.pem"])
        (tls / "operator-key.pem").write_text(kept[tls / "operator-key.pem"])
        (tls / "ca.pem").write_text(other.certificate.read_text())
        done = told()
        assert "is not signed by the cluster's authority" in done.err
        assert "import a new bundle" in done.err and "do not go on" in done.err
        status = submitter.command.ok("cluster", "status")
        assert "is not signed by the cluster's authority" in status.out
    finally:
        for path, text in kept.items():
            path.write_text(text)
    submitter.command.ok(*words(submitter))


# the last: it takes the cluster over, rotates and destroys it


def test_another_home_takes_over_rotates_under_a_run_and_destroys(
    team: Team, submitter: Person, ran: str
) -> None:
    run = team.operator.ok(*words(team.operator)).err.split("run ")[1].split()[0]
    bundle = team.place / "everything.bundle"
    export = ("cluster", "export", str(bundle), "--history", team.secret())
    team.operator.ok(*export)
    again = team.operator(*export)
    assert again.code == 1 and "not written over" in again.err
    home = team.place / "second home"
    home.mkdir()
    with ended(Command(home, team.cache)) as second:
        second.ok("cluster", "import", str(bundle), "--name=saved", team.secret())
        shutil.rmtree(team.operator.home / ".cloudmesh")
        at = ("--cluster=saved",)
        assert second.ok("job", "status", run, "--output=json").json()["state"] == "succeeded"
        assert second.ok(*words(second), *at).out.splitlines()[0] == "     2  be"
        second.ok("cluster", "scale", "saved", "2")
        rotates_under_a_run(team, second, submitter)
        second.ok("cluster", "destroy", "saved")
        for host in team.rack.lab.hosts:
            assert [path.name for path in host.state.iterdir()] == []
            running = host.run("ps", "-eo", "args")
            assert "nomad" not in running and "java" not in running, running


def rotates_under_a_run(team: Team, command: Command, submitter: Person) -> None:
    program = command.home / "seconds.py"
    program.write_text(SECONDS)
    detached = ("job", "run", str(program), "--detach", "--cluster=saved", "--output=json")
    run = command.ok(*detached, "--param", "seconds=75").json()["run"]
    while command.ok("job", "status", run, "--output=json").json()["state"] != "running":
        pass
    before = certificates(team)
    agents = {host.name: host.run("pgrep", "-x", "nomad").split() for host in team.rack.lab.hosts}
    shown = command.ok("cluster", "rotate", "saved", "--dry-run").out
    assert "make a new certificate authority" in shown and "key of gossip" in shown
    assert certificates(team) == before
    for seconds in (1.5, 2.5, 3.5):
        command.killed(seconds, "cluster", "rotate", "saved")
    done = command.ok("cluster", "rotate", "saved")
    assert "the bundle of submitter sam is of no use any more" in done.err
    after = certificates(team)
    assert not before & after and len(after) == len(before)
    secrets_stay(team, command)
    assert agents == {
        host.name: host.run("pgrep", "-x", "nomad").split() for host in team.rack.lab.hosts
    }
    status = command.ok("job", "wait", run, "--output=json").json()
    assert (status["state"], status["attempts"]) == ("succeeded", 1)
    assert command.ok(*words(command), "--cluster=saved").out.splitlines()[0] == "     2  be"
    assert command.ok("cluster", "status", "saved", "--output=json").json()["state"] == "running"
    told = submitter.command(*words(submitter))
    assert told.code == 1 and "import a new bundle" in told.err


def certificates(team: Team) -> set[str]:
    """What the agents trust and show."""
    found = set()
    for host in team.rack.lab.hosts:
        tls = host.state / "default" / "tls"
        found |= {host.name + (tls / name).read_text() for name in ("ca.pem", "cert.pem")}
    return found


def secrets_stay(team: Team, command: Command) -> None:
    """The authority's key is on no host, nor is anything readable by others."""
    own = directory_of(command, "saved")
    key = (own / "tls/ca-key.pem").read_text()
    record = json.loads((own / "cluster.json").read_text())
    for number, host in enumerate(team.rack.lab.hosts):
        place = host.state / "default"
        for path in (place / "agent.json", *(place / "tls").iterdir()):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
            assert key not in path.read_text()
        encrypted = json.loads((place / "agent.json").read_text()).get("server", {}).get("encrypt")
        assert encrypted == (record["gossip_key"] if number == 0 else None)
    assert not (own / "rotation.json").exists() and not (own / "tls/next").exists()
    for path in own.rglob("*"):
        if path.is_file():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
