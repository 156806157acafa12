"""The command line: docopt in, exit code out; stdout is data, stderr is messages."""

from __future__ import annotations

import contextlib
import difflib
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from docopt import DocoptExit, docopt

from cloudmesh.sparknomad import __version__
from cloudmesh.sparknomad.errors import InputError, InterruptedByUserError, SparknomadError
from cloudmesh.sparknomad.streams import drop_gone, explain_system_error, fill_closed, flush
from cloudmesh.sparknomad.usage import MANUAL, PROGRAM

__all__ = ["main"]

_GROUPS = ("cluster", "image", "job", "storage", "compute", "pipeline", "service")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the words after ``cms sparknomad``; those of the process if not given.

    Returns:
        The exit code: 0 done, 1 failed, 2 wrong usage, 3 the run itself failed, 4 not found,
        130 interrupted.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    fill_closed()
    previous = _raise_on_sigterm()
    try:
        return _guarded(words)
    finally:
        if previous is not None:
            signal.signal(signal.SIGTERM, previous)


def _guarded(words: list[str]) -> int:
    try:
        code = _run(words)
        sys.stdout.flush()
        return code
    except SparknomadError as error:
        return _fail(error)
    except KeyboardInterrupt:
        return _fail(InterruptedByUserError("Interrupted. The same command again goes on."))
    except OSError as error:
        if isinstance(error, BrokenPipeError) and drop_gone():
            return 0
        return _fail(explain_system_error(error) or _fault(error))
    except Exception as error:
        return _fail(_fault(error))


def _fault(error: Exception) -> SparknomadError:
    # cms would print this on standard output and end with 0.
    with contextlib.suppress(OSError):
        traceback.print_exception(error)
    return SparknomadError(
        f"A fault in sparknomad itself: {type(error).__name__}: {error}",
        hint="Please report it, with the lines above.",
    )


def _raise_on_sigterm() -> Any:
    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    try:
        return signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not the main thread: whoever made the thread owns the signals
        return None


def _run(words: list[str]) -> int:
    if words in ([], ["help"], ["-h"], ["--help"]):
        sys.stdout.write(MANUAL)
        return 0
    ours = words[: words.index("--")] if "--" in words else words
    if any(word in ("-h", "--help") for word in ours):
        sys.stdout.write(_usage_of(words))
        return 0
    if words == ["--version"]:
        print(__version__)
        return 0
    try:
        # docopt would let `[options]` stand for every option of every command.
        manual = MANUAL.replace("[options]", "[--output=FORMAT] [--quiet]")
        arguments = docopt(manual, argv=words, help=False)
    except DocoptExit as error:
        raise InputError(_explain(words, str(error)), hint=_hint(words)) from None
    except SystemExit:
        raise InputError(f"Not understood: {' '.join(words)}", hint=_hint(words)) from None
    return _command(words, arguments)(arguments)


def _command(words: Sequence[str], arguments: dict[str, Any]) -> Callable[[dict[str, Any]], int]:
    from cloudmesh.sparknomad import commands

    group = next((name for name in _GROUPS if arguments[name]), "")
    found = {
        verb: function
        for (of_group, verb), function in commands.COMMANDS.items()
        if of_group == group and arguments[verb]
    }
    # `cluster token list` is no `cluster list`: the verb is what stands first.
    for word in _plain(words):
        if word in found:
            return found[word]
    raise InputError("Not understood.", hint=f"`{PROGRAM} --help` shows the commands.")


def _usage_lines() -> list[str]:
    """The usage section, one command a line."""
    section = MANUAL.split("Usage:\n", 1)[1].split("\n\n", 1)[0]
    joined: list[str] = []
    for line in section.splitlines():
        if line.startswith(f"  {PROGRAM}"):
            joined.append(line.strip())
        else:
            joined[-1] += " " + line.strip()
    return joined


def _plain(words: Sequence[str]) -> list[str]:
    """The words that are no options and no values of options."""
    takes_value = set(re.findall(r"^  (--[a-z-]+)=", MANUAL, re.MULTILINE))
    found = []
    is_value = False
    for word in words:
        if not is_value and not word.startswith("-"):
            found.append(word)
        is_value = not is_value and word in takes_value
    return found


def _commands_of(words: Sequence[str]) -> str:
    """The usage of the commands that were meant, as far as it can be told; else nothing."""
    plain = _plain(words)
    lines = _usage_lines()
    for length in (3, 2, 1):
        start = " ".join([PROGRAM, *plain[:length]])
        found = [line for line in lines if line == start or line.startswith(start + " ")]
        if found and len(plain) >= length:
            shown = "\n".join("  " + line.replace(" [options]", "") for line in found)
            return f"Usage:\n{shown}\n`cms {PROGRAM} --help` explains the options.\n"
    return ""


def _usage_of(words: Sequence[str]) -> str:
    return _commands_of(words) or MANUAL


def _hint(words: Sequence[str]) -> str:
    """What follows the message about a command line that is wrong."""
    firsts = [line.split()[1] for line in _usage_lines()]
    known = dict.fromkeys(first for first in firsts if not first.startswith("-"))
    general = f"Commands: {', '.join(known)}. `cms {PROGRAM} --help` shows everything."
    return _commands_of(words).rstrip() or general


def _explain(words: Sequence[str], told: str) -> str:
    """What was wrong with a command line."""
    first = told.splitlines()[0] if told else ""
    if first and not first.lower().startswith("usage"):
        return first
    lines = [[*line.split(), ""][1:3] for line in _usage_lines()]
    verbs = {one: {two for other, two in lines if other == one} for one, _ in lines}
    options = {word.split("=")[0] for word in MANUAL.split() if word.startswith("--")}
    for word in words:
        name = word.split("=")[0]
        if name.startswith("--") and not any(option.startswith(name) for option in options):
            return f"Unknown option {name}{_near(name, options)}"
        if re.match("-[^-]", name):
            return f"Unknown option {name}."
    plain = _plain(words)
    if not plain:
        return f"No command is given: {' '.join(words)}"
    if plain[0] not in verbs:
        return f"Unknown command {plain[0]!r}{_near(plain[0], verbs)}"
    if plain[0] in _GROUPS:
        if len(plain) < 2:
            return f"`{plain[0]}` needs one of: {', '.join(sorted(verbs[plain[0]]))}."
        if plain[1] not in verbs[plain[0]]:
            near = _near(plain[1], verbs[plain[0]])
            return f"Unknown command {plain[0]} {plain[1]!r}{near}"
    deeper = {line.split()[3] for line in _usage_lines() if " storage profile " in line}
    if plain[:2] == ["storage", "profile"] and plain[2:3] and plain[2] not in deeper:
        return f"Unknown command storage profile {plain[2]!r}{_near(plain[2], deeper)}"
    return f"The arguments do not fit: {' '.join(words)}"


def _near(word: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown word."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else "."


def _fail(error: SparknomadError) -> int:
    text = f"error: {error.message}"
    if error.hint:
        text += f"\n{error.hint}"
    flush(sys.stdout)
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr)
    flush(sys.stderr)
    return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
