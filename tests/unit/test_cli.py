"""The command line: exit codes, messages, help."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from docopt import docopt

from cloudmesh.sparknomad import __version__, cli, commands
from cloudmesh.sparknomad.cli import main
from cloudmesh.sparknomad.errors import RunFailedError
from cloudmesh.sparknomad.usage import MANUAL

Capture = pytest.CaptureFixture[str]
pytestmark = pytest.mark.usefixtures("home")


def documented() -> set[tuple[str, str]]:
    section = MANUAL.split("Usage:\n")[1].split("\n\n")[0]
    found = re.findall(r"^  sparknomad ([a-z]+)(?: ([a-z][a-z-]*))?", section, re.MULTILINE)
    return {(one, two) if two else ("", one) for one, two in found}


def test_every_command_of_the_manual_has_a_function_and_vice_versa() -> None:
    assert documented() == set(commands.COMMANDS)


def test_every_option_of_the_usage_is_explained() -> None:
    usage, rest = MANUAL.split("\n\nSet up:")
    used = set(re.findall(r"--[a-z-]+", usage))
    explained = set(re.findall(r"^  (?:-h, )?(--[a-z-]+)", rest, re.MULTILINE))
    assert used | {"--output", "--quiet"} == explained


@pytest.mark.parametrize("words", [[], ["help"], ["-h"], ["--help"]])
def test_help_is_the_manual(words: list[str], capsys: Capture) -> None:
    assert main(words) == 0
    assert capsys.readouterr() == (MANUAL, "")


@pytest.mark.parametrize("command", sorted(documented()), ids=lambda command: " ".join(command))
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_every_command_has_help(command: tuple[str, str], option: str, capsys: Capture) -> None:
    words = [word for word in command if word]
    assert main([*words, option]) == 0
    told = capsys.readouterr()
    assert told.out.startswith(f"Usage:\n  sparknomad {' '.join(words)}")
    assert told.err == ""
    assert len(told.out.splitlines()) == {"profile": 6, "token": 5}.get(words[-1], 3)


def test_commands_of_three_words_have_help_and_near_misses(capsys: Capture) -> None:
    assert main(["storage", "profile", "add", "-h"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert main(["storage", "profile", "shwo", "x"]) == 2
    assert "did you mean 'show'?" in capsys.readouterr().err


def test_a_group_has_help_of_all_its_commands(capsys: Capture) -> None:
    assert main(["cluster", "-h"]) == 0
    lines = capsys.readouterr().out.splitlines()
    tokens = 3 - 1  # commands that begin with the same two words
    verbs = [verb for group, verb in documented() if group == "cluster"]
    assert len(lines) == 2 + len(verbs) + tokens


def test_the_version_is_data(capsys: Capture) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr() == (f"{__version__}\n", "")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["clster"], "Unknown command 'clster'; did you mean 'cluster'?"),
        (["zzz"], "Unknown command 'zzz'."),
        (["cluster"], "`cluster` needs one of: add-hosts, deploy, destroy, diff, drain,"),
        (["cluster", "deply"], "Unknown command cluster 'deply'; did you mean 'deploy'?"),
        (["job", "zzz"], "Unknown command job 'zzz'."),
        (["cluster", "list", "--ouput=json"], "Unknown option --ouput; did you mean '--output'?"),
        (["cluster", "list", "--zzz"], "Unknown option --zzz."),
        (["cluster", "list", "extra"], "The arguments do not fit: cluster list extra"),
        (["setup", "--workers=3"], "The arguments do not fit: setup --workers=3"),
        (["job", "run"], "The arguments do not fit: job run"),
        (["cluster", "scale", "c"], "The arguments do not fit: cluster scale c"),
        (["cluster", "deploy", "--spec"], "--spec requires argument"),
        (["cluster", "list", "--output=xml"], "--output=xml: must be one of table, json, yaml."),
        (["cluster", "scale", "c", "two"], "N: 'two' is not a whole number."),
        (["cluster", "deploy", "--workers=x"], "--workers: 'x' is not a whole number."),
        (["cluster", "deploy", "--workers=0"], "the command line: workers: 0: "),
        (["cluster", "deploy", "A b"], "the command line: cluster: 'A b': a name has"),
        (["cluster", "deploy", "--provider=nomd", "--dry-run"], "did you mean 'nomad'?"),
        (["cluster", "scale", "c", "2", "--timeout=soon"], "--timeout=soon: 'soon' is not a"),
        (["job", "runs", "--limit=0"], "--limit=0: must be at least 1, or all."),
        (["job", "runs", "--state=done"], "--state=done: must be one of pending, staging"),
        (["job", "run", "p.py", "--param=x"], "--param=x: not an assignment"),
        (["job", "run", "a/b.txt"], "'a/b.txt' is no job"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_why(words: list[str], told: str, capsys: Capture) -> None:
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert told in err.splitlines()[0]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--quiet", "clster", "list"], "'clster'"),
        (["cluster", "--quiet", "lst"], "'lst'"),
        (["--output", "json", "clster"], "'clster'"),
    ],
)
def test_the_unknown_command_is_named_also_after_an_option(
    words: list[str], told: str, capsys: Capture
) -> None:
    assert main(words) == 2
    assert told in capsys.readouterr().err.splitlines()[0]


@pytest.mark.parametrize("words", [["zzz"], ["--quiet"], ["--quiet", "zzz", "list"]])
def test_an_unknown_command_has_one_line_of_help(words: list[str], capsys: Capture) -> None:
    assert main(words) == 2
    assert capsys.readouterr().err.splitlines()[1:] == [
        "Commands: setup, doctor, check, cluster, image, job, pipeline, storage, compute, "
        "service, completion. "
        "`cms sparknomad --help` shows everything."
    ]


def test_a_proposal_ends_with_one_punctuation_mark(capsys: Capture) -> None:
    main(["clster"])
    assert capsys.readouterr().err.splitlines()[0].endswith("'cluster'?")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["cluster", "status", "nope"], "There is no cluster 'nope'; known: none."),
        (["cluster", "scale", "nope", "2"], "There is no cluster 'nope'"),
        (["cluster", "ui", "nope"], "There is no cluster 'nope'"),
        (["job", "show", "nope"], "There is no job 'nope'; defined: none."),
        (["job", "run", "nope"], "There is no job 'nope'"),
        (["job", "define", "nope.yaml"], "There is no file 'nope.yaml'."),
        (["job", "remove", "nope"], "There is no job 'nope'."),
        (["job", "status", "nope"], "There is no run 'nope'."),
        (["job", "logs", "nope"], "There is no run 'nope'."),
        (["job", "cancel", "nope"], "There is no run 'nope'."),
        (["image", "inspect", "nope"], "There is no image 'nope'."),
    ],
)
def test_what_is_not_there_ends_with_4(words: list[str], told: str, capsys: Capture) -> None:
    assert main(words) == 4
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[0].startswith(f"error: {told}")


@pytest.mark.parametrize(
    "words", [["cluster", "list"], ["image", "list"], ["job", "list"], ["job", "runs"]]
)
def test_empty_lists_are_no_error(words: list[str], capsys: Capture) -> None:
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("no ")
    assert main([*words, "--output=json"]) == 0
    assert capsys.readouterr() == ("[]\n", "")


def test_a_job_is_defined_shown_listed_and_removed(home: Path, capsys: Capture) -> None:
    (home / "work/j.yaml").write_text("job: j\nprogram: p.py\nparameters: {n: {default: é}}\n")
    assert main(["job", "define", "j.yaml", "--quiet"]) == 0
    assert main(["job", "show", "j", "--output=json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["program"] == str(home / "work/p.py")
    assert shown["parameters"]["n"]["default"] == "é"
    assert main(["job", "list"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[::2] == ["j", "n"]
    assert main(["job", "remove", "j"]) == 0
    assert main(["job", "show", "j"]) == 4


def test_a_wrong_job_file_ends_with_2_and_its_line(home: Path, capsys: Capture) -> None:
    (home / "work/j.yaml").write_text("job: j\nprogram: p.py\ntimout: 5s\n")
    assert main(["job", "define", "j.yaml"]) == 2
    told = capsys.readouterr().err.splitlines()[0]
    assert told == "error: j.yaml:3: timout: unknown field; did you mean 'timeout'?"


@pytest.mark.parametrize(
    ("words", "module"),
    [
        (["cluster", "token", "list"], "sharing_commands"),
        (["cluster", "list"], "cluster_commands"),
        (["storage", "profile", "list"], "storage_commands"),
        (["service", "token", "list", "--cluster=list"], "service_commands"),
    ],
)
def test_the_verb_is_the_word_that_stands_first(words: list[str], module: str) -> None:
    manual = MANUAL.replace("[options]", "[--output=FORMAT] [--quiet]")
    found = cli._command(words, docopt(manual, argv=words, help=False))
    assert found.__module__.endswith(module)
    assert (found.__name__ in ("_token", "_profile")) == (len(words) > 2)


def test_a_cluster_named_as_a_command_is_a_name(capsys: Capture) -> None:
    assert main(["cluster", "status", "deploy"]) == 4
    assert "no cluster 'deploy'" in capsys.readouterr().err


def test_a_run_whose_name_is_no_text_ends_with_4(capsys: Capture) -> None:
    assert main(["job", "status", "\udcff"]) == 4


def replace(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(arguments: object) -> int:
        raise error

    monkeypatch.setitem(commands.COMMANDS, ("job", "list"), fail)


def test_an_unexpected_exception_ends_with_1_and_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    replace(monkeypatch, ZeroDivisionError("by zero"))
    assert main(["job", "list"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" in err
    assert "error: A fault in sparknomad itself: ZeroDivisionError: by zero\n" in err


def test_a_failed_run_ends_with_3(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    replace(monkeypatch, RunFailedError("run r failed: why", hint="Look."))
    assert main(["job", "list"]) == 3
    assert capsys.readouterr() == ("", "error: run r failed: why\nLook.\n")


def test_an_interrupt_ends_with_130(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    replace(monkeypatch, KeyboardInterrupt())
    assert main(["job", "list"]) == 130
    assert capsys.readouterr().err.startswith("error: Interrupted")


def test_a_termination_signal_ends_with_130_and_its_handler_is_put_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = signal.getsignal(signal.SIGTERM)

    def terminate(arguments: object) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        return 0

    monkeypatch.setitem(commands.COMMANDS, ("job", "list"), terminate)
    assert main(["job", "list"]) == 130
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("word", ["--help", "--version"])
def test_a_reader_that_has_gone_is_no_error(word: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    script = f"import sys; from cloudmesh.sparknomad.cli import main; sys.exit(main(['{word}']))"
    with os.fdopen(writer, "wb") as closed:
        done = subprocess.run(
            [sys.executable, "-c", script],
            stdout=closed,
            stderr=subprocess.PIPE,
            check=False,
            env={**os.environ, "PYTHONUNBUFFERED": ""},
        )
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_no_error(closed: str, home: Path) -> None:
    script = "import sys; from cloudmesh.sparknomad.cli import main; sys.exit(main(sys.argv[1:]))"
    (home / "work/j.yaml").write_text("job: j\nprogram: p.py\n")
    words = f'"$0" -c "$1" job define j.yaml {closed}'
    done = subprocess.run(
        ["sh", "-c", words, sys.executable, script], capture_output=True, check=False
    )
    assert done.returncode == 0
    assert b"Traceback" not in done.stdout + done.stderr
    assert b"error" not in done.stdout + done.stderr


def test_a_full_standard_output_is_an_error_without_a_traceback() -> None:
    script = "import sys; from cloudmesh.sparknomad.cli import main; sys.exit(main(['--help']))"
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", script], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 1
    assert done.stderr.startswith(b"error: No space left on ")
    assert len(done.stderr.splitlines()) == 2


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError(errno.ENOSPC, "full", "/d/f"), "error: No space left on /d/f.\nMake room; "),
        (OSError(errno.EDQUOT, "quota", "/d/f"), "error: The quota is used up on /d/f.\nMake room"),
        (OSError(errno.EROFS, "ro", b"/d"), "error: /d: read-only file system.\nLet this user"),
        (PermissionError(errno.EACCES, "no", "/d"), "error: /d: permission denied.\nLet this"),
        (shutil.Error([("a", "b", "[Errno 28] No space left")]), "error: No space left on /"),
    ],
)
def test_what_the_disk_refuses_is_no_fault_of_ours(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture, error: OSError, told: str
) -> None:
    replace(monkeypatch, error)
    assert main(["job", "list"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(told)


def test_another_broken_pipe_is_no_success(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    replace(monkeypatch, BrokenPipeError(errno.EPIPE, "a socket"))
    monkeypatch.setattr("cloudmesh.sparknomad.streams._is_gone", lambda number: False)
    assert main(["job", "list"]) == 1
    assert "BrokenPipeError" in capsys.readouterr().err


def test_a_stopped_cluster_has_no_addresses(home: Path) -> None:
    from cloudmesh.sparknomad.manager import Sparknomad
    from cloudmesh.sparknomad.model import ClusterState
    from cloudmesh.sparknomad.specs import ClusterSpec

    Sparknomad().store.put_cluster(ClusterSpec(cluster="c", provider="local"), ClusterState.RUNNING)
    assert main(["cluster", "status", "c"]) == 0
    assert main(["cluster", "ui", "c"]) == 0
