"""Whether this machine can give a process namespaces of its own."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["namespace_problem", "root_is_mounted"]


def root_is_mounted(mounts: str | None = None) -> bool:
    """Whether the root directory is a mount, as ``unshare`` and ``runc`` need it.

    It is not after a plain ``chroot`` into a directory.

    Args:
        mounts: the content of ``/proc/self/mountinfo``, see proc(5); read if not given.
    """
    if mounts is None:
        try:
            mounts = Path("/proc/self/mountinfo").read_text("utf-8")
        except OSError:  # no Linux, or no /proc: the attempt will tell
            return True
    fields = (line.split(" ") for line in mounts.splitlines())
    return any(len(each) > 4 and each[4] == "/" for each in fields)


def namespace_problem() -> str:
    """Why a process can't be given namespaces of its own, and what helps; empty if it can."""
    if os.geteuid() != 0:
        return "this user is not root"
    if not root_is_mounted():
        return (
            "the root directory is no mount, as after a plain chroot; bind the tree to itself "
            "before (mount --bind TREE TREE, then chroot TREE)"
        )
    return ""
