"""What many ask for at once is looked at once."""

from __future__ import annotations

import threading
import time

import pytest

from cloudmesh.sparknomad.service.looks import Looks


def test_those_who_ask_within_a_moment_share_an_answer() -> None:
    now = [10.0]
    looks, seen = Looks(0.25, lambda: now[0]), []

    def look() -> int:
        seen.append(len(seen))
        return len(seen)

    assert [looks.get("a", look) for _ in range(3)] == [1, 1, 1]
    assert looks.get("b", look) == 2
    now[0] += 0.3
    assert looks.get("a", look) == 3
    looks.clear()
    assert looks.get("a", look) == 4


def test_what_fails_is_not_kept() -> None:
    looks = Looks(60)

    def fail() -> int:
        raise OSError("away")

    with pytest.raises(OSError, match="away"):
        looks.get("a", fail)
    assert looks.get("a", lambda: 7) == 7


def test_one_thread_looks_while_the_others_wait() -> None:
    looks, seen, told = Looks(60), [], []

    def look() -> str:
        seen.append(threading.get_ident())
        time.sleep(0.05)
        return "x"

    threads = [
        threading.Thread(target=lambda: told.append(looks.get("a", look))) for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 1 and told == ["x"] * 12


def test_old_answers_are_forgotten() -> None:
    now = [0.0]
    looks = Looks(1, lambda: now[0])
    for number in range(300):
        looks.get(number, lambda: "x")
    now[0] = 2.0
    looks.get("last", lambda: "x")
    assert len(looks._looks) <= 2
