"""What is made of an HDFS that says it is full, and of DataNodes that share a disk."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from threaded import threaded

from cloudmesh.sparknomad.incluster.hdfs_names import bad_name
from cloudmesh.sparknomad.incluster.webhdfs import WebHdfs, WebHdfsError

GIGABYTE = 10**9
WRITTEN = (
    "File /x could only be written to 0 of the 1 minReplication nodes. There are {} datanode(s) "
    "running and no node(s) are excluded in this operation."
)


class Namenode:
    """Answers as a NameNode whose words are given."""

    def __init__(self) -> None:
        self.message = ""
        self.nodes: dict[str, dict[str, object]] = {}
        self.address = ""

    def node(self, host: str, remaining: int) -> None:
        place = f"{host}:{len(self.nodes)}"
        told = {"xferaddr": place, "capacity": 10 * GIGABYTE, "remaining": remaining}
        self.nodes[place] = told


@pytest.fixture
def namenode() -> Iterator[Namenode]:
    made = Namenode()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *words: object) -> None:
            return

        def answer(self) -> None:
            info = {"beans": [{"LiveNodes": json.dumps(made.nodes)}]}
            refused = {"RemoteException": {"exception": "IOException", "message": made.message}}
            asked = self.path.startswith("/jmx")
            content = json.dumps(info if asked else refused).encode()
            self.send_response(200 if asked else 403)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_DELETE = answer  # noqa: N815 - http.server's names

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made.address = f"127.0.0.1:{server.server_port}"
        with threaded(server):
            yield made


def test_datanodes_of_one_host_share_its_disk(namenode: Namenode) -> None:
    for host in ("10.0.0.1", "10.0.0.1", "10.0.0.2"):
        namenode.node(host, GIGABYTE)
    total, free = WebHdfs(namenode.address).room()
    assert total == 20 * GIGABYTE
    assert 1.7 * GIGABYTE < free < 2 * GIGABYTE


@pytest.mark.parametrize(
    "message",
    [
        "Cannot create file/x. Name node is in safe mode.\nResources are low on NN. Please add or "
        "free up more resources",
        WRITTEN.format(2),
    ],
)
def test_a_full_hdfs_is_told_at_once(namenode: Namenode, message: str) -> None:
    namenode.message = message
    namenode.node("10.0.0.1", 100_000_000)
    hdfs = WebHdfs(namenode.address, patience=60)
    for work in (lambda: hdfs.write("/x", b"x"), lambda: hdfs.make_directory("/x")):
        with pytest.raises(OSError, match="no space left in HDFS") as caught:
            work()
        assert caught.value.errno == errno.ENOSPC


@pytest.mark.parametrize("running", [0, 2])
def test_datanodes_that_are_gone_are_waited_for(namenode: Namenode, running: int) -> None:
    namenode.message = WRITTEN.format(running)
    namenode.node("10.0.0.1", GIGABYTE)
    with pytest.raises(WebHdfsError, match="could not be written"):
        WebHdfs(namenode.address, patience=0.5).write("/x", b"x")


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("a/b c/é", ""),
        ("/".join(["p" * 255] * 4), ""),
        ("é" * 127, ""),
        ("é" * 128, "a part of it has 256 bytes, and 255 is the most"),
        (f"x/{'w' * 300}/y", "a part of it has 300 bytes"),
        ("a:b", "'a:b' can't be the name"),
        ("a//b", "can't be the name"),
        ("/".join(["d" * 200] * 20), "characters, and 3,000 is the most"),
    ],
)
def test_names_that_hdfs_can_not_have_are_known(name: str, problem: str) -> None:
    told = bad_name(["fine", name])
    assert problem in told if problem else told == ""
    assert len(told) < 250
