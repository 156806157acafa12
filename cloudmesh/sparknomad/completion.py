"""Completion scripts for shells, made from the manual."""

from __future__ import annotations

import re
from collections.abc import Mapping

from cloudmesh.sparknomad.errors import InputError
from cloudmesh.sparknomad.usage import MANUAL, PROGRAM

__all__ = ["completion_script", "words_by_command"]

SHELLS = ("bash", "zsh")

_BASH = """\
# Completion of `{program}` and `cms {program}` for bash: eval "$({program} completion bash)"
_{program}_words() {{
  case "$1" in
{cases}
  esac
}}
_{program}_complete() {{
  local start=1 current="${{COMP_WORDS[COMP_CWORD]}}" key="" i word
  if [ "${{COMP_WORDS[0]##*/}}" = cms ]; then
    [ "${{COMP_WORDS[1]}}" = {program} ] || {{
      [ "$COMP_CWORD" = 1 ] && COMPREPLY=( $(compgen -W "{program}" -- "$current") )
      return
    }}
    start=2
  fi
  for (( i = start; i < COMP_CWORD; i++ )); do
    word="${{COMP_WORDS[i]}}"
    case "$word" in -*|=) ;; *) [ -n "$(_{program}_words "${{key:+$key }}$word")" ] &&
      key="${{key:+$key }}$word" ;; esac
  done
  COMPREPLY=( $(compgen -W "$(_{program}_words "$key")" -- "$current") )
  if [ -z "$COMPREPLY" ]; then
    COMPREPLY=( $(compgen -f -- "$current") )
  fi
  case "${{COMPREPLY[*]}}" in *=) compopt -o nospace 2>/dev/null ;; esac
}}
complete -o filenames -F _{program}_complete {program} cms
"""

_ZSH = """\
# Completion of `{program}` and `cms {program}` for zsh: eval "$({program} completion zsh)"
autoload -U +X bashcompinit && bashcompinit
"""


def words_by_command() -> Mapping[str, tuple[str, ...]]:
    """What may follow each command: verbs, or options; the empty command has the groups."""
    usage = MANUAL.split("Usage:\n", 1)[1].split("\n\n", 1)[0]
    found: dict[str, list[str]] = {"": []}
    for command in re.split(rf"^  {PROGRAM} ", usage, flags=re.MULTILINE)[1:]:
        words = command.split()
        verbs = [word for word in words[:2] if re.fullmatch(r"[a-z][a-z-]*", word)]
        options = re.findall(r"--[a-z-]+=?", command)
        options += ["--output=", "--quiet"] if "[options]" in command else []
        key = ""
        for verb in verbs:
            found.setdefault(key, []).append(verb)
            key = f"{key} {verb}".strip()
        found.setdefault(key, []).extend(options)
    found["completion"] = list(SHELLS)
    return {key: tuple(dict.fromkeys(words)) for key, words in found.items()}


def completion_script(shell: str) -> str:
    """The script for a shell.

    Raises:
        InputError: for a shell that is not supported.
    """
    if shell not in SHELLS:
        raise InputError(f"completion: {shell!r}: must be one of {', '.join(SHELLS)}.")
    cases = "\n".join(
        f'    "{key}") echo "{" ".join(words)}" ;;' for key, words in words_by_command().items()
    )
    script = _BASH.format(program=PROGRAM, cases=cases)
    return _ZSH.format(program=PROGRAM) + script if shell == "zsh" else script
