"""cms's entry: nothing but the hand-over to `cli`.

cmd5's own ``@command`` is not used: it drops exit codes, prints errors on standard output, and
joins and splits the arguments again, which breaks JSON, quotes and empty strings.
"""

from __future__ import annotations

import shlex
import sys

from cloudmesh.shell.command import PluginCommand

from cloudmesh.sparknomad.usage import MANUAL

__all__ = ["SparknomadCommand"]


class SparknomadCommand(PluginCommand):  # type: ignore[misc]
    """Adds ``sparknomad`` to cms."""

    def do_sparknomad(self, args: str) -> None:
        """Replaced below by the manual, which ``cms help sparknomad`` shows."""
        from cloudmesh.sparknomad.cli import main

        if sys.argv[1:2] == ["sparknomad"]:
            # One command: cms was called with it, and the words are intact only here.
            code = main(sys.argv[2:])
            sys.stdout.flush()
            sys.exit(code)
        try:
            words = shlex.split(args)
        except ValueError as error:
            print(f"error: {args}: {error}", file=sys.stderr)
            return
        main(words)

    do_sparknomad.__doc__ = "::\n\n" + MANUAL
