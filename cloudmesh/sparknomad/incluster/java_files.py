"""Files that Java reads: properties, and arguments that nobody else may see."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

__all__ = ["argument_file", "properties_text", "write_private"]


def properties_text(values: Mapping[str, str]) -> str:
    """A file for java.util.Properties, which reads these keys and values from it."""
    return "".join(f"{_escape(k, ' :=#!')}={_escape(v)}\n" for k, v in sorted(values.items()))


def _escape(text: str, special: str = "") -> str:
    """Quote a value, or with ``special`` characters a key."""
    start = "\\" if text[:1] == " " and " " not in special else ""
    return start + "".join(
        f"\\{c}" if c == "\\" or c in special else c if " " <= c <= "~" else _utf16(c) for c in text
    )


def _utf16(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


def argument_file(arguments: list[str]) -> str:
    """Write arguments for ``java @file``: no limit of length, and nobody sees them in ``ps``.

    Quoting rules: https://docs.oracle.com/en/java/javase/17/docs/specs/man/java.html
    """
    lines = []
    for argument in arguments:
        quoted = argument.replace("\\", "\\\\").replace('"', '\\"')
        for character, escape in (("\n", "n"), ("\r", "r"), ("\t", "t"), ("\f", "f")):
            quoted = quoted.replace(character, f"\\{escape}")
        lines.append(f'"{quoted}"\n')
    return "".join(lines)


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, before anything is in it."""
    path.unlink(missing_ok=True)  # a file that is there may be open to others
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="utf-8", errors="surrogatepass") as stream:
        stream.write(text)
