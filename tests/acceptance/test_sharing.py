"""A cluster that several people and machines use: roles, bundles, a machine that takes over.

The requests are those of somebody who tries to get more than they were given.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import stat
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from acceptance.conftest import Command, Done, ended
from acceptance.people import (
    HDFS,
    PASSPHRASE,
    SECONDS,
    Person,
    Team,
    allocation_of,
    directory_of,
    two_steps,
    upgraded,
    words,
)
from acceptance.test_hosts import Rack
from lab import lab
from needs import require

from cloudmesh.sparknomad.cluster.nomad.client import Nomad
from cloudmesh.sparknomad.cluster.nomad.hosts.pki import Authority
from cloudmesh.sparknomad.cluster.nomad.runs import RUN_DIRECTORY
from cloudmesh.sparknomad.incluster.run_private import ENDED
from cloudmesh.sparknomad.model import ImageRecord
from cloudmesh.sparknomad.waiting import Deadline, wait_until

pytestmark = [pytest.mark.nomad, pytest.mark.slow]


@pytest.fixture(scope="module")
def team(
    root: None, image: ImageRecord, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Team]:
    for program in ("sshd", "ip", "nsenter", "iptables"):
        require(shutil.which(program) or Path("/usr/sbin", program).exists(), program)
    home, place = tmp_path_factory.mktemp("first home"), tmp_path_factory.mktemp("people")
    passphrase = place / "passphrase"
    passphrase.write_text(PASSPHRASE)
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


@contextlib.contextmanager
def no_room(nomad: Nomad) -> Iterator[None]:
    """No host takes a task meanwhile."""
    nodes = [str(node["ID"]) for node in nomad.nodes()]
    try:
        for node in nodes:
            nomad.set_eligible(node, eligible=False)
        yield
    finally:
        for node in nodes:
            nomad.set_eligible(node, eligible=True)


def test_a_submitter_ends_a_run_that_waits_for_room(team: Team, submitter: Person) -> None:
    program = submitter.command.home / "told.py"
    program.write_text("print('it has run')\n")
    command, nomad = submitter.command, team.client(submitter.namespace)
    with no_room(nomad):
        run = command.ok("job", "run", str(program), "--detach", "--output=json").json()["run"]
        assert command.ok("job", "status", run, "--output=json").json()["state"] == "pending"
        command.ok("job", "cancel", run)
        status = command.ok("job", "status", run, "--output=json").json()
        assert (status["state"], status["reason"]) == (
            "cancelled",
            "cancelled before it was started",
        )
        assert len(nomad.variables(ENDED)) == 1
    # Its driver begins now, and ends without running the program.
    (child,) = [
        job["ID"] for job in nomad.jobs("run-") if (job.get("Meta") or {}).get("run") == run
    ]
    wait_until(
        lambda: any(each["ClientStatus"] == "failed" for each in nomad.allocations(child)),
        "the driver to end",
        Deadline(60),
    )
    assert nomad.variables(ENDED) == []
    assert nomad.read_json(allocation_of(nomad, child), RUN_DIRECTORY, "outcome.json")["state"] == (
        "cancelled"
    )
    assert "it has run" not in command("job", "logs", run).out


def test_a_submitter_ends_a_pipeline_that_waits_for_room(team: Team, submitter: Person) -> None:
    command, nomad = submitter.command, team.client(submitter.namespace)
    with no_room(nomad):
        words = ("pipeline", "run", two_steps(command, 60), "--detach", "--output=json")
        run = command.ok(*words).json()["run"]
        record = command.ok("pipeline", "cancel", run, "--output=json").json()
        assert record["state"] == "cancelled"
    wait_until(lambda: not nomad.variables(ENDED), "its task to begin and end", Deadline(60))
    sent = [job for job in nomad.jobs("run-") if job["Status"] != "dead" and job.get("ParentID")]
    assert sent == []


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
        assert "prohibited" in text and len(text) < 100, (code, text)


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
            told = text.startswith(("Permission denied", "Unknown allocation")) or (
                "not found" in text
            )
            assert code in (403, 404) or told, (path, code, text)
            assert "key of the first" not in text and "2  be" not in text
    done = stranger.command.ok(*words(stranger))
    assert done.out.splitlines()[0] == "     2  be"


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


def test_a_submitter_brings_new_files_and_replaces_none(submitter: Person) -> None:
    command = submitter.command
    (command.home / "big").write_bytes(b"x" * 9_000_000)
    command.ok("storage", "put", "big", "cluster:inputs/big")
    command.ok("storage", "get", "cluster:inputs/big", "back")
    assert (command.home / "back").read_bytes() == b"x" * 9_000_000
    (command.home / "big").write_bytes(b"y")
    for refused in (
        ("put", "big", "cluster:inputs/big"),
        ("put", "big", "cluster:events/big"),
        ("remove", "cluster:inputs/big"),
    ):
        done = command("storage", *refused)
        assert done.code == 1, (refused, done)
    assert command.ok("storage", "info", "cluster:inputs/big", "--output=json").json()["size"] == (
        9_000_000
    )


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
    agents = agents_of(team)
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
    assert agents_of(team) == agents
    status = command.ok("job", "wait", run, "--output=json").json()
    assert (status["state"], status["attempts"]) == ("succeeded", 1)
    assert command.ok(*words(command), "--cluster=saved").out.splitlines()[0] == "     2  be"
    assert command.ok("cluster", "status", "saved", "--output=json").json()["state"] == "running"
    told = submitter.command(*words(submitter))
    assert told.code == 1 and "import a new bundle" in told.err


def agents_of(team: Team) -> list[str]:
    """The numbers of the agents' processes."""
    return [(host.state / "default" / "pid").read_text() for host in team.rack.lab.hosts]


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
