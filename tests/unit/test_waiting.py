"""Bounded waiting, and progress."""

from __future__ import annotations

import io
import subprocess
import sys
import time

import pytest

from cloudmesh.sparknomad.errors import WaitTimeoutError
from cloudmesh.sparknomad.progress import Progress
from cloudmesh.sparknomad.waiting import Deadline, wait_until


def test_the_first_true_answer_is_returned() -> None:
    answers = iter([None, "", 0, "yes"])
    assert wait_until(lambda: next(answers), "x", Deadline(5), interval=0.001) == "yes"


def test_the_probe_is_called_at_least_once() -> None:
    assert wait_until(lambda: "now", "x", Deadline(0)) == "now"


def test_giving_up_says_what_was_waited_for_and_how_long() -> None:
    with pytest.raises(WaitTimeoutError, match=r"Waited 0\.1s for the moon") as caught:
        wait_until(lambda: None, "the moon", Deadline(0.1), interval=0.01)
    assert "--timeout" in caught.value.hint


def test_a_hint_of_ones_own_is_shown() -> None:
    with pytest.raises(WaitTimeoutError) as caught:
        wait_until(lambda: None, "x", Deadline(0), hint="Look up.")
    assert caught.value.hint == "Look up."


def test_a_long_interval_does_not_outlast_the_deadline() -> None:
    begun = time.monotonic()
    with pytest.raises(WaitTimeoutError):
        wait_until(lambda: None, "x", Deadline(0.1), interval=30)
    assert time.monotonic() - begun < 5


def test_an_exception_of_the_probe_ends_the_wait() -> None:
    with pytest.raises(ZeroDivisionError):
        wait_until(lambda: 1 // 0, "x", Deadline(5))


def test_a_deadline_is_never_below_zero_and_may_be_endless() -> None:
    assert Deadline(-5).left == 0
    assert Deadline(float("inf")).left == float("inf")
    assert 59 < Deadline(60).left <= 60


def test_progress_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    Progress(quiet=False).say("at work")
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == "[  0.0s] at work\n"


def test_quiet_progress_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    Progress(quiet=True).say("at work")
    assert capsys.readouterr() == ("", "")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_the_time_dimmed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    Progress(quiet=False).say("at work")
    assert sys.stderr.getvalue().endswith("\033[0mat work\n")


class Broken(io.StringIO):
    tried = 0

    def write(self, text: str) -> int:
        self.tried += 1
        raise BrokenPipeError


def test_a_broken_standard_error_is_tried_once_and_no_reason_to_fail(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken = Broken()
    monkeypatch.setattr(sys, "stderr", broken)
    progress = Progress(quiet=False)
    progress.say("one")
    progress.say("two")
    assert broken.tried == 1


SAY = "from cloudmesh.sparknomad.progress import Progress; Progress(quiet=False).say('x')"


def test_a_closed_standard_error_is_no_reason_to_fail() -> None:
    command = ["sh", "-c", 'exec "$0" -c "$1" 2>&-', sys.executable, SAY]
    done = subprocess.run(command, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"")
