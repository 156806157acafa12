"""An object store on this machine, and a cluster beside it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tool import Tool

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from servers import Server, make_bucket, seaweedfs

__all__ = ["Server", "add_profile", "near"]


def add_profile(tool: Tool, name: str, server: Server, endpoint: str = "") -> None:
    """Name the bucket ``lab`` of a store.

    Args:
        tool: the command.
        name: of the profile.
        server: with its keys.
        endpoint: by which it is reached, if not its own.
    """
    keys = tool.home / "keys.yaml"
    keys.touch(mode=0o600)
    keys.write_text(json.dumps({"access_key": server.access_key, "secret_key": server.secret_key}))
    words = ("storage", "profile", "add", name, "--url=s3://lab/", "--region=us-east-1")
    more = ("--credentials=file", f"--set=credentials.path={keys}", "--replace")
    tool("sparknomad", *words, f"--endpoint={endpoint or server.endpoint}", *more)


@contextmanager
def near(home: Path, files: Path) -> Iterator[tuple[Tool, Server]]:
    """A cluster of two workers, and a store with the profile ``near``."""
    from cloudmesh.sparknomad.paths import Paths

    tool = Tool(home, Paths.from_environment().cache)
    with seaweedfs(files) as server:
        make_bucket(server, "lab")
        add_profile(tool, "near", server)
        try:
            tool("sparknomad", "cluster", "deploy", "--driver=exec", "--quiet")
            yield tool, server
        finally:
            tool("sparknomad", "cluster", "destroy", "--force", "--quiet")
