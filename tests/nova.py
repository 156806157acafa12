"""A small OpenStack on loopback: as much of Keystone, Nova, Glance and Neutron as creating takes.

It answers as OpenStack's API reference says, and keeps machines that do not run.
"""

from __future__ import annotations

import base64
import http.server
import itertools
import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from threaded import threaded

__all__ = ["Nova", "nova"]

_MORE = {"swap": "", "OS-FLV-EXT-DATA:ephemeral": 0, "OS-FLV-DISABLED:disabled": False}
FLAVORS = [
    {"id": "1", "name": "m1.small", "ram": 2048, "vcpus": 1, "disk": 20, **_MORE},
    {"id": "2", "name": "m1.large", "ram": 8192, "vcpus": 4, "disk": 80, **_MORE},
]
IMAGES = [
    {
        "id": "i-1",
        "name": "debian-12",
        "status": "active",
        "min_disk": 0,
        "created_at": "2024",
        "updated_at": "2024",
    }
]


@dataclass
class Nova:
    """A running API."""

    endpoint: str = ""
    servers: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)
    """What was asked for when machines were created."""
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(2))
    """The last part of each machine's address; several are asked for at a time."""

    def catalog(self) -> dict[str, Any]:
        """Keystone's answer to who logs in."""

        def service(kind: str, path: str) -> dict[str, Any]:
            url = f"{self.endpoint}{path}"
            point = {"id": kind, "interface": "public", "region": "one", "region_id": "one"}
            return {"id": kind, "type": kind, "name": _NAMES[kind],
                    "endpoints": [{**point, "url": url}]}  # fmt: skip

        places = {"compute": "/compute", "image": "/image", "network": "/network"}
        return {
            "token": {
                "expires_at": "2999-01-01T00:00:00.000000Z",
                "issued_at": "2020-01-01T00:00:00.000000Z",
                "user": {"id": "u", "name": "me"},
                "roles": [],
                "catalog": [service(kind, path) for kind, path in places.items()],
            }
        }

    def create(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Make a machine."""
        self.asked.append(asked)
        made = {
            "id": str(uuid.uuid4()),
            "name": asked["name"],
            "status": "ACTIVE",
            "metadata": asked.get("metadata", {}),
            "flavor": {"id": asked["flavorRef"], "links": []},
            "image": {"id": asked["imageRef"], "links": []},
            "addresses": {"net": [{"addr": f"10.0.0.{next(self._numbers)}", "version": 4}]},
            "created": "2024-01-01T00:00:00Z",
            "updated": "2024-01-01T00:00:00Z",
            "tenant_id": "t",
            "user_id": "u",
            "hostId": "h",
            "links": [{"rel": "self", "href": self.endpoint}],
        }
        self.servers[made["id"]] = made
        return made

    def user_data(self) -> str:
        """What the last machine was to run."""
        return base64.b64decode(self.asked[-1]["user_data"]).decode()


_NAMES = {"compute": "nova", "image": "glance", "network": "neutron"}


class _Handler(http.server.BaseHTTPRequestHandler):
    nova: Nova

    def _answer(self, status: int, document: Any = None, **headers: str) -> None:
        body = b"" if document is None else json.dumps(document).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        nova = self.nova
        servers = list(nova.servers.values()) if "marker=" not in self.path else []
        answers = {
            "/compute/servers/detail": {"servers": servers},
            "/compute/flavors/detail": {"flavors": FLAVORS},
            "/image/v2/images": {"images": IMAGES},
        }
        if path in answers:
            self._answer(200, answers[path])
        elif path.rpartition("/")[2] in nova.servers:
            self._answer(200, {"server": nova.servers[path.rpartition("/")[2]]})
        else:
            self._answer(404, {"itemNotFound": {"message": path, "code": 404}})

    def do_POST(self) -> None:
        told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.endswith("/auth/tokens"):
            self._answer(201, self.nova.catalog(), X_Subject_Token="token")
        else:
            self._answer(202, {"server": self.nova.create(told["server"])})

    def do_DELETE(self) -> None:
        self.nova.servers.pop(self.path.rpartition("/")[2], None)
        self._answer(204)

    def log_message(self, *arguments: object) -> None:
        del arguments


@contextmanager
def nova() -> Iterator[Nova]:
    """Start it; nothing of it is left afterwards."""
    made = Nova()
    handler = type("Handler", (_Handler,), {"nova": made})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        made.endpoint = f"http://127.0.0.1:{server.server_port}"
        with threaded(server):
            yield made
