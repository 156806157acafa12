"""Telling a plain chroot, where no namespaces can be made."""

from __future__ import annotations

import pytest

from cloudmesh.sparknomad import namespaces
from cloudmesh.sparknomad.namespaces import namespace_problem, root_is_mounted

WHOLE = "24 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n25 24 0:5 / /dev rw - tmpfs t rw\n"
CHROOT = "40 30 0:5 / /dev rw - tmpfs t rw\n41 30 0:4 / /proc rw - proc proc rw\n"


def test_a_plain_chroot_has_no_mounted_root() -> None:
    assert root_is_mounted(WHOLE)
    assert not root_is_mounted(CHROOT)


def test_a_plain_chroot_is_told_with_what_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(namespaces, "root_is_mounted", lambda: False)
    assert "mount --bind TREE TREE" in namespace_problem()
    monkeypatch.setattr(namespaces, "root_is_mounted", lambda: True)
    assert namespace_problem() == ""
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert "not root" in namespace_problem()
