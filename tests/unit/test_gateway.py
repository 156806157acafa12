"""The gateway between real sockets: who may what, and where requests go."""

from __future__ import annotations

import http.client
import json
import posixpath
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from threaded import threaded

from cloudmesh.sparknomad.cluster.nomad.hosts.pki import Authority, Certificate
from cloudmesh.sparknomad.incluster.gateway import AwayError, Gateway
from cloudmesh.sparknomad.incluster.gateway_rights import Rights, rights_of
from cloudmesh.sparknomad.incluster.serve import make_server
from cloudmesh.sparknomad.incluster.webhdfs import WebHdfs

TOKENS = {
    "operator": {"Type": "management"},
    "submitter": {"Type": "client", "Policies": ["sparknomad-submitter"]},
    "reader": {"Type": "client", "Policies": ["other", "sparknomad-reader"]},
    "nobody": {"Type": "client", "Policies": []},
}


@contextmanager
def served(server: HTTPServer) -> Iterator[int]:
    with server, threaded(server):
        yield server.server_port


class Hadoop(BaseHTTPRequestHandler):
    """A NameNode that sends writers to a DataNode, as far as WebHDFS shows it."""

    protocol_version = "HTTP/1.1"

    def parse_request(self) -> bool:
        parsed = super().parse_request()
        if parsed:
            names = [name.lower() for name in self.headers]
            self.server.heard.append((self.requestline, names))  # type: ignore[attr-defined]
        return parsed

    def do_GET(self) -> None:
        self.reply({"asked": self.path, "token": self.headers.get("X-Nomad-Token")})

    def do_PUT(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if "noredirect=true" in self.path:
            path = self.path.replace("noredirect=true", "createflag=datanode")
            self.reply({"Location": f"http://127.0.0.1:{self.server.server_port}{path}"})
            return
        self.server.written.append((self.path, body))  # type: ignore[attr-defined]
        self.reply({})

    def reply(self, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Lab:
    """A gateway before a NameNode, and the certificates to reach it."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.authority = Authority(directory, "c")
        self.authority.ensure()
        self.shown = self.authority.issue("operator", "cli")
        mine = self.authority.issue("gateway", "gateway", ["127.0.0.1"])
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(mine.certificate, mine.key)
        context.load_verify_locations(mine.authority)
        context.verify_mode = ssl.CERT_REQUIRED
        hadoop = ThreadingHTTPServer(("127.0.0.1", 0), Hadoop)
        hadoop.written = self.written = []  # type: ignore[attr-defined]
        hadoop.heard = self.heard = []  # type: ignore[attr-defined]
        place = f"127.0.0.1:{stack.enter_context(served(hadoop))}"
        services = {"hdfs-http": place, "spark-history": place}
        gateway = Gateway(("127.0.0.1", 0), lambda: services, TOKENS.get, context)
        self.port = stack.enter_context(served(gateway))

    def tls(self, shown: Certificate) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.authority.certificate))
        context.load_cert_chain(shown.certificate, shown.key)
        return context

    def ask(self, path: str, token: str = "operator", method: str = "GET") -> tuple[int, bytes]:
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.port, context=self.tls(self.shown), timeout=10
        )
        try:
            connection.request(method, path, headers={"X-Nomad-Token": token} if token else {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with ExitStack() as stack:
        yield Lab(tmp_path_factory.mktemp("tls"), stack)


def test_a_file_is_written_by_way_of_the_gateway(lab: Lab) -> None:
    hdfs = WebHdfs(
        f"https://127.0.0.1:{lab.port}",
        patience=0,
        tls=lab.tls(lab.shown),
        headers={"X-Nomad-Token": "submitter"},
    )
    hdfs.write("/sparknomad/artifacts/a b.part", b"content")
    path, body = lab.written[-1]
    assert body == b"content"
    assert path.startswith("/webhdfs/v1/sparknomad/artifacts/a%20b.part?")
    assert "user.name=spark" in path and "createflag=datanode" in path


def test_the_token_stays_here_and_the_user_is_sparks(lab: Lab) -> None:
    code, body = lab.ask("/webhdfs/v1/sparknomad/x?op=OPEN&user.name=root&doas=root")
    told = json.loads(body)
    assert (code, told["token"]) == (200, None)
    assert "root" not in told["asked"] and "user.name=spark" in told["asked"]


@pytest.mark.parametrize(
    ("token", "method", "path", "code"),
    [
        ("", "GET", "/webhdfs/v1/sparknomad/x?op=OPEN", 401),
        ("unknown", "GET", "/webhdfs/v1/sparknomad/x?op=OPEN", 401),
        ("nobody", "GET", "/webhdfs/v1/sparknomad/x?op=OPEN", 401),
        ("reader", "GET", "/webhdfs/v1/sparknomad/x?op=OPEN", 200),
        ("reader", "GET", "/webhdfs/v1/tmp/x?op=OPEN", 403),
        ("reader", "GET", "/webhdfs/v1/sparknomad/../tmp?op=OPEN", 403),
        ("reader", "PUT", "/webhdfs/v1/sparknomad/inputs/x?op=CREATE", 403),
        ("submitter", "PUT", "/webhdfs/v1/sparknomad/inputs/x?op=MKDIRS", 200),
        ("submitter", "PUT", "/webhdfs/v1/sparknomad/events/x?op=MKDIRS", 403),
        ("submitter", "DELETE", "/webhdfs/v1/sparknomad?op=DELETE", 403),
        ("reader", "GET", "/service/spark-history/api/v1/version", 200),
        ("operator", "GET", "/service/nomad/v1/jobs", 404),
        ("operator", "GET", "/service/hdfs-http/webhdfs/v1/x?op=OPEN", 404),
        ("operator", "GET", "/to/127.0.0.1:22/webhdfs/v1/x", 404),
        ("operator", "GET", "/", 404),
    ],
)
def test_rights_are_those_of_the_token(
    lab: Lab, token: str, method: str, path: str, code: int
) -> None:
    assert lab.ask(path, token, method)[0] == code


def test_whoever_has_no_certificate_of_ours_is_not_heard(lab: Lab, tmp_path: Path) -> None:
    other = Authority(tmp_path, "c")
    other.ensure()
    for context in (
        ssl.create_default_context(cafile=str(lab.authority.certificate)),
        lab.tls(other.issue("operator", "cli")),
    ):
        connection = http.client.HTTPSConnection("127.0.0.1", lab.port, context=context, timeout=10)
        with pytest.raises((ssl.SSLError, OSError)):
            connection.request("GET", "/", headers={"X-Nomad-Token": "operator"})
            connection.getresponse()
        connection.close()


OPERATIONS = ["CREATE", "MKDIRS", "RENAME", "DELETE", "APPEND", "CONCAT", "TRUNCATE", "SETOWNER"]
NAMES = st.text(st.sampled_from(list("a.%/;2eE5\\x")), max_size=12)


@given(
    st.sampled_from(["reader", ""]),
    st.sampled_from(["PUT", "POST", "DELETE"]),
    NAMES,
    st.sampled_from(OPERATIONS),
)
def test_a_reader_never_writes(kind: str, method: str, path: str, operation: str) -> None:
    for place in ("", "/webhdfs/v1/sparknomad/inputs/", "/webhdfs/v1/"):
        assert not Rights(kind).allow(method, f"{place}{path}?op={operation}")


@given(NAMES, st.sampled_from(OPERATIONS), st.sampled_from(["PUT", "POST", "DELETE"]))
def test_a_submitter_never_gets_out_of_its_directories(
    name: str, operation: str, method: str
) -> None:
    target = f"/webhdfs/v1/sparknomad/inputs/{name}?op={operation}&overwrite=false"
    if not Rights("submitter").allow(method, target):
        return
    path = urlsplit(target).path
    for _ in range(4):  # however often a server behind decodes it
        assert posixpath.normpath(path).startswith("/webhdfs/v1/sparknomad/inputs"), path
        assert ";" not in urlsplit(target).path and "\\" not in path
        path = unquote(path)


@given(NAMES)
def test_a_renamed_file_stays_within(name: str) -> None:
    query = urlencode({"op": "RENAME", "destination": f"/sparknomad/inputs/{name}"})
    if Rights("submitter").allow("PUT", f"/webhdfs/v1/sparknomad/inputs/x.part?{query}"):
        place = posixpath.normpath(f"/sparknomad/inputs/{name}")
        assert place.startswith("/sparknomad/inputs/")


@pytest.mark.parametrize(
    ("policies", "kind"),
    [
        (["sparknomad-reader"], "reader"),
        (["sparknomad-reader-team-a", "other"], "reader"),
        (["sparknomad-reader-a", "sparknomad-submitter-b"], "submitter"),
        (["sparknomad-operator-runs"], "operator"),
        (["sparknomad-operatorx"], ""),
        (["xsparknomad-operator"], ""),
        (["sparknomad-runs-team-a"], ""),
    ],
)
def test_the_kind_of_a_token_is_that_of_its_policy(policies: list[str], kind: str) -> None:
    assert rights_of({"Type": "client", "Policies": policies}).kind == kind


def test_a_token_of_no_policy_of_ours_has_no_rights() -> None:
    assert rights_of({"Policies": ["admin"]}).kind == ""
    assert rights_of({}).kind == ""
    assert rights_of({"Type": "management"}).kind == "operator"


def test_files_are_served_by_their_digest_to_who_knows_the_token(tmp_path: Path) -> None:
    digest, token = "ab" * 32, "cd" * 16
    (tmp_path / digest).write_bytes(b"layer" * 100_000)
    (tmp_path / "other").write_text("no")
    with served(make_server("127.0.0.1", token, tmp_path)) as port:
        for path, code in (
            (f"/{token}/{digest}", 200),
            (f"/{'ef' * 16}/{digest}", 404),
            (f"/{token}/other", 404),
            (f"/{token}/{'00' * 32}", 404),
            (f"/{token}/../{digest}", 404),
        ):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
            connection.close()
            assert answer.status == code, path
            assert (body == b"layer" * 100_000) == (code == 200)


# one request, and no other within it


SMUGGLED = b"DELETE /webhdfs/v1/sparknomad?op=DELETE&recursive=true HTTP/1.1\r\nHost: nn\r\n\r\n"


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ([f"Content-Length: {5 + len(SMUGGLED)}", "Content-Length: 5"], 400),
        ([f"Content-Length: {5 + len(SMUGGLED)}", "content-length: 5"], 400),
        (["Content-Length: +5"], 400),
        (["Content-Length: 5, 5"], 400),
        (["Content-Length: 0x5"], 400),
        (["Content-Length: -5"], 400),
        (["Content-Length: 5", "Transfer-Encoding: chunked"], 411),
        (["Transfer-Encoding: identity", "Content-Length: 5"], 411),
        (["Content-Length: 5"], 200),
    ],
)
def test_the_length_of_a_request_is_read_in_one_way(
    lab: Lab, headers: list[str], code: int
) -> None:
    head = [
        "GET /webhdfs/v1/sparknomad/x?op=LISTSTATUS HTTP/1.1",
        "Host: gateway",
        "X-Nomad-Token: reader",
        "X-Forwarded-For: elsewhere",
        *headers,
    ]
    before = len(lab.heard)
    with (
        socket.create_connection(("127.0.0.1", lab.port), timeout=10) as plain,
        lab.tls(lab.shown).wrap_socket(plain, server_hostname="127.0.0.1") as sent,
    ):
        sent.sendall("\r\n".join([*head, "", ""]).encode() + b"xxxxx" + SMUGGLED)
        assert int(sent.recv(4096).split()[1]) == code
    heard = lab.heard[before:]
    assert [line.split()[0] for line, _ in heard] == (["GET"] if code == 200 else [])
    assert not any("x-forwarded-for" in names for _, names in heard)


# while Nomad has no leader


def test_a_token_that_nobody_can_judge_now_is_not_called_a_wrong_one() -> None:
    told: list[Any] = [TOKENS["reader"]]

    def ask(token: str) -> Any:
        if isinstance(told[0], Exception):
            raise told[0]
        return told[0]

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with Gateway(("127.0.0.1", 0), dict, ask, context) as gateway:
        assert gateway.rights("known").kind
        told[0] = AwayError("it answers 500")
        gateway._known = {key: (0.0, rights) for key, (_, rights) in gateway._known.items()}
        assert gateway.rights("known").kind
        with pytest.raises(AwayError):
            gateway.rights("unknown")
        told[0] = None
        assert not gateway.rights("unknown").kind
