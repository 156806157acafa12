"""The service as a task of the cluster that it serves: ``python -m`` this module.

What it knows comes from files that Nomad renders into the task's directory of secrets; what it
remembers lies in the allocation's directory, which a restarted task finds again.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cloudmesh.sparknomad.access_tokens import AccessToken
from cloudmesh.sparknomad.bundles import Bundle
from cloudmesh.sparknomad.errors import SparknomadError
from cloudmesh.sparknomad.manager import Sparknomad
from cloudmesh.sparknomad.paths import Paths
from cloudmesh.sparknomad.processes import write_private
from cloudmesh.sparknomad.service.running import Binding, open_store, serve
from cloudmesh.sparknomad.service.store import ServiceStore

__all__ = ["configure", "main", "take_tokens"]


def configure(paths: Paths, secrets: Path, storage: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the storage profiles where the manager reads them, their secrets into `secrets`.

    Args:
        paths: of the service.
        secrets: a directory that only this task reads.
        storage: the profiles by name, as `service_start` has made them.
    """
    import yaml

    section: dict[str, Any] = {}
    for name, given in storage.items():
        fields = dict(given["fields"])
        if given["secrets"]:
            file = secrets / f"storage-{name}.json"
            write_private(file, json.dumps(given["secrets"]))
            fields["credentials"] = {"source": "file", "path": str(file)}
        if given["ca"]:
            file = secrets / f"storage-{name}.pem"
            write_private(file, given["ca"])
            fields["ca"] = str(file)
        section[name] = fields
    document = {"cloudmesh": {"sparknomad": {"storage": section}}}
    write_private(paths.configuration, yaml.safe_dump(document))


def take_tokens(store: ServiceStore, given: Path, note: Path) -> None:
    """Let those call who have a token now, and tell which tokens these are.

    Args:
        store: of the service.
        given: the file with the tokens.
        note: the file in which that is told.
    """
    text = given.read_text("utf-8")
    store.replace_tokens([AccessToken.read(each) for each in json.loads(text)])
    write_private(note, json.dumps({"sha256": hashlib.sha256(text.encode()).hexdigest()}))


def _follow_tokens(store: ServiceStore, given: Path, note: Path) -> None:
    """Take the tokens anew whenever Nomad has written them."""
    told = threading.Event()
    signal.signal(signal.SIGHUP, lambda *_: told.set())
    take_tokens(store, given, note)

    def follow() -> None:
        while told.wait():
            told.clear()
            take_tokens(store, given, note)

    # Not in the signal's handler: the thread that it interrupts may hold the store.
    threading.Thread(target=follow, name="tokens", daemon=True).start()


def main() -> int:
    """Serve until the task is told to end."""
    secrets = Path(os.environ["NOMAD_SECRETS_DIR"])
    home = Path(os.environ["NOMAD_ALLOC_DIR"]) / "data" / "service"
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.environ.update(CLOUDMESH_CONFIG_DIR=str(home), SPARKNOMAD_CACHE=str(home / "cache"))
    paths = Paths.from_environment()
    setup = json.loads((secrets / "setup.json").read_text("utf-8"))
    try:
        configure(paths, secrets, setup["storage"])
        Sparknomad(paths).cluster_adopt(Bundle(**setup["bundle"]))
        _follow_tokens(open_store(paths), secrets / "tokens.json", home / "tokens.json")
        certificate, key = secrets / "cert.pem", secrets / "key.pem"
        has_tls = certificate.exists()
        binding = Binding(
            os.environ["SPARKNOMAD_HOST"],
            int(os.environ["SPARKNOMAD_PORT"]),
            certificate if has_tls else None,
            key if has_tls else None,
        )
        serve(paths, binding, lambda line: print(line, flush=True))
    except SparknomadError as error:
        print(f"{error.message} {error.hint or ''}".strip(), file=sys.stderr, flush=True)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
