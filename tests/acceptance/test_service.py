"""The REST service as a process, with a real socket: who may what, once and only once."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import requests
from acceptance.conftest import Command

pytestmark = pytest.mark.spark
TIMEOUT = 60


@dataclass
class Service:
    """A running service, and what its callers send."""

    command: Command
    url: str
    tokens: dict[str, str]
    process: subprocess.Popen[str]

    def __call__(
        self, method: str, path: str, body: Any = None, *, role: str = "operator", **headers: str
    ) -> requests.Response:
        token = self.tokens.get(role, role)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            given["Authorization"] = f"Bearer {token}"
        return requests.request(method, self.url + path, json=body, headers=given, timeout=TIMEOUT)

    def ended(self, answer: requests.Response) -> Any:
        """Wait until an operation has ended."""
        assert answer.status_code == 202, answer.text
        give_up = time.monotonic() + TIMEOUT
        while True:
            told = self("GET", answer.headers["Location"].removeprefix("/v1")).json()
            if told["state"] not in ("accepted", "running"):
                return told
            assert time.monotonic() < give_up
            time.sleep(0.05)


@contextmanager
def serving(command: Command, *more: str) -> Iterator[Service]:
    """A service on a free port; tokens of each role."""
    tokens = {
        role: command.ok("service", "token", "create", f"{role}-{time.time_ns()}", f"--role={role}")
        .out.strip()
        for role in ("operator", "submitter", "reader")
    }  # fmt: skip
    process = subprocess.Popen(
        command.words("service", "start", "--port=0", *more),
        env=command.environment,
        cwd=command.home,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stderr is not None
        url = ""
        for line in process.stderr:
            if "serving " in line:
                url = line.split("serving ")[1].strip()
                break
        assert url, process.poll()
        yield Service(command, url, tokens, process)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        assert process.wait(30) in (0, -signal.SIGKILL)
        assert process.stderr is not None
        process.stderr.close()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, cache: Any) -> Iterator[Service]:
    command = Command(tmp_path_factory.mktemp("service home"), cache)
    with serving(command, "--allow-local") as made:
        spec = {"provider": "local", "workers": 1, "memory": "1g"}
        told = made.ended(made("PUT", "/clusters/default", spec))
        assert told["state"] == "succeeded", told
        yield made
        command.ok("cluster", "destroy", "default", "--force")


def define(service: Service, name: str, **parameters: Any) -> None:
    content = base64.b64encode(b"print('hello')\n").decode()
    spec = {"program": "hello.py", "parameters": parameters}
    body = {"spec": spec, "files": {"hello.py": content}}
    answer = service("PUT", f"/jobs/{name}", body, role="submitter")
    assert answer.status_code == 200, answer.text
    assert answer.json()["program"] == "hello.py"


def test_a_job_is_defined_run_and_looked_at(service: Service) -> None:
    define(service, "hello", times={"type": "integer", "default": 1})
    assert "hello" in [each["job"] for each in service("GET", "/jobs", role="reader").json()]
    answer = service("POST", "/runs", {"job": "hello", "values": {"times": 3}}, role="submitter")
    assert answer.status_code == 201, answer.text
    run = answer.json()
    assert run["job"] == "hello" and run["parameters"] == {"times": 3}
    place = answer.headers["Location"].removeprefix("/v1")
    told = service("GET", place, role="reader")
    assert told.json()["run"] == run["run"]
    listed = service("GET", "/runs?job=hello&limit=1", role="reader").json()
    assert [each["run"] for each in listed] == [run["run"]]
    ended = service("DELETE", place, role="submitter")
    assert ended.json()["state"] in ("cancelled", "succeeded")
    told = service("GET", place, role="reader")
    unchanged = service("GET", place, role="reader", If_None_Match=told.headers["ETag"])
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    other = service("GET", place, role="reader", If_None_Match='"other"')
    assert other.status_code == 200


def test_definitions_go(service: Service) -> None:
    define(service, "brief")
    steps = {"steps": {"a": {"job": "brief"}}}
    assert service("PUT", "/pipelines/brief", steps, role="submitter").status_code == 200
    for path in ("/pipelines/brief", "/jobs/brief"):
        assert service("GET", path, role="reader").status_code == 200
        gone = service("DELETE", path, role="submitter")
        assert gone.status_code == 200, gone.text
        assert service("GET", path, role="reader").status_code == 404


def test_the_output_of_a_run_comes_as_events_and_goes_on_where_it_ended(service: Service) -> None:
    define(service, "talk")
    run = service("POST", "/runs", {"job": "talk"}).json()["run"]

    def events(**headers: str) -> list[dict[str, str]]:
        answer = service("GET", f"/runs/{run}/logs", role="reader", **headers)
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        blocks = [block for block in answer.text.split("\n\n") if block.strip()]
        return [dict(line.split(": ", 1) for line in block.splitlines()) for block in blocks]

    all_of_it = events()
    assert all_of_it[-1]["event"] == "end"
    assert json.loads(all_of_it[-1]["data"])["state"] in ("succeeded", "failed")
    numbered = [each for each in all_of_it if "id" in each]
    if numbered:
        assert [e["event"] for e in events(Last_Event_ID=numbered[-1]["id"])] == ["end"]


def test_an_operation_tells_how_it_goes(service: Service) -> None:
    answer = service("POST", "/clusters/default/scale", {"workers": 2})
    told = service.ended(answer)
    assert told["state"] == "succeeded" and told["result"]["workers"] == 2
    assert told["verb"] == "cluster_scale" and told["by"].startswith("operator")
    events = service("GET", f"/operations/{told['operation']}/events", role="reader").text
    assert 'event: end\ndata: {"state": "succeeded"' in events
    failed = service.ended(service("POST", "/clusters/nowhere/scale", {"workers": 3}))
    assert failed["state"] == "failed" and failed["problem"]["code"] == "not_found"


def test_the_same_key_does_a_thing_once(service: Service) -> None:
    define(service, "once")
    body = {"job": "once"}

    def post(_: int) -> requests.Response:
        return service("POST", "/runs", body, role="submitter", Idempotency_Key="one-and-only")

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(post, range(8)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["run"] for answer in answers}) == 1
    assert len(service("GET", "/runs?job=once").json()) == 1
    again = post(0)
    assert again.headers["Idempotency-Replayed"] == "true" and "Location" in again.headers
    other = service("POST", "/runs", {"job": "hello"}, role="submitter",
                    Idempotency_Key="one-and-only")  # fmt: skip
    assert other.status_code == 409 and "another request" in other.json()["detail"]
    # Another caller's key is another key.
    mine = service("POST", "/runs", body, role="operator", Idempotency_Key="one-and-only")
    assert mine.status_code == 201 and mine.json()["run"] != again.json()["run"]


@pytest.mark.parametrize("role", ["", "x" * 43, "not a token", "\u00fc".encode().decode("latin-1")])
def test_nobody_without_a_token_gets_anything(service: Service, role: str) -> None:
    for path in ("/clusters", "/runs", "/operations"):
        assert service("GET", path, role=role).status_code == 401
    answer = requests.get(service.url.removesuffix("/v1") + "/metrics", timeout=TIMEOUT)
    assert answer.status_code == 401


def test_a_role_may_what_it_is_for_and_nothing_else(service: Service) -> None:
    writes: list[tuple[str, str, Any]] = [
        ("PUT", "/clusters/evil", {"provider": "memory"}),
        ("DELETE", "/clusters/default", None),
        ("POST", "/clusters/default/scale", {"workers": 9}),
        ("DELETE", "/clusters/default/staged", None),
        ("PUT", "/images/evil", {}),
    ]
    sends: list[tuple[str, str, Any]] = [
        ("PUT", "/jobs/evil", {"spec": {"program": "a.py"}, "files": {"a.py": ""}}),
        ("POST", "/runs", {"job": "hello"}),
        ("DELETE", "/jobs/hello", None),
        ("POST", "/pipeline-runs", {"pipeline": "p"}),
    ]
    before = service("GET", "/clusters").json(), service("GET", "/jobs").json()
    for method, path, body in writes:
        for role in ("reader", "submitter"):
            answer = service(method, path, body, role=role)
            assert answer.status_code == 403, (role, method, path)
            assert answer.json()["code"] == "forbidden"
    for method, path, body in sends:
        assert service(method, path, body, role="reader").status_code == 403
    assert (service("GET", "/clusters").json(), service("GET", "/jobs").json()) == before


def test_no_path_of_a_caller_is_one_of_this_machine(service: Service) -> None:
    secret = service.command.home / "secret"
    secret.write_text("x")
    for name in ("../evil.py", "/etc/passwd", "a/b.py", ".hidden", ""):
        body = {"spec": {"program": name or "x"}, "files": {name: ""}}
        answer = service("PUT", "/jobs/evil", body)
        assert answer.status_code == 400, (name, answer.text)
    body = {"spec": {"program": str(secret)}, "files": {"a.py": ""}}
    assert "no file that came with" in service("PUT", "/jobs/evil", body).json()["detail"]
    define(service, "reader", input={"type": "uri"})
    for value in (str(secret), f"file://{secret}", "secret", "../secret", "http://127.0.0.1/",
                  "s3://bucket/x", "hdfs://host/x"):  # fmt: skip
        answer = service("POST", "/runs", {"job": "reader", "values": {"input": value}})
        assert answer.status_code == 400, (value, answer.text)
        assert "PROFILE:path" in answer.json()["detail"]
    answer = service("PUT", "/pipelines/evil", {"steps": {"a": {"job": str(secret)}}})
    assert answer.status_code == 400 and "name of a defined job" in answer.json()["detail"]
    for line in ("-r /etc/passwd", "/etc/passwd", "file:///etc", "numpy @ http://127.0.0.1/x"):
        told = service.ended(service("PUT", "/images/evil", {"requirements": [line]}))
        assert told["problem"]["code"] == "input_invalid", line
    hosts = {"hosts": [{"host": "h", "key": "/etc/ssl/private/key"}]}
    told = service.ended(service("PUT", "/clusters/evil", {"provider": "nomad", **hosts}))
    assert "file of the service's machine" in told["problem"]["detail"]


def test_the_embedded_cluster_is_for_who_lets_it(tmp_path: Any, cache: Any) -> None:
    with serving(Command(tmp_path, cache)) as service:
        define(service, "hello")
        answer = service("POST", "/runs", {"job": "hello"})
        assert answer.status_code == 404 and "no cluster 'default'" in answer.json()["detail"]
        answer = service("POST", "/runs", {"job": "hello", "cluster": "local"}, role="submitter")
        assert answer.status_code == 403 and "service's own user" in answer.json()["detail"]
        assert service("GET", "/clusters").json() == []
        told = service.ended(service("PUT", "/clusters/local", {"provider": "local"}))
        assert told["problem"]["code"] == "forbidden"


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/runs?state=odd", None, 400),
        ("GET", "/runs?limit=0", None, 400),
        ("GET", "/runs?nope=1", None, 400),
        ("GET", "/runs/UPPER", None, 400),
        ("GET", "/runs/nope", None, 404),
        ("GET", "/operations/" + "0" * 32, None, 404),
        ("POST", "/runs", {}, 400),
        ("POST", "/runs", {"job": "hello", "odd": 1}, 400),
        ("POST", "/runs", {"job": "nope"}, 404),
        ("POST", "/runs", {"job": "hello", "values": {"times": "x"}}, 400),
        ("POST", "/runs", [1], 400),
        ("PATCH", "/runs", {}, 405),
        ("GET", "/nope", None, 404),
    ],
)
def test_what_is_wrong_is_told_as_a_problem(
    service: Service, method: str, path: str, body: Any, status: int
) -> None:
    define(service, "hello", times={"type": "integer", "default": 1})
    answer = service(method, path, body)
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["status"] == status
    assert "schema" not in answer.text


def test_a_body_that_is_no_text_or_too_large_is_refused(service: Service) -> None:
    headers = {
        "Authorization": f"Bearer {service.tokens['operator']}",
        "Content-Type": "application/json",
    }
    odd = requests.post(f"{service.url}/runs", data=b"\xff\xfe{", headers=headers, timeout=TIMEOUT)
    assert odd.status_code == 400, odd.text
    large = b'{"job": "' + b"x" * 9_000_000 + b'"}'
    told = requests.post(f"{service.url}/runs", data=large, headers=headers, timeout=TIMEOUT)
    assert told.status_code == 413

    def parts() -> Iterator[bytes]:
        for _ in range(12):
            yield b" " * 1_000_000

    try:
        told = requests.post(f"{service.url}/runs", data=parts(), headers=headers, timeout=TIMEOUT)
        assert told.status_code in (400, 413)
    except requests.ConnectionError:  # it was cut off while it was being sent
        pass
    assert service("GET", "/clusters").status_code == 200


def test_what_was_accepted_is_done_though_the_service_is_killed(tmp_path: Any, cache: Any) -> None:
    command = Command(tmp_path, cache)
    with serving(command) as service:
        answers = [
            service("PUT", f"/clusters/c{n}", {"provider": "memory"}, Idempotency_Key=f"k{n}")
            for n in range(20)
        ]
        os.kill(service.process.pid, signal.SIGKILL)
        service.process.wait(30)
    assert {answer.status_code for answer in answers} == {202}
    with serving(command) as service:
        for answer in answers:
            assert service.ended(answer)["state"] == "succeeded"
        assert len(service("GET", "/clusters").json()) == 20
        again = service("PUT", "/clusters/c3", {"provider": "memory"}, Idempotency_Key="k3")
        # The new process's token is another caller: its key is new, and the verb is idempotent.
        assert service.ended(again)["state"] == "succeeded"
        assert len(service("GET", "/clusters").json()) == 20


def test_tokens_are_kept_as_hashes_and_end_at_once(service: Service) -> None:
    home = service.command.home / ".cloudmesh/sparknomad/service"
    stored = b"".join(path.read_bytes() for path in home.glob("service.db*"))
    for token in service.tokens.values():
        assert token.encode() not in stored
    assert stat.S_IMODE((home / "service.db").stat().st_mode) == 0o600
    assert stat.S_IMODE((home / "audit.jsonl").stat().st_mode) == 0o600
    secret = service.command.ok("service", "token", "create", "brief", "--role=reader").out.strip()
    assert service("GET", "/jobs", role=secret).status_code == 200
    service.command.ok("service", "token", "revoke", "brief")
    assert service("GET", "/jobs", role=secret).status_code == 401
    listed = service.command.ok("service", "token", "list", "--output=json").out
    assert all(token not in listed for token in service.tokens.values())


def test_who_did_what_is_noted_without_secrets(service: Service) -> None:
    service("DELETE", "/jobs/nope", role="submitter")
    path = service.command.home / ".cloudmesh/sparknomad/service/audit.jsonl"
    give_up = time.monotonic() + 10  # it is written when the answer has been sent
    while "/v1/jobs/nope" not in (log := path.read_text()):
        assert time.monotonic() < give_up
    last = next(each for each in map(json.loads, log.splitlines()) if "nope" in each["path"])
    assert (last["method"], last["path"], last["status"]) == ("DELETE", "/v1/jobs/nope", 404)
    assert last["role"] == "submitter" and last["by"].startswith("submitter-")
    assert all(token not in log for token in service.tokens.values())


def test_a_second_service_a_taken_port_and_others_without_tls_are_refused(
    service: Service, tmp_path: Any, cache: Any
) -> None:
    told = service.command("service", "start", "--port=0")
    assert told.code == 1 and "A service runs already" in told.err
    status = service.command.ok("service", "status", "--output=json").json()
    assert status["url"] == service.url
    other = Command(tmp_path, cache)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        told = other("service", "start", f"--port={taken.getsockname()[1]}")
    assert told.code == 1 and "can't be listened at" in told.err
    told = other("service", "start", "--host=0.0.0.0", "--port=0")
    assert told.code == 2 and "TLS is needed" in told.err


def test_the_client_has_the_managers_verbs(service: Service, tmp_path: Any) -> None:
    from cloudmesh.sparknomad.errors import ForbiddenError, InputError, NotFoundError
    from cloudmesh.sparknomad.manager import Sparknomad
    from cloudmesh.sparknomad.model import ClusterState, RunState

    (tmp_path / "greet.py").write_text("import sys\nprint('hello', *sys.argv[1:])\n")
    (tmp_path / "greet.yaml").write_text(
        "job: greet\nprogram: greet.py\nparameters: {whom: {default: you}}\narguments: ['{whom}']\n"
    )
    (tmp_path / "twice.yaml").write_text(
        "pipeline: twice\nsteps:\n  a: {job: greet}\n  b: {job: greet, after: [a]}\n"
    )
    here = Sparknomad.connect(service.url, service.tokens["operator"])
    assert here.cluster_status("default").state is ClusterState.RUNNING
    assert here.job_define(tmp_path / "greet.yaml").job == "greet"
    assert "greet" in [spec.job for spec in here.job_list()]
    run = here.job_run("greet", {"whom": "me"})
    assert b"".join(chunk.data for chunk in here.job_logs(run.run, follow=True)) == b"hello me\n"
    ended = here.job_wait(run.run, timeout=60)
    assert ended.state is RunState.SUCCEEDED and ended.parameters == {"whom": "me"}
    assert here.pipeline_define(tmp_path / "twice.yaml").pipeline == "twice"
    made = here.pipeline_run("twice", {})
    assert here.pipeline_wait(made.run, timeout=90).state is RunState.SUCCEEDED
    assert here.cluster_scale("default", 1).workers == 1
    with pytest.raises(NotFoundError, match="no job 'nope'"):
        here.job_show("nope")
    assert here.storage_check() == []  # there is no profile
    with pytest.raises(NotFoundError, match="no storage profile 'nope'"):
        here.storage_check(["nope"])
    assert here.pipeline_schedules() == []
    with pytest.raises(InputError, match="has no schedules"):
        here.pipeline_schedule("twice", {}, schedule="0 3 * * *")
    reader = Sparknomad.connect(service.url, service.tokens["reader"])
    assert reader.job_status(run.run).state is RunState.SUCCEEDED
    with pytest.raises(ForbiddenError, match="needs the role submitter"):
        reader.job_run("greet", {})
