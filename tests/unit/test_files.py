"""Locks, private files, and directories that are seen only when they are whole."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cloudmesh.sparknomad.errors import ConflictError
from cloudmesh.sparknomad.processes import (
    exclusive,
    locked,
    published,
    unpublish,
    write_private,
)

HOLD = (
    "import sys, time; from pathlib import Path; from cloudmesh.sparknomad.processes import *\n"
    "with {how}(Path(sys.argv[1]){more}) as made:\n"
    "    {then}\n"
    "    print('ready', flush=True); time.sleep(60)\n"
)


@contextmanager
def elsewhere(path: Path, how: str, more: str = "", then: str = "pass") -> Iterator[int]:
    """Another process that is within the block until it is killed."""
    script = HOLD.format(how=how, more=more, then=then)
    command = [sys.executable, "-c", script, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield process.pid
        finally:
            process.kill()


def test_a_second_holder_is_refused_and_told_the_first(tmp_path: Path) -> None:
    lock = tmp_path / "deep/lock"
    with elsewhere(lock, "exclusive", ", 'cluster c'") as holder:
        refused = pytest.raises(ConflictError, match=f"process {holder}.* cluster c")
        with refused as caught, exclusive(lock, "cluster c"):
            pytest.fail("two holders")
        assert "Wait" in caught.value.hint


def test_a_lock_is_free_after_its_holder_was_killed(tmp_path: Path) -> None:
    with elsewhere(tmp_path / "lock", "exclusive", ", 'x'"):
        pass
    with exclusive(tmp_path / "lock", "x"):
        assert (tmp_path / "lock").read_text() == str(os.getpid())


def test_a_lock_is_free_after_an_exception(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(RuntimeError, match="mine"), exclusive(tmp_path / "lock", "x"):
            raise RuntimeError("mine")


def test_a_lock_is_not_entered_twice_by_one_process(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    refused = pytest.raises(ConflictError, match=str(os.getpid()))
    with exclusive(lock, "x"), refused, exclusive(lock, "x"):
        pytest.fail("two holders")


def test_other_locks_are_free(tmp_path: Path) -> None:
    with exclusive(tmp_path / "a", "a"), exclusive(tmp_path / "b", "b"):
        pass


def test_a_private_file_is_only_its_owners(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, "é\n")
    assert path.read_text("utf-8") == "é\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["secret"]


def test_a_private_file_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UnicodeEncodeError):
        write_private(tmp_path / "secret", "key \ud800")
    assert list(tmp_path.iterdir()) == []


def test_who_waits_for_a_lock_that_is_removed_takes_the_new_one(tmp_path: Path) -> None:
    lock, holders, worst = tmp_path / "lock", [0], [0]

    def hold() -> None:
        for _ in range(50):
            with locked(lock):
                holders[0] += 1
                worst[0] = max(worst[0], holders[0])
                holders[0] -= 1
                lock.unlink()

    threads = [threading.Thread(target=hold) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert worst == [1]
    assert not lock.exists()


def test_a_lock_is_shared_by_those_who_share_it(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with locked(lock, shared=True) as one, locked(lock, shared=True, wait=False) as two:
        assert one is not None
        assert two is not None
        with locked(lock, wait=False) as alone:
            assert alone is None


def test_a_published_directory_is_removed_with_its_lock(tmp_path: Path) -> None:
    with published(tmp_path / "made") as partial:
        assert partial is not None
        assert not unpublish(tmp_path / "made")
    assert unpublish(tmp_path / "made")
    assert unpublish(tmp_path / "made")
    assert unpublish(tmp_path / "no/made")
    assert list(tmp_path.iterdir()) == []


def visible(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if not path.name.endswith(".lock"))


def test_a_published_directory_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep/made"
    with published(target) as partial:
        assert partial is not None
        (partial / "file").write_text("content")
        assert not target.exists()
    assert (target / "file").read_text() == "content"
    assert visible(target.parent) == ["made"]


def test_a_second_maker_sees_that_it_is_made(tmp_path: Path) -> None:
    with published(tmp_path / "made"):
        pass
    with published(tmp_path / "made") as partial:
        assert partial is None


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_exception_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), published(tmp_path / "made") as partial:
        assert partial is not None
        (partial / "file").touch()
        raise error
    assert visible(tmp_path) == []


def test_leftovers_of_a_killed_maker_are_removed(tmp_path: Path) -> None:
    with elsewhere(tmp_path / "made", "published", then="(made / 'stale').touch()"):
        pass
    assert visible(tmp_path) == [".made.partial"]
    with published(tmp_path / "made") as partial:
        assert partial is not None
        assert list(partial.iterdir()) == []
        (partial / "fresh").touch()
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["fresh"]


def test_of_many_makers_at_once_one_makes_it(tmp_path: Path) -> None:
    made: list[int] = []

    def make(number: int) -> None:
        with published(tmp_path / "made") as partial:
            if partial is not None:
                made.append(number)
                (partial / "by").write_text(str(number))

    threads = [threading.Thread(target=make, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert (tmp_path / "made/by").read_text() == str(made[0])
